//! The state of a simulated cluster as plain data. Time and randomness are inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring::digest;
use serde_json::{Map, Value};

use super::drives;
use super::nodes::Node;
use super::snapshot::Snapshot;
use super::storages::Storage;
use super::volumes::Volumes;
use crate::line::Line;
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
}

pub(crate) fn stored(value: &str) -> String {
    let trimmed = value.trim();
    if trimmed.is_empty() { " ".to_owned() } else { trimmed.to_owned() }
}

/// A resource pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool {
    pub(crate) comment: Option<String>,
    pub(crate) guests: BTreeSet<u32>,
    pub(crate) storages: BTreeSet<String>,
}

/// An API token.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) secret: String,
    pub(crate) separated: bool,
    pub(crate) expire: u64,
    pub(crate) comment: Option<String>,
}

/// A user.
#[derive(Debug, Clone, Default)]
pub(crate) struct User {
    pub(crate) password: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) expire: u64,
    pub(crate) comment: Option<String>,
    pub(crate) email: Option<String>,
    /// Values of `firstname`, `lastname` and `keys`.
    pub(crate) details: BTreeMap<String, String>,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) tokens: BTreeMap<String, Token>,
}

/// The kind of subject in an ACL entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    User,
    Group,
    Token,
}

impl Subject {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Token => "token",
        }
    }
}

/// ACLs: path → (kind, name, role) → true if the role propagates.
pub(crate) type Acl = BTreeMap<String, BTreeMap<(Subject, String, String), bool>>;

/// A task.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) upid: String,
    pub(crate) node: String,
    pub(crate) pid: u32,
    pub(crate) pstart: u64,
    pub(crate) start: u64,
    pub(crate) kind: String,
    pub(crate) id: String,
    /// Caller: `user@realm`, or `user@realm!token`.
    pub(crate) user: String,
    pub(crate) log: Vec<String>,
    pub(crate) end: Option<(u64, String)>,
    pub(crate) warnings: u32,
    /// Simulated time that the task spent in waits that belong to its behaviour.
    pub(crate) waited: Duration,
    /// Status of the task if a user stops it.
    pub(crate) interrupt: String,
    /// True if its node's power was cut, so that nothing records its end.
    pub(crate) lost: bool,
}

/// The state of the cluster.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) rng: StdRng,
    /// Name of the first node.
    pub(crate) first_node: String,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) storages: BTreeMap<String, Storage>,
    pub(crate) volumes: Volumes,
    pub(crate) guests: BTreeMap<u32, Guest>,
    pub(crate) pools: BTreeMap<String, Pool>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) groups: BTreeMap<String, Option<String>>,
    pub(crate) roles: BTreeMap<String, (BTreeSet<String>, bool)>,
    pub(crate) acl: Acl,
    pub(crate) tasks: Vec<Task>,
    /// Options in `datacenter.cfg`.
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) line: Line,
    pub(crate) version: Value,
    pub(crate) qemu_version: String,
    pub(crate) next_pid: u32,
    pub(crate) next_run: u64,
}

impl State {
    pub(crate) fn new(seed: u64, line: Line) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            first_node: String::new(),
            nodes: BTreeMap::new(),
            storages: BTreeMap::new(),
            volumes: Volumes::default(),
            guests: BTreeMap::new(),
            pools: BTreeMap::new(),
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            roles: BTreeMap::new(),
            acl: Acl::new(),
            tasks: Vec::new(),
            options: BTreeMap::new(),
            line,
            version: line.version(),
            qemu_version: "10.0.13".to_owned(),
            next_pid: 1000,
            next_run: 1,
        }
    }

    pub(crate) fn uuid(&mut self) -> String {
        let b: [u8; 16] = self.rng.random();
        let text = hex::encode(b);
        format!("{}-{}-4{}-a{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
    }

    pub(crate) fn mac(&mut self) -> String {
        let b: [u8; 3] = self.rng.random();
        format!("BC:24:11:{:02X}:{:02X}:{:02X}", b[0], b[1], b[2])
    }

    pub(crate) fn pid(&mut self) -> u32 {
        self.next_pid += 1;
        self.next_pid
    }

    pub(crate) fn pool_of(&self, vmid: u32) -> Option<&str> {
        self.pools.iter().find(|(_, pool)| pool.guests.contains(&vmid)).map(|(name, _)| name.as_str())
    }
}
