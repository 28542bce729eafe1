//! A node whose power is cut, and which boots again.

use std::time::Duration;

use serde_json::{Value, json};

use super::simulated_cluster::{ADMIN, Client, SimulatedCluster, world};

async fn row(client: &Client<'_>, id: &str) -> Value {
    let answer = client.get("/cluster/resources").await;
    let rows = answer.data().as_array().expect("rows");
    rows.iter().find(|row| row["id"] == id).cloned().unwrap_or(Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_a_node_without_power_fail_after_three_seconds() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    assert!(cluster.handle.node_away("pve2").await);
    assert!(!cluster.handle.node_away("pve2").await, "it is away already");
    let answer = client.get("/nodes/pve2/qemu").await;
    assert_eq!((answer.status, answer.reason.as_str(), &answer.body), (595, "No route to host", &Value::Null));
    let asked = cluster.handle.requests().entries().pop().expect("a request");
    assert_eq!(asked.waited, Duration::from_secs(3));
    // Permissions are checked before the call is forwarded to the other node.
    assert_eq!(client.get("/nodes/pve3/version").await.status, 200);
    let nodes = client.get("/nodes").await;
    let shown = |name: &str| {
        let found = nodes.data().as_array().expect("rows").iter().find(|row| row["node"] == name).expect("a row");
        (found["status"].clone(), found["uptime"].is_null(), found["maxcpu"].is_null())
    };
    assert_eq!(shown("pve1"), (json!("online"), false, false));
    assert_eq!(shown("pve2"), (json!("offline"), true, false));
    let status = client.get("/cluster/status").await;
    let rows = status.data().as_array().expect("rows");
    assert_eq!(rows[0]["quorate"], 1);
    assert_eq!(rows.iter().find(|row| row["name"] == "pve2").expect("a row")["online"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_keep_figures_of_guests_for_five_minutes_without_their_node() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.vm("pve2", "100", "rbd").await;
    client.done("POST", "/nodes/pve2/qemu/100/status/start", &[]).await;
    cluster.handle.statistics_round();
    cluster.handle.node_away("pve2").await;
    cluster.handle.statistics_round();
    assert_eq!(row(&client, "qemu/100").await["status"], "running");
    assert_eq!(row(&client, "storage/pve2/rbd").await["status"], "available");
    cluster.handle.pass(Duration::from_secs(301)).await;
    let guest = row(&client, "qemu/100").await;
    assert_eq!(guest, json!({ "id": "qemu/100", "node": "pve2", "status": "unknown", "type": "qemu", "vmid": 100 }));
    assert_eq!(row(&client, "storage/pve2/rbd").await["status"], "unknown");
    assert_eq!(row(&client, "node/pve2").await["status"], "offline");
    assert_eq!(row(&client, "storage/pve1/rbd").await["status"], "available");
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_and_tasks_end_with_their_node_and_only_onboot_ones_return() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    for vmid in ["100", "101"] {
        client.vm("pve2", vmid, "thin").await;
        client.done("POST", &format!("/nodes/pve2/qemu/{vmid}/status/start"), &[]).await;
    }
    assert_eq!(client.call("PUT", "/nodes/pve2/qemu/101/config", &[("onboot", "1")]).await.status, 200);
    client.vm("pve2", "102", "thin").await;
    cluster.handle.fill_volume("thin:vm-102-disk-0", 900 << 20);
    let slow = [("newid", "103"), ("full", "1"), ("bwlimit", "10240")];
    let upid = client.call("POST", "/nodes/pve2/qemu/102/clone", &slow).await.data().clone();
    let upid = upid.as_str().expect("a task").to_owned();
    cluster.handle.pass(Duration::from_secs(2)).await;
    cluster.handle.node_away("pve2").await;
    assert_eq!(cluster.handle.running(), Vec::<u32>::new());
    assert!(cluster.handle.node_back("pve2"));
    assert!(!cluster.handle.node_back("pve2"), "it is back already");
    let task = client.get(&format!("/nodes/pve2/tasks/{upid}/status")).await;
    assert_eq!(task.data()["exitstatus"], "unexpected status");
    // The incomplete clone was not cleaned up.
    let half = client.get("/nodes/pve2/qemu/103/config").await;
    assert_eq!(half.data()["lock"], "clone");
    cluster.handle.pass(Duration::from_secs(5)).await;
    assert_eq!(cluster.handle.running(), [101]);
    let tasks = client.call("GET", "/nodes/pve2/tasks", &[("typefilter", "startall")]).await;
    assert_eq!((&tasks.data()[0]["user"], &tasks.data()[0]["status"]), (&json!("root@pam"), &json!("OK")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_starts() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.template("pve1", "9000", "rbd").await;
    client.vm("pve1", "100", "rbd").await;
    cluster.handle.node_away("pve2").await;
    client.done("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "101")]).await;
    cluster.handle.node_away("pve3").await;
    let no = (500, "cluster not ready - no quorum?");
    let refused = |method: &'static str, path: &'static str, params: Vec<(&'static str, &'static str)>| {
        let client = &client;
        async move { client.call(method, path, &params).await }
    };
    assert_eq!(refused("POST", "/nodes/pve1/qemu/9000/clone", vec![("newid", "102")]).await.refusal(), no);
    assert_eq!(refused("POST", "/nodes/pve1/qemu", vec![("vmid", "102")]).await.refusal(), no);
    assert_eq!(refused("POST", "/nodes/pve1/qemu/100/status/start", vec![]).await.refusal(), no);
    let config = refused("PUT", "/nodes/pve1/qemu/100/config", vec![("name", "x")]).await;
    let text = config.refusal().1.to_owned();
    assert!(text.starts_with("unable to open file '/etc/pve/nodes/pve1/qemu-server/100.conf.tmp."), "{text}");
    assert!(text.ends_with("' - Permission denied"), "{text}");
    let user = refused("POST", "/access/users", vec![("userid", "x@pve")]).await;
    assert_eq!(user.refusal(), (500, "create user failed: cfs-lock 'file-user_cfg' error: no quorum!"));
    assert_eq!(client.get("/cluster/status").await.data()[0]["quorate"], 0);
    assert_eq!(client.get("/nodes/pve1/qemu/100/config").await.status, 200);
    cluster.handle.node_back("pve3");
    client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_of_a_node_without_power_does_not_answer() {
    let cluster = SimulatedCluster::start(&world()).await;
    let url = cluster.handle.serve_node("pve2").await.expect("a server");
    let there = cluster.client_at(&url, ADMIN);
    assert_eq!(there.get("/version").await.status, 200);
    cluster.handle.node_away("pve2").await;
    assert!(there.try_get("/version").await.is_err());
    cluster.handle.node_back("pve2");
    assert_eq!(there.get("/version").await.status, 200);
}
