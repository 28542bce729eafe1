//! Which nodes there are, which of them can be reached, and whether a majority is left.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::state::State;
use super::storages::{USUAL_SIZE, USUAL_USE};
use crate::refusal::{Outcome, Refusal};

/// How long after the last word of a node the others remember what it said of itself and its guests.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(300);

/// A node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its number in the cluster, from 1.
    pub(crate) number: u32,
    pub(crate) cores: u32,
    /// Bytes.
    pub(crate) memory: u64,
    pub(crate) networks: Vec<Map<String, Value>>,
    /// When it went away, on the simulated clock.
    pub(crate) away: Option<Duration>,
}

/// How large a node is and how much of it is in use: the same in every call that tells of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) cores: u32,
    /// Bytes.
    pub(crate) memory: u64,
    /// Bytes of its guests and of the node itself.
    pub(crate) memory_used: u64,
    /// Bytes of its root file system.
    pub(crate) disk: u64,
    /// Bytes.
    pub(crate) disk_used: u64,
    /// Seconds.
    pub(crate) uptime: u64,
}

impl Figures {
    /// Bytes of memory that a node uses without guests.
    const OWN_MEMORY: u64 = 1 << 30;
    /// Seconds that a node had run when the simulator started.
    const RUN_BEFORE: u64 = 1000;

    /// The figures of a node whose guests use `in_use` bytes of memory.
    pub(crate) fn of(node: &Node, in_use: u64, now: Duration) -> Self {
        Self {
            cores: node.cores,
            memory: node.memory,
            memory_used: in_use + Self::OWN_MEMORY,
            disk: USUAL_SIZE,
            disk_used: USUAL_USE,
            uptime: Self::RUN_BEFORE + now.as_secs(),
        }
    }
}

impl Node {
    /// The address that other nodes know it by.
    pub(crate) fn address(&self) -> String {
        format!("10.78.{}.{}", self.number / 250, self.number % 250)
    }
}

impl State {
    pub(crate) fn is_online(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| node.away.is_none())
    }

    /// Bytes of memory of the guests that run, by node; a node without any is not in it.
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

    /// Whether more than half of the nodes are there. Each has one vote.
    pub(crate) fn is_quorate(&self) -> bool {
        let online = self.nodes.values().filter(|node| node.away.is_none()).count();
        online * 2 > self.nodes.len()
    }

    /// What calls ask before they begin something that ends in a write.
    pub(crate) fn quorum(&self) -> Outcome<()> {
        if self.is_quorate() { Ok(()) } else { Err(Refusal::fault("cluster not ready - no quorum?")) }
    }
}
