//! Snapshots: taking, listing, rolling back, cloning, deleting.

use serde_json::{Value, json};

use super::simulated_cluster::{ADMIN, Client, SimulatedCluster, world};

const SNAPSHOTS: &str = "/nodes/pve1/qemu/100/snapshot";

/// Returns the names with their parents, in order.
async fn tree(client: &Client<'_>) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let answer = client.get(SNAPSHOTS).await;
    let mut rows: Vec<(String, String)> =
        answer.data().as_array().expect("rows").iter().map(|row| (text(&row["name"]), text(&row["parent"]))).collect();
    rows.sort();
    rows
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(name, parent)| ((*name).to_owned(), (*parent).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_restores_the_guest() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.vm("pve1", "100", "thin").await;
    let log = client.done("POST", SNAPSHOTS, &[("snapname", "one"), ("description", "first")]).await;
    assert_eq!(log, ["  Logical volume \"snap_vm-100-disk-0_one\" created.", "TASK OK"]);
    let config = "/nodes/pve1/qemu/100/config";
    assert_eq!(client.call("PUT", config, &[("name", "later"), ("scsi1", "thin:1")]).await.status, 200);
    client.done("POST", SNAPSHOTS, &[("snapname", "two")]).await;
    assert_eq!(tree(&client).await, pairs(&[("current", "two"), ("one", ""), ("two", "one")]));
    let used = client.task("POST", SNAPSHOTS, &[("snapname", "two")]).await;
    assert_eq!(used.0, "snapshot name 'two' already used");
    client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
    client.done("POST", &format!("{SNAPSHOTS}/one/rollback"), &[]).await;
    assert_eq!(cluster.handle.running(), Vec::<u32>::new());
    let now = client.get(config).await;
    // A disk that was added after the snapshot is kept as unused.
    assert_eq!((&now.data()["name"], &now.data()["scsi1"]), (&Value::Null, &Value::Null));
    assert_eq!((&now.data()["unused0"], &now.data()["parent"]), (&json!("thin:vm-100-disk-1"), &json!("one")));
    assert_eq!(client.get(&format!("{SNAPSHOTS}/one/config")).await.data()["description"], "first");
    assert_eq!(client.get(&format!("{config}?snapshot=two")).await.data()["name"], "later");
    let no_template = client.call("POST", "/nodes/pve1/qemu/100/template", &[]).await;
    assert_eq!(no_template.refusal(), (500, "unable to create template, because VM contains snapshots"));
    client.done("DELETE", &format!("{SNAPSHOTS}/one"), &[]).await;
    assert_eq!(tree(&client).await, pairs(&[("current", ""), ("two", "")]));
    let gone = client.task("DELETE", &format!("{SNAPSHOTS}/one"), &[]).await;
    assert_eq!(gone.0, "snapshot 'one' does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_need_privileges_of_their_own() {
    let role = world().user("ci@pve", "secret-1").token("ci@pve", "t", false).role("Auditor", &["VM.Audit"]);
    let cluster = SimulatedCluster::start(&role.grant("/vms", "ci@pve", "Auditor")).await;
    cluster.client(ADMIN).vm("pve1", "100", "thin").await;
    let client = cluster.client("ci@pve!t");
    let refused = client.call("POST", SNAPSHOTS, &[("snapname", "one")]).await;
    assert_eq!(refused.refusal(), (403, "Permission check failed (/vms/100, VM.Snapshot)"));
    assert_eq!(client.get(SNAPSHOTS).await.data().as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn features_of_snapshots_depend_on_the_storage() {
    // For each storage: if a snapshot is possible, and the errors of a linked and a full clone of it.
    let no_linked =
        |volume: &str| format!("Linked clone feature is not supported for a snapshot of '{volume}' (scsi0)");
    let no_full = |volume: &str| format!("Full clone feature is not supported for a snapshot of '{volume}' (scsi0)");
    let cases = [
        ("thin:1", true, String::new(), String::new()),
        ("rbd:1", true, String::new(), String::new()),
        ("zfs:1", true, no_linked("zfs:vm-100-disk-0"), no_full("zfs:vm-100-disk-0")),
        ("dir:1,format=qcow2", true, no_linked("dir:100/vm-100-disk-0.qcow2"), String::new()),
        ("dir:1,format=raw", false, String::new(), String::new()),
        ("lvm:1", false, String::new(), String::new()),
    ];
    for (disk, can, linked, full) in cases {
        let cluster = SimulatedCluster::start(&world()).await;
        let client = cluster.client(ADMIN);
        client.done("POST", "/nodes/pve1/qemu", &[("vmid", "100"), ("scsi0", disk)]).await;
        let feature = client.call("GET", "/nodes/pve1/qemu/100/feature", &[("feature", "snapshot")]).await;
        assert_eq!(feature.data()["hasFeature"], u8::from(can), "{disk}");
        let (end, _) = client.task("POST", SNAPSHOTS, &[("snapname", "one")]).await;
        assert_eq!(end, if can { "OK" } else { "snapshot feature is not available" }, "{disk}");
        if !can {
            continue;
        }
        for (newid, way, refusal) in [("101", "0", linked), ("102", "1", full)] {
            let params = [("newid", newid), ("snapname", "one"), ("full", way)];
            let answer = client.call("POST", "/nodes/pve1/qemu/100/clone", &params).await;
            if !refusal.is_empty() {
                assert_eq!(answer.refusal(), (500, refusal.as_str()));
                continue;
            }
            let upid = answer.data().as_str().expect("a task").to_owned();
            assert_eq!(cluster.handle.task_end(&upid).await.expect("an end").0, "OK", "{disk} {way}");
            let made = client.option("pve1", newid, "scsi0").await;
            assert!(made.contains(&format!("vm-{newid}-disk-0")) && !made.contains("vm-100"), "{made}");
        }
        let missing = client.call("POST", "/nodes/pve1/qemu/100/clone", &[("newid", "103"), ("snapname", "no")]).await;
        assert_eq!(missing.refusal(), (500, "snapshot 'no' does not exist"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zfs_rolls_back_to_the_newest_snapshot_only() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.vm("pve1", "100", "zfs").await;
    client.done("POST", SNAPSHOTS, &[("snapname", "one")]).await;
    client.done("POST", SNAPSHOTS, &[("snapname", "two")]).await;
    let (end, _) = client.task("POST", &format!("{SNAPSHOTS}/one/rollback"), &[]).await;
    assert_eq!(end, "can't rollback, 'one' is not most recent snapshot on 'zfs:vm-100-disk-0'");
    client.done("POST", &format!("{SNAPSHOTS}/two/rollback"), &[]).await;
}
