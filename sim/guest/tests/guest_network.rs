//! The dispatcher's appliance as it is shipped, booted by its own init. Its network works with all settings of Proxmox
//! VE, and after every kind of stop.
//!
//! These tests need the appliance (`PXCI_APPLIANCE`), which `cargo xtask test` builds.
#![cfg(test)]

mod guest_lab;

use std::time::Duration;

use guest_lab::{DEADLINE, Lab, appliance};
use sim_backend::{Backend as _, ContainerSetup, ContainerStart, GuestEventKind, NetworkCard};
use tokio::io::AsyncWriteExt as _;

const ROOT: &str = "store:subvol-300-disk-0";
const VMID: u32 = 300;
/// Deadline for an init to halt.
const HALT_DEADLINE: Duration = Duration::from_secs(60);

/// An appliance that was created with one network card.
struct Appliance {
    lab: Lab,
    setup: ContainerSetup,
}

impl Appliance {
    async fn create(card: NetworkCard) -> Self {
        let card = NetworkCard {
            name: "eth0".to_owned(),
            bridge: "vmbr0".to_owned(),
            mac: "BC:24:11:00:03:00".to_owned(),
            ..card
        };
        let setup = ContainerSetup {
            hostname: "farm".to_owned(),
            networks: vec![card],
            node_name_servers: vec!["192.0.2.1".to_owned()],
            terminals: 2,
            ..ContainerSetup::default()
        };
        let lab = Lab::start().await;
        lab.guests.container_create(ROOT, appliance(), setup.clone()).await.unwrap();
        Self { lab, setup }
    }

    async fn boot(card: NetworkCard) -> Self {
        let appliance = Self::create(card).await;
        appliance.start().await;
        appliance
    }

    async fn start(&self) {
        let start =
            ContainerStart { vmid: VMID, rootfs: ROOT.to_owned(), mounts: Vec::new(), setup: self.setup.clone() };
        self.lab.guests.container_start(start, self.lab.sender.clone().into()).await.unwrap();
    }

