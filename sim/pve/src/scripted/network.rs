//! Addresses of scripted guests: one DHCP server for all of them, and the lists of interfaces that each guest reports.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};
use sim_backend::NetworkCard;

/// Number of addresses in a network. The last part begins at 100, because nodes have the addresses before.
const HOSTS: u32 = 150;

/// The DHCP server. A card keeps its address, and no other card gets it.
#[derive(Debug, Default)]
pub(super) struct Leases(HashMap<String, u32>);

impl Leases {
    fn address(&mut self, mac: &str) -> Ipv4Addr {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let number = *self.0.entry(mac.to_owned()).or_insert(next);
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 78, 0, 100)) + number / HOSTS * 256 + number % HOSTS)
    }
}

/// A network interface as its guest sees it.
struct Interface {
    name: String,
    mac: String,
    /// Address with its prefix length.
    four: Option<(String, u8)>,
    six: Vec<(String, u8)>,
}

impl Interface {
    fn loopback() -> Self {
        Self {
            name: "lo".to_owned(),
            mac: "00:00:00:00:00:00".to_owned(),
            four: Some(("127.0.0.1".to_owned(), 8)),
            six: vec![("::1".to_owned(), 128)],
        }
    }

    fn of(card: &NetworkCard, leases: &mut Leases) -> Self {
        let mac = card.mac.to_lowercase();
        let up = !card.link_down;
        let four = card.ip.as_deref().filter(|_| up).and_then(|ip| match ip {
            "dhcp" => Some((leases.address(&mac).to_string(), 24)),
            fixed => with_prefix(fixed),
        });
        let fixed = card.ip6.as_deref().filter(|_| up).and_then(with_prefix);
        // A configured card also has a link-local address.
        let own = (four.is_some() || fixed.is_some()).then(|| (link_local(&mac).to_string(), 64));
        Self { name: card.name.clone(), mac, four, six: fixed.into_iter().chain(own).collect() }
    }
}

fn interfaces(cards: &[NetworkCard], leases: &mut Leases) -> Vec<Interface> {
    std::iter::once(Interface::loopback()).chain(cards.iter().map(|card| Interface::of(card, leases))).collect()
}

/// Lists interfaces in the form of QEMU's guest agent.
pub(super) fn as_agent_lists(cards: &[NetworkCard], leases: &mut Leases) -> Value {
    let zero = json!({ "rx-bytes": 0, "rx-dropped": 0, "rx-errs": 0, "rx-packets": 0, "tx-bytes": 0, "tx-dropped": 0, "tx-errs": 0, "tx-packets": 0 });
    let described = |(address, prefix): &(String, u8), kind: &str| json!({ "ip-address": address, "ip-address-type": kind, "prefix": prefix });
    let row = |interface: Interface| {
        let four = interface.four.iter().map(|address| described(address, "ipv4"));
        let addresses: Vec<Value> =
            four.chain(interface.six.iter().map(|address| described(address, "ipv6"))).collect();
        let mut row = json!({ "name": interface.name, "hardware-address": interface.mac, "statistics": zero });
        if !addresses.is_empty() {
            row["ip-addresses"] = json!(addresses);
        }
        row
    };
    interfaces(cards, leases).into_iter().map(row).collect()
}

/// Lists interfaces in the form of `ip -json address`.
pub(super) fn as_ip_lists(cards: &[NetworkCard], leases: &mut Leases) -> Value {
    let described = |(address, prefix): &(String, u8), family: &str| json!({ "family": family, "local": address, "prefixlen": prefix });
    let row = |interface: Interface| {
        let four = interface.four.iter().map(|address| described(address, "inet"));
        let addresses: Vec<Value> =
            four.chain(interface.six.iter().map(|address| described(address, "inet6"))).collect();
        json!({ "ifname": interface.name, "address": interface.mac, "addr_info": addresses })
    };
    interfaces(cards, leases).into_iter().map(row).collect()
}

fn with_prefix(text: &str) -> Option<(String, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.to_owned(), prefix.parse().ok()?))
}

/// Returns the link-local address that the kernel gives to a card (RFC 4291, appendix A).
fn link_local(mac: &str) -> Ipv6Addr {
    let octet =
        |index: usize| mac.split(':').nth(index).and_then(|text| u16::from_str_radix(text, 16).ok()).unwrap_or(0);
    let pair = |high: u16, low: u16| high << 8 | low;
    let identifier =
        [pair(octet(0) ^ 2, octet(1)), pair(octet(2), 0xff), pair(0xfe, octet(3)), pair(octet(4), octet(5))];
    Ipv6Addr::new(0xfe80, 0, 0, 0, identifier[0], identifier[1], identifier[2], identifier[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_keeps_its_address_and_does_not_share_it() {
        let mut leases = Leases::default();
        let addresses: Vec<Ipv4Addr> = (0..1000).map(|number| leases.address(&number.to_string())).collect();
        let different: std::collections::BTreeSet<&Ipv4Addr> = addresses.iter().collect();
        assert_eq!(different.len(), addresses.len());
        assert_eq!(leases.address("7"), addresses[7]);
        assert_eq!((addresses[0], addresses[150]), (Ipv4Addr::new(10, 78, 0, 100), Ipv4Addr::new(10, 78, 1, 100)));
    }
}
