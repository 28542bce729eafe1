//! The state of a simulated cluster as plain data. Time and randomness are inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::guest::Guest;
use super::nodes::Node;
use super::storages::Storage;
use super::volumes::Volumes;
use crate::line::Line;

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
