//! Network cards of VMs, as their guests see them.

use std::collections::BTreeMap;

use crate::world::drives;
use sim_backend::NetworkCard;

/// Returns the network cards of a VM with this configuration. Guests set up their cards from their cloud-init drive,
/// and use DHCP without settings.
pub(crate) fn of(config: &BTreeMap<String, String>) -> Vec<NetworkCard> {
    let has_cloud_init = config.iter().any(|(key, value)| drives::is_drive(key) && drives::is_cloudinit(value));
    let cards = config.iter().filter_map(|(key, value)| {
        let index: u32 = key.strip_prefix("net")?.parse().ok()?;
        let settings = config.get(&format!("ipconfig{index}")).filter(|_| has_cloud_init);
        Some(card(index, value, settings.map(String::as_str)))
    });
    cards.collect()
}

fn card(index: u32, value: &str, settings: Option<&str>) -> NetworkCard {
    let mut fields = drives::parse(value);
    let mac = drives::parts(value).next().and_then(|model| model.split_once('=')).map(|(_, mac)| mac.to_owned());
    let mut addresses = drives::parse(settings.unwrap_or("ip=dhcp"));
    NetworkCard {
        index,
        name: format!("eth{index}"),
        bridge: fields.remove("bridge").unwrap_or_default(),
        mac: mac.unwrap_or_default(),
        link_down: fields.remove("link_down").is_some_and(|flag| flag == "1"),
        ip: addresses.remove("ip"),
        gateway: addresses.remove("gw"),
        ip6: addresses.remove("ip6"),
        gateway6: addresses.remove("gw6"),
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_cloud_init_drive_says_how_cards_are_set_up() {
        let config = [("net0", "virtio=BC:24:11:00:00:01,bridge=vmbr0"), ("ipconfig0", "ip=10.0.0.5/24,gw=10.0.0.1")];
        let mut config: std::collections::BTreeMap<_, _> =
            config.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let [card] = &of(&config)[..] else { panic!("one card") };
        assert_eq!((card.name.as_str(), card.mac.as_str()), ("eth0", "BC:24:11:00:00:01"));
        assert_eq!(card.ip.as_deref(), Some("dhcp"), "the guest has no cloud-init drive");
        config.insert("ide2".to_owned(), "thin:vm-100-cloudinit,media=cdrom".to_owned());
        assert_eq!(of(&config)[0].ip.as_deref(), Some("10.0.0.5/24"));
    }
}
