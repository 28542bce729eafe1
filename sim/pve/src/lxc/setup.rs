//! The settings of a container that its configuration files are written from.

use std::collections::BTreeMap;

use crate::world::drives;
use sim_backend::{ContainerSetup, NetworkCard};

/// Search domain of every node.
const NODE_SEARCH: &str = "lab";

/// Number of terminals of a container whose configuration does not set it.
const TERMINALS: u32 = 2;

/// Returns the settings of a container with this configuration, on a node with these name servers.
pub(crate) fn of(config: &BTreeMap<String, String>, hostname: &str, node_name_servers: Vec<String>) -> ContainerSetup {
    ContainerSetup {
        hostname: hostname.to_owned(),
        networks: cards(config),
        nameserver: config.get("nameserver").cloned(),
        searchdomain: config.get("searchdomain").cloned(),
        node_search: NODE_SEARCH.to_owned(),
        node_name_servers,
        terminals: config.get("tty").and_then(|count| count.parse().ok()).unwrap_or(TERMINALS),
    }
}

/// Returns the network cards of a container with this configuration.
pub(crate) fn cards(config: &BTreeMap<String, String>) -> Vec<NetworkCard> {
    config.iter().filter(|(key, _)| drives::is_net(key)).map(|(key, value)| network(key, value)).collect()
}

fn network(key: &str, value: &str) -> NetworkCard {
    let mut fields = drives::parse(value);
    NetworkCard {
        index: key.trim_start_matches("net").parse().unwrap_or_default(),
        name: fields.remove("name").unwrap_or_default(),
        bridge: fields.remove("bridge").unwrap_or_default(),
        mac: fields.remove("hwaddr").unwrap_or_default(),
        link_down: fields.remove("link_down").is_some_and(|flag| flag == "1"),
        ip: fields.remove("ip"),
        gateway: fields.remove("gw"),
        ip6: fields.remove("ip6"),
        gateway6: fields.remove("gw6"),
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn cards_and_name_servers_come_from_the_configuration() {
        let config = [
            ("net0", "name=eth0,bridge=vmbr0,gw=10.0.0.1,hwaddr=BC:24:11:00:00:01,ip=10.0.0.5/24,type=veth"),
            ("net1", "name=eth1,bridge=vmbr1,ip6=auto,link_down=1,type=veth"),
            ("nameserver", "192.0.2.1"),
        ];
        let setup = of(&config.map(|(key, value)| (key.to_owned(), value.to_owned())).into(), "farm", Vec::new());
        assert_eq!((setup.hostname.as_str(), setup.terminals, setup.networks.len()), ("farm", 2, 2));
        assert_eq!(setup.nameserver.as_deref(), Some("192.0.2.1"));
        let [first, second] = &setup.networks[..] else { panic!("two cards") };
        assert_eq!((first.index, first.name.as_str(), first.mac.as_str()), (0, "eth0", "BC:24:11:00:00:01"));
        assert_eq!((first.ip.as_deref(), first.gateway.as_deref()), (Some("10.0.0.5/24"), Some("10.0.0.1")));
        assert_eq!((second.index, second.bridge.as_str(), second.link_down), (1, "vmbr1", true));
        assert_eq!((second.ip.as_deref(), second.ip6.as_deref()), (None, Some("auto")));
    }
}
