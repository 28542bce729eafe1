//! Snapshots that guests have.

use std::collections::BTreeMap;

use super::drives;
use super::state::Guest;
use crate::refusal::{Outcome, Refusal};

/// A guest as it was.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) parent: Option<String>,
    /// Seconds since the epoch.
    pub(crate) time: u64,
    pub(crate) description: Option<String>,
}

impl Guest {
    /// Volume ids of the disks of a configuration that snapshots are about: no CD-ROM images, nor cloud-init drives, which
    /// are made again at each start.
    pub(crate) fn disks(config: &BTreeMap<String, String>) -> Vec<String> {
        let is_disk =
            |key: &str, value: &str| drives::is_mount(key) || (drives::is_drive(key) && !drives::is_cdrom(value));
        let disks = config.iter().filter(|(key, value)| is_disk(key, value));
        disks.map(|(_, value)| drives::file(value)).filter(|file| file.contains(':')).collect()
    }

    /// One of its snapshots, or PVE's text.
    pub(crate) fn snapshot(&self, name: &str) -> Outcome<&Snapshot> {
        self.snapshots.get(name).ok_or_else(|| Refusal::fault(format!("snapshot '{name}' does not exist")))
    }

    /// What the backend keeps for its snapshots.
    pub(crate) fn snapshot_volumes(&self) -> Vec<String> {
        let of = |(name, snapshot): (&String, &Snapshot)| -> Vec<String> {
            Self::disks(&snapshot.config).iter().map(|volid| kept(volid, name)).collect()
        };
        self.snapshots.iter().flat_map(of).collect()
    }
}

/// The name under which the backend keeps a volume's snapshot.
pub(crate) fn kept(volid: &str, snapshot: &str) -> String {
    format!("{volid}@{snapshot}")
}
