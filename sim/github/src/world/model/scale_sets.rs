//! Runner scale sets and the jobs that they have.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::message_queue::MessageQueue;
use super::scope::Scope;

/// A runner scale set.
#[derive(Debug, Clone)]
pub(crate) struct ScaleSet {
    pub(crate) id: u64,
    pub(crate) scope: Scope,
    pub(crate) name: String,
    pub(crate) group: u64,
    /// Type and name of the registered labels.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) disable_update: bool,
    pub(crate) created_on: Timestamp,
    pub(crate) queue: MessageQueue,
}

impl ScaleSet {
    /// Returns true if runners of the set may run a job with these labels.
    pub(crate) fn fits(&self, labels: &[String]) -> bool {
        let has = |wanted: &String| self.labels.iter().any(|(_, label)| label.eq_ignore_ascii_case(wanted));
        !labels.is_empty() && labels.iter().all(has)
    }
}

/// The relation of a job to its scale set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) set: u64,
    pub(crate) request: u64,
    pub(crate) since: Timestamp,
    pub(crate) acquired_at: Option<Timestamp>,
    /// True if a message to the set has said that the job is completed.
    pub(crate) reported_completed: bool,
}

/// State of the Actions service.
#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) sets: BTreeMap<u64, ScaleSet>,
    /// Tokens of admin connections with their scope and expiry.
    pub(crate) admins: HashMap<String, (Scope, Timestamp)>,
    pub(crate) next_set: u64,
    pub(crate) next_request: u64,
}
