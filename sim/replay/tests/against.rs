//! The comparison with a foreign server. Here it is another simulator, over TLS with a CA of its own.

use std::sync::Arc;

use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Handle, Latency, Options, Server, World};
use sim_replay::{ForeignServer, against};

const STEPS: &str = r#"
{"scenario": "reads", "step": 1, "as": "root@pam!lab", "method": "GET", "path": "/version", "encoding": "query", "status": 200, "reason": "OK", "body": {"data": {"release": "1.0", "repoid": "x", "version": "1.0.0"}}}
{"scenario": "reads", "step": 2, "as": "root@pam!lab", "method": "GET", "path": "/nodes", "encoding": "query", "status": 200, "reason": "OK", "body": {"data": [{"node": "other", "uptime": "${n:uptime}", "type": "node"}]}}
{"scenario": "reads", "step": 3, "as": "root@pam!lab", "method": "GET", "path": "/nodes/pve1/qemu/7777/config", "encoding": "query", "status": 500, "reason": "Configuration file 'nodes/pve1/qemu-server/7777.conf' does not exist", "body": {"data": null, "message": "x"}}
{"scenario": "reads", "step": 4, "as": "other@pve!t", "method": "GET", "path": "/version", "encoding": "query", "status": 200, "reason": "OK", "body": {}}
{"scenario": "wrong", "step": 1, "as": "root@pam!lab", "method": "GET", "path": "/version", "encoding": "query", "status": 200, "reason": "OK", "body": {"data": {"release": 9}}}
{"scenario": "writes", "step": 1, "as": "root@pam!lab", "method": "POST", "path": "/nodes/pve1/qemu", "encoding": "form", "params": {"vmid": 7100, "scsi0": "disks:1"}, "status": 200, "reason": "OK", "body": {"data": "${upid1}"}, "task": {"type": "qmcreate", "id": "7100", "user": "root@pam!lab", "status": "stopped", "exitstatus": "OK", "log": []}}
{"scenario": "writes", "step": 2, "as": "root@pam!lab", "method": "GET", "path": "/nodes/pve1/tasks/${upid1}/status", "encoding": "query", "status": 200, "reason": "OK", "body": {"data": {"exitstatus": "OK", "pid": "${n:pid1}"}}}
"#;

async fn start() -> Handle {
    let world = World::new("pve1").storage("disks", &["images"]).token("root@pam", "compare", false);
    let options = Options { latency: Latency::Instant, ..Options::default() };
    Server::start(&world, Arc::new(Scripted::new(Boot::AtOnce)), options).await.expect("a simulator")
}

fn server(handle: &Handle, ca_pem: &str, writes: bool) -> ForeignServer {
    let secret = handle.token_secret("root@pam!compare").expect("a token");
    ForeignServer::new(&handle.url(), "root@pam!compare", &secret, Some(ca_pem.to_owned()), writes)
}

#[tokio::test(flavor = "multi_thread")]
async fn shapes_are_compared_and_only_reading_steps_are_sent() {
    let handle = start().await;
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("own.jsonl"), STEPS).expect("a recording");
    let report = against(directory.path(), &server(&handle, handle.ca_pem(), false)).await.expect("a comparison");
    let text = report.to_string();
    assert!(!report.is_conformant());
    assert!(text.contains("own reads: 3 of 3 equal, 0 accepted, 0 different, 1 left out"), "{text}");
    assert!(text.contains("data.release: string instead of number"), "{text}");
    assert!(text.contains("own writes: 0 of 0 equal, 0 accepted, 0 different, 2 left out"), "{text}");
    assert!(handle.guests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_writing_is_allowed_tasks_are_waited_for() {
    let handle = start().await;
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("own.jsonl"), STEPS).expect("a recording");
    let text =
        against(directory.path(), &server(&handle, handle.ca_pem(), true)).await.expect("a comparison").to_string();
    assert!(text.contains("own writes: 2 of 2 equal, 0 accepted, 0 different, 0 left out"), "{text}");
    assert_eq!(handle.guests(), [7100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_authority_is_not_talked_to() {
    let (handle, other) = (start().await, start().await);
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("own.jsonl"), STEPS).expect("a recording");
    assert!(against(directory.path(), &server(&handle, other.ca_pem(), false)).await.is_err());
    assert!(handle.requests().entries().is_empty());
}
