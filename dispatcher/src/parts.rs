//! The surroundings of the dispatcher: its ways to PVE and GitHub, the time, and the source of new names.
//!
//! [`Parts::default`] is the machine. A simulation gives its own; then the dispatcher opens no socket, starts no thread, and
//! two runs are alike.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use ownership::{Nonce, RunId};
use tokio::time::Instant;

use crate::clock::{Clock, StoredClock};

/// The surroundings of the dispatcher.
#[derive(Clone, Default)]
pub struct Parts {
    /// Absent on a real machine.
    pub simulated: Option<Simulated>,
}

/// Surroundings within the process, for a runtime of one thread.
#[derive(Clone)]
pub struct Simulated {
    /// Way to PVE.
    pub pve: Arc<dyn pve::Transport>,
    /// Way to GitHub.
    pub github: Arc<dyn github::Transport>,
    /// Wall time at an instant of tokio's clock.
    pub origin: (Timestamp, Instant),
    /// Name of this start.
    pub run_id: RunId,
    /// Returns a nonce that no earlier VM had.
    pub nonces: Arc<dyn Fn() -> Nonce + Send + Sync>,
    /// Is called after each commit to the ledger, with true if it was synchronised.
    pub committed: Arc<dyn Fn(bool) + Send + Sync>,
}

impl Parts {
    pub(crate) fn nonce(&self) -> Nonce {
        match &self.simulated {
            Some(simulated) => (simulated.nonces)(),
            #[expect(clippy::disallowed_methods, reason = "a new incarnation needs a name that no earlier one had")]
            None => Nonce::random(),
        }
    }

    /// Notes a commit to the ledger, for a simulation that counts them.
    pub(crate) fn committed(&self, is_synchronised: bool) {
        if let Some(simulated) = &self.simulated {
            (simulated.committed)(is_synchronised);
        }
    }

    pub(crate) fn run_id(&self) -> RunId {
        match &self.simulated {
            Some(simulated) => simulated.run_id,
            #[expect(clippy::disallowed_methods, reason = "a start needs a name that no earlier one had")]
            None => RunId::random(),
        }
    }

    /// Returns the clock, which goes on from the stored moment.
    pub(crate) fn clock(&self, stored: Option<StoredClock>) -> Clock {
        match &self.simulated {
            Some(simulated) => Clock::virtual_from(simulated.origin.0, simulated.origin.1),
            None => Clock::system(stored),
        }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Parts").field("is_simulated", &self.simulated.is_some()).finish()
    }
}
