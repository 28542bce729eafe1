//! Incomplete clones and guests, whose task was killed in the middle.

use serde_json::{Value, json};
use sim_http::faults::{Rule, When};
use sim_pve::{Fault, World};

use super::simulated_cluster::{ADMIN, Client, SimulatedCluster, world};

const TOKEN: &str = "ci@pve!farm";
const BASE: &str = "base volume 'dir:9000/base-9000-disk-0.raw' is still in use by linked cloned";

/// Returns a world whose token has all privileges on guests, but only through the resource pool.
fn farm() -> World {
    world()
        .pool("ci")
        .user("ci@pve", "secret-1")
        .token("ci@pve", "farm", false)
        .role("Guests", &["VM.Allocate", "VM.Audit", "VM.Clone", "VM.Config.Options", "Pool.Audit"])
        .role("Space", &["Datastore.AllocateSpace"])
        .grant("/pool/ci", "ci@pve", "Guests")
        .grant("/storage/dir", "ci@pve", "Space")
}

/// Makes a template in the pool.
async fn template(client: &Client<'_>) {
    client.template("pve1", "9000", "dir").await;
    assert_eq!(client.call("PUT", "/pools/ci", &[("vms", "9000")]).await.status, 200);
}

async fn volumes(client: &Client<'_>) -> Vec<String> {
    let content = client.get("/nodes/pve1/storage/dir/content").await;
    let rows = content.data().as_array().expect("volumes").iter();
    let mut all: Vec<String> = rows.map(|row| row["volid"].as_str().expect("an id").to_owned()).collect();
    all.sort();
    all
}

/// Asserts that the clone is as its killed task left it.
async fn assert_half_made(cluster: &SimulatedCluster) {
    let (admin, token) = (cluster.client(ADMIN), cluster.client(TOKEN));
    let config = admin.get("/nodes/pve1/qemu/9100/config").await;
    let digest = &config.data()["digest"];
    let left = json!({ "description": " qmclone temporary file", "digest": digest, "lock": "clone" });
    assert_eq!(config.data(), &left);
    let listed = admin.get("/nodes/pve1/qemu").await;
    let rows = listed.data().as_array().expect("VMs");
    let row = rows.iter().find(|row| row["vmid"] == 9100).expect("the clone");
    assert_eq!((&row["name"], &row["lock"]), (&json!("VM 9100"), &json!("clone")));
    let pool = admin.get("/pools/ci").await;
    let members: Vec<&Value> = pool.data()["members"].as_array().expect("members").iter().map(|m| &m["vmid"]).collect();
    assert_eq!(members, [&json!(9000)]);
    let refused = token.get("/nodes/pve1/qemu/9100/status/current").await;
    assert_eq!(refused.refusal(), (403, "Permission check failed (/vms/9100, VM.Audit)"));
    assert_eq!(
        volumes(&admin).await,
        ["dir:9000/base-9000-disk-0.raw", "dir:9000/base-9000-disk-0.raw/9100/vm-9100-disk-0.qcow2"]
    );
}

