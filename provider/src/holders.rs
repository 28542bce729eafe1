//! The guests that use a volume of a storage.
//!
//! Proxmox VE deletes a volume even if a guest uses it, and the guest cannot start afterwards. The provider therefore
//! checks every guest that its token may see before it deletes a volume.

use std::collections::BTreeMap;
use std::fmt;

use ownership::{Kind, Marker, Vmid};
use pve::{Client, Config, Error, GuestKind, GuestSummary, Properties};
use tokio::task::JoinSet;

/// Number of configurations that are read at the same time, because Proxmox VE has three workers per node.
const CONCURRENT_READS: usize = 3;

/// A guest that uses a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A VM that has the volume in a drive.
    Drive { vmid: Vmid, name: String },
    /// A dispatcher whose pools give the volume to their VMs.
    Pools { vmid: Vmid, name: String },
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drive { vmid, name } => write!(formatter, "VM {vmid} ({name}) has it in a drive"),
            Self::Pools { vmid, name } => {
                write!(formatter, "a pool of the dispatcher in container {vmid} ({name}) uses it")
            }
        }
    }
}

/// Returns the guests that use each of the volumes. Volumes without users are left out.
pub(crate) async fn of(pve: &Client, volids: &[String]) -> Result<BTreeMap<String, Vec<Holder>>, Error> {
    let mut found: BTreeMap<String, Vec<Holder>> = BTreeMap::new();
    if volids.is_empty() {
        return Ok(found);
    }
    for (guest, config) in configurations(pve, |_| true).await? {
        for volid in volids {
            if let Some(holder) = holder(&guest, &config, volid) {
                found.entry(volid.clone()).or_default().push(holder);
            }
        }
    }
    Ok(found)
}

/// Returns the guests that `wanted` accepts, each with its configuration. Guests that no longer exist are left out.
pub(crate) async fn configurations(
    pve: &Client,
    wanted: impl Fn(&GuestSummary) -> bool,
) -> Result<Vec<(GuestSummary, Config)>, Error> {
    let mut waiting = pve.guests().await?.into_iter().filter(|guest| wanted(guest)).collect::<Vec<_>>().into_iter();
    let (mut reading, mut read) = (JoinSet::new(), Vec::new());
    loop {
        while reading.len() < CONCURRENT_READS
            && let Some(guest) = waiting.next()
        {
            reading.spawn(configuration(pve.clone(), guest));
        }
        match reading.join_next().await {
            None => break,
            Some(Ok(answer)) => read.extend(answer?),
            Some(Err(failed)) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
    read.sort_by_key(|(guest, _)| guest.vmid);
    Ok(read)
}

async fn configuration(pve: Client, guest: GuestSummary) -> Result<Option<(GuestSummary, Config)>, Error> {
    let config = match guest.kind {
        GuestKind::Qemu => pve.qemu(&guest.node, guest.vmid).config().await,
        GuestKind::Lxc => pve.lxc(&guest.node, guest.vmid).config().await,
    };
    match config {
        Ok(config) => Ok(Some((guest, config))),
        Err(error) if error.is_guest_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

fn holder(guest: &GuestSummary, config: &Config, volid: &str) -> Option<Holder> {
    let (vmid, name) = (guest.vmid, guest.name.clone().unwrap_or_default());
    match guest.kind {
        GuestKind::Qemu => images(config).any(|image| image == volid).then_some(Holder::Drive { vmid, name }),
        GuestKind::Lxc => {
            let marker = Marker::find(config.description()).ok().flatten()?;
            let uses = marker.kind == Kind::Dispatcher && marker.seed_isos.contains(volid);
            uses.then_some(Holder::Pools { vmid, name })
        }
    }
}

/// Returns the volume ids of the ISO images in a VM's drives.
pub(crate) fn images(config: &Config) -> impl Iterator<Item = String> {
    let drives = config.iter().filter(|(option, _)| is_drive(option));
    let volumes = drives.filter_map(|(_, value)| Properties::parse(value).lone_or("file").map(str::to_owned));
    volumes.filter(|volume| volume.contains(":iso/"))
}

/// Returns true if a configuration option is a drive of a VM, such as `ide2`.
pub(crate) fn is_drive(option: &str) -> bool {
    let bus = option.trim_end_matches(|character: char| character.is_ascii_digit());
    bus.len() < option.len() && matches!(bus, "ide" | "sata" | "scsi" | "virtio")
}

#[cfg(test)]
mod tests {
    use ownership::Owner;
    use serde_json::{Value, json};

    use super::*;

    const VOLID: &str = "local:iso/pxci-lab_runner_k3x9ab_0123456789abcdef.iso";

    fn guest(kind: &str) -> GuestSummary {
        serde_json::from_value(json!({ "vmid": 9101, "type": kind, "node": "pve1", "name": "one" })).unwrap()
    }

    fn holder_of(kind: &str, config: Value) -> Option<Holder> {
        holder(&guest(kind), &serde_json::from_value(config).unwrap(), VOLID)
    }

    #[test]
    fn a_vm_holds_the_image_in_any_of_its_drives() {
        for drive in ["ide2", "sata0", "scsi5"] {
            let held = holder_of("qemu", json!({ drive: format!("{VOLID},media=cdrom,size=376K") }));
            assert_eq!(held, Some(Holder::Drive { vmid: Vmid::new(9101).unwrap(), name: "one".to_owned() }), "{drive}");
        }
        assert_eq!(holder_of("qemu", json!({ "ide2": "local:iso/other.iso,media=cdrom", "scsi0": "a:disk" })), None);
        assert_eq!(holder_of("qemu", json!({ "description": VOLID })), None);
    }

    #[test]
    fn a_dispatcher_holds_the_images_of_its_pools() {
        let nonce = "k3x9ab".parse().unwrap();
        let mut marker =
            Marker::new("lab".parse().unwrap(), Owner::Provider, Kind::Dispatcher, Vmid::new(9101).unwrap(), nonce);
        assert_eq!(holder_of("lxc", json!({ "description": marker.to_string() })), None);
        marker.seed_isos.insert(VOLID.to_owned());
        let held = holder_of("lxc", json!({ "description": marker.to_string() }));
        assert_eq!(held, Some(Holder::Pools { vmid: Vmid::new(9101).unwrap(), name: "one".to_owned() }));
        assert_eq!(holder_of("lxc", json!({ "description": VOLID })), None);
    }
}
