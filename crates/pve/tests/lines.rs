//! The client against both lines of the simulated Proxmox VE, each with the privileges of its line.

use std::sync::Arc;
use std::time::Duration;

use pve::{ApiToken, Client, ClientConfig, CloneRequest, Content, TaskEnd, Trust, Upid, WaitOptions};
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Handle, Latency, Line, Options, Server, World};
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "ci@pve!t1";
const PRIVILEGES: [&str; 18] = [
    "VM.Allocate",
    "VM.Audit",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.PowerMgmt",
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Pool.Allocate",
    "Pool.Audit",
    "SDN.Use",
];

/// Returns the privilege for the guest agent.
fn agent_privilege(line: Line) -> &'static str {
    match line {
        Line::Eight => "VM.Monitor",
        Line::Nine => "VM.GuestAgent.Unrestricted",
    }
}

async fn start(line: Line, agent: &str) -> (Handle, Client) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = World::new("pve1")
        .storage("local", &["iso", "vztmpl"])
        .storage("disks", &["images", "rootdir"])
        .pool("ci")
        .role("Runner", &PRIVILEGES.iter().copied().chain([agent]).collect::<Vec<_>>())
        .user("ci@pve", "secret-1")
        .token("ci@pve", "t1", true)
        .grant("/", "ci@pve", "Runner")
        .grant("/", TOKEN, "Runner");
    let options = Options { latency: Latency::Instant, line: Some(line), check_answers: true, ..Options::default() };
    let handle = Server::start(&world, Arc::new(Scripted::new(Boot::AtOnce)), options).await.expect("a simulator");
    let client = Client::new(ClientConfig {
        endpoints: vec![handle.url().parse().expect("an endpoint")],
        token: ApiToken::new(TOKEN, &handle.token_secret(TOKEN).expect("a token").into()).expect("a token"),
        trust: Trust::CaPem(handle.ca_pem().to_owned()),
        user_agent: "pxci-tests".to_owned(),
    })
    .expect("a client");
    (handle, client)
}

async fn done(client: &Client, upid: &Upid) {
    let options = WaitOptions { deadline: Duration::from_secs(60), cancel: CancellationToken::new() };
    assert_eq!(client.wait(upid, &options).await.expect("the task ends well"), TaskEnd::Ok);
}

/// Makes VM 9000 like an image builder, with requests that the client does not have.
async fn template(handle: &Handle) {
    let ca = reqwest::Certificate::from_pem(handle.ca_pem().as_bytes()).expect("a certificate");
    let http = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
    let header = format!("PVEAPIToken={TOKEN}={}", handle.token_secret(TOKEN).expect("a token"));
    let form = [("vmid", "9000"), ("scsi0", "disks:1,format=qcow2"), ("net0", "virtio,bridge=vmbr0"), ("agent", "1")];
    for (path, form) in [("/nodes/pve1/qemu", &form[..]), ("/nodes/pve1/qemu/9000/template", &[][..])] {
        let url = format!("{}/api2/json{path}", handle.url());
        let request = http.post(url).header("Authorization", &header).form(form);
        loop {
            let answer = request.try_clone().expect("a request").send().await.expect("an answer");
            if answer.status() == 200 {
                break;
            }
            // The task of the creation still holds the lock.
            let text = answer.text().await.expect("a body");
            assert!(text.contains("locked") || text.contains("lock file"), "{text}");
        }
    }
}

