//! How long steps wait for what PVE makes them wait for.

use std::time::Duration;

use tokio::time::Instant;

/// Longest wait for one task. A linked clone, a start, a stop and a destruction take seconds.
pub(crate) const TASK_DEADLINE: Duration = Duration::from_secs(180);
/// PVE holds a guest's configuration lock for up to 30 s after a shutdown; somebody's backup holds it longer.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(60);
/// Pause before the next check of a clone that is being made.
pub(crate) const CLONE_PAUSE: Duration = Duration::from_secs(2);
/// Pause before another try at something locked.
pub(crate) const LOCK_PAUSE: Duration = Duration::from_millis(700);

/// A point in time until which trying again makes sense.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience(Instant);

impl Patience {
    pub(crate) fn of(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    pub(crate) fn is_over(self) -> bool {
        Instant::now() >= self.0
    }
}
