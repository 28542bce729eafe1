//! Several nodes: calls that each node answers for itself, and state that all share.

use serde_json::{Value, json};
use sim_pve::World;

use super::simulated_cluster::{ADMIN, SimulatedCluster, world};

fn names(rows: &Value, key: &str) -> Vec<String> {
    let mut names: Vec<String> =
        rows.as_array().expect("rows").iter().filter_map(|row| row[key].as_str()).map(str::to_owned).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listed_with_their_cluster() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    assert_eq!(names(client.get("/nodes").await.data(), "node"), ["pve1", "pve2", "pve3"]);
    let status = client.get("/cluster/status").await;
    let rows = status.data().as_array().expect("rows");
    assert_eq!(
        rows[0],
        json!({ "id": "cluster", "name": "cluster", "nodes": 3, "quorate": 1, "type": "cluster", "version": 3 })
    );
    let locals: Vec<&Value> = rows.iter().filter(|row| row["local"] == 1).map(|row| &row["name"]).collect();
    assert_eq!(locals, ["pve1"]);
    // The server of another node answers the same call for that node.
    let url = cluster.handle.serve_node("pve2").await.expect("a server");
    let there = cluster.client_at(&url, ADMIN).get("/cluster/status").await;
    let locals: Vec<&Value> =
        there.data().as_array().expect("rows").iter().filter(|row| row["local"] == 1).map(|row| &row["name"]).collect();
    assert_eq!(locals, ["pve2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_has_no_cluster() {
    let cluster = SimulatedCluster::start(&World::new("pve1").token("root@pam", "admin", false)).await;
    let status = cluster.client(ADMIN).get("/cluster/status").await;
    let rows = status.data().as_array().expect("rows");
    assert_eq!((rows.len(), &rows[0]["nodeid"], &rows[0]["type"]), (1, &json!(0), &json!("node")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_has_one_node_and_its_number_is_taken_on_all() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.vm("pve2", "100", "thin").await;
    assert_eq!(cluster.handle.node_of(100).as_deref(), Some("pve2"));
    let missing = client.get("/nodes/pve1/qemu/100/config").await;
    let text = "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist";
    assert_eq!(missing.refusal(), (500, text));
    let taken = client.call("POST", "/nodes/pve3/qemu", &[("vmid", "100")]).await;
    assert_eq!(taken.refusal(), (500, "unable to create VM 100 - VM 100 already exists on node 'pve2'"));
    assert_eq!(client.get("/cluster/nextid").await.data(), "101");
    assert_eq!(client.get("/nodes/pve1/qemu").await.data(), &json!([]));
    assert_eq!(client.get("/nodes/pve2/qemu").await.data()[0]["vmid"], 100);
    let upid = client.call("POST", "/nodes/pve2/qemu/100/status/start", &[]).await.data().clone();
    let upid = upid.as_str().expect("a task");
    assert!(upid.starts_with("UPID:pve2:"), "{upid}");
    cluster.handle.task_end(upid).await;
    // Each node lists its own tasks; the cluster lists all.
    assert_eq!(client.get(&format!("/nodes/pve2/tasks/{upid}/status")).await.data()["exitstatus"], "OK");
    assert_eq!(client.get(&format!("/nodes/pve1/tasks/{upid}/status")).await.body["errors"]["upid"], "no such task");
    assert_eq!(client.get("/nodes/pve1/tasks").await.data(), &json!([]));
    assert_eq!(names(client.get("/cluster/tasks").await.data(), "type"), ["qmcreate", "qmstart"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_node_has_no_address() {
    let cluster = SimulatedCluster::start(&world()).await;
    let answer = cluster.client(ADMIN).get("/nodes/pve9/qemu").await;
    assert_eq!(answer.status, 500);
    assert!(answer.refusal().1.starts_with("hostname lookup 'pve9' failed - "), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_goes_to_another_node_only_where_all_its_volumes_are_shared() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.template("pve1", "9000", "rbd").await;
    client.template("pve1", "9001", "thin").await;
    let clone = |vmid: &'static str, params: Vec<(&'static str, &'static str)>| {
        let client = &client;
        async move { client.call("POST", &format!("/nodes/pve1/qemu/{vmid}/clone"), &params).await }
    };
    client.done("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "200"), ("target", "pve2")]).await;
    assert_eq!(cluster.handle.node_of(200).as_deref(), Some("pve2"));
    assert_eq!(client.option("pve2", "200", "scsi0").await, "rbd:base-9000-disk-0/vm-200-disk-0,size=1G");
    let local = clone("9001", vec![("newid", "201"), ("target", "pve2")]).await;
    assert_eq!(local.refusal(), (500, "can't clone VM to node 'pve2' (VM uses local storage)"));
    let to_local = clone("9000", vec![("newid", "201"), ("target", "pve2"), ("storage", "thin"), ("full", "1")]).await;
    assert_eq!(to_local.refusal(), (500, "can't clone to non-shared storage 'thin'"));
    let nowhere = clone("9000", vec![("newid", "201"), ("target", "pve9")]).await;
    assert_eq!(nowhere.refusal(), (500, "no such cluster node 'pve9'"));
    // A CD-ROM image on local storage counts as local.
    client.done("POST", "/nodes/pve1/qemu", &[("vmid", "202"), ("ide2", "thin:cloudinit"), ("scsi0", "rbd:1")]).await;
    let cdrom = clone("202", vec![("newid", "203"), ("target", "pve2")]).await;
    assert_eq!(cdrom.refusal(), (500, "can't clone VM to node 'pve2' (VM uses local storage)"));
    // A clone may name its own node as the target.
    client.done("POST", "/nodes/pve1/qemu/9001/clone", &[("newid", "204"), ("target", "pve1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vmid_taken_on_another_node_fails_the_clone_s_task() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.template("pve1", "9000", "rbd").await;
    client.vm("pve2", "300", "rbd").await;
    let (end, _) = client.task("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "300")]).await;
    assert_eq!(end, "close (rename) atomic file '/etc/pve/nodes/pve1/qemu-server/300.conf' failed: File exists");
    assert_eq!(cluster.handle.node_of(300).as_deref(), Some("pve2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_name_on_two_local_storages_is_two_volumes() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    assert_eq!(client.upload("/nodes/pve1/storage/local/upload", "one.iso", 4096).await.status, 200);
    cluster.handle.pass(std::time::Duration::from_secs(1)).await;
    let content = |node: &'static str| {
        let client = &client;
        async move { names(client.get(&format!("/nodes/{node}/storage/local/content")).await.data(), "volid") }
    };
    assert_eq!(content("pve1").await, ["local:iso/one.iso"]);
    assert_eq!(content("pve2").await, Vec::<String>::new());
    client.vm("pve1", "100", "nfs").await;
    assert_eq!(
        names(client.get("/nodes/pve3/storage/nfs/content").await.data(), "volid"),
        ["nfs:100/vm-100-disk-0.raw"]
    );
    // An attached volume must be on the VM's node.
    client.vm("pve2", "101", "thin").await;
    let missing = client.call("PUT", "/nodes/pve2/qemu/101/config", &[("ide2", "local:iso/one.iso,media=cdrom")]).await;
    assert_eq!(missing.refusal(), (500, "volume 'local:iso/one.iso' does not exist"));
}
