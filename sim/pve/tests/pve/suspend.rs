//! Suspending VMs to disk.

use serde_json::{Value, json};

use super::simulated_cluster::{ADMIN, Client, SimulatedCluster, world};

async fn running(client: &Client<'_>) {
    let vm = [("vmid", "100"), ("agent", "1"), ("memory", "1024"), ("scsi0", "thin:1")];
    client.done("POST", "/nodes/pve1/qemu", &vm).await;
    client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
}

async fn suspend(client: &Client<'_>) -> Vec<String> {
    client.done("POST", "/nodes/pve1/qemu/100/status/suspend", &[("todisk", "1")]).await
}

async fn status(client: &Client<'_>) -> (Value, Value) {
    let status = client.get("/nodes/pve1/qemu/100/status/current").await;
    (status.data()["status"].clone(), status.data()["lock"].clone())
}

async fn states(client: &Client<'_>, storage: &str) -> Vec<(String, u64)> {
    let content = client.get(&format!("/nodes/pve1/storage/{storage}/content")).await;
    let rows = content.data().as_array().expect("rows").iter();
    let all = rows.map(|row| (row["volid"].as_str().unwrap_or_default().to_owned(), row["size"].as_u64().unwrap_or(0)));
    all.filter(|(volid, _)| volid.contains("-state-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_vm_is_off_and_locked_and_continues_with_its_memory() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    running(&client).await;
    let write = "/nodes/pve1/qemu/100/agent/file-write";
    while client.call("POST", write, &[("file", "/run/x"), ("content", "kept")]).await.status != 200 {}
    let answer = client.call("POST", "/nodes/pve1/qemu/100/status/suspend", &[("todisk", "1")]).await;
    let upid = answer.data().as_str().expect("a task").to_owned();
    assert!(upid.contains(":qmsuspend:100:"), "{upid}");
    let (end, log) = cluster.handle.task_end(&upid).await.expect("an end");
    assert_eq!(end, "OK", "{log:?}");
    assert!(log.contains(&"State saved, quitting".to_owned()), "{log:?}");
    assert_eq!(status(&client).await, (json!("stopped"), json!("suspended")));
    // 2026-11-21 is the start of virtual time.
    let state = "thin:vm-100-state-suspend-2026-11-21";
    assert_eq!(client.option("pve1", "100", "vmstate").await, state);
    assert_eq!(states(&client, "thin").await, [(state.to_owned(), (2 * 1024 + 500) << 20)]);
    let change = client.call("PUT", "/nodes/pve1/qemu/100/config", &[("name", "x")]).await;
    assert_eq!(change.refusal(), (500, "VM is locked (suspended)"));
    let log = client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
    let said =
        ["Resuming suspended VM", &format!("activating and using '{state}' as vmstate"), "Resumed VM, removing state"];
    assert_eq!(log.iter().filter(|line| said.contains(&line.as_str())).count(), 3, "{log:?}");
    assert_eq!(status(&client).await, (json!("running"), Value::Null));
    assert_eq!(client.option("pve1", "100", "vmstate").await, "");
    assert_eq!(states(&client, "thin").await, []);
    let read = "/nodes/pve1/qemu/100/agent/file-read";
    let content = loop {
        let answer = client.call("GET", read, &[("file", "/run/x")]).await;
        if answer.refusal().1 != "QEMU guest agent is not running" {
            break answer.data()["content"].clone();
        }
    };
    assert_eq!(content, "kept", "its memory was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_vm_can_be_resumed_destroyed_or_cleared() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    running(&client).await;
    suspend(&client).await;
    client.done("POST", "/nodes/pve1/qemu/100/status/resume", &[]).await;
    assert_eq!(status(&client).await, (json!("running"), Value::Null));
    suspend(&client).await;
    let forget = client.call("PUT", "/nodes/pve1/qemu/100/config", &[("delete", "vmstate")]).await;
    assert_eq!(forget.status, 200, "{forget:?}");
    assert_eq!(status(&client).await, (json!("stopped"), Value::Null));
    assert_eq!(states(&client, "thin").await, []);
    client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
    suspend(&client).await;
    client.done("DELETE", "/nodes/pve1/qemu/100", &[]).await;
    assert_eq!(states(&client, "thin").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_prefers_shared_storage_and_needs_privileges() {
    let world = world()
        .role("Power", &["VM.PowerMgmt", "VM.Audit"])
        .role("Disk", &["VM.Config.Disk"])
        .role("Space", &["Datastore.AllocateSpace"])
        .user("ci@pve", "secret-1")
        .token("ci@pve", "t1", false);
    for (grants, refused) in [
        (&[("/vms/100", "Power")][..], "Permission check failed (/vms/100, VM.Config.Disk)"),
        (&[("/vms/100", "Power"), ("/vms", "Disk")], "Permission check failed (/storage/nfs, Datastore.AllocateSpace)"),
    ] {
        let world = grants.iter().fold(world.clone(), |world, (path, role)| world.grant(path, "ci@pve", role));
        let world = if grants.len() == 2 { world.grant("/vms/100", "ci@pve", "Disk") } else { world };
        let cluster = SimulatedCluster::start(&world).await;
        let client = cluster.client(ADMIN);
        running(&client).await;
        assert_eq!(client.call("PUT", "/nodes/pve1/qemu/100/config", &[("scsi1", "nfs:1")]).await.status, 200);
        let path = "/nodes/pve1/qemu/100/status/suspend";
        let denied = cluster.client("ci@pve!t1").call("POST", path, &[("todisk", "1")]).await;
        assert_eq!(denied.refusal(), (403, refused));
        suspend(&client).await;
        let state = "nfs:100/vm-100-state-suspend-2026-11-21.raw";
        assert_eq!(client.option("pve1", "100", "vmstate").await, state);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_todisk_a_vm_is_only_paused() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    running(&client).await;
    client.done("POST", "/nodes/pve1/qemu/100/status/suspend", &[]).await;
    let paused = client.get("/nodes/pve1/qemu/100/status/current").await;
    assert_eq!((&paused.data()["status"], &paused.data()["qmpstatus"]), (&json!("running"), &json!("paused")));
}
