//! A full storage: which operations fail, with which errors, and what they leave behind.

use serde_json::json;
use sim_pve::{Store, World};

use super::simulated_cluster::{ADMIN, SimulatedCluster};

const GIB: u64 = 1 << 30;

fn world() -> World {
    World::new("pve1")
        .store("local", Store::directory("/var/lib/vz").content(&["iso"]).size(10 * GIB))
        .store("dir", Store::directory("/srv/dir").size(10 * GIB))
        .store("thin", Store::lvm_thin().size(10 * GIB))
        .store("lvm", Store::lvm().size(10 * GIB))
        .store("zfs", Store::zfs().size(10 * GIB))
        .token("root@pam", "admin", false)
}

async fn used(client: &super::simulated_cluster::Client<'_>, storage: &str) -> u64 {
    client.get(&format!("/nodes/pve1/storage/{storage}/status")).await.data()["used"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn files_take_space_and_an_upload_without_space_fails_in_its_task() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let before = used(&client, "local").await;
    let upload = |name: &'static str, bytes| {
        let (cluster, client) = (&cluster, &client);
        async move {
            let answer = client.upload("/nodes/pve1/storage/local/upload", name, bytes).await;
            cluster.handle.task_end(answer.data().as_str().expect("a task")).await.expect("an end").0
        }
    };
    assert_eq!(upload("one.iso", 4096).await, "OK");
    assert_eq!(used(&client, "local").await, before + 4096);
    cluster.handle.leave_free("pve1", "local", 1000);
    let text = "import failed: cp: error writing '/var/lib/vz/template/iso/two.iso': No space left on device";
    assert_eq!(upload("two.iso", 4096).await, text);
    // A file of the same size can replace the first one.
    assert_eq!(upload("one.iso", 4096).await, "OK");
    let content = client.get("/nodes/pve1/storage/local/content").await;
    assert_eq!(content.data().as_array().map(Vec::len), Some(1));
    client.done("DELETE", "/nodes/pve1/storage/local/content/local:iso/one.iso", &[]).await;
    let status = client.get("/nodes/pve1/storage/local/status").await;
    assert_eq!(status.data()["avail"], 4096 + 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_room_for_its_data_fails_and_leaves_nothing() {
    for storage in ["dir", "thin"] {
        let cluster = SimulatedCluster::start(&world()).await;
        let client = cluster.client(ADMIN);
        client.vm("pve1", "100", storage).await;
        let disk = client.option("pve1", "100", "scsi0").await;
        let volume = disk.split(',').next().expect("a volume");
        cluster.handle.fill_volume(volume, GIB);
        cluster.handle.leave_free("pve1", storage, GIB / 2);
        let (end, log) = client.task("POST", "/nodes/pve1/qemu/100/clone", &[("newid", "101"), ("full", "1")]).await;
        let (from, to) = match storage {
            "dir" => ("/srv/dir/images/100/vm-100-disk-0.raw", "/srv/dir/images/101/vm-101-disk-0.raw"),
            _ => ("/dev/pve/vm-100-disk-0", "/dev/pve/vm-101-disk-0"),
        };
        let text = format!(
            "clone failed: copy failed: command '/usr/bin/qemu-img convert -p -n -f raw -O raw {from} zeroinit:{to}' failed: exit code 1"
        );
        assert_eq!(end, text);
        let line = format!("qemu-img: error while writing at byte {}: No space left on device", GIB / 2);
        assert!(log.contains(&line), "{log:#?}");
        assert_eq!(cluster.handle.guests(), [100]);
        let content = client.get(&format!("/nodes/pve1/storage/{storage}/content")).await;
        assert_eq!(content.data().as_array().map(Vec::len), Some(1));
        // The copy succeeds with less data or with more space.
        cluster.handle.leave_free("pve1", storage, 2 * GIB);
        client.done("POST", "/nodes/pve1/qemu/100/clone", &[("newid", "101"), ("full", "1")]).await;
        assert_eq!(client.get(&format!("/nodes/pve1/storage/{storage}/status")).await.data()["avail"], GIB);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_room_makes_no_qcow2_but_sparse_files() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.template("pve1", "9000", "dir").await;
    cluster.handle.leave_free("pve1", "dir", 0);
    let (end, _) = client.task("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "100")]).await;
    let path = "/srv/dir/images/100/vm-100-disk-0.qcow2";
    let text =
        format!("unable to create image: qemu-img: {path}: Could not write qcow2 header: No space left on device");
    assert_eq!(end, format!("clone failed: {text}"));
    let (end, _) = client.task("POST", "/nodes/pve1/qemu", &[("vmid", "100"), ("scsi0", "dir:1,format=qcow2")]).await;
    assert_eq!(end, format!("unable to create VM 100 - {text}"));
    assert_eq!(cluster.handle.guests(), [9000]);
    client.vm("pve1", "100", "dir").await;
    cluster.handle.leave_free("pve1", "dir", 128 << 10);
    let (end, _) = client.task("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "101")]).await;
    assert!(end.contains("Could not resize image: Allocating clusters failed: No space left on device"), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_that_reserve_their_size_need_the_space_immediately() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let create = |vmid: &'static str, disk: &'static str| {
        let client = &client;
        async move { client.task("POST", "/nodes/pve1/qemu", &[("vmid", vmid), ("scsi0", disk)]).await.0 }
    };
    assert_eq!(create("100", "zfs:1").await, "OK");
    assert_eq!(
        create("101", "zfs:2").await,
        "unable to create VM 101 - zfs error: cannot create 'rpool/data/vm-101-disk-0': out of space"
    );
    assert_eq!(create("101", "lvm:1").await, "OK");
    assert_eq!(
        create("102", "lvm:2").await,
        "unable to create VM 102 - lvcreate 'vg/vm-102-disk-0' error:   Volume group \"vg\" has insufficient free space (256 extents): 512 required."
    );
    assert_eq!(
        create("102", "lvm:2048").await,
        format!("unable to create VM 102 - not enough free space ({GIB} < {})", 2_u64 << 30)
    );
    // A thin pool can allocate more than its size.
    assert_eq!(create("102", "thin:50").await, "OK");
    assert_eq!(client.get("/nodes/pve1/storage/thin/status").await.data()["used"], json!(8 * GIB));
}
