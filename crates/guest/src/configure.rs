//! Size, network card, seed ISO and protection of a fresh clone.

use ownership::tags;
use pve::Config;

use crate::{Error, OwnedVm, RunnerVm};

/// Options of a runner VM that differ from its template. `None` leaves an option as it is in the template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Virtual CPU cores.
    pub cores: Option<u32>,
    /// Memory in MiB.
    pub memory_mib: Option<u32>,
    /// Bridge of the network card.
    pub bridge: Option<String>,
    /// Volume id of the NoCloud image, such as `local:iso/pxci-x-0123456789abcdef.iso`.
    pub seed_iso: Option<String>,
    /// True if PVE refuses to destroy the VM until pxci lifts its protection. PVE never destroys a VM that runs. A VM of
    /// the dispatcher is off for seconds only, so it is not worth the request that lifts a protection.
    pub protection: bool,
}

impl RunnerVm {
    /// Gives the clone its shape, and switches on the firewall of its network card. `known` is the VM as
    /// [`RunnerVm::clone_from_template`] proved it. Returns the VM with the proof of the change, for
    /// [`RunnerVm::boot`].
    ///
    /// # Errors
    /// [`Problem::NotOurs`](crate::Problem::NotOurs) and
    /// [`Problem::OtherIncarnation`](crate::Problem::OtherIncarnation) if the VMID is not ours.
    pub async fn configure(&self, shape: &Shape, known: Option<OwnedVm>) -> Result<OwnedVm, Error> {
        let tags = tags(&self.marker.installation, &[]);
        self.candidate.change_known(known, |vm| differences(vm.config(), shape, &tags)).await
    }
}

/// Returns the options that do not have their wanted value yet, with that value.
fn differences(config: &Config, shape: &Shape, tags: &str) -> Vec<(&'static str, String)> {
    let mut wanted = vec![("tags", tags.to_owned())];
    if config.flag("protection") != shape.protection {
        wanted.push(("protection", u8::from(shape.protection).to_string()));
    }
    wanted.extend(shape.cores.map(|cores| ("cores", cores.to_string())));
    wanted.extend(shape.memory_mib.map(|memory| ("memory", memory.to_string())));
    wanted.extend(network(config.get("net0"), shape.bridge.as_deref()).map(|card| ("net0", card)));
    wanted.extend(shape.seed_iso.as_ref().map(|volume| ("ide2", format!("{volume},media=cdrom"))));
    wanted.retain(|(option, value)| !is_same(config.get(option), value));
    wanted
}

/// Compares an option's value with the wanted one. PVE appends the size to the value of an image.
fn is_same(found: Option<&str>, wanted: &str) -> bool {
    found.is_some_and(|found| {
        found == wanted || found.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(",size="))
    })
}

/// Returns the value of the network card, with its MAC address, on the wanted bridge, behind PVE's firewall.
fn network(found: Option<&str>, bridge: Option<&str>) -> Option<String> {
    let Some(found) = found else {
        return bridge.map(|bridge| format!("virtio,bridge={bridge},firewall=1"));
    };
    let kept = found
        .split(',')
        .filter(|part| !(part.starts_with("firewall=") || bridge.is_some() && part.starts_with("bridge=")));
    let mut parts: Vec<String> = kept.map(str::to_owned).collect();
    parts.extend(bridge.map(|bridge| format!("bridge={bridge}")));
    parts.push("firewall=1".to_owned());
    parts.sort_by_key(|part| order(part));
    if same_parts(found, &parts) { Some(found.to_owned()) } else { Some(parts.join(",")) }
}

/// Returns the position of a part. The model with its MAC address comes first.
fn order(part: &str) -> u8 {
    match part.split('=').next() {
        Some("bridge") => 1,
        Some("firewall") => 2,
        Some("link_down" | "mtu" | "queues" | "rate" | "tag" | "trunks") => 3,
        _ => 0,
    }
}

fn same_parts(found: &str, parts: &[String]) -> bool {
    found.split(',').count() == parts.len() && found.split(',').all(|part| parts.iter().any(|wanted| wanted == part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_keeps_its_mac_and_gets_the_firewall() {
        let fresh = "virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=7";
        assert_eq!(network(Some(fresh), None).unwrap(), "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,tag=7");
        assert_eq!(
            network(Some(fresh), Some("vmbr1")).unwrap(),
            "virtio=BC:24:11:00:00:01,bridge=vmbr1,firewall=1,tag=7"
        );
        assert_eq!(
            network(Some("virtio=AA,bridge=vmbr0,firewall=0"), None).unwrap(),
            "virtio=AA,bridge=vmbr0,firewall=1"
        );
    }

    #[test]
    fn a_card_with_the_wanted_parts_is_left_alone_in_any_order() {
        let right = "virtio=AA,firewall=1,bridge=vmbr0";
        assert_eq!(network(Some(right), Some("vmbr0")).unwrap(), right);
    }

    #[test]
    fn a_template_without_a_card_gets_one_only_on_request() {
        assert_eq!(network(None, None), None);
        assert_eq!(network(None, Some("vmbr0")).unwrap(), "virtio,bridge=vmbr0,firewall=1");
    }

    #[test]
    fn the_size_that_pve_appends_to_an_image_is_not_a_difference() {
        assert!(is_same(Some("local:iso/a.iso,media=cdrom,size=376K"), "local:iso/a.iso,media=cdrom"));
        assert!(!is_same(Some("local:iso/ab.iso,media=cdrom"), "local:iso/a.iso,media=cdrom"));
        assert!(!is_same(None, "1"));
    }
}
