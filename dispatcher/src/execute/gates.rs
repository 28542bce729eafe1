//! How many things are done at PVE at a time. Its API is a shared, small resource: clones queue on one lock per storage, and a caller
//! who waits too long for it is refused.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const CLONES: usize = 2;
const POWER: usize = 4;

/// The gates of one dispatcher.
#[derive(Debug, Clone)]
pub(crate) struct Gates {
    clones: Arc<Semaphore>,
    power: Arc<Semaphore>,
}

impl Default for Gates {
    fn default() -> Self {
        Self { clones: Arc::new(Semaphore::new(CLONES)), power: Arc::new(Semaphore::new(POWER)) }
    }
}

impl Gates {
    /// Waits for leave to clone. `None`: never, because the process is ending.
    pub(super) async fn clone_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.clones).acquire_owned().await.ok()
    }

    /// Waits for leave to start, stop or destroy.
    pub(super) async fn power_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.power).acquire_owned().await.ok()
    }
}
