//! Names of volumes and features of each storage type.

use serde_json::json;
use sim_pve::{Store, World};

use super::simulated_cluster::{ADMIN, SimulatedCluster, world};

/// Storage, disk of VM 9000, its base image, and the disk of a linked clone.
const NAMES: [(&str, &str, &str, &str); 5] = [
    (
        "dir",
        "dir:9000/vm-9000-disk-0.raw",
        "dir:9000/base-9000-disk-0.raw",
        "dir:9000/base-9000-disk-0.raw/100/vm-100-disk-0.qcow2",
    ),
    (
        "nfs",
        "nfs:9000/vm-9000-disk-0.raw",
        "nfs:9000/base-9000-disk-0.raw",
        "nfs:9000/base-9000-disk-0.raw/100/vm-100-disk-0.qcow2",
    ),
    ("thin", "thin:vm-9000-disk-0", "thin:base-9000-disk-0", "thin:vm-100-disk-0"),
    ("zfs", "zfs:vm-9000-disk-0", "zfs:base-9000-disk-0", "zfs:base-9000-disk-0/vm-100-disk-0"),
    ("rbd", "rbd:vm-9000-disk-0", "rbd:base-9000-disk-0", "rbd:base-9000-disk-0/vm-100-disk-0"),
];

#[tokio::test(flavor = "multi_thread")]
async fn disks_bases_and_linked_clones_are_named_by_type() {
    for (storage, disk, base, linked) in NAMES {
        let cluster = SimulatedCluster::start(&world()).await;
        let client = cluster.client(ADMIN);
        client.vm("pve1", "9000", storage).await;
        assert_eq!(client.option("pve1", "9000", "scsi0").await, format!("{disk},size=1G"));
        let unfit = client.call("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "100"), ("full", "0")]).await;
        let text = format!("Linked clone feature is not supported for '{disk}' (scsi0)");
        assert_eq!(unfit.refusal(), (500, text.as_str()));
        client.done("POST", "/nodes/pve1/qemu/9000/template", &[]).await;
        assert_eq!(client.option("pve1", "9000", "scsi0").await, format!("{base},size=1G"));
        client.done("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "100")]).await;
        assert_eq!(client.option("pve1", "100", "scsi0").await, format!("{linked},size=1G"));
        client.done("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "101"), ("full", "1")]).await;
        let copy = client.option("pve1", "101", "scsi0").await;
        assert!(copy.starts_with(&disk.replace("9000", "101")), "{copy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_image_in_use_is_kept_on_storages_that_know_its_clones() {
    for (storage, _, base, linked) in NAMES {
        let cluster = SimulatedCluster::start(&world()).await;
        let client = cluster.client(ADMIN);
        client.template("pve1", "9000", storage).await;
        client.done("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "100")]).await;
        let content = format!("/nodes/pve1/storage/{storage}/content/{base}");
        let (volume, _) = client.task("DELETE", &content, &[]).await;
        let (guest, _) = client.task("DELETE", "/nodes/pve1/qemu/9000", &[]).await;
        if storage == "thin" {
            assert_eq!((volume.as_str(), guest.as_str()), ("OK", "OK"));
        } else {
            let name = base.split_once(':').map_or("", |(_, name)| name);
            assert_eq!(volume, format!("base volume '{name}' is still in use by linked clones"));
            assert_eq!(guest, format!("base volume '{base}' is still in use by linked cloned"));
            client.done("DELETE", "/nodes/pve1/qemu/100", &[]).await;
            client.done("DELETE", "/nodes/pve1/qemu/9000", &[]).await;
            assert_eq!(client.get(&format!("/nodes/pve1/storage/{storage}/content")).await.data(), &json!([]));
            continue;
        }
        assert_eq!(client.option("pve1", "100", "scsi0").await, format!("{linked},size=1G"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_group_has_neither_bases_nor_linked_clones() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.template("pve1", "9000", "lvm").await;
    // The VM becomes a template, but its disk is unchanged.
    assert_eq!(client.option("pve1", "9000", "scsi0").await, "lvm:vm-9000-disk-0,size=1G");
    let refused = client.call("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "100")]).await;
    assert_eq!(refused.refusal(), (500, "Linked clone feature is not supported for 'lvm:vm-9000-disk-0' (scsi0)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn formats_are_those_of_the_storage() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let create = |disk: &'static str| {
        let client = &client;
        async move { client.task("POST", "/nodes/pve1/qemu", &[("vmid", "100"), ("scsi0", disk)]).await.0 }
    };
    assert_eq!(
        create("thin:1,format=qcow2").await,
        "unable to create VM 100 - unsupported format 'qcow2' at /usr/share/perl5/PVE/Storage/LvmThinPlugin.pm line 102."
    );
    assert_eq!(
        create("zfs:1,format=qcow2").await,
        "unable to create VM 100 - unsupported format 'qcow2' at /usr/share/perl5/PVE/Storage/ZFSPoolPlugin.pm line 292."
    );
    assert_eq!(create("dir:1,format=qcow2").await, "OK");
    // A copy has a format of the target storage.
    let log = client
        .done("POST", "/nodes/pve1/qemu/100/clone", &[("newid", "101"), ("storage", "zfs"), ("format", "qcow2")])
        .await;
    assert!(
        log.contains(&"format 'qcow2' is not supported by the target storage 'zfs' - using 'raw' instead".to_owned()),
        "{log:#?}"
    );
    assert_eq!(client.option("pve1", "101", "scsi0").await, "zfs:vm-101-disk-0,size=1G");
    let shown = client.call("GET", "/nodes/pve1/storage", &[("format", "1"), ("storage", "zfs")]).await;
    assert_eq!(shown.data()[0]["formats"], json!({ "default": "raw", "supported": ["raw", "subvol"] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_disks_are_rounded_up_to_the_units_of_the_storage() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let vm = [("vmid", "100"), ("efidisk0", "thin:1"), ("bios", "ovmf")];
    client.done("POST", "/nodes/pve1/qemu", &vm).await;
    assert_eq!(client.option("pve1", "100", "efidisk0").await, "thin:vm-100-disk-0,size=528K");
    let size = client.get("/nodes/pve1/storage/thin/content/thin:vm-100-disk-0").await.data()["size"].clone();
    assert_eq!(size, 4 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_is_available_only_on_its_nodes_and_while_enabled() {
    let world = World::new("pve1")
        .node("pve2")
        .store("one", Store::lvm_thin().nodes(&["pve1"]))
        .store("off", Store::directory("/srv/off").disabled())
        .store("nfs", Store::nfs("/mnt/pve/nfs"))
        .token("root@pam", "admin", false);
    let cluster = SimulatedCluster::start(&world).await;
    let client = cluster.client(ADMIN);
    let status = |node: &'static str| {
        let client = &client;
        async move {
            let row = client.get(&format!("/nodes/{node}/storage/one/status")).await;
            (row.data()["active"].clone(), row.data()["enabled"].clone(), row.data()["total"].clone())
        }
    };
    assert_eq!(status("pve1").await, (json!(1), json!(1), json!(100_u64 << 30)));
    assert_eq!(status("pve2").await, (json!(0), json!(0), json!(0)));
    let create = |disk: &'static str| {
        let client = &client;
        async move { client.task("POST", "/nodes/pve2/qemu", &[("vmid", "100"), ("scsi0", disk)]).await.0 }
    };
    assert_eq!(create("one:1").await, "unable to create VM 100 - storage 'one' is not available on node 'pve2'");
    assert_eq!(create("off:1").await, "unable to create VM 100 - storage 'off' is disabled");
    assert_eq!(cluster.handle.guests(), Vec::<u32>::new());
    client.vm("pve1", "101", "nfs").await;
    let far = [("newid", "102"), ("target", "pve2"), ("storage", "one"), ("full", "1")];
    let far = client.call("POST", "/nodes/pve1/qemu/101/clone", &far).await;
    assert_eq!(far.refusal(), (500, "storage 'one' is not available on node 'pve2'"));
    let shown = client.get("/storage/one").await;
    assert_eq!((&shown.data()["nodes"], &shown.data()["type"]), (&json!("pve1"), &json!("lvmthin")));
    // `/cluster/resources` has a row for each node with the storage.
    let resources = client.call("GET", "/cluster/resources", &[("type", "storage")]).await;
    let mut ids: Vec<&str> =
        resources.data().as_array().expect("rows").iter().filter_map(|row| row["id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["storage/pve1/nfs", "storage/pve1/one", "storage/pve2/nfs"]);
    // Storages that a clone can go to, from the first node to the second.
    let both = client.call("GET", "/nodes/pve1/storage", &[("target", "pve2")]).await;
    assert_eq!((both.data().as_array().map(Vec::len), &both.data()[0]["storage"]), (Some(1), &json!("nfs")));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_storages_with_a_path_keep_files() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let refused = client.upload("/nodes/pve1/storage/thin/upload", "x.iso", 10).await;
    assert_eq!(refused.refusal(), (500, "can't upload to storage type 'lvmthin'"));
    let refused = client.upload("/nodes/pve1/storage/dir/upload", "x.iso", 10).await;
    assert_eq!(refused.refusal(), (500, "storage 'dir' does not support 'iso' content"));
    let wrong = client.get("/nodes/pve1/storage/zfs/content/zfs:iso/x.iso").await;
    assert_eq!(wrong.refusal(), (500, "unable to parse zfs volume name 'iso/x.iso'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn destroying_a_guest_frees_configured_volumes_and_others_on_request() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let stray = [("filename", "vm-100-stray"), ("size", "1G"), ("vmid", "100")];
    for (query, left) in [(vec![], 1), (vec![("destroy-unreferenced-disks", "1")], 0)] {
        client.vm("pve1", "100", "thin").await;
        let made = client.call("POST", "/nodes/pve1/storage/thin/content", &stray).await;
        assert_eq!(made.data(), "thin:vm-100-stray");
        client.done("DELETE", "/nodes/pve1/qemu/100", &query).await;
        let content = client.get("/nodes/pve1/storage/thin/content").await;
        assert_eq!(content.data().as_array().map(Vec::len), Some(left));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_added_changed_and_removed() {
    let cluster = SimulatedCluster::start(&world().user("ci@pve", "secret-1").token("ci@pve", "t", false)).await;
    let client = cluster.client(ADMIN);
    let thin =
        [("storage", "fast"), ("type", "lvmthin"), ("vgname", "nvme"), ("thinpool", "data"), ("nodes", "pve1,pve2")];
    let outsider = cluster.client("ci@pve!t").call("POST", "/storage", &thin).await;
    assert_eq!(outsider.refusal(), (403, "Permission check failed (/storage, Datastore.Allocate)"));
    let made = client.call("POST", "/storage", &thin).await;
    assert_eq!(made.data(), &json!({ "storage": "fast", "type": "lvmthin" }));
    client.vm("pve2", "100", "fast").await;
    let again = client.call("POST", "/storage", &thin).await;
    assert_eq!(again.refusal(), (500, "create storage failed: storage ID 'fast' already defined"));
    let refused = |params: Vec<(&'static str, &'static str)>| {
        let client = &client;
        async move { client.call("POST", "/storage", &params).await.refusal().1.to_owned() }
    };
    assert_eq!(refused(vec![("storage", "x1"), ("type", "dir")]).await, "missing value for required option 'path'");
    let foreign = refused(vec![("storage", "x1"), ("type", "zfspool"), ("pool", "tank"), ("vgname", "x")]).await;
    assert_eq!(foreign, "unexpected property 'vgname'");
    let path = refused(vec![("storage", "x1"), ("type", "dir"), ("path", "relative")]).await;
    assert_eq!(path, "illegal path for directory storage: relative");
    // A digest is valid for one change, and fixed options cannot be deleted.
    let digest = client.get("/storage/fast").await.data()["digest"].as_str().expect("a digest").to_owned();
    let change = [("nodes", "pve1"), ("digest", digest.as_str())];
    assert_eq!(client.call("PUT", "/storage/fast", &change).await.status, 200);
    let stale = client.call("PUT", "/storage/fast", &change).await;
    let text = "update storage failed: detected modified configuration - file changed by other user? Try again.";
    assert_eq!(stale.refusal(), (500, text));
    let start = client.task("POST", "/nodes/pve2/qemu/100/status/start", &[]).await;
    assert_eq!(start.0, "storage 'fast' is not available on node 'pve2'");
    let fixed = client.call("PUT", "/storage/fast", &[("delete", "vgname")]).await;
    assert_eq!(fixed.refusal(), (500, "update storage failed: unable to delete required option 'vgname'"));
    assert_eq!(client.call("PUT", "/storage/fast", &[("delete", "nodes")]).await.status, 200);
    client.done("POST", "/nodes/pve2/qemu/100/status/start", &[]).await;
    assert_eq!(client.call("PUT", "/storage/fast", &[("disable", "1")]).await.status, 200);
    assert_eq!(client.get("/storage/fast").await.data()["disable"], 1);
    assert_eq!(client.call("DELETE", "/storage/fast", &[]).await.status, 200);
    let gone = client.call("DELETE", "/storage/fast", &[]).await;
    assert_eq!(gone.refusal(), (500, "delete storage failed: storage 'fast' does not exist"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_s_volume_grows_only_after_all_checks() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let ct = [("vmid", "200"), ("ostemplate", cluster.archive()), ("rootfs", "zfs:1"), ("mp0", "thin:1,mp=/data")];
    client.done("POST", "/nodes/pve1/lxc", &ct).await;
    let resize = "/nodes/pve1/lxc/200/resize";
    let config = || async { client.get("/nodes/pve1/lxc/200/config").await.data().clone() };
    assert_eq!(config().await["rootfs"], "zfs:subvol-200-disk-0,size=1G");
    let grow = |disk: &'static str, size: &'static str| {
        let client = &client;
        async move { client.call("PUT", resize, &[("disk", disk), ("size", size)]).await }
    };
    assert_eq!(grow("rootfs", "512M").await.refusal(), (500, "unable to shrink disk size"));
    assert_eq!(grow("rootfs", "1G").await.refusal(), (500, "disk is already at specified size"));
    cluster.handle.set_lock(200, Some("backup"));
    assert_eq!(grow("rootfs", "2G").await.refusal(), (500, "CT is locked (backup)"));
    cluster.handle.set_lock(200, None);
    // A dataset has a quota and no file system to grow.
    let log = client.done("PUT", resize, &[("disk", "rootfs"), ("size", "2G")]).await;
    assert_eq!(log, ["TASK OK"]);
    let log = client.done("PUT", resize, &[("disk", "mp0"), ("size", "+1G")]).await;
    assert_eq!(log.first().map(String::as_str), Some("e2fsck 1.47.2 (1-Jan-2025)"));
    assert_eq!(config().await["rootfs"], "zfs:subvol-200-disk-0,size=2G");
    assert_eq!(config().await["mp0"], "thin:vm-200-disk-0,mp=/data,size=2G");
}
