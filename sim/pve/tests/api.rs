//! The simulated Proxmox VE, tested by an HTTP client.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sim_http::faults::{Rule, When};
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Fault, Handle, Latency, Options, Server, World};

const RUNNER: [&str; 14] = [
    "VM.Allocate",
    "VM.Audit",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Disk",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Config.HWType",
    "VM.PowerMgmt",
    "Datastore.AllocateSpace",
    "Datastore.Audit",
    "SDN.Use",
];

async fn start() -> (Handle, Scripted, Client) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = World::new("pve1")
        .storage("local", &["iso", "vztmpl"])
        .storage("disks", &["images", "rootdir"])
        .pool("ci")
        .role("Runner", &RUNNER)
        .user("ci@pve", "secret-1")
        .token("ci@pve", "t1", false)
        .token("ci@pve", "separated", true)
        .token("root@pam", "admin", false)
        .grant("/", "ci@pve", "Runner");
    let guests = Scripted::new(Boot::AtOnce);
    let options = Options { latency: Latency::Instant, ..Options::default() };
    let handle = Server::start(&world, Arc::new(guests.clone()), options).await.expect("a simulator");
    let client = Client::new(&handle, "ci@pve!t1");
    (handle, guests, client)
}

struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    fn new(handle: &Handle, id: &str) -> Self {
        let ca = reqwest::Certificate::from_pem(handle.ca_pem().as_bytes()).expect("a certificate");
        let http = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
        let token = format!("PVEAPIToken={id}={}", handle.token_secret(id).expect("a token"));
        Self { http, url: format!("{}/api2/json", handle.url()), token }
    }

    async fn call(&self, method: &str, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request =
            self.http.request(method.clone(), format!("{}{path}", self.url)).header("Authorization", &self.token);
        if method != reqwest::Method::GET && method != reqwest::Method::DELETE {
            request = request.form(form);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Runs a call and waits for the end of its task.
    async fn task(&self, method: &str, path: &str, form: &[(&str, &str)]) -> String {
        let (status, body) = self.call(method, path, form).await;
        assert_eq!(status, 200, "{body}");
        let upid = body["data"].as_str().expect("a UPID").to_owned();
        for _ in 0..2000 {
            let (_, status) = self.call("GET", &format!("/nodes/pve1/tasks/{upid}/status"), &[]).await;
            if status["data"]["status"] == "stopped" {
                return status["data"]["exitstatus"].as_str().unwrap_or_default().to_owned();
            }
        }
        panic!("task {upid} did not end");
    }
}

async fn template(client: &Client) {
    let form = [
        ("vmid", "9000"),
        ("name", "base"),
        ("scsi0", "disks:1,format=qcow2"),
        ("net0", "virtio,bridge=vmbr0"),
        ("agent", "1"),
    ];
    assert_eq!(client.task("POST", "/nodes/pve1/qemu", &form).await, "OK");
    assert_eq!(client.task("POST", "/nodes/pve1/qemu/9000/template", &[]).await, "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_created_used_and_removed_completely() {
    let (mut handle, guests, client) = start().await;
    template(&client).await;
    handle.set_baseline();
    let description = "pxci:v1 {}";
    assert_eq!(
        client
            .task(
                "POST",
                "/nodes/pve1/qemu/9000/clone",
                &[("newid", "9100"), ("pool", "ci"), ("description", description)]
            )
            .await,
        "OK"
    );
    assert_eq!(client.task("POST", "/nodes/pve1/qemu/9100/status/start", &[]).await, "OK");
    assert_eq!(handle.description(9100).as_deref(), Some(description));
    assert_eq!(handle.leftovers(), ["qemu 9100", "volume disks:9000/base-9000-disk-0.qcow2/9100/vm-9100-disk-0.qcow2"]);
    guests.power_off(9100);
    for _ in 0..500 {
        if handle.running().is_empty() {
            break;
        }
        tokio::task::yield_now().await;
        client.call("GET", "/version", &[]).await;
    }
    assert_eq!(client.task("DELETE", "/nodes/pve1/qemu/9100", &[]).await, "OK");
    assert_eq!(handle.leftovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_clones_to_one_vmid_exactly_one_succeeds() {
    let (_handle, _guests, client) = start().await;
    template(&client).await;
    let calls = (0..6).map(|_| async {
        let (status, body) = client.call("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "9101")]).await;
        (status, body["data"].as_str().map(str::to_owned), body["message"].as_str().unwrap_or_default().to_owned())
    });
    let mut succeeded = 0;
    for (status, upid, message) in futures::future::join_all(calls).await {
        let Some(upid) = upid else {
            assert_eq!((status, message.trim()), (500, "unable to create VM 9101: config file already exists"));
            continue;
        };
        let mut exit = Value::Null;
        for _ in 0..2000 {
            let (_, body) = client.call("GET", &format!("/nodes/pve1/tasks/{upid}/status"), &[]).await;
            exit = body["data"]["exitstatus"].clone();
            if !exit.is_null() {
                break;
            }
        }
        match exit.as_str().unwrap_or_default() {
            "OK" => succeeded += 1,
            other => assert_eq!(other, "unable to create VM 9101: config file already exists"),
        }
    }
    assert_eq!(succeeded, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_separated_token_without_grants_has_no_privileges_although_its_user_has() {
    let (handle, _guests, client) = start().await;
    template(&client).await;
    let separated = Client::new(&handle, "ci@pve!separated");
    let (status, body) = separated.call("GET", "/nodes/pve1/qemu/9000/config", &[]).await;
    assert_eq!((status, body["message"].as_str()), (403, Some("Permission check failed (/vms/9000, VM.Audit)\n")));
    assert_eq!(separated.call("GET", "/access/permissions", &[]).await, (200, json!({ "data": {} })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_template_is_destroyed_only_after_protection_is_cleared_once() {
    let (_handle, _guests, client) = start().await;
    template(&client).await;
    let config = "/nodes/pve1/qemu/9000/config";
    assert_eq!(client.call("PUT", config, &[("protection", "1")]).await.0, 200);
    let (status, body) = client.call("DELETE", "/nodes/pve1/qemu/9000", &[]).await;
    assert_eq!((status, body["message"].as_str()), (500, Some("can't remove VM 9000 - protection mode enabled\n")));
    let (_, now) = client.call("GET", config, &[]).await;
    let digest = now["data"]["digest"].as_str().expect("a digest").to_owned();
    assert_eq!(client.call("PUT", config, &[("protection", "0"), ("digest", &digest)]).await.0, 200);
    let (status, body) = client.call("PUT", config, &[("protection", "0"), ("digest", &digest)]).await;
    assert_eq!((status, body["message"].as_str()), (500, Some("checksum mismatch (file change by other user?)\n")));
    assert_eq!(client.task("DELETE", "/nodes/pve1/qemu/9000", &[]).await, "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_fire_once_and_are_listed() {
    let (handle, _guests, client) = start().await;
    handle.inject("GET", "/version", Fault::Refuse { status: 500, text: "got timeout".to_owned() }, 1);
    assert_eq!(client.call("GET", "/version", &[]).await, (500, json!({ "data": null, "message": "got timeout\n" })));
    assert_eq!(client.call("GET", "/version", &[]).await.0, 200);
    handle.inject("GET", "/nodes/*/version", Fault::Delay(Duration::from_secs(5)), 1);
    client.call("GET", "/nodes/pve1/version", &[]).await;
    let last = handle.requests().entries().pop().expect("a request");
    assert_eq!((last.caller.as_str(), last.waited), ("ci@pve!t1", Duration::from_secs(5)));
    assert_eq!(handle.fired().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_can_be_lost_cut_or_ended_by_a_restart() {
    let (handle, _guests, client) = start().await;
    // One connection for each request: a pooled connection may end at the restart just as it is reused.
    let get = || async {
        let request = client.http.get(format!("{}/version", client.url)).header("Authorization", &client.token);
        request.header("Connection", "close").send().await?.bytes().await
    };
    let whole = get().await.expect("an answer");
    for fault in [Fault::DropRequest, Fault::DropReply, Fault::Cut { after: whole.len() / 2 }, Fault::Restart] {
        handle.inject("GET", "/version", fault.clone(), 1);
        get().await.expect_err(&format!("{fault:?} loses the answer"));
        assert_eq!(get().await.expect("the next is answered"), whole);
    }
    let rule = Rule { method: "GET".into(), path: "*".into(), fault: Fault::DropReply, when: When::Chance(1.0) };
    handle.faults().add(rule);
    get().await.expect_err("certain to be lost");
    handle.faults().clear();
    get().await.expect("no rules are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_image_is_passed_to_a_starting_guest() {
    let (handle, _guests, client) = start().await;
    let admin = Client::new(&handle, "root@pam!admin");
    let part = reqwest::multipart::Part::bytes(vec![7_u8; 4096]).file_name("seed.iso");
    let form = reqwest::multipart::Form::new().text("content", "iso").part("filename", part);
    let url = format!("{}/nodes/pve1/storage/local/upload", admin.url);
    let answer =
        admin.http.post(url).header("Authorization", &admin.token).multipart(form).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    template(&client).await;
    assert_eq!(client.task("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "9102")]).await, "OK");
    assert_eq!(
        client.call("PUT", "/nodes/pve1/qemu/9102/config", &[("ide2", "local:iso/seed.iso,media=cdrom")]).await.0,
        200
    );
    let (_, config) = client.call("GET", "/nodes/pve1/qemu/9102/config", &[]).await;
    assert_eq!(config["data"]["ide2"], "local:iso/seed.iso,media=cdrom,size=4K");
    assert_eq!(config["data"]["boot"], "order=scsi0;net0;ide2");
    assert_eq!(client.task("POST", "/nodes/pve1/qemu/9102/status/start", &[]).await, "OK");
    assert_eq!(client.task("POST", "/nodes/pve1/qemu/9102/status/shutdown", &[]).await, "OK");
}

#[tokio::test]
async fn a_call_that_is_not_simulated_says_so_with_its_whole_path() {
    let (handle, _, _) = start().await;
    let client = Client::new(&handle, "root@pam!admin");
    let (status, body) = client.call("GET", "/cluster/sdn/vnets", &[]).await;
    assert_eq!((status, &body["message"]), (500, &json!("not simulated: GET /cluster/sdn/vnets\n")));
    let rrd = [("timeframe", "hour"), ("ds", "cpu")];
    let refused = handle.call("root@pam", "GET", "/nodes/pve1/qemu/100/rrd", &rrd).await.unwrap_err();
    assert_eq!(refused.reason, "not simulated: GET /nodes/{node}/qemu/{vmid}/rrd");
}
