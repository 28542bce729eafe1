//! `/etc/network/interfaces`, as `PVE::LXC::Setup::Debian` edits it. Alpine uses the same code.
//!
//! Lines of interfaces that Proxmox VE does not know stay. The stanza of a known interface is rewritten in its place
//! and keeps the options that are not about its address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::section;
use sim_backend::NetworkCard;

/// Notation of a fixed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    /// `address 10.0.0.5/24`.
    Prefix,
    /// `address 10.0.0.5` and `netmask 255.255.255.0`, or `netmask 64` for IPv6.
    Netmask,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Four,
    Six,
}

impl Family {
    fn word(self) -> &'static str {
        match self {
            Self::Four => "inet",
            Self::Six => "inet6",
        }
    }

    /// Returns the words that name a method in place of an address.
    fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Four => &["dhcp", "manual"],
            Self::Six => &["auto", "dhcp", "manual"],
        }
    }
}

/// A stanza that is being read.
#[derive(Debug)]
struct Stanza<'a> {
    interface: &'a str,
    family: Family,
    options: Vec<&'a str>,
}

impl<'a> Stanza<'a> {
    fn new(interface: &'a str, family: Family) -> Self {
        Self { interface, family, options: Vec::new() }
    }
}

#[derive(Debug)]
struct Writer<'a> {
    networks: BTreeMap<&'a str, &'a NetworkCard>,
    notation: Notation,
    text: String,
    automatic: BTreeSet<String>,
    written: BTreeSet<(Family, String)>,
}

/// Returns the file for these networks, or `None` if it stays unchanged.
pub(super) fn edit(old: Option<&str>, networks: &[NetworkCard], notation: Notation) -> Option<String> {
    let says_something = |network: &&NetworkCard| {
        [&network.ip, &network.gateway, &network.ip6, &network.gateway6].into_iter().any(Option::is_some)
    };
    let networks: BTreeMap<&str, &NetworkCard> =
        networks.iter().filter(says_something).map(|network| (network.name.as_str(), network)).collect();
    if networks.is_empty() {
        return None;
    }
    let mut writer =
        Writer { networks, notation, text: String::new(), automatic: BTreeSet::new(), written: BTreeSet::new() };
    writer.rewrite(old.unwrap_or_default());
    writer.add_missing();
    let loopback = "auto lo\niface lo inet loopback\niface lo inet6 loopback\n\n";
    Some(if writer.automatic.contains("lo") { writer.text } else { format!("{loopback}{}", writer.text) })
}

