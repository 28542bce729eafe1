//! `root@pam` at a simulated Proxmox VE, for changes that other users make there.

use std::time::{Duration, Instant};

use farm::simulation::SimulatedPve;
use reqwest::Method;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(60);

/// A user with every privilege.
pub(crate) struct Administrator {
    client: reqwest::Client,
    api: String,
    password: String,
}

impl Administrator {
    pub(crate) fn new(pve: &SimulatedPve) -> Self {
        let ca = reqwest::Certificate::from_pem(pve.handle.ca_pem().as_bytes()).expect("certificate");
        // PVE closes idle connections, so every request uses a new one.
        let client = reqwest::Client::builder().tls_certs_only([ca]).pool_max_idle_per_host(0).build().expect("client");
        Self { client, api: format!("{}/api2/json", pve.handle.url()), password: pve.root_password.clone() }
    }

    /// Sends a request, and returns the `data` of the answer.
    pub(crate) async fn call(&self, method: &str, path: &str, parameters: &[(&str, &str)]) -> Value {
        // A ticket expires within seconds, because the simulator's clock runs fast.
        let login = self
            .client
            .post(format!("{}/access/ticket", self.api))
            .form(&[("username", "root@pam"), ("password", &self.password)]);
        let granted: Value = login.send().await.expect("answer").json().await.expect("JSON");
        let text = |name: &str| granted["data"][name].as_str().expect("a login").to_owned();
        let url = format!("{}{path}", self.api);
        let request = self.client.request(Method::from_bytes(method.as_bytes()).expect("method"), url);
        let request = request
            .header("Cookie", format!("PVEAuthCookie={}", text("ticket")))
            .header("CSRFPreventionToken", text("CSRFPreventionToken"));
        let request = match method {
            "GET" | "DELETE" => request.query(parameters),
            _ => request.form(parameters),
        };
        let answer = request.send().await.expect("answer");
        let status = answer.status();
        let text = answer.text().await.expect("text");
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str::<Value>(&text).expect("JSON")["data"].take()
    }

    /// Sends a request that starts a task, and waits until the task succeeds.
    pub(crate) async fn task(&self, method: &str, path: &str, parameters: &[(&str, &str)]) {
        let upid = self.call(method, path, parameters).await;
        let upid = upid.as_str().expect("a task");
        let started = Instant::now();
        loop {
            let state = self.call("GET", &format!("/nodes/pve1/tasks/{upid}/status"), &[]).await;
            if state["status"] == "stopped" {
                assert_eq!(state["exitstatus"], "OK", "{method} {path}");
                return;
            }
            assert!(started.elapsed() < DEADLINE, "{method} {path} does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Makes a template with a disk, an agent and a network card.
    pub(crate) async fn make_template(&self, vmid: u32, name: &str, description: &str, tags: &str) {
        let number = vmid.to_string();
        let parameters = [
            ("vmid", number.as_str()),
            ("name", name),
            ("description", description),
            ("tags", tags),
            ("pool", "pxci-runners"),
            ("agent", "1"),
            ("cores", "1"),
            ("memory", "512"),
            ("net0", "virtio,bridge=vmbr0"),
            ("scsi0", "local-lvm:1"),
        ];
        self.task("POST", "/nodes/pve1/qemu", &parameters).await;
        self.task("POST", &format!("/nodes/pve1/qemu/{vmid}/template"), &[]).await;
    }

    /// Destroys a VM, even if it runs or is protected.
    pub(crate) async fn destroy_vm(&self, vmid: u64) {
        let path = format!("/nodes/pve1/qemu/{vmid}");
        if self.call("GET", &format!("{path}/status/current"), &[]).await["status"] == "running" {
            self.task("POST", &format!("{path}/status/stop"), &[]).await;
        }
        self.call("PUT", &format!("{path}/config"), &[("protection", "0")]).await;
        self.task("DELETE", &path, &[]).await;
    }

    /// Removes a privilege from a role.
    pub(crate) async fn revoke(&self, role: &str, privilege: &str) {
        let held = self.call("GET", &format!("/access/roles/{role}"), &[]).await;
        let held = held.as_object().expect("privileges").keys().filter(|name| *name != privilege);
        let left: Vec<&str> = held.map(String::as_str).collect();
        self.call("PUT", &format!("/access/roles/{role}"), &[("privs", &left.join(","))]).await;
    }
}
