//! Lists of a cluster with a hundred nodes and ten thousand VMs are complete, and limited to what the caller may see.

use serde_json::Value;
use sim_pve::{POOLS, World};

use super::simulated_cluster::{ADMIN, Client, SimulatedCluster};

const NODES: usize = 100;
const VMS: usize = 10_000;

async fn count(client: &Client<'_>, path: &str, params: &[(&str, &str)]) -> usize {
    let answer = client.call("GET", path, params).await;
    answer.data().as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lists_of_a_large_cluster_are_complete() {
    let cluster = SimulatedCluster::start(&World::scale(100, 10_000)).await;
    let admin = cluster.client(ADMIN);
    assert_eq!(count(&admin, "/nodes", &[]).await, NODES);
    assert_eq!(count(&admin, "/cluster/status", &[]).await, NODES + 1);
    let resources = admin.get("/cluster/resources").await;
    let rows = resources.data().as_array().expect("rows");
    let of = |kind: &str| rows.iter().filter(|row| row["type"] == kind).count();
    assert_eq!((of("qemu"), of("node"), of("pool")), (VMS, NODES, POOLS as usize));
    assert_eq!((of("storage"), of("network")), (3 * NODES, NODES));
    let vm = rows.iter().find(|row| row["vmid"] == 1042).expect("a row");
    let shown = ["node", "pool", "name", "maxmem", "maxdisk", "status", "tags"].map(|key| vm[key].clone());
    let wanted: [Value; 7] = [
        "pve043".into(),
        "pool-2".into(),
        "vm-1042".into(),
        (2_u64 << 30).into(),
        (8_u64 << 30).into(),
        "stopped".into(),
        "runner;scale".into(),
    ];
    assert_eq!(shown, wanted);
    assert_eq!(count(&admin, "/nodes/pve043/qemu", &[]).await, VMS / NODES);
    assert_eq!(count(&admin, "/nodes/pve043/storage/rbd/content", &[]).await, VMS / 2);
    assert_eq!(count(&admin, "/nodes/pve043/storage/thin/content", &[]).await, VMS / NODES);
    assert_eq!(admin.get("/cluster/nextid").await.data(), "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_of_one_pool_sees_only_that_pool_of_a_large_cluster() {
    let cluster = SimulatedCluster::start(&World::scale(100, 10_000)).await;
    let viewer = cluster.client("viewer@pve!t");
    let seen = VMS / POOLS as usize;
    assert_eq!(count(&viewer, "/cluster/resources", &[("type", "vm")]).await, seen);
    let all = viewer.get("/cluster/resources").await;
    let rows = all.data().as_array().expect("rows");
    // All callers see all nodes, without figures.
    assert_eq!(rows.len(), seen + NODES + 1);
    assert!(rows.iter().filter(|row| row["type"] == "node").all(|row| row["maxcpu"].is_null()));
    // VM 1003 + 10·n is on node (3 + 10·n) mod 100: ten nodes have VMs of this pool, a hundred each.
    assert_eq!(count(&viewer, "/nodes/pve004/qemu", &[]).await, VMS / NODES);
    assert_eq!(count(&viewer, "/nodes/pve005/qemu", &[]).await, 0);
    assert_eq!(count(&viewer, "/cluster/tasks", &[]).await, 0);
}
