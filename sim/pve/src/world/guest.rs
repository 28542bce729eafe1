//! A guest: its configuration, pending changes, run and snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ring::digest;
use serde_json::{Map, Value};

use super::drives;
use super::snapshot::{Snapshot, snapshot_volume_name};
use crate::refusal::{Outcome, Refusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Qemu,
    Lxc,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Lxc => "lxc",
        }
    }

    /// Returns the word for a guest in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qemu => "VM",
            Self::Lxc => "CT",
        }
    }

    /// Returns the directory of its configuration file below `/etc/pve/nodes/<node>`.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-server",
            Self::Lxc => "lxc",
        }
    }

    pub(crate) fn lock_file(self, vmid: u32) -> String {
        match self {
            Self::Qemu => format!("/var/lock/qemu-server/lock-{vmid}.conf"),
            Self::Lxc => format!("/run/lock/lxc/pve-config-{vmid}.lock"),
        }
    }
}

/// A change that takes effect at the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pending {
    Set(String),
    /// Removal. If true, a volume is deleted and not kept as unused.
    Delete(bool),
}

/// The state of a running guest.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) pid: u32,
    pub(crate) since: Duration,
    pub(crate) paused: bool,
    pub(crate) agent: bool,
    /// True if the agent's channel is out of step, so that the next call fails.
    pub(crate) stuck: bool,
    /// Number of this run, so that the end of an earlier run does not stop it.
    pub(crate) number: u64,
    /// Memory in use in bytes, which may differ from the configuration.
    pub(crate) memory: u64,
    pub(crate) cores: u64,
}

/// A guest.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) kind: Kind,
    pub(crate) node: String,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) pending: BTreeMap<String, Pending>,
    pub(crate) run: Option<Run>,
    /// Figures of the last statistics round, which lists show.
    pub(crate) seen: Option<Map<String, Value>>,
    pub(crate) managed_by_ha: bool,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
}

impl Guest {
    pub(crate) fn new(kind: Kind, node: &str) -> Self {
        Self {
            kind,
            node: node.to_owned(),
            config: BTreeMap::new(),
            pending: BTreeMap::new(),
            run: None,
            seen: None,
            managed_by_ha: false,
            snapshots: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(String::as_str)
    }

    /// Stores a value as PVE does, without blanks around it. An empty value is read back as one blank.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        if key == "description" {
            let text = match self.kind {
                Kind::Qemu => value.trim_end_matches('\n').to_owned(),
                Kind::Lxc => format!("{}\n", value.trim_end_matches('\n')),
            };
            if text.trim_end_matches('\n').is_empty() {
                self.config.remove(key);
            } else {
                self.config.insert(key.to_owned(), text);
            }
            return;
        }
        self.config.insert(key.to_owned(), stored(value));
    }

    /// Refuses if an operation holds the config lock.
    pub(crate) fn unlocked(&self) -> Outcome<()> {
        match self.get("lock") {
            Some(lock) => Err(Refusal::fault(format!("{} is locked ({lock})", self.kind.name()))),
            None => Ok(()),
        }
    }

    pub(crate) fn is_template(&self) -> bool {
        self.get("template") == Some("1")
    }

    pub(crate) fn digest(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.config {
            text.push_str(&format!("{key}: {value}\n"));
        }
        for (key, change) in &self.pending {
            text.push_str(&format!("[PENDING] {key}: {change:?}\n"));
        }
        for (name, snapshot) in &self.snapshots {
            text.push_str(&format!("[{name}] {snapshot:?}\n"));
        }
        hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
    }

    /// Returns the volume ids of the disks in the configuration and in pending changes.
    pub(crate) fn volumes(&self) -> BTreeSet<String> {
        let waiting = self.pending.iter().filter_map(|(key, change)| match change {
            Pending::Set(value) => Some((key, value)),
            Pending::Delete(_) => None,
        });
        let is_volume =
            |key: &str| drives::is_drive(key) || drives::is_mount(key) || drives::is_unused(key) || key == "vmstate";
        let named = self.config.iter().chain(waiting).filter(|(key, _)| is_volume(key));
        named.map(|(_, value)| drives::file(value)).filter(|file| file.contains(':')).collect()
    }

    /// Returns the configuration with the pending changes applied.
    pub(crate) fn with_pending(&self) -> BTreeMap<String, String> {
        let mut config = self.config.clone();
        for (key, change) in &self.pending {
            match change {
                Pending::Set(value) => config.insert(key.clone(), value.clone()),
                Pending::Delete(_) => config.remove(key),
            };
        }
        config
    }

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

/// Returns a value in the form in which PVE stores it.
pub(crate) fn stored(value: &str) -> String {
    let trimmed = value.trim();
    if trimmed.is_empty() { " ".to_owned() } else { trimmed.to_owned() }
}
