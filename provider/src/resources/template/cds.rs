//! CDs with seed data that Packer makes for a build, uploads, and leaves on the storage when it is killed.
//!
//! Every Packer names them `packer` and some digits. So a CD counts as ours only if it is in a drive of a build VM with
//! our marker, or was in the directory for temporary files that only our Packer had. Other files are never deleted.

use ownership::NodeName;
use pve::{Config, WaitOptions};
use tf_provider::{CancellationToken, Diagnostic};

use super::THING;
use super::building::CLEANING;
use crate::diagnostics::Unable as _;
use crate::holders;
use crate::provider::Clients;

/// Volume ids of Packer's CDs in the drives of a build VM. Installation media have other names.
pub(super) fn of(config: &Config) -> Vec<String> {
    holders::images(config).filter(|volid| is_packers(volid)).collect()
}

fn is_packers(volid: &str) -> bool {
    let number = volid.split_once(":iso/packer").and_then(|(_, rest)| rest.strip_suffix(".iso"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Deletes CDs that are ours. One that a guest has in a drive stays.
pub(super) async fn delete(clients: &Clients, node: &NodeName, cds: &[String]) -> Result<(), Diagnostic> {
    let held = holders::of(&clients.pve, cds).await.unable("delete", "Packer's CDs of", THING)?;
    for volid in cds.iter().filter(|volid| is_packers(volid) && !held.contains_key(*volid)) {
        let Some((storage, _)) = volid.split_once(':') else { continue };
        tracing::info!(volid, "deleting a CD that Packer left");
        let task = clients.pve.storage(node, storage).delete(volid).await.unable("delete", "Packer's CDs of", THING)?;
        if let Some(task) = task {
            let wait = WaitOptions { deadline: CLEANING, cancel: CancellationToken::new() };
            clients.pve.wait(&task, &wait).await.unable("delete", "Packer's CDs of", THING)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cds_of_packer_in_drives_are_found() {
        let config = serde_json::from_value(serde_json::json!({
            "ide2": "local:iso/ubuntu.iso,media=cdrom", "sata1": "local:iso/packer4711.iso,media=cdrom,size=368K",
            "sata2": "local:iso/packer.iso,media=cdrom", "sata3": "local:iso/packer-lab.iso,media=cdrom",
            "sata4": "none,media=cdrom", "scsi0": "local-lvm:vm-9000-disk-0",
        }));
        assert_eq!(of(&config.unwrap()), ["local:iso/packer4711.iso"]);
    }
}
