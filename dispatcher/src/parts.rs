//! The surroundings of the dispatcher: its ways to PVE and GitHub, the time, and the source of new names.
//!
//! [`Parts::default`] is the machine. A simulation gives its own; then the dispatcher opens no socket, starts no thread, and
//! two runs are alike.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use ownership::Nonce;
use tokio::time::Instant;

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
    /// Returns a nonce that no earlier VM had.
    pub nonces: Arc<dyn Fn() -> Nonce + Send + Sync>,
}

impl Parts {
    pub(crate) fn nonce(&self) -> Nonce {
        match &self.simulated {
            Some(simulated) => (simulated.nonces)(),
            #[expect(clippy::disallowed_methods, reason = "a new incarnation needs a name that no earlier one had")]
            None => Nonce::random(),
        }
    }

    /// Does work that waits for the disk: beside the other tasks, or in a simulation at once.
    pub(crate) async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match &self.simulated {
            Some(_) => Some(work()),
            None => tokio::task::spawn_blocking(work).await.ok(),
        }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Parts").field("is_simulated", &self.simulated.is_some()).finish()
    }
}
