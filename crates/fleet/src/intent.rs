//! The record of one incarnation of a VM.

use jiff::Timestamp;
use ownership::{NodeName, PoolName, RunnerName, Vmid};
use serde::{Deserialize, Serialize};

use crate::{Life, Observed};

/// Record of one incarnation of a VMID, as the ledger stores it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Intent {
    /// Name of the VM and of its runner.
    pub name: RunnerName,
    /// Pool that it was made for.
    pub pool: PoolName,
    /// Its VMID.
    pub vmid: Vmid,
    /// Node that it is made on.
    pub node: NodeName,
    /// Template that it is cloned from.
    pub template: Vmid,
    /// PVE resource pool that it is put into.
    pub resource_pool: String,
    /// When it was reserved, or found.
    pub created_at: Timestamp,
    /// Its life so far.
    pub life: Life,
    /// Not to be acted on before this time: the last step did not succeed.
    #[serde(skip)]
    pub retry_at: Option<Timestamp>,
    /// Failure of the last step that did not succeed, with its cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Intent {
    /// Returns true while the VM holds a slot of its pool.
    pub fn is_live(&self) -> bool {
        self.life.state.holds_slot()
    }

    /// Returns true if a step may start now.
    pub(crate) fn is_actionable(&self, observed: &Observed, now: Timestamp) -> bool {
        !observed.in_flight.contains(&self.name) && self.retry_at.is_none_or(|at| at <= now)
    }
}
