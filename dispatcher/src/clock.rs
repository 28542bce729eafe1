//! The one place where the time is read. Decisions get it as an argument.

use std::cell::Cell;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

thread_local! {
    /// Wall time at an instant of tokio's clock, where this thread's time is simulated.
    static ORIGIN: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
}

/// Lets this thread's time follow tokio's clock. A simulation has one thread.
pub(crate) fn follow_tokio(origin: (Timestamp, Instant)) {
    ORIGIN.set(Some(origin));
}

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "adapters stamp what they observe; the fleet's decisions cannot see this module's time but as an argument"
)]
pub(crate) fn now() -> Timestamp {
    let Some((origin, began)) = ORIGIN.get() else { return Timestamp::now() };
    origin + SignedDuration::try_from(began.elapsed()).unwrap_or(SignedDuration::MAX)
}
