//! The nodes, their availability, and the quorum.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::state::State;
use super::storages::{DEFAULT_OTHER_BYTES, DEFAULT_SIZE};
use crate::refusal::{Outcome, Refusal};

/// Time after a node's last report until the other nodes drop its figures and those of its guests.
pub(crate) const REPORT_LIFETIME: Duration = Duration::from_secs(300);

/// A node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Number in the cluster, from 1.
    pub(crate) number: u32,
    pub(crate) cores: u32,
    /// Memory in bytes.
    pub(crate) memory: u64,
    pub(crate) networks: Vec<Map<String, Value>>,
    /// Simulated time at which its power was cut, while it is off.
    pub(crate) away: Option<Duration>,
}

/// Size and use of a node. All calls show the same figures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) cores: u32,
    /// Memory in bytes.
    pub(crate) memory: u64,
    /// Bytes of memory that the node and its guests use.
    pub(crate) memory_used: u64,
    /// Size of the root file system in bytes.
    pub(crate) disk: u64,
    /// Used bytes of the root file system.
    pub(crate) disk_used: u64,
    /// Time since boot in seconds.
    pub(crate) uptime: u64,
}

impl Figures {
    /// Bytes of memory that a node uses without guests.
    const OWN_MEMORY: u64 = 1 << 30;
    /// Seconds that a node had been running when the simulator started.
    const RUN_BEFORE: u64 = 1000;

    /// Returns the figures of a node whose guests use `in_use` bytes of memory.
    pub(crate) fn of(node: &Node, in_use: u64, now: Duration) -> Self {
        Self {
            cores: node.cores,
            memory: node.memory,
            memory_used: in_use + Self::OWN_MEMORY,
            disk: DEFAULT_SIZE,
            disk_used: DEFAULT_OTHER_BYTES,
            uptime: Self::RUN_BEFORE + now.as_secs(),
        }
    }
}

impl Node {
    /// Returns the address in the cluster's network.
    pub(crate) fn address(&self) -> String {
        format!("10.78.{}.{}", self.number / 250, self.number % 250)
    }
}

impl State {
    pub(crate) fn is_online(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| node.away.is_none())
    }

    /// Returns the bytes of memory that running guests use, by node. A node without running guests is missing.
    pub(crate) fn memory_in_use(&self) -> BTreeMap<&str, u64> {
        let mut in_use = BTreeMap::new();
        for guest in self.guests.values() {
            if let Some(run) = &guest.run {
                *in_use.entry(guest.node.as_str()).or_default() += run.memory;
            }
        }
        in_use
    }

    pub(crate) fn node_exists(&self, node: &str) -> Outcome<()> {
        if self.nodes.contains_key(node) {
            return Ok(());
        }
        Err(Refusal::fault(format!("no such cluster node '{node}'")))
    }

    /// Returns true if more than half of the nodes are on. Each has one vote.
    pub(crate) fn is_quorate(&self) -> bool {
        let online = self.nodes.values().filter(|node| node.away.is_none()).count();
        online * 2 > self.nodes.len()
    }

    /// Refuses without quorum. Calls check this before an operation that ends with a write.
    pub(crate) fn quorum(&self) -> Outcome<()> {
        if self.is_quorate() { Ok(()) } else { Err(Refusal::fault("cluster not ready - no quorum?")) }
    }
}
