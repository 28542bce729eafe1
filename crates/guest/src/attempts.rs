//! Policy by which steps are tried again.
//!
//! Each attempt reads the facts that it needs for itself, first of all the proof of ownership.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::Problem;

/// Longest time for which a locked guest is tried again. PVE holds a guest's configuration lock for up to 30 s after a
/// shutdown, and a backup holds it longer.
pub(crate) const LOCK_DEADLINE: Duration = Duration::from_secs(60);
/// Pause before another attempt at a locked guest.
pub(crate) const LOCK_PAUSE: Duration = Duration::from_millis(700);

/// Makes attempts until one succeeds, one fails for good, the deadline has passed, or the caller cancels. `pause_after`
/// returns the pause before the next attempt, or `None` if another attempt cannot help.
///
/// # Errors
/// That of the last attempt, or [`Problem::Cancelled`].
pub(crate) async fn attempts<T, E, F>(
    cancel: &CancellationToken,
    deadline: Duration,
    mut attempt: impl FnMut() -> F,
    pause_after: impl Fn(&E) -> Option<Duration>,
) -> Result<T, E>
where
    E: From<Problem> + std::fmt::Debug,
    F: Future<Output = Result<T, E>>,
{
    let end = Instant::now() + deadline;
    let interrupt = cancel.clone();
    let guarded = || {
        let attempt = (!cancel.is_cancelled()).then(&mut attempt);
        async {
            match attempt {
                Some(attempt) => attempt.await,
                None => Err(Problem::Cancelled.into()),
            }
        }
    };
    guarded
        .retry(ConstantBuilder::new().without_max_times())
        .sleep(move |pause| {
            let interrupt = interrupt.clone();
            async move {
                interrupt.run_until_cancelled(sleep(pause)).await;
            }
        })
        .when(|error| pause_after(error).is_some())
        .adjust(|error, _| pause_after(error).filter(|_| Instant::now() < end))
        .notify(|error, pause| tracing::debug!(?error, ?pause, "to be tried again"))
        .await
}
