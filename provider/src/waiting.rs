//! Deadlines of waits for Proxmox VE.

use std::time::{Duration, Instant};

use pve::WaitOptions;
use tf_provider::{Call, CancellationToken};

/// Deadline of an operation that does not declare one.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(3600);

/// Returns options for a wait that ends at the operation's deadline, or when the user interrupts the operation.
pub(crate) fn until_deadline(call: &Call) -> WaitOptions {
    let left = call.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
    WaitOptions { deadline: left.unwrap_or(DEFAULT_DEADLINE), cancel: call.stop().clone() }
}

/// Returns options for the wait of a clean-up, which the user cannot interrupt.
pub(crate) fn for_clean_up(deadline: Duration) -> WaitOptions {
    WaitOptions { deadline, cancel: CancellationToken::new() }
}
