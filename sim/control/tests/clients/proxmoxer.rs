//! `proxmoxer`, with tokens and with tickets.

use std::sync::Arc;

use serde_json::json;
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Latency, Options, Server, World};
use tokio::process::Command;

use super::{installed, report};

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
    "Pool.Audit",
];

#[tokio::test(flavor = "multi_thread")]
async fn proxmoxer_creates_uses_and_removes_a_guest() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = World::new("pve1")
        .storage("local", &["iso"])
        .storage("disks", &["images"])
        .pool("ci")
        .role("Runner", &RUNNER)
        .user("ci@pve", "secret-1")
        .token("ci@pve", "t1", false)
        .token("root@pam", "admin", false)
        .grant("/", "ci@pve", "Runner");
    let guests = Arc::new(Scripted::new(Boot::AtOnce));
    let options = Options { latency: Latency::Instant, ..Options::default() };
    let pve = Server::start(&world, guests, options).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (authority, script) = (directory.path().join("authority.pem"), directory.path().join("life.py"));
    std::fs::write(&authority, pve.ca_pem()).unwrap();
    std::fs::write(&script, include_str!("proxmoxer_life.py")).unwrap();
    let port: u16 = pve.url().rsplit(':').next().unwrap().parse().unwrap();
    let given = json!({
        "port": port,
        "authority": authority,
        "secret": pve.token_secret("ci@pve!t1"),
        "admin": pve.token_secret("root@pam!admin"),
    });
    let found = report(Command::new(installed("PXCI_PYTHON_CLIENTS")).arg(script).arg(given.to_string())).await;
    assert_eq!(found["nodes"], json!(["pve1"]));
    for task in ["created", "converted", "cloned", "started", "stopped", "deleted", "uploaded", "ticket"] {
        assert_eq!(found[task], json!("OK"), "{task}");
    }
    assert_eq!(found["description"], json!("a b\n100%"));
    assert_eq!((&found["memory"], &found["status"]), (&json!("1024"), &json!("running")));
    assert_eq!(found["stale"]["status"], json!(500));
    assert!(found["stale"]["reason"].as_str().unwrap().contains("file change by other user"), "{}", found["stale"]);
    assert_eq!(found["running"]["reason"], json!("VM 9101 is running - destroy failed"));
    assert_eq!((&found["resources"], &found["content"]), (&json!([9000]), &json!([4096])));
    assert_eq!(found["invented"]["status"], json!(400));
    assert!(found["invented"]["errors"]["flavour"].is_string(), "{}", found["invented"]);
    assert!(found["wrong"]["errors"]["memory"].is_string(), "{}", found["wrong"]);
    assert_eq!(found["log"], json!(true));
    assert!(found["password"].as_str().unwrap().contains("Couldn't authenticate user"), "{}", found["password"]);
}
