//! Diagnostics of failed VMs: the log of the runner program and of the guest, or the serial console. They are read while the VM
//! still runs.
//!
//! They must never hold up the end of a VM: they are tried once, and not at all after a short deadline.

use jiff::{SignedDuration, Timestamp};

use crate::reap::is_past;
use crate::{Life, Reason, State};

/// Time after a VM failed from which it ends without diagnostics.
pub(crate) const DEADLINE: SignedDuration = SignedDuration::from_secs(60);

/// Returns true if the VM failed in a way that its diagnostics can explain.
///
/// A VM that powered itself off has none, because its log is in memory. A VM that was never started, or whose registration GitHub
/// refused, is not at fault.
pub(crate) fn has_failed(life: &Life) -> bool {
    life.is_offline
        || matches!(
            life.reason,
            Some(Reason::BootDeadline | Reason::ArmFailed | Reason::Ghost | Reason::Lingering | Reason::JobLimit)
        )
}

/// Returns true if the diagnostics of the VM are to be read now.
pub(crate) fn is_due(life: &Life, now: Timestamp) -> bool {
    let ends = matches!(life.state, State::Retiring | State::Stopping);
    ends && has_failed(life) && life.diagnosed_at.is_none() && !is_past(life.since, DEADLINE, now)
}