async fn calls(line: Line) {
    let (handle, client) = start(line, agent_privilege(line)).await;
    template(&handle).await;
    assert!(client.is_free(id(9100)).await.expect("an answer"));
    let request = CloneRequest {
        newid: id(9100),
        name: "runner".to_owned(),
        description: "pxci:v1".to_owned(),
        pool: Some("ci".to_owned()),
        full: false,
    };
    let upid = client.qemu(&node(), id(9000)).clone_to(&request).await.expect("a clone");
    done(&client, &upid).await;
    assert!(!client.is_free(id(9100)).await.expect("an answer"));
    let vm = client.qemu(&node(), id(9100));
    let config = vm.config().await.expect("a configuration");
    assert_eq!(config.description(), "pxci:v1");
    vm.set_config(&[("memory", "1024"), ("tags", "pxci")], config.digest()).await.expect("a change");
    done(&client, &vm.start().await.expect("a start")).await;
    assert!(vm.status().await.expect("a status").is_running());
    let agent = vm.agent();
    agent.ping(0).await.expect("the agent answers");
    agent.file_write("/run/pxci/jit", b"secret").await.expect("a file");
    assert_eq!(agent.file_read("/run/pxci/jit").await.expect("a file"), b"secret");
    let pid = agent.exec(&["/bin/sh", "-c", "exit 3"]).await.expect("a program");
    assert!(agent.exec_status(pid).await.expect("its end").is_some());
    assert!(!agent.interfaces().await.expect("interfaces").is_empty());
    assert_eq!(client.pool_members("ci").await.expect("a pool").len(), 1);
    assert!(client.guests().await.expect("guests").iter().any(|guest| guest.vmid == id(9100)));
    assert_eq!(client.nodes().await.expect("nodes").len(), 1);
    done(&client, &vm.stop().await.expect("a stop")).await;
    done(&client, &vm.delete().await.expect("a removal")).await;
    assert!(vm.config().await.expect_err("gone").is_guest_missing());
    let storage = client.storage(&node(), "local");
    let upid = storage.upload(Content::Iso, "seed.iso", vec![7_u8; 2048].into()).await.expect("an upload");
    done(&client, &upid).await;
    assert_eq!(storage.volumes("iso").await.expect("volumes").len(), 1);
    if let Some(upid) = storage.delete("local:iso/seed.iso").await.expect("a removal") {
        done(&client, &upid).await;
    }
    let listed = include_str!("../../../sim/replay/data/answer-deviations.txt");
    let wrong: Vec<String> = handle.undeclared().into_iter().filter(|what| !listed.contains(what.as_str())).collect();
    assert!(wrong.is_empty(), "not as the schema declares it: {wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_a_runner_work_on_the_eighth_line() {
    calls(Line::Eight).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_a_runner_work_on_the_ninth_line() {
    calls(Line::Nine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_requires_its_own_privilege_for_the_agent() {
    for (line, other) in [(Line::Eight, Line::Nine), (Line::Nine, Line::Eight)] {
        let (handle, client) = start(line, agent_privilege(other)).await;
        template(&handle).await;
        let refused = client.qemu(&node(), id(9000)).agent().ping(0).await.expect_err("not allowed");
        assert!(refused.is_permission_denied(), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_privileged_by_default_only_on_the_eighth_line() {
    for (line, unprivileged) in [(Line::Eight, false), (Line::Nine, true)] {
        let (handle, client) = start(line, agent_privilege(line)).await;
        let file = std::env::temp_dir().join(format!("pxci-lines-{}.tar.zst", std::process::id()));
        std::fs::write(&file, [0x28, 0xb5, 0x2f, 0xfd]).expect("a file");
        handle.put_file("local:vztmpl/a.tar.zst", &file).expect("a template");
        std::fs::remove_file(&file).expect("the file");
        let container = client.lxc(&node(), id(9200));
        let options = [("ostemplate", "local:vztmpl/a.tar.zst"), ("storage", "disks"), ("memory", "64")];
        done(&client, &container.create(&options).await.expect("a container")).await;
        assert_eq!(container.config().await.expect("a configuration").flag("unprivileged"), unprivileged);
    }
}

fn node() -> ownership::NodeName {
    "pve1".parse().expect("a node name")
}

fn id(number: u32) -> ownership::Vmid {
    ownership::Vmid::new(number).expect("a VMID")
}
