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
    /// Number of the scale set that the registration was made for.
    pub(crate) scale_set: Option<u64>,
    pub(crate) labels: Vec<String>,
    pub(crate) registered_at: Timestamp,
    pub(crate) ephemeral: bool,
    pub(crate) version: Option<String>,
    pub(crate) session: Option<String>,
    /// True while the runner waits for a job.
    pub(crate) listening: bool,
    /// Time of the last sign of life, or of the registration.
    pub(crate) seen_at: Timestamp,
    /// Time since which it has been waiting for a job.
    pub(crate) idle_since: Option<Timestamp>,
    pub(crate) job: Option<u64>,
    /// Time at which the registration is removed, set after its only job.
    pub(crate) remove_at: Option<Timestamp>,
}

impl Runner {
    pub(crate) fn online(&self) -> bool {
        self.session.is_some()
    }
}
