//! Privileges to set tags of guests.

use serde_json::json;
use sim_pve::World;

use super::simulated_cluster::{ADMIN, Answer, SimulatedCluster, world};

const TOKEN: &str = "ci@pve!farm";

/// Returns a world whose token has all privileges on guests, but only through the resource pool.
fn by_pool() -> World {
    world()
        .pool("ci")
        .user("ci@pve", "secret-1")
        .token("ci@pve", "farm", false)
        .role("Guests", &["VM.Allocate", "VM.Audit", "VM.Config.Options", "VM.Config.Disk"])
        .role("Storage", &["Datastore.AllocateSpace", "Datastore.Audit"])
        .role("Options", &["VM.Config.Options"])
        .grant("/pool/ci", "ci@pve", "Guests")
        .grant("/storage/local", "ci@pve", "Storage")
        .grant("/storage/dir", "ci@pve", "Storage")
}

async fn create_container(cluster: &SimulatedCluster, vmid: &str, tags: &[(&str, &str)]) -> Answer {
    let ct = [("vmid", vmid), ("pool", "ci"), ("rootfs", "dir:1"), ("ostemplate", cluster.archive())];
    cluster.client(TOKEN).call("POST", "/nodes/pve1/lxc", &[&ct[..], tags].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_through_the_pool_do_not_allow_tags_of_a_new_container() {
    let cluster = SimulatedCluster::start(&by_pool()).await;
    let client = cluster.client(TOKEN);
    let text = "Permission check failed (/vms/9050, VM.Config.Options)";
    for tags in ["pxci", ""] {
        assert_eq!(create_container(&cluster, "9050", &[("tags", tags)]).await.refusal(), (403, text));
    }
    let created = create_container(&cluster, "9050", &[]).await;
    let end = cluster.handle.task_end(created.data().as_str().expect("a task")).await.expect("an end");
    assert_eq!(end.0, "OK");
    let tagged = client.call("PUT", "/nodes/pve1/lxc/9050/config", &[("tags", "pxci")]).await;
    assert_eq!(tagged.status, 200, "{tagged:?}");
    assert_eq!(client.get("/nodes/pve1/lxc/9050/config").await.data()["tags"], "pxci");
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_through_the_pool_do_not_allow_tags_of_a_new_vm() {
    let cluster = SimulatedCluster::start(&by_pool()).await;
    let client = cluster.client(TOKEN);
    let vm = [("vmid", "9050"), ("pool", "ci"), ("scsi0", "dir:1")];
    let (end, _) = client.task("POST", "/nodes/pve1/qemu", &[&vm[..], &[("tags", "pxci")]].concat()).await;
    assert_eq!(end, "unable to create VM 9050 - 403 Permission check failed (/vms/9050, VM.Config.Options)");
    assert_eq!(cluster.client(ADMIN).get("/nodes/pve1/storage/dir/content").await.data(), &json!([]));
    client.done("POST", "/nodes/pve1/qemu", &vm).await;
    let tagged = client.call("PUT", "/nodes/pve1/qemu/9050/config", &[("tags", "pxci")]).await;
    assert_eq!(tagged.status, 200, "{tagged:?}");
    assert_eq!(client.option("pve1", "9050", "tags").await, "pxci");
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_on_the_vmid_allow_tags_of_a_new_guest() {
    let world = by_pool().grant("/vms/9050", "ci@pve", "Options").grant("/vms/9051", "ci@pve", "Options");
    let cluster = SimulatedCluster::start(&world).await;
    let client = cluster.client(TOKEN);
    client.done("POST", "/nodes/pve1/qemu", &[("vmid", "9050"), ("pool", "ci"), ("tags", "pxci")]).await;
    assert_eq!(create_container(&cluster, "9051", &[("tags", "pxci")]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_tag_is_set_and_removed_only_with_sys_modify() {
    let cluster = SimulatedCluster::start(&by_pool()).await;
    let (admin, client) = (cluster.client(ADMIN), cluster.client(TOKEN));
    client.done("POST", "/nodes/pve1/qemu", &[("vmid", "9050"), ("pool", "ci")]).await;
    let registered = [("registered-tags", "tpl")];
    assert_eq!(admin.call("PUT", "/cluster/options", &registered).await.status, 200);
    let config = "/nodes/pve1/qemu/9050/config";
    let text = "Permission check failed (/, Sys.Modify for modifying tag 'tpl')";
    assert_eq!(client.call("PUT", config, &[("tags", "own;tpl")]).await.refusal(), (403, text));
    assert_eq!(admin.call("PUT", config, &[("tags", "own;tpl")]).await.status, 200);
    for change in [("tags", "own"), ("delete", "tags")] {
        assert_eq!(client.call("PUT", config, &[change]).await.refusal(), (403, text));
    }
    assert_eq!(client.call("PUT", config, &[("tags", "other;tpl")]).await.status, 200);
}
