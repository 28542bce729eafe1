//! A container's options as Proxmox VE writes them, made from the model and read back into it.

use super::appliance::Appliance;
use super::model::{Dispatcher, KnownDispatcher, KnownNetwork, Network};
use ownership::{Installation, Marker, tags};
use pve::{Config, Properties};

/// Where the appliance keeps its state; the volume there outlives the container.
const STATE: &str = "/var/lib/pxci";
pub(super) const STATE_VOLUME: &str = "mp0";
/// GiB: programs of a few MB, and nothing that grows.
const ROOT_SIZE: &str = "0.25";
pub(super) const NETWORK_CARD: &str = "net0";
/// Begins the line of the description that says what the container was made from.
const APPLIANCE_LINE: &str = "Appliance: ";

/// Options of a new container. Tags are not among them: at creation Proxmox VE judges them by the rights on the VMID alone,
/// whatever the token may do in the resource pool. [`missing_tags`] come afterwards.
pub(super) fn options(model: &KnownDispatcher, marker: &Marker, with_state: bool) -> Vec<(&'static str, String)> {
    let storage = &model.storage;
    let appliance = model.appliance_volid.text().unwrap_or_default();
    let mut options = vec![
        ("ostemplate", appliance.to_owned()),
        ("rootfs", format!("{storage}:{ROOT_SIZE}")),
        ("pool", model.resource_pool.clone()),
        ("unprivileged", "1".to_owned()),
        // The console then runs root's login shell, which is the dispatcher's console program.
        ("cmode", "shell".to_owned()),
        ("onboot", "1".to_owned()),
        ("description", description(marker, appliance)),
    ];
    if with_state {
        options.push((STATE_VOLUME, format!("{storage}:{},mp={STATE}", model.state_volume_size)));
    }
    options.extend(changeable(model, None));
    options
}

/// What can differ between two applies, as Proxmox VE's options. A card keeps its hardware address.
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

/// Tags of the container with ours among them; `None` if it has ours already. Those that people added stay.
pub(super) fn missing_tags(config: &Config, installation: &Installation) -> Option<String> {
    let present: Vec<String> = config
        .get("tags")
        .unwrap_or_default()
        .split([';', ',', ' '])
        .map(str::to_owned)
        .filter(|tag| !tag.is_empty())
        .collect();
    let missing = tags(installation, &[]).split(';').any(|tag| !present.iter().any(|own| own == tag));
    missing.then(|| tags(installation, &present))
}

/// Volume id of the appliance that a container was made from.
pub(super) fn appliance_of(config: &Config) -> Option<&str> {
    config.description().lines().find_map(|line| line.trim().strip_prefix(APPLIANCE_LINE))
}

impl KnownNetwork {
    /// The value of `net0`.
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

/// Takes what Proxmox VE says into the state.
pub(crate) fn take_over(config: &Config, model: &mut Dispatcher) {
    let amount = |option: &str| config.number(option).and_then(|number| i64::try_from(number).ok());
    model.hostname = config.get("hostname").map(str::to_owned).into();
    // An absent option is the default of Proxmox VE: all cores, 512 MiB, as much swap.
    model.cores = amount("cores").into();
    model.memory = amount("memory").or(Some(512)).into();
    model.swap = amount("swap").or(Some(512)).into();
    model.network = config.get(NETWORK_CARD).map(Network::from_option).into();
    let servers = config.get("nameserver").map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    if servers.is_some() || model.nameservers.known().is_some_and(|known| !known.is_empty()) {
        model.nameservers = servers.into();
    }
}

/// What an import can learn from the container alone.
pub(crate) fn adopt(config: &Config, model: &mut Dispatcher) {
    adopt_storage(config, model);
    let Some(volid) = appliance_of(config) else { return };
    model.template_storage = volid.split_once(':').map(|(storage, _)| storage.to_owned()).into();
    model.appliance_volid = volid.into();
    // Of another appliance only the place is known: the next plan shows that a new one takes over.
    if let Ok(appliance) = Appliance::load(None)
        && appliance.is_at(volid)
    {
        model.appliance_version = appliance.version.into();
        model.appliance_sha256 = appliance.sha256.into();
    }
}

/// Storage of the root file system, and size of the state volume.
pub(super) fn adopt_storage(config: &Config, model: &mut Dispatcher) {
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
    fn the_container_is_unprivileged_marked_and_has_a_state_volume_of_its_own() {
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
        assert_eq!(get("tags"), None, "Proxmox VE refuses tags at creation to a token with rights on the pool alone");
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
    fn a_network_card_survives_the_way_to_proxmox_and_back() {
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
