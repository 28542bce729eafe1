//! The files of a container, by release and by the settings of its network cards.

use super::interfaces::{Notation, edit};
use super::{after_create, before_start, release};
use sim_backend::{ContainerSetup, NetworkCard};

fn card(ip: Option<&str>, gateway: Option<&str>) -> NetworkCard {
    NetworkCard {
        name: "eth0".to_owned(),
        bridge: "vmbr0".to_owned(),
        ip: ip.map(str::to_owned),
        gateway: gateway.map(str::to_owned),
        ..NetworkCard::default()
    }
}

fn card6(ip6: &str, gateway6: Option<&str>) -> NetworkCard {
    NetworkCard { ip6: Some(ip6.to_owned()), gateway6: gateway6.map(str::to_owned), ..card(None, None) }
}

fn written(card: NetworkCard, notation: Notation) -> String {
    edit(Some("auto lo\n"), &[card], notation).unwrap()
}

#[test]
fn a_fixed_address_is_written_with_a_netmask_before_release_3_13_and_with_a_prefix_since() {
    let four = card(Some("10.0.0.5/20"), Some("10.0.0.1"));
    assert_eq!(
        written(four.clone(), Notation::Netmask),
        "auto lo\n\nauto eth0\niface eth0 inet static\n\taddress 10.0.0.5\n\tnetmask 255.255.240.0\n\tgateway 10.0.0.1\n\n"
    );
    assert_eq!(
        written(four, Notation::Prefix),
        "auto lo\n\nauto eth0\niface eth0 inet static\n\taddress 10.0.0.5/20\n\tgateway 10.0.0.1\n\n"
    );
    let six = card6("fd00::5/64", Some("fd00::1"));
    assert_eq!(
        written(six.clone(), Notation::Netmask),
        "auto lo\n\nauto eth0\niface eth0 inet6 static\n\taddress fd00::5\n\tnetmask 64\n\tgateway fd00::1\n\n"
    );
    assert_eq!(
        written(six, Notation::Prefix),
        "auto lo\n\nauto eth0\niface eth0 inet6 static\n\taddress fd00::5/64\n\tgateway fd00::1\n\n"
    );
}

#[test]
fn dhcp_and_manual_are_methods() {
    assert!(written(card(Some("dhcp"), None), Notation::Netmask).ends_with("auto eth0\niface eth0 inet dhcp\n\n"));
    assert!(written(card(Some("manual"), None), Notation::Netmask).ends_with("auto eth0\niface eth0 inet manual\n\n"));
}

#[test]
fn alpine_gets_no_dhcp_and_no_slaac_for_ipv6() {
    for method in ["auto", "dhcp", "manual"] {
        let card = release::as_alpine_can(&card6(method, None));
        assert!(written(card, Notation::Netmask).ends_with("auto eth0\niface eth0 inet6 manual\n\n"));
    }
}

#[test]
fn a_gateway_outside_of_the_subnet_gets_routes_which_the_next_start_replaces() {
    let outside = card(Some("10.0.0.5/24"), Some("10.9.9.9"));
    let first = written(outside.clone(), Notation::Netmask);
    assert!(first.contains("# --- BEGIN PVE ---\n\tpost-up ip route add 10.9.9.9 dev eth0\n"), "{first}");
    assert!(!first.contains("gateway"), "{first}");
    assert_eq!(edit(Some(&first), &[outside], Notation::Netmask).unwrap(), first);
    let inside = edit(Some(&first), &[card(Some("10.0.0.5/24"), Some("10.0.0.1"))], Notation::Netmask).unwrap();
    assert!(inside.contains("\tgateway 10.0.0.1\n") && !inside.contains("post-up"), "{inside}");
}

#[test]
fn a_link_local_gateway_needs_no_route() {
    assert!(written(card6("fd00::5/64", Some("fe80::1")), Notation::Netmask).contains("\tgateway fe80::1\n"));
}

#[test]
fn the_loopback_device_is_added_only_if_the_archive_does_not_set_it_up() {
    let text = edit(None, &[card(Some("dhcp"), None)], Notation::Netmask).unwrap();
    assert!(text.starts_with("auto lo\niface lo inet loopback\niface lo inet6 loopback\n\nauto eth0\n"), "{text}");
    let own = "auto lo\niface lo inet manual\n\tup ip link set dev lo up\n";
    let text = edit(Some(own), &[card(Some("dhcp"), None)], Notation::Netmask).unwrap();
    assert_eq!(text, format!("{own}\nauto eth0\niface eth0 inet dhcp\n\n"));
}

