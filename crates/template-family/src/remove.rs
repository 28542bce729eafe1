//! The end of a version: retire it, and destroy it once no clone needs its disk.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ownership::{Build, Claim, Guest, Kind, Marker, NotOurs, Owner, prove};
use pve::{Client, Error, WaitOptions};

use crate::version::Family;

/// Clones in flight hold the template's lock for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_secs(1);

/// Outcome of the removal of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// Clones still need its disk. It is retired, and goes another time.
    Deferred {
        /// VMIDs of the clones, as far as the storage tells.
        dependents: Vec<u32>,
    },
}

/// Why a version could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The proof of ownership failed: it is left alone.
    #[error("template {vmid} is left alone")]
    NotOurs {
        /// The guest.
        vmid: u32,
        /// The condition that does not hold.
        #[source]
        source: NotOurs,
    },
    /// PVE refused or failed.
    #[error("template {vmid} could not be removed")]
    Pve {
        /// The guest.
        vmid: u32,
        /// Why.
        #[source]
        source: Error,
    },
}

/// Removes a version of the family, finished or half-built; a running build VM is stopped. Succeeds if it is gone already.
///
/// # Errors
/// See [`RemoveError`].
pub async fn remove(client: &Client, family: &Family, vmid: u32, wait: &WaitOptions) -> Result<Removal, RemoveError> {
    let patience = Instant::now() + LOCK_PATIENCE;
    loop {
        match remove_once(client, family, vmid, wait).await {
            Err(Attempt::Pve(error)) if error.is_guest_missing() => return Ok(Removal::Removed),
            Err(Attempt::Pve(error)) if error.is_base_in_use() => {
                let dependents =
                    dependents(client, &family.node, vmid).await.map_err(|source| RemoveError::Pve { vmid, source })?;
                return Ok(Removal::Deferred { dependents });
            }
            Err(Attempt::Pve(error))
                if (error.is_locked() || error.is_digest_conflict()) && Instant::now() < patience =>
            {
                tracing::debug!(vmid, %error, "the template is busy");
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(Attempt::Pve(source)) => return Err(RemoveError::Pve { vmid, source }),
            Err(Attempt::NotOurs(source)) => return Err(RemoveError::NotOurs { vmid, source }),
            Ok(()) => return Ok(Removal::Removed),
        }
    }
}

enum Attempt {
    NotOurs(NotOurs),
    Pve(Error),
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Self::Pve(error)
    }
}

/// Everything is read again in each try, because the VMID may belong to another guest by then.
async fn remove_once(client: &Client, family: &Family, vmid: u32, wait: &WaitOptions) -> Result<(), Attempt> {
    let qemu = client.qemu(&family.node, vmid);
    let config = qemu.config().await?;
    let mut marker = proof(client, family, vmid, &config).await?;
    if !config.is_template() && qemu.status().await?.is_running() {
        client.wait(&qemu.stop().await?, wait).await?;
    }
    let retired = marker.build == Some(Build::Retired);
    if config.is_template() && (!retired || config.flag("protection")) {
        marker.build = Some(Build::Retired);
        let description = marker.replace_in(config.description());
        qemu.set_config(&[("description", &description), ("protection", "0")], config.digest()).await?;
    }
    client.wait(&qemu.delete().await?, wait).await?;
    Ok(())
}

async fn proof(client: &Client, family: &Family, vmid: u32, config: &pve::Config) -> Result<Marker, Attempt> {
    let members = client.pool_members(&family.resource_pool).await?;
    let is_member = members.iter().any(|member| member.vmid == Some(vmid));
    let claim = Claim {
        installation: &family.installation,
        owner: Owner::Provider,
        kind: Kind::Template,
        range: family.range,
        resource_pool: &family.resource_pool,
    };
    let guest = Guest {
        vmid,
        resource_pool: is_member.then_some(family.resource_pool.as_str()),
        description: config.description(),
        template: config.is_template(),
    };
    prove(&claim, &guest).map_err(Attempt::NotOurs)
}

/// VMIDs of the guests whose disks are linked to the template's, as far as volume names tell (directories, ZFS; others keep no such record and
/// need none: there a template can go while its clones stay).
async fn dependents(client: &Client, node: &str, vmid: u32) -> Result<Vec<u32>, Error> {
    let config = client.qemu(node, vmid).config().await?;
    let storages: BTreeSet<&str> = config
        .iter()
        .filter(|(option, _)| is_disk(option))
        .filter_map(|(_, value)| value.split_once(':'))
        .map(|(storage, _)| storage)
        .collect();
    let base = format!("base-{vmid}-");
    let mut found = BTreeSet::new();
    for storage in storages {
        for volume in client.storage(node, storage).volumes("images").await? {
            found.extend(volume.vmid.filter(|owner| *owner != vmid && volume.volid.contains(&base)));
        }
    }
    Ok(found.into_iter().collect())
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