impl Writer<'_> {
    fn rewrite(&mut self, old: &str) {
        let mut open: Option<Stanza<'_>> = None;
        for line in old.lines() {
            if section::is_any_mark(line) {
                open.iter_mut().for_each(|stanza| stanza.options.push(line));
            } else if line.starts_with('#') {
                self.copy(line);
            } else if line.trim().is_empty() {
                match open.take() {
                    Some(stanza) => self.finish(&stanza),
                    None => self.copy(line),
                }
            } else if let Some((interface, family)) = stanza_head(line) {
                self.finish_any(open.take());
                if self.networks.contains_key(interface) {
                    open = Some(Stanza::new(interface, family));
                } else {
                    self.copy(line);
                }
            } else if let Some(interfaces) = line.trim_start().strip_prefix("auto") {
                self.automatic.extend(interfaces.split_whitespace().map(str::to_owned));
                self.finish_any(open.take());
                self.copy(line);
            } else if ends_a_stanza(line) {
                self.finish_any(open.take());
                self.copy(line);
            } else if let Some(stanza) = open.as_mut().filter(|_| line.trim().contains(char::is_whitespace)) {
                if !is_about_the_address(line) {
                    stanza.options.push(line.trim_start());
                }
            } else {
                self.copy(line);
            }
        }
        self.finish_any(open);
    }

    fn add_missing(&mut self) {
        let mut needs_separator = !self.text.is_empty() && !self.text.ends_with("\n\n");
        for (name, network) in self.networks.clone() {
            for (family, address) in [(Family::Four, &network.ip), (Family::Six, &network.ip6)] {
                if address.is_none() || self.written.contains(&(family, name.to_owned())) {
                    continue;
                }
                if std::mem::take(&mut needs_separator) {
                    self.text.push('\n');
                }
                self.finish(&Stanza::new(name, family));
            }
        }
    }

    fn copy(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn finish_any(&mut self, stanza: Option<Stanza<'_>>) {
        if let Some(stanza) = stanza {
            self.finish(&stanza);
        }
    }

    fn finish(&mut self, stanza: &Stanza<'_>) {
        let Stanza { interface, family, ref options } = *stanza;
        let Some(network) = self.networks.get(interface).copied() else { return };
        if self.automatic.insert(interface.to_owned()) {
            self.copy(&format!("auto {interface}"));
        }
        self.written.insert((family, interface.to_owned()));
        let (address, gateway) = match family {
            Family::Four => (&network.ip, &network.gateway),
            Family::Six => (&network.ip6, &network.gateway6),
        };
        let Some(address) = address.as_deref() else { return };
        if family.methods().contains(&address) {
            self.copy(&format!("iface {interface} {} {address}\n", family.word()));
            return;
        }
        self.copy(&format!("iface {interface} {} static", family.word()));
        self.address(address, family);
        if let Some(gateway) = gateway {
            if is_reachable(gateway, address) {
                self.copy(&format!("\tgateway {gateway}"));
            } else {
                self.text.push_str(&routes(interface, gateway));
            }
        }
        for option in without_routes(options) {
            self.copy(&format!("\t{option}"));
        }
        self.text.push('\n');
    }

    fn address(&mut self, address: &str, family: Family) {
        match (self.notation, address.split_once('/')) {
            (Notation::Prefix, _) | (_, None) => self.copy(&format!("\taddress {address}")),
            (Notation::Netmask, Some((host, prefix))) => {
                self.copy(&format!("\taddress {host}"));
                let mask = match (family, prefix.parse()) {
                    (Family::Four, Ok(prefix)) => netmask(prefix).to_string(),
                    _ => prefix.to_owned(),
                };
                self.copy(&format!("\tnetmask {mask}"));
            }
        }
    }
}

/// Returns the interface and family of an `iface` line.
fn stanza_head(line: &str) -> Option<(&str, Family)> {
    let mut words = line.split_whitespace();
    let (keyword, interface, family, _method) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let family = match family {
        "inet" => Family::Four,
        "inet6" => Family::Six,
        _ => return None,
    };
    (keyword == "iface" && words.next().is_none()).then_some((interface, family))
}

fn ends_a_stanza(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("allow-")
        || matches!(line.split_whitespace().next(), Some("mapping" | "source" | "source-directory"))
}

fn is_about_the_address(line: &str) -> bool {
    matches!(line.split_whitespace().next(), Some("address" | "netmask" | "gateway" | "broadcast"))
}

/// Returns the options without those that an earlier start wrote for a gateway outside of the subnet.
fn without_routes<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let mut ours = false;
    let mut kept = Vec::new();
    for option in options {
        if section::opens(option) {
            ours = true;
        } else if section::closes(option) {
            ours = false;
        } else if !ours {
            kept.push(*option);
        }
    }
    kept
}

/// Returns the commands for a gateway outside of the subnet.
fn routes(interface: &str, gateway: &str) -> String {
    section::marked(&format!(
        "\tpost-up ip route add {gateway} dev {interface}\n\tpost-up ip route add default via {gateway} dev {interface}\n\tpre-down ip route del default via {gateway} dev {interface}\n\tpre-down ip route del {gateway} dev {interface}\n"
    ))
}

/// Returns true if the gateway is in the address's subnet, or is an IPv6 link-local address and so on the link.
fn is_reachable(gateway: &str, address: &str) -> bool {
    let Some((host, prefix)) = address.split_once('/') else { return false };
    let Ok(prefix) = prefix.parse::<u32>() else { return false };
    if let (Ok(gateway), Ok(host)) = (gateway.parse::<Ipv4Addr>(), host.parse::<Ipv4Addr>()) {
        let mask = u32::from(netmask(prefix));
        return u32::from(gateway) & mask == u32::from(host) & mask;
    }
    if let (Ok(gateway), Ok(host)) = (gateway.parse::<Ipv6Addr>(), host.parse::<Ipv6Addr>()) {
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
        return gateway.is_unicast_link_local() || u128::from(gateway) & mask == u128::from(host) & mask;
    }
    false
}

fn netmask(prefix: u32) -> Ipv4Addr {
    u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0).into()
}
