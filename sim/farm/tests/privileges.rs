//! The roles of `docs/privileges.md` against a simulator: they are sufficient, and each of their privileges is
//! necessary.
#![cfg(test)]

use std::sync::Arc;

use farm::privileges::Documented;
use farm::simulation::usual_world;
use serde_json::{Value, json};
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Handle, Latency, Line, Options, Server};

const PROVIDER: &str = "pxci@pve!provider";
const DISPATCHER: &str = "pxci-dispatcher@pve!farm";
/// Privileges that are not necessary in the simulator: `Datastore.AllocateSpace` allows every call on a storage for
/// disks that `Datastore.Audit` allows. A real server was only tested with both.
const COVERED: [(&str, &str); 1] = [("PxciDisks", "Datastore.Audit")];

/// The refusal that stops a farm: the caller and the call.
type Stopped = String;

struct Cluster {
    handle: Handle,
    http: reqwest::Client,
}

impl Cluster {
    async fn start(documented: &Documented, line: Line) -> Self {
        let world = documented.set_up(usual_world(), |_| "secret-1".to_owned());
        let options = Options { latency: Latency::Virtual, line: Some(line), statistics: false, ..Options::default() };
        let handle = Server::start(&world, Arc::new(Scripted::new(Boot::AtOnce)), options).await.unwrap();
        let ca = reqwest::Certificate::from_pem(handle.ca_pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
        Self { handle, http }
    }

    async fn upload(&self, content: &'static str, name: &'static str, bytes: Vec<u8>) -> Result<Value, Stopped> {
        let part = reqwest::multipart::Part::bytes(bytes).file_name(name);
        let form = reqwest::multipart::Form::new().text("content", content).part("filename", part);
        let path = "/nodes/pve1/storage/local/upload";
        let request = self.http.post(format!("{}/api2/json{path}", self.handle.url())).multipart(form);
        self.answer(PROVIDER, path, request).await
    }

    /// Returns the data of a call after its task has succeeded.
    async fn answer(&self, who: &str, path: &str, request: reqwest::RequestBuilder) -> Result<Value, Stopped> {
        let (status, text) = self.send(who, request).await;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(matches!(status, 200 | 403), "{who} {path}: {status} {text}");
        if status == 403 {
            return Err(format!("{who} {path}: {text}"));
        }
        if let Some(upid) =
            body["data"].as_str().filter(|text| text.starts_with("UPID:") && !text.contains(":vncproxy:"))
        {
            let (end, _) = self.handle.task_end(upid).await.unwrap();
            assert!(end == "OK" || end.contains("Permission check failed"), "{who} {path}: {end}");
            if end != "OK" {
                return Err(format!("{who} {path}: {end}"));
            }
        }
        Ok(body["data"].clone())
    }

    async fn send(&self, who: &str, request: reqwest::RequestBuilder) -> (u16, String) {
        let secret = self.handle.token_secret(who).unwrap();
        let answer = request.header("Authorization", format!("PVEAPIToken={who}={secret}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Builds and verifies a template, creates the dispatcher's container, and removes unused versions.
    async fn provide(&self) -> Result<(), Stopped> {
        let provider = Caller { cluster: self, who: PROVIDER };
        provider.call("GET", "/pools/pxci-runners", &[]).await?;
        self.upload("iso", "seed.iso", vec![7; 4096]).await?;
        let stored = provider.call("GET", "/nodes/pve1/storage/local/content", &[("content", "iso")]).await?;
        assert_eq!(stored[0]["volid"], "local:iso/seed.iso");
        let vm = [
            ("vmid", "9000"),
            ("pool", "pxci-runners"),
            ("name", "golden"),
            ("cores", "2"),
            ("memory", "2048"),
            ("scsihw", "virtio-scsi-pci"),
            ("agent", "1"),
            ("scsi0", "local-lvm:4"),
            ("ide2", "local:iso/seed.iso,media=cdrom"),
            ("net0", "virtio,bridge=vmbr0"),
        ];
        provider.call("POST", "/nodes/pve1/qemu", &vm).await?;
        provider.call("GET", "/nodes/pve1/qemu/9000/config", &[]).await?;
        provider.call("POST", "/nodes/pve1/qemu/9000/status/start", &[]).await?;
        provider.call("PUT", "/nodes/pve1/qemu/9000/sendkey", &[("key", "ret")]).await?;
        provider.call("POST", "/nodes/pve1/qemu/9000/status/stop", &[]).await?;
        provider.call("PUT", "/nodes/pve1/qemu/9000/resize", &[("disk", "scsi0"), ("size", "8G")]).await?;
        provider.call("PUT", "/nodes/pve1/qemu/9000/config", &[("delete", "ide2"), ("tags", "pxci")]).await?;
        provider.call("POST", "/nodes/pve1/qemu/9000/template", &[]).await?;
        provider.call("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "9001"), ("pool", "pxci-runners")]).await?;
        provider.call("POST", "/nodes/pve1/qemu/9001/status/start", &[]).await?;
        provider.ping("/nodes/pve1/qemu/9001/agent/ping").await?;
        provider.call("POST", "/nodes/pve1/qemu/9001/agent/exec", &[("command", "/bin/true")]).await?;
        provider.call("POST", "/nodes/pve1/qemu/9001/status/stop", &[]).await?;
        provider.call("DELETE", "/nodes/pve1/qemu/9001", &[]).await?;
        self.upload("vztmpl", "dispatcher.tar.zst", vec![0x28, 0xb5, 0x2f, 0xfd]).await?;
        let container = [
            ("vmid", "9050"),
            ("pool", "pxci-control"),
            ("ostemplate", "local:vztmpl/dispatcher.tar.zst"),
            ("rootfs", "local-lvm:1"),
            ("mp0", "local-lvm:1,mp=/var/lib/pxci"),
            ("net0", "name=eth0,bridge=vmbr0,ip=dhcp"),
            ("unprivileged", "1"),
        ];
        provider.call("POST", "/nodes/pve1/lxc", &container).await?;
        provider.call("PUT", "/nodes/pve1/lxc/9050/config", &[("tags", "pxci")]).await?;
        provider.call("POST", "/nodes/pve1/lxc/9050/status/start", &[]).await?;
        provider.call("POST", "/nodes/pve1/lxc/9050/termproxy", &[]).await?;
        provider.call("DELETE", "/nodes/pve1/storage/local/content/local:vztmpl/dispatcher.tar.zst", &[]).await?;
        Ok(())
    }

    /// Clones, arms and destroys a runner VM.
    async fn dispatch(&self) -> Result<(), Stopped> {
        let dispatcher = Caller { cluster: self, who: DISPATCHER };
        dispatcher.call("GET", "/pools/pxci-runners", &[]).await?;
        dispatcher.call("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "9100"), ("pool", "pxci-runners")]).await?;
        for change in [
            ("cores", "1"),
            ("memory", "1024"),
            ("net0", "virtio,bridge=vmbr0"),
            ("tags", "pxci"),
            ("ide2", "local:iso/seed.iso,media=cdrom"),
        ] {
            dispatcher.call("PUT", "/nodes/pve1/qemu/9100/config", &[change]).await?;
        }
        dispatcher.call("POST", "/nodes/pve1/qemu/9100/status/start", &[]).await?;
        dispatcher.call("GET", "/nodes/pve1/qemu/9100/status/current", &[]).await?;
        dispatcher.ping("/nodes/pve1/qemu/9100/agent/ping").await?;
        let file = "/run/pxci";
        dispatcher.call("POST", "/nodes/pve1/qemu/9100/agent/file-write", &[("file", file), ("content", "x")]).await?;
        dispatcher.call("GET", "/nodes/pve1/qemu/9100/agent/file-read", &[("file", file)]).await?;
        dispatcher.call("POST", "/nodes/pve1/qemu/9100/termproxy", &[("serial", "serial0")]).await?;
        dispatcher.call("POST", "/nodes/pve1/qemu/9100/status/stop", &[]).await?;
        dispatcher.call("DELETE", "/nodes/pve1/qemu/9100", &[]).await?;
        Ok(())
    }

    async fn farm(&self) -> Result<(), Stopped> {
        self.provide().await?;
        self.dispatch().await
    }
}

/// A caller with its token.
struct Caller<'a> {
    cluster: &'a Cluster,
    who: &'static str,
}

impl Caller<'_> {
    async fn call(&self, method: &str, path: &str, params: &[(&str, &str)]) -> Result<Value, Stopped> {
        let method: reqwest::Method = method.parse().unwrap();
        let in_query = method == reqwest::Method::GET || method == reqwest::Method::DELETE;
        let request = self.cluster.http.request(method, format!("{}/api2/json{path}", self.cluster.handle.url()));
        let request = if in_query { request.query(params) } else { request.form(params) };
        self.cluster.answer(self.who, path, request).await
    }

    /// Calls a guest's agent until it answers. Each attempt takes some seconds of simulated time.
    async fn ping(&self, path: &str) -> Result<(), Stopped> {
        for _ in 0..100 {
            let request = self.cluster.http.post(format!("{}/api2/json{path}", self.cluster.handle.url()));
            let (status, text) = self.cluster.send(self.who, request).await;
            match status {
                200 => return Ok(()),
                403 => return Err(format!("{} {path}: {text}", self.who)),
                _ => assert!(text.contains("guest agent is not running"), "{path}: {text}"),
            }
        }
        panic!("the agent never answers {path}");
    }
}

async fn with_what_is_documented(line: Line) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let documented = Documented::on(line).unwrap();
    let cluster = Cluster::start(&documented, line).await;
    assert_eq!(cluster.farm().await, Ok(()), "line {line:?}");
    let mut unused = Vec::new();
    for (role, privileges) in &documented.roles {
        for privilege in privileges {
            let fewer = documented.without(role, privilege);
            assert_ne!(fewer, documented);
            let cluster = Cluster::start(&fewer, line).await;
            if cluster.farm().await.is_ok() {
                unused.push((role.as_str(), privilege.as_str()));
            }
        }
    }
    assert_eq!(unused, COVERED, "privileges that are not needed on line {line:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_proxmox_ve_9_each_documented_privilege_is_needed_and_no_other() {
    with_what_is_documented(Line::Nine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_proxmox_ve_8_each_documented_privilege_is_needed_and_no_other() {
    with_what_is_documented(Line::Eight).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_knows_the_privileges_that_are_documented_for_it() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for line in [Line::Eight, Line::Nine] {
        let cluster = Cluster::start(&Documented::default(), line).await;
        for (role, privileges) in Documented::on(line).unwrap().roles {
            let privileges = privileges.join(" ");
            let made = [("roleid", role.as_str()), ("privs", privileges.as_str())];
            let made = cluster.handle.call("root@pam", "POST", "/access/roles", &made).await;
            assert_eq!(made.ok(), Some(json!(null)), "{role} on line {line:?}");
        }
    }
}
