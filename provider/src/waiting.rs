//! How long an operation may wait for Proxmox VE, from the core's deadline and stop token.

use std::time::{Duration, Instant};

use pve::WaitOptions;
use tf_provider::Call;

/// Where an operation declares no deadline.
const LONGEST: Duration = Duration::from_secs(3600);

/// Waits until the operation's deadline, and no longer than until the user interrupts.
pub(crate) fn until_deadline(call: &Call) -> WaitOptions {
    let left = call.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
    WaitOptions { deadline: left.unwrap_or(LONGEST), cancel: call.stop().clone() }
}
