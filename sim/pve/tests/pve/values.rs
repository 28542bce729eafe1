//! Values that can be written in several ways, and values that several calls show.

use std::time::Duration;

use serde_json::json;
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Latency, Line, Options, Server, World};

use super::simulated_cluster::{ADMIN, SimulatedCluster, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_blank_part_of_a_drive_s_value_changes_nothing() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let vm = [("vmid", "100"), ("ide2", "thin:cloudinit,"), ("scsi0", ",thin:1, "), ("net0", ",virtio,bridge=vmbr0,")];
    client.done("POST", "/nodes/pve1/qemu", &vm).await;
    assert_eq!(client.option("pve1", "100", "ide2").await, "thin:vm-100-cloudinit,media=cdrom");
    assert_eq!(client.option("pve1", "100", "scsi0").await, "thin:vm-100-disk-0,size=1G");
    let card = client.option("pve1", "100", "net0").await;
    assert!(card.starts_with("virtio=BC:24:11:") && card.ends_with(",bridge=vmbr0"), "{card}");
    let config = "/nodes/pve1/qemu/100/config";
    let change = [("scsi0", "thin:vm-100-disk-0,,discard=on,"), ("ide2", "thin:vm-100-cloudinit,media=cdrom,")];
    assert_eq!(client.call("PUT", config, &change).await.status, 200);
    assert_eq!(client.option("pve1", "100", "scsi0").await, "thin:vm-100-disk-0,discard=on,size=1G");
    assert_eq!(client.option("pve1", "100", "ide2").await, "thin:vm-100-cloudinit,media=cdrom");
    let unused = client.get(config).await.data()["unused0"].clone();
    assert_eq!(unused, json!(null), "no volume was replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_container_takes_more_memory() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let container = [("vmid", "200"), ("ostemplate", cluster.archive()), ("rootfs", "dir:1"), ("memory", "128")];
    client.task("POST", "/nodes/pve1/lxc", &container).await;
    client.done("POST", "/nodes/pve1/lxc/200/status/start", &[]).await;
    let change = client.call("PUT", "/nodes/pve1/lxc/200/config", &[("memory", "256"), ("swap", "64")]).await;
    assert_eq!(change.status, 200, "{change:?}");
    let status = client.get("/nodes/pve1/lxc/200/status/current").await;
    assert_eq!((&status.data()["maxmem"], &status.data()["maxswap"]), (&json!(256 << 20), &json!(64 << 20)));
    let pending = client.get("/nodes/pve1/lxc/200/pending").await;
    let rows = pending.data().as_array().expect("rows");
    assert!(rows.iter().all(|row| row.get("pending").is_none()), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_shows_the_same_figures_of_a_node() {
    for line in [Line::Eight, Line::Nine] {
        let cluster = SimulatedCluster::of_line(&world(), line).await;
        let client = cluster.client(ADMIN);
        client.done("POST", "/nodes/pve1/qemu", &[("vmid", "100"), ("memory", "4096"), ("scsi0", "thin:1")]).await;
        client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
        let row = async |path: &str| {
            let rows = client.get(path).await;
            let rows = rows.data().as_array().expect("rows");
            rows.iter().find(|row| row["node"] == "pve1" && row["type"] == "node").expect("the node").clone()
        };
        let (list, resources) = (row("/nodes").await, row("/cluster/resources").await);
        let status = client.get("/nodes/pve1/status").await.data().clone();
        let disk = &status["rootfs"];
        for listed in [list, resources] {
            assert_eq!(listed["maxcpu"], status["cpuinfo"]["cpus"]);
            assert_eq!((&listed["mem"], &listed["maxmem"]), (&status["memory"]["used"], &status["memory"]["total"]));
            assert_eq!((&listed["disk"], &listed["maxdisk"]), (&disk["used"], &disk["total"]));
            assert_eq!(listed["uptime"], status["uptime"]);
        }
        assert!(status["memory"]["used"].as_u64() > Some(4096 << 20), "the VM's memory is in it");
        let version = client.get("/version").await.data()["version"].as_str().expect("a version").to_owned();
        assert!(status["pveversion"].as_str().is_some_and(|text| text.starts_with(&format!("pve-manager/{version}/"))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_starts_at_this_machine_s_time() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for latency in [Latency::Real, Latency::Stepped] {
        let options = Options { latency, ..Options::default() };
        let guests = std::sync::Arc::new(Scripted::new(Boot::AtOnce));
        let before = jiff::Timestamp::now();
        let handle = Server::start(&World::new("pve1"), guests, options).await.expect("a simulator");
        let started = handle.instants()();
        assert!(before <= started && started <= jiff::Timestamp::now(), "{latency:?}: {started}");
        handle.pass(Duration::from_secs(1)).await;
        assert!(handle.instants()() >= started + Duration::from_secs(1), "{latency:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_not_simulated_say_so_and_change_nothing() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let container = [("vmid", "200"), ("ostemplate", cluster.archive()), ("rootfs", "dir:1")];
    client.task("POST", "/nodes/pve1/lxc", &container).await;
    client.done("POST", "/nodes/pve1/lxc/200/status/start", &[]).await;
    let restored = [("vmid", "201"), ("ostemplate", cluster.archive()), ("restore", "1")];
    for (path, params) in [
        ("/nodes/pve1/lxc/200/status/suspend", &[][..]),
        ("/nodes/pve1/lxc", &restored),
        ("/nodes/pve1/qemu", &[("vmid", "201"), ("archive", "local:backup/vzdump-qemu-1.vma")]),
    ] {
        let answer = client.call("POST", path, params).await;
        let (status, text) = answer.refusal();
        assert!(status == 500 && text.starts_with("not simulated: "), "{path}: {answer:?}");
    }
    assert_eq!(cluster.handle.guests(), [200]);
    assert_eq!(client.get("/nodes/pve1/lxc/200/status/current").await.data()["status"], "running");
}