async fn assert_removable_with_its_disk_only(cluster: &SimulatedCluster) {
    let admin = cluster.client(ADMIN);
    let (end, _) = admin.task("DELETE", "/nodes/pve1/qemu/9100", &[]).await;
    assert_eq!(end, "VM is locked (clone)");
    cluster.handle.set_lock(9100, None);
    admin.done("DELETE", "/nodes/pve1/qemu/9100", &[("destroy-unreferenced-disks", "1")]).await;
    admin.done("DELETE", "/nodes/pve1/qemu/9000", &[]).await;
    assert_eq!(volumes(&admin).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_whose_task_is_killed_stays_incomplete_outside_its_pool() {
    let cluster = SimulatedCluster::start(&farm()).await;
    template(&cluster.client(ADMIN)).await;
    cluster.handle.inject("POST", "/nodes/*/qemu/*/clone", Fault::KillTask, 1);
    let params = [("newid", "9100"), ("pool", "ci"), ("name", "runner")];
    let (end, _) = cluster.client(TOKEN).task("POST", "/nodes/pve1/qemu/9000/clone", &params).await;
    assert_eq!(end, "unexpected status");
    assert_half_made(&cluster).await;
    assert_removable_with_its_disk_only(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_in_the_middle_of_a_clone_leaves_the_same() {
    let cluster = SimulatedCluster::start(&farm()).await;
    let admin = cluster.client(ADMIN);
    template(&admin).await;
    // The other node forwards the call and survives the power cut.
    let url = cluster.handle.serve_node("pve2").await.expect("a server");
    let other = cluster.client_at(&url, TOKEN);
    cluster.handle.inject("POST", "/nodes/*/qemu/*/clone", Fault::CutPower, 1);
    let (end, _) = other.task("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "9100"), ("pool", "ci")]).await;
    assert_eq!(end, "unexpected status");
    assert_eq!(other.get("/nodes/pve1/qemu").await.refusal(), (595, "No route to host"));
    assert!(cluster.handle.node_back("pve1"));
    assert_half_made(&cluster).await;
    assert_removable_with_its_disk_only(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destroying_only_the_guest_leaves_a_disk_that_keeps_its_template() {
    let cluster = SimulatedCluster::start(&farm()).await;
    let admin = cluster.client(ADMIN);
    template(&admin).await;
    cluster.handle.inject("POST", "/nodes/*/qemu/*/clone", Fault::KillTask, 1);
    admin.task("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "9100"), ("pool", "ci")]).await;
    cluster.handle.set_lock(9100, None);
    admin.done("DELETE", "/nodes/pve1/qemu/9100", &[]).await;
    assert_eq!(admin.task("DELETE", "/nodes/pve1/qemu/9000", &[]).await.0, BASE);
    let disk = "/nodes/pve1/storage/dir/content/dir:9000/base-9000-disk-0.raw/9100/vm-9100-disk-0.qcow2";
    admin.done("DELETE", disk, &[]).await;
    admin.done("DELETE", "/nodes/pve1/qemu/9000", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_joins_its_pool_when_it_is_finished() {
    let cluster = SimulatedCluster::start(&farm()).await;
    let (admin, token) = (cluster.client(ADMIN), cluster.client(TOKEN));
    admin.vm("pve1", "100", "dir").await;
    assert_eq!(admin.call("PUT", "/pools/ci", &[("vms", "100")]).await.status, 200);
    cluster.handle.fill_volume("dir:100/vm-100-disk-0.raw", 900 << 20);
    let slow = [("newid", "9100"), ("pool", "ci"), ("full", "1"), ("bwlimit", "10240")];
    let started = token.call("POST", "/nodes/pve1/qemu/100/clone", &slow).await;
    let upid = started.data().as_str().expect("a task");
    let text = "Permission check failed (/vms/9100, VM.Audit)";
    assert_eq!(token.get("/nodes/pve1/qemu/9100/config").await.refusal(), (403, text));
    assert_eq!(cluster.handle.task_end(upid).await.expect("an end").0, "OK");
    assert_eq!(token.get("/nodes/pve1/qemu/9100/config").await.status, 200);
    // The worker of a full clone can be killed at any time.
    let started = token.call("POST", "/nodes/pve1/qemu/100/clone", &[&[("newid", "9101")], &slow[1..]].concat()).await;
    let upid = started.data().as_str().expect("a task");
    // The clone has started once its configuration exists.
    while admin.get("/nodes/pve1/qemu/9101/config").await.status != 200 {}
    assert!(cluster.handle.kill_task(upid));
    assert_eq!(cluster.handle.task_end(upid).await.expect("an end").0, "unexpected status");
    assert!(!cluster.handle.kill_task(upid), "it has ended already");
    assert_eq!(admin.option("pve1", "9101", "lock").await, "clone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_guest_whose_task_is_killed_stays_locked_with_its_disk() {
    let cluster = SimulatedCluster::start(&farm()).await;
    let admin = cluster.client(ADMIN);
    for (path, vmid) in [("/nodes/pve1/qemu", "9100"), ("/nodes/pve1/lxc", "9101")] {
        cluster.handle.inject("POST", path, Fault::KillTask, 1);
        let vm = [("vmid", vmid), ("pool", "ci"), ("scsi0", "dir:1")];
        let ct = [("vmid", vmid), ("pool", "ci"), ("rootfs", "dir:1"), ("ostemplate", cluster.archive())];
        let params = if path.ends_with("lxc") { &ct[..] } else { &vm[..] };
        assert_eq!(admin.task("POST", path, params).await.0, "unexpected status");
        assert_eq!(admin.get(&format!("{path}/{vmid}/config")).await.data()["lock"], "create");
    }
    assert_eq!(volumes(&admin).await, ["dir:9100/vm-9100-disk-0.raw", "dir:9101/vm-9101-disk-0.raw"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_task_is_killed_before_it_does_anything() {
    let cluster = SimulatedCluster::start(&farm()).await;
    let admin = cluster.client(ADMIN);
    admin.vm("pve1", "100", "dir").await;
    cluster.handle.faults().add(Rule {
        method: "POST".to_owned(),
        path: "*/status/start".to_owned(),
        fault: Fault::KillTask,
        when: When::Calls([1].into()),
    });
    assert_eq!(admin.task("POST", "/nodes/pve1/qemu/100/status/start", &[]).await.0, "unexpected status");
    assert_eq!(cluster.handle.running(), Vec::<u32>::new());
    admin.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
    assert_eq!(cluster.handle.running(), [100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_or_dying_daemon_only_affects_calls_that_need_it() {
    let cluster = SimulatedCluster::start(&farm()).await;
    let admin = cluster.client(ADMIN);
    cluster.handle.inject("*", "*", Fault::DaemonStopped, 1);
    assert_eq!(admin.get("/version").await.status, 200);
    assert_eq!(admin.get("/cluster/resources").await.status, 200);
    let vm = [("vmid", "100"), ("scsi0", "dir:1")];
    let refused = admin.call("POST", "/nodes/pve1/qemu", &vm).await;
    assert_eq!((refused.status, refused.reason.as_str(), &refused.body), (595, "Connection refused", &Value::Null));
    assert_eq!(cluster.handle.guests(), Vec::<u32>::new());
    cluster.handle.inject("*", "*", Fault::DaemonDies, 1);
    assert_eq!(admin.get("/version").await.status, 200);
    let lost = admin.call("POST", "/nodes/pve1/qemu", &vm).await;
    assert_eq!((lost.status, lost.reason.as_str(), &lost.body), (596, "Connection reset by peer", &Value::Null));
    assert_eq!(cluster.handle.guests(), [100]);
}
