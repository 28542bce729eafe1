//! CDs that Packer makes and uploads for a build. A Packer that is killed does not delete them from the storage.
//!
//! Every Packer gives its CDs names of the form `packer` and digits. A CD is therefore ours only if it is in a drive of
//! a build VM with our marker, or has the name of a temporary file of our Packer. Other files are never deleted.

use std::time::Duration;

use ownership::NodeName;
use pve::Config;
use tf_provider::Diagnostic;

use super::model::THING;
use crate::clients::Clients;
use crate::diagnostics::Unable as _;
use crate::holders;
use crate::waiting;

/// Longest wait for the deletion of a CD.
const CLEAN_UP: Duration = Duration::from_secs(300);

/// Returns the volume ids of Packer's CDs in the drives of a build VM.
pub(super) fn of(config: &Config) -> Vec<String> {
    holders::images(config).filter(|volid| is_packers(volid)).collect()
}

fn is_packers(volid: &str) -> bool {
    let number = volid.split_once(":iso/packer").and_then(|(_, rest)| rest.strip_suffix(".iso"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Deletes these CDs, except those that a guest has in a drive.
pub(super) async fn delete(clients: &Clients, node: &NodeName, cds: &[String]) -> Result<(), Diagnostic> {
    let held = holders::of(&clients.pve, cds).await.unable("delete", "Packer's CDs of", THING)?;
    for volid in cds.iter().filter(|volid| is_packers(volid) && !held.contains_key(*volid)) {
        let Some((storage, _)) = volid.split_once(':') else { continue };
        tracing::info!(volid, "deleting a CD that Packer did not delete");
        let task = clients.pve.storage(node, storage).delete(volid).await.unable("delete", "Packer's CDs of", THING)?;
        if let Some(task) = task {
            let wait = waiting::for_clean_up(CLEAN_UP);
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
