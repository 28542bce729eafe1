//! Scripted guests.

use std::collections::BTreeSet;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::simulated_cluster::{ADMIN, Client, SimulatedCluster, world};

async fn agent(client: &Client<'_>, vmid: &str, method: &str, call: &str, params: &[(&str, &str)]) -> Value {
    let path = format!("/nodes/pve1/qemu/{vmid}/agent/{call}");
    // The agent's event may not have arrived yet.
    for _ in 0..100 {
        let answer = client.call(method, &path, params).await;
        if answer.refusal().1 != "QEMU guest agent is not running" {
            return answer.data().clone();
        }
    }
    panic!("the agent never came up");
}

/// Returns the MAC address and the IPv4 address of each card.
fn cards(interfaces: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = interfaces.as_array().expect("interfaces").iter().filter(|row| row["name"] != "lo");
    rows.map(|row| (text(&row["hardware-address"]), text(&row["ip-addresses"][0]["ip-address"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn scripted_guests_have_the_cards_of_their_configuration_and_addresses_of_their_own() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let mut addresses = BTreeSet::new();
    // The VMIDs have the same remainder, in case addresses were computed from them.
    for vmid in ["100", "250", "400"] {
        let vm = [("vmid", vmid), ("agent", "1"), ("scsi0", "thin:1"), ("net0", "virtio,bridge=vmbr0")];
        client.done("POST", "/nodes/pve1/qemu", &vm).await;
        client.done("POST", &format!("/nodes/pve1/qemu/{vmid}/status/start"), &[]).await;
        let listed = agent(&client, vmid, "GET", "network-get-interfaces", &[]).await;
        let [(mac, address)] = &cards(&listed["result"])[..] else { panic!("one card: {listed}") };
        let configured = client.option("pve1", vmid, "net0").await.to_lowercase();
        assert!(configured.contains(&format!("virtio={mac},")), "{configured}: {mac}");
        assert!(addresses.insert(address.clone()), "{address} belongs to another VM");
    }
    let container = [("vmid", "550"), ("ostemplate", cluster.archive()), ("rootfs", "dir:1")];
    let card = ("net0", "name=eth0,bridge=vmbr0,ip=dhcp");
    client.task("POST", "/nodes/pve1/lxc", &[&container[..], &[card]].concat()).await;
    client.done("POST", "/nodes/pve1/lxc/550/status/start", &[]).await;
    let listed = client.get("/nodes/pve1/lxc/550/interfaces").await;
    let [(_, address)] = &cards(listed.data())[..] else { panic!("one card: {listed:?}") };
    assert!(addresses.insert(address.clone()), "{address} belongs to a VM");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scripted_vm_uses_its_cloud_init_drive_and_sees_cards_that_are_added() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let vm = [("vmid", "100"), ("agent", "1"), ("ide2", "thin:cloudinit"), ("net0", "virtio,bridge=vmbr0")];
    let settings = ("ipconfig0", "ip=192.0.2.7/24,gw=192.0.2.1");
    client.done("POST", "/nodes/pve1/qemu", &[&vm[..], &[settings]].concat()).await;
    client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
    let listed = agent(&client, "100", "GET", "network-get-interfaces", &[]).await;
    assert_eq!(cards(&listed["result"])[0].1, "192.0.2.7");
    let plugged = client.call("PUT", "/nodes/pve1/qemu/100/config", &[("net1", "virtio,bridge=vmbr0")]).await;
    assert_eq!(plugged.status, 200, "{plugged:?}");
    let listed = agent(&client, "100", "GET", "network-get-interfaces", &[]).await;
    assert_eq!(listed["result"][2]["name"], "eth1");
}

#[tokio::test(flavor = "multi_thread")]
async fn scripted_guests_know_programs_by_name_and_by_path() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.done("POST", "/nodes/pve1/qemu", &[("vmid", "100"), ("agent", "1"), ("scsi0", "thin:1")]).await;
    client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
    for echo in ["echo", "/bin/echo", "/usr/bin/echo"] {
        let command = [("command", echo), ("command", "hello"), ("command", "x")];
        let pid = agent(&client, "100", "POST", "exec", &command).await["pid"].to_string();
        let end = agent(&client, "100", "GET", "exec-status", &[("pid", &pid)]).await;
        assert_eq!((&end["exitcode"], &end["out-data"]), (&json!(0), &json!("hello x\n")), "{echo}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_reads_a_part_of_a_file_and_leaves_it_encoded_on_request() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.done("POST", "/nodes/pve1/qemu", &[("vmid", "100"), ("agent", "1"), ("scsi0", "thin:1")]).await;
    client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
    agent(&client, "100", "POST", "file-write", &[("file", "/run/x"), ("content", "0123456789")]).await;
    let read = async |params: &[(&str, &str)]| {
        let params = [&[("file", "/run/x")], params].concat();
        agent(&client, "100", "GET", "file-read", &params).await
    };
    assert_eq!(read(&[]).await, json!({ "content": "0123456789", "bytes-read": 10 }));
    let part = read(&[("offset", "2"), ("count", "3")]).await;
    assert_eq!(part, json!({ "content": "234", "bytes-read": 3, "truncated": 1 }));
    assert_eq!(read(&[("decode", "0")]).await["content"], "MDEyMzQ1Njc4OQ==");
    let path = "/nodes/pve1/qemu/100/agent/suspend-ram";
    let text = "not simulated: the agent's command suspend-ram";
    assert_eq!(client.call("POST", path, &[]).await.refusal(), (500, text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_is_a_shell_only_with_its_mode_and_its_ticket() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let container = [("vmid", "200"), ("ostemplate", cluster.archive()), ("rootfs", "dir:1")];
    client.task("POST", "/nodes/pve1/lxc", &container).await;
    client.done("POST", "/nodes/pve1/lxc/200/status/start", &[]).await;
    let open = async |first: &str| {
        let opened = client.call("POST", "/nodes/pve1/lxc/200/termproxy", &[]).await.data().clone();
        let text = |key: &str| opened[key].as_str().unwrap_or_default().to_owned();
        let (port, ticket) = (text("port"), text("ticket"));
        let encoded: String = url::form_urlencoded::byte_serialize(ticket.as_bytes()).collect();
        let path = format!("/nodes/pve1/lxc/200/vncwebsocket?port={port}&vncticket={encoded}");
        let mut socket = client.websocket(&path).await;
        let line = first.replace("TICKET", &format!("{ADMIN}:{ticket}"));
        socket.send(Message::Binary(line.into_bytes().into())).await.expect("a first line");
        let mut said = Vec::new();
        while let Some(Ok(Message::Binary(bytes))) = socket.next().await {
            said.extend_from_slice(&bytes);
            if said.ends_with(b": ") || said.windows(2).any(|two| two == b"# ") {
                break;
            }
        }
        drop(socket);
        let (end, _) = cluster.handle.task_end(&text("upid")).await.expect("an end");
        (String::from_utf8_lossy(&said).into_owned(), end)
    };
    assert_eq!(open("TICKET\n").await, ("OKlogin: ".to_owned(), "OK".to_owned()));
    let (said, end) = open("nobody:TICKET\n").await;
    assert_eq!(said, "");
    assert!(end.starts_with("command '/usr/bin/termproxy ") && end.ends_with(" failed: exit code 1"), "{end}");
    client.done("POST", "/nodes/pve1/lxc/200/status/stop", &[]).await;
    assert_eq!(client.call("PUT", "/nodes/pve1/lxc/200/config", &[("cmode", "shell")]).await.status, 200);
    client.done("POST", "/nodes/pve1/lxc/200/status/start", &[]).await;
    let (said, _) = open("TICKET\n").await;
    assert!(said.starts_with("OK") && said.ends_with("/ # \u{1b}[6n"), "{said:?}");
}