    /// Runs a shell line inside. Returns true if it succeeded, and its output.
    async fn run(&self, line: &str) -> (bool, String) {
        let output = self.lab.guests.container_attach(VMID, &["/bin/busybox", "sh", "-c", line]).await.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Waits until a shell line succeeds.
    async fn until(&self, line: &str) {
        let waiting = async {
            while !self.run(line).await.0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, waiting).await.is_err() {
            let seen =
                self.run("busybox ip address; busybox ip route; busybox ps; cat /etc/network/interfaces").await.1;
            panic!("never so: {line}\n{seen}\n{:#?}", self.lab.guests.guest_log(VMID));
        }
    }

    /// Waits until the network is up and the node can be reached.
    async fn network_is_up(&self, address: &str) {
        self.until(&format!("busybox ip address show dev eth0 | busybox grep -q 'inet6\\? {address}'")).await;
        self.until("! busybox pidof network-up").await;
        let (_, processes) = self.run("busybox ps").await;
        assert!(!processes.contains("network-up"), "{processes}");
        self.until("busybox ping -c 1 -W 5 10.78.0.1").await;
    }
}

fn four(ip: &str) -> NetworkCard {
    NetworkCard { ip: Some(ip.to_owned()), ..NetworkCard::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_init_is_the_first_process_and_its_network_comes_up_by_dhcp() {
    let appliance = Appliance::boot(four("dhcp")).await;
    appliance.network_is_up("10.78.0.1[0-9][0-9]/24").await;
    appliance.until("busybox ip route | busybox grep -q 'default via 10.78.0.1'").await;
    let listed = appliance.lab.guests.container_interfaces(VMID).await.unwrap();
    let card = listed.as_array().unwrap().iter().find(|interface| interface["ifname"] == "eth0").unwrap();
    assert_eq!(card["address"], "bc:24:11:00:03:00");
    assert!(card["addr_info"].as_array().unwrap().iter().any(|address| address["family"] == "inet"), "{card}");
    let (_, processes) = appliance.run("busybox ps -o pid,args").await;
    let first = processes.lines().find(|line| line.trim_start().starts_with("1 ")).unwrap_or_default();
    assert!(first.contains("init"), "{processes}");
    assert!(processes.contains("getty 38400 tty2"), "{processes}");
    assert_eq!(appliance.run("busybox hostname").await.1, "farm");
    assert_eq!(appliance.run("busybox ip address show dev lo | busybox grep -c 'inet6\\?'").await.1, "2");
    appliance.lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_published_ports_can_be_reached_from_inside() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hidden = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"hello\n").await;
        }
    });
    let appliance = Appliance::boot(four("dhcp")).await;
    let inside = appliance.lab.guests.publish("127.0.0.1", service.port()).await.unwrap();
    appliance.network_is_up("10.78.0.1[0-9][0-9]/24").await;
    let said = format!("busybox nc -w 5 {} {} </dev/null", inside.ip(), inside.port());
    assert_eq!(appliance.run(&said).await.1, "hello");
    appliance.lab.guests.publish("service.example", 443).await.unwrap();
    appliance.until("busybox nslookup service.example 10.78.0.1 | busybox grep -q 'Address: 10.78.0.1$'").await;
    let port = hidden.local_addr().unwrap().port();
    for address in ["127.0.0.1", "10.78.0.1"] {
        let (reached, _) = appliance.run(&format!("busybox nc -w 5 {address} {port} </dev/null")).await;
        assert!(!reached, "{address}:{port}");
    }
    appliance.lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_comes_up_again_after_a_stop_and_the_files_stay() {
    let appliance = Appliance::boot(four("dhcp")).await;
    appliance.network_is_up("10.78.0.1").await;
    assert!(appliance.run("echo kept > /root/mark && echo gone > /run/mark").await.0);
    appliance.lab.guests.container_stop(VMID).await;
    appliance.start().await;
    appliance.network_is_up("10.78.0.1").await;
    assert_eq!(appliance.run("cat /root/mark; cat /run/mark").await.1, "kept");
    appliance.lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_comes_up_again_after_a_shutdown_and_with_another_name_and_address() {
    let mut appliance = Appliance::boot(four("dhcp")).await;
    appliance.network_is_up("10.78.0.1").await;
    assert!(appliance.lab.guests.container_shutdown(VMID, HALT_DEADLINE).await, "init must answer the signal");
    appliance.setup.hostname = "other".to_owned();
    appliance.setup.networks[0].ip = Some("10.78.0.55/24".to_owned());
    appliance.start().await;
    appliance.network_is_up("10.78.0.55/24").await;
    assert_eq!(appliance.run("busybox hostname").await.1, "other");
    assert!(appliance.run("busybox grep -q '^10.78.0.55 other$' /etc/hosts").await.0);
    assert_eq!(appliance.lab.events.try_recv().ok(), None, "it did not end by itself");
    appliance.lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_off_and_a_reboot_are_distinguished() {
    let mut appliance = Appliance::boot(four("dhcp")).await;
    appliance.network_is_up("10.78.0.1").await;
    // The status of these commands does not matter, because init may end them with all other processes.
    appliance.run("busybox reboot").await;
    appliance.lab.wait_for(VMID, GuestEventKind::Rebooted).await;
    appliance.start().await;
    appliance.network_is_up("10.78.0.1").await;
    appliance.run("busybox poweroff").await;
    appliance.lab.wait_for(VMID, GuestEventKind::PoweredOff).await;
    appliance.lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_address_works_with_its_gateway() {
    let card = NetworkCard { gateway: Some("10.78.0.1".to_owned()), ..four("10.78.0.50/24") };
    let appliance = Appliance::boot(card).await;
    appliance.network_is_up("10.78.0.50/24").await;
    assert!(appliance.run("busybox ip route | busybox grep -q 'default via 10.78.0.1'").await.0);
    appliance.lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_address_works_with_a_gateway_outside_of_its_subnet() {
    let card = NetworkCard { gateway: Some("10.78.0.1".to_owned()), ..four("10.79.0.50/32") };
    let appliance = Appliance::boot(card).await;
    appliance.until("busybox ip route | busybox grep -q 'default via 10.78.0.1'").await;
    appliance.until("! busybox pidof network-up").await;
    appliance.lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_ipv6_address_with_dhcp_for_ipv4_keeps_its_own_gateway() {
    let card =
        NetworkCard { ip6: Some("fd78::50/64".to_owned()), gateway6: Some("fd78::1".to_owned()), ..four("dhcp") };
    let appliance = Appliance::boot(card).await;
    appliance.network_is_up("fd78::50/64").await;
    appliance.network_is_up("10.78.0.1[0-9][0-9]/24").await;
    appliance.until("busybox ip -6 route | busybox grep -q 'default via fd78::1'").await;
    appliance.until("busybox ping6 -c 1 -W 5 fd78::1").await;
    appliance.lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_address_comes_from_router_advertisements() {
    let card = NetworkCard { ip6: Some("auto".to_owned()), ..NetworkCard::default() };
    let appliance = Appliance::boot(card).await;
    appliance.until("busybox ip address show dev eth0 | busybox grep -q 'inet6 fd78:.*scope global'").await;
    appliance.until("! busybox pidof network-up").await;
    appliance.until("busybox ping6 -c 1 -W 5 fd78::1").await;
    appliance.lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_card_is_up_without_an_address() {
    let appliance = Appliance::boot(four("manual")).await;
    appliance.until("busybox ip link show dev eth0 | busybox grep -q 'UP'").await;
    appliance.until("! busybox pidof network-up").await;
    assert!(!appliance.run("busybox ip address show dev eth0 | busybox grep -q 'inet '").await.0);
    appliance.lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_waits_for_a_late_dhcp_server() {
    let appliance = Appliance::create(four("dhcp")).await;
    appliance.lab.guests.stop_dhcp().await.unwrap();
    appliance.start().await;
    appliance.lab.wait_for_log(VMID, "no lease, failing").await;
    assert!(appliance.run("busybox pidof network-up").await.0, "it must go on trying");
    appliance.lab.guests.start_dhcp().await.unwrap();
    appliance.network_is_up("10.78.0.1").await;
    appliance.lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn name_servers_of_proxmox_ve_take_precedence_and_those_of_dhcp_follow_the_lease() {
    let mut appliance = Appliance::boot(four("dhcp")).await;
    appliance.network_is_up("10.78.0.1").await;
    assert_eq!(appliance.run("busybox grep ^nameserver /etc/resolv.conf").await.1, "nameserver 192.0.2.1");

    appliance.lab.guests.container_stop(VMID).await;
    appliance.setup.node_name_servers.clear();
    appliance.lab.guests.container_create(ROOT, guest_lab::appliance(), appliance.setup.clone()).await.unwrap();
    appliance.start().await;
    appliance.until("busybox grep -q '^nameserver 10.78.0.1$' /etc/resolv.conf").await;
    // An earlier lease may have had another name server.
    assert!(appliance.run("busybox sed -i s/10.78.0.1/192.0.2.9/ /etc/resolv.conf").await.0);
    appliance.lab.guests.container_stop(VMID).await;
    appliance.start().await;
    appliance.until("busybox grep -q '^nameserver 10.78.0.1$' /etc/resolv.conf").await;
    appliance.lab.guests.end().await;
}
