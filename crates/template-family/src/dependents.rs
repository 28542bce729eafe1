//! The clones that prevent the removal of a version.

use std::collections::BTreeSet;

use ownership::Vmid;
use pve::{Client, Error};

use crate::version::Family;

impl Family {
    /// Returns the VMIDs of the guests whose disks are linked to the disk of a version, as far as the names of volumes
    /// show it. Directories and ZFS have such names. Other storages do not, but there a template can be removed before
    /// its clones.
    ///
    /// # Errors
    /// Those of reading the version's configuration and the storages' lists.
    pub async fn dependents(&self, client: &Client, vmid: Vmid) -> Result<Vec<Vmid>, Error> {
        let config = client.qemu(&self.node, vmid).config().await?;
        let storages: BTreeSet<&str> = config
            .iter()
            .filter(|(option, _)| is_disk(option))
            .filter_map(|(_, value)| value.split_once(':'))
            .map(|(storage, _)| storage)
            .collect();
        let base = format!("base-{vmid}-");
        let mut found = BTreeSet::new();
        for storage in storages {
            for volume in client.storage(&self.node, storage).volumes("images").await? {
                found.extend(volume.vmid.filter(|owner| *owner != vmid && volume.volid.contains(&base)));
            }
        }
        Ok(found.into_iter().collect())
    }
}

fn is_disk(option: &str) -> bool {
    let name = option.trim_end_matches(|character: char| character.is_ascii_digit());
    name.len() < option.len() && matches!(name, "scsi" | "virtio" | "sata" | "ide" | "efidisk" | "tpmstate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_distinguished_from_other_options() {
        for disk in ["scsi0", "virtio15", "sata1", "ide2", "efidisk0", "tpmstate0"] {
            assert!(is_disk(disk), "{disk}");
        }
        for other in ["scsihw", "net0", "boot", "unused0", "scsi"] {
            assert!(!is_disk(other), "{other}");
        }
    }
}
