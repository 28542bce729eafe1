//! Conversion between the model and the container's options at Proxmox VE.

use super::appliance::Appliance;
use super::model::{Dispatcher, KnownDispatcher, KnownNetwork, Network};
use ownership::{Installation, Marker, tags};
use pve::{Config, Properties};

/// Mount point of the state volume in the appliance.
const STATE_DIRECTORY: &str = "/var/lib/pxci";
/// Option of the state volume.
pub(super) const STATE_VOLUME: &str = "mp0";
/// Size of the root file system in GiB, which holds a few MB of programs and does not grow.
const ROOT_SIZE: &str = "0.25";
/// Option of the network card.
pub(super) const NETWORK_CARD: &str = "net0";
/// Beginning of the line in the description that names the appliance.
const APPLIANCE_LINE: &str = "Appliance: ";

/// Returns the options of a new container. Tags are set later ([`missing_tags`]), because Proxmox VE checks tags at
/// creation against the rights on the VMID alone, not against those on the resource pool.
pub(super) fn options(model: &KnownDispatcher, marker: &Marker, with_state: bool) -> Vec<(&'static str, String)> {
    let storage = &model.storage;
    let appliance = model.appliance_volid.text().unwrap_or_default();
    let mut options = vec![
        ("ostemplate", appliance.to_owned()),
        ("rootfs", format!("{storage}:{ROOT_SIZE}")),
        ("pool", model.resource_pool.clone()),
        ("unprivileged", "1".to_owned()),
        // The console runs root's login shell, which is the dispatcher's console program.
        ("cmode", "shell".to_owned()),
        ("onboot", "1".to_owned()),
        ("description", description(marker, appliance)),
    ];
    if with_state {
        options.push((STATE_VOLUME, format!("{storage}:{},mp={STATE_DIRECTORY}", model.state_volume_size)));
    }
    options.extend(changeable(model, None));
    options
}

/// Returns the options that an update can change. The network card keeps its hardware address.
pub(super) fn changeable(model: &KnownDispatcher, hardware_address: Option<&str>) -> Vec<(&'static str, String)> {
    let mut options = vec![
        ("hostname", model.hostname.clone()),
        ("cores", model.cores.to_string()),
        ("memory", model.memory.to_string()),
        ("swap", model.swap.to_string()),
        (NETWORK_CARD, model.network.to_option(hardware_address)),
    ];
    if let Some(servers) = model.nameservers.as_ref().filter(|servers| !servers.is_empty()) {
        options.push(("nameserver", servers.join(" ")));
    }
    options
}

fn description(marker: &Marker, appliance: &str) -> String {
    format!("Dispatcher of GitHub Actions runners, managed by pxci.\n\n{APPLIANCE_LINE}{appliance}\n\n{marker}")
}

/// Returns the tags of the container with ours added. Returns `None` if it has ours already. Tags that people added are
/// kept.
pub(super) fn missing_tags(config: &Config, installation: &Installation) -> Option<String> {
    let current: Vec<String> = config
        .get("tags")
        .unwrap_or_default()
        .split([';', ',', ' '])
        .map(str::to_owned)
        .filter(|tag| !tag.is_empty())
        .collect();
    let missing = tags(installation, &[]).split(';').any(|tag| !current.iter().any(|own| own == tag));
    missing.then(|| tags(installation, &current))
}

/// Returns the volume id of the appliance that a container was made from.
pub(super) fn appliance_of(config: &Config) -> Option<&str> {
    config.description().lines().find_map(|line| line.trim().strip_prefix(APPLIANCE_LINE))
}

impl KnownNetwork {
    /// Returns the value of `net0`.
    fn to_option(&self, hardware_address: Option<&str>) -> String {
        let mut option = format!("name=eth0,bridge={},ip={}", self.bridge, self.ip);
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                option.push_str(&format!(",{key}={value}"));
            }
        };
        add("gw", self.gateway.clone());
        add("ip6", self.ip6.clone());
        add("gw6", self.gateway6.clone());
        add("tag", self.vlan.map(|tag| tag.to_string()));
        add("firewall", self.firewall.then(|| "1".to_owned()));
        add("hwaddr", hardware_address.map(str::to_owned));
        option
    }
}

impl Network {
    /// Reads the value of `net0`.
    pub(super) fn from_option(option: &str) -> Self {
        let option = Properties::parse(option);
        let value = |key: &str| option.get(key).map(str::to_owned);
        Self {
            bridge: value("bridge").into(),
            ip: value("ip").into(),
            gateway: value("gw").into(),
            ip6: value("ip6").into(),
            gateway6: value("gw6").into(),
            vlan: value("tag").and_then(|tag| tag.parse().ok()).into(),
            firewall: (value("firewall").as_deref() == Some("1")).into(),
        }
    }
}