#[test]
fn other_interfaces_and_own_options_stay_when_an_address_changes() {
    let old = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n\taddress 10.0.0.5\n\tnetmask 255.255.255.0\n\tmtu 1400\n\niface dummy0 inet manual\n\tup true\n";
    let text = edit(Some(old), &[card(Some("10.0.0.6/24"), None)], Notation::Netmask).unwrap();
    assert_eq!(
        text,
        "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n\taddress 10.0.0.6\n\tnetmask 255.255.255.0\n\tmtu 1400\n\niface dummy0 inet manual\n\tup true\n"
    );
}

#[test]
fn a_card_without_any_address_is_not_written() {
    assert_eq!(edit(Some("auto lo\n"), &[card(None, None)], Notation::Netmask), None);
}

fn setup(ip: &str) -> ContainerSetup {
    ContainerSetup {
        hostname: "farm".to_owned(),
        networks: vec![card(Some(ip), None)],
        node_search: "lab".to_owned(),
        node_name_servers: vec!["192.0.2.1".to_owned()],
        terminals: 2,
        ..ContainerSetup::default()
    }
}

struct Files(tempfile::TempDir);

impl Files {
    fn of(release: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        let files = Self(directory);
        files.put("etc/os-release", "NAME=x\nID=alpine\n");
        files.put("etc/alpine-release", release);
        files.put("etc/inittab", "::respawn:/bin/x\n");
        files
    }

    fn put(&self, path: &str, text: &str) {
        std::fs::write(self.0.path().join(path), text).unwrap();
    }

    fn get(&self, path: &str) -> String {
        std::fs::read_to_string(self.0.path().join(path)).unwrap()
    }
}

#[test]
fn a_new_container_gets_all_files() {
    let files = Files::of("3.12.0\n");
    after_create(files.0.path(), &setup("dhcp")).unwrap();
    assert_eq!(files.get("etc/hostname"), "farm\n");
    assert_eq!(
        files.get("etc/hosts"),
        "# --- BEGIN PVE ---\n127.0.0.1 localhost.localnet localhost\n::1 localhost.localnet localhost\n127.0.1.1 farm.lab farm\n# --- END PVE ---\n"
    );
    assert_eq!(
        files.get("etc/resolv.conf"),
        "# --- BEGIN PVE ---\nsearch lab\nnameserver 192.0.2.1\n# --- END PVE ---\n"
    );
    assert!(files.get("etc/network/interfaces").contains("iface eth0 inet dhcp\n"));
    assert!(files.get("etc/inittab").ends_with("tty2::respawn:/sbin/getty 38400 tty2\n"));
    assert!(!files.0.path().join("fastboot").exists(), "only a start writes it");
}

#[test]
fn a_start_uses_the_current_configuration() {
    let files = Files::of("3.20.0\n");
    after_create(files.0.path(), &setup("dhcp")).unwrap();
    let mut changed = setup("10.0.0.5/24");
    changed.hostname = "other.example".to_owned();
    changed.nameserver = Some("192.0.2.7 192.0.2.8".to_owned());
    changed.searchdomain = Some("example".to_owned());
    before_start(files.0.path(), &changed).unwrap();
    assert_eq!(files.get("etc/hostname"), "other\n");
    assert!(files.get("etc/hosts").contains("\n10.0.0.5 other.example other\n"), "{}", files.get("etc/hosts"));
    assert!(!files.get("etc/hosts").contains("farm"));
    assert_eq!(
        files.get("etc/resolv.conf"),
        "# --- BEGIN PVE ---\nsearch example\nnameserver 192.0.2.7\nnameserver 192.0.2.8\n# --- END PVE ---\n"
    );
    assert!(files.get("etc/network/interfaces").contains("\taddress 10.0.0.5/24\n"));
    assert_eq!(files.get("fastboot"), "");
}

#[test]
fn name_servers_of_dhcp_stay_if_neither_the_container_nor_its_node_has_any() {
    let files = Files::of("3.12.0\n");
    files.put("etc/resolv.conf", "nameserver 192.0.2.9\n");
    let setup = ContainerSetup { node_search: String::new(), node_name_servers: Vec::new(), ..setup("dhcp") };
    before_start(files.0.path(), &setup).unwrap();
    assert_eq!(files.get("etc/resolv.conf"), "nameserver 192.0.2.9\n");
}

#[test]
fn a_system_that_is_not_alpine_is_left_alone() {
    let files = Files::of("3.12.0\n");
    files.put("etc/os-release", "ID=something\n");
    before_start(files.0.path(), &setup("dhcp")).unwrap();
    assert!(!files.0.path().join("etc/hostname").exists());
    assert_eq!(files.get("etc/inittab"), "::respawn:/bin/x\n");
}
