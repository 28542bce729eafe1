//! The snapshots of a guest.

use std::collections::BTreeMap;

use super::drives;
use super::state::Guest;
use crate::refusal::{Outcome, Refusal};

/// The configuration of a guest at the time of a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) parent: Option<String>,
    /// Creation time in seconds since the epoch.
    pub(crate) time: u64,
    pub(crate) description: Option<String>,
}

impl Guest {
    /// Returns the volume ids of the disks that snapshots include: no CD-ROM images, and no cloud-init drives, which
    /// are made at each start.
    pub(crate) fn disks(config: &BTreeMap<String, String>) -> Vec<String> {
        let is_disk =
            |key: &str, value: &str| drives::is_mount(key) || (drives::is_drive(key) && !drives::is_cdrom(value));
        let disks = config.iter().filter(|(key, value)| is_disk(key, value));
        disks.map(|(_, value)| drives::file(value)).filter(|file| file.contains(':')).collect()
    }

    /// Returns a snapshot, or refuses with PVE's text.
    pub(crate) fn snapshot(&self, name: &str) -> Outcome<&Snapshot> {
        self.snapshots.get(name).ok_or_else(|| Refusal::fault(format!("snapshot '{name}' does not exist")))
    }

    /// Returns the names under which the backend keeps the snapshots' volumes.
    pub(crate) fn snapshot_volumes(&self) -> Vec<String> {
        let of = |(name, snapshot): (&String, &Snapshot)| -> Vec<String> {
            Self::disks(&snapshot.config).iter().map(|volid| snapshot_volume_name(volid, name)).collect()
        };
        self.snapshots.iter().flat_map(of).collect()
    }
}

/// Returns the name under which the backend keeps a volume's snapshot.
pub(crate) fn snapshot_volume_name(volid: &str, snapshot: &str) -> String {
    format!("{volid}@{snapshot}")
}