/// Updates the state from the configuration at Proxmox VE.
pub(crate) fn observe(config: &Config, model: &mut Dispatcher) {
    let amount = |option: &str| config.number(option).and_then(|number| i64::try_from(number).ok());
    model.hostname = config.get("hostname").map(str::to_owned).into();
    // If an option is absent, Proxmox VE uses its default: all cores, 512 MiB of memory, 512 MiB of swap.
    model.cores = amount("cores").into();
    model.memory = amount("memory").or(Some(512)).into();
    model.swap = amount("swap").or(Some(512)).into();
    model.network = config.get(NETWORK_CARD).map(Network::from_option).into();
    let servers = config.get("nameserver").map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    if servers.is_some() || model.nameservers.known().is_some_and(|known| !known.is_empty()) {
        model.nameservers = servers.into();
    }
}

/// Sets the attributes that an import can read from the container.
pub(crate) fn import(config: &Config, model: &mut Dispatcher) {
    observe_storage(config, model);
    let Some(volid) = appliance_of(config) else { return };
    model.template_storage = volid.split_once(':').map(|(storage, _)| storage.to_owned()).into();
    model.appliance_volid = volid.into();
    // If the appliance is another one, its version is unknown, and the next plan shows a new appliance.
    if let Ok(appliance) = Appliance::load(None)
        && appliance.is_at(volid)
    {
        model.appliance_version = appliance.version.into();
        model.appliance_sha256 = appliance.sha256.into();
    }
}

/// Sets the storage of the root file system, and the size of the state volume.
pub(super) fn observe_storage(config: &Config, model: &mut Dispatcher) {
    let storage = |option: &str| {
        config.get(option).and_then(|value| value.split_once(':')).map(|(storage, _)| storage.to_owned())
    };
    model.storage = storage("rootfs").into();
    let size = config
        .get(STATE_VOLUME)
        .and_then(|option| Properties::parse(option).get("size"))
        .and_then(|size| size.strip_suffix('G'));
    model.state_volume_size = size.and_then(|size| size.parse::<i64>().ok()).into();
}

#[cfg(test)]
mod tests {
    use ownership::{Kind, Nonce, Owner};

    use super::*;

    const APPLIANCE: &str = "local:vztmpl/pxci-dispatcher-appliance_lab_0.1.0-abababababababab_amd64.tar.zst";

    fn model() -> KnownDispatcher {
        KnownDispatcher {
            hostname: "pxci-dispatcher".into(),
            resource_pool: "ci".into(),
            storage: "store".into(),
            template_storage: "local".into(),
            appliance_volid: APPLIANCE.into(),
            state_volume_size: 2,
            cores: 1,
            memory: 256,
            swap: 0,
            network: KnownNetwork { bridge: "vmbr0".into(), ip: "dhcp".into(), ..KnownNetwork::default() },
            ..KnownDispatcher::default()
        }
    }

    #[test]
    fn a_new_container_is_unprivileged_and_marked_and_has_a_state_volume() {
        let marker = Marker::new(
            "lab".parse().unwrap(),
            Owner::Provider,
            Kind::Dispatcher,
            ownership::Vmid::new(8100).unwrap(),
            Nonce::random(),
        );
        let all = options(&model(), &marker, true);
        let get = |name: &str| all.iter().find(|(option, _)| *option == name).map(|(_, value)| value.as_str());
        assert_eq!(get("unprivileged"), Some("1"));
        assert_eq!(get("cmode"), Some("shell"));
        assert_eq!(get("mp0"), Some("store:2,mp=/var/lib/pxci"));
        assert_eq!(get("net0"), Some("name=eth0,bridge=vmbr0,ip=dhcp"));
        assert_eq!(get("ostemplate"), Some(APPLIANCE));
        assert_eq!(get("tags"), None, "Proxmox VE refuses tags at creation if the token has rights on the pool alone");
        assert!(get("description").unwrap().contains(&format!("\nAppliance: {APPLIANCE}\n")));
        assert_eq!(Marker::find(get("description").unwrap()).unwrap(), Some(marker.clone()));
        assert!(options(&model(), &marker, false).iter().all(|(name, _)| *name != "mp0"));
    }

    #[test]
    fn tags_are_added_to_those_that_people_set() {
        let missing = |tags: &str| {
            let config = serde_json::from_value(serde_json::json!({ "tags": tags })).unwrap();
            missing_tags(&config, &"lab".parse().unwrap())
        };
        assert_eq!(missing(" ").as_deref(), Some("pxci;pxci-lab"));
        assert_eq!(missing("pxci;zoo").as_deref(), Some("pxci;pxci-lab;zoo"));
        assert_eq!(missing("pxci;pxci-lab;zoo"), None);
    }

    #[test]
    fn a_network_card_is_read_as_it_was_written() {
        let network = KnownNetwork {
            bridge: "vmbr1".into(),
            ip: "10.0.0.5/24".into(),
            gateway: Some("10.0.0.1".into()),
            ip6: Some("2001:db8::5/64".into()),
            gateway6: Some("fe80::1".into()),
            vlan: Some(7),
            firewall: true,
        };
        let option = network.to_option(Some("BC:24:11:00:00:01"));
        assert_eq!(Network::from_option(&format!("{option},type=veth")), Network::from(network));
    }
}
