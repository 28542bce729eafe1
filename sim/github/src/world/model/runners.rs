//! Registered runners.

use jiff::Timestamp;

use super::scope::Scope;

/// A registered runner.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) group: u64,
    /// The scale set that it was made for.
    pub(crate) scale_set: Option<u64>,
    pub(crate) labels: Vec<String>,
    pub(crate) registered_at: Timestamp,
    pub(crate) ephemeral: bool,
    pub(crate) version: Option<String>,
    pub(crate) session: Option<String>,
    /// Whether it waits for a job right now.
    pub(crate) listening: bool,
    /// When it was last heard of; first, when it was registered.
    pub(crate) seen_at: Timestamp,
    /// When it began to wait for a job.
    pub(crate) idle_since: Option<Timestamp>,
    pub(crate) job: Option<u64>,
    /// Set once its one job is done: when the registration goes.
    pub(crate) remove_at: Option<Timestamp>,
}

impl Runner {
    pub(crate) fn online(&self) -> bool {
        self.session.is_some()
    }
}
