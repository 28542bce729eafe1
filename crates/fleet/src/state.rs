//! The states of a runner VM's life, and the sets of them that decisions ask about.
//!
//! [`crate::Life`] says which event leads from which state to which.

use serde::{Deserialize, Serialize};

/// Where a runner VM is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A VMID and a slot are set aside; PVE was not asked for anything.
    Reserved,
    /// The clone may have been asked for.
    Cloning,
    /// The clone is there; its size, network and protection are being set.
    Configuring,
    /// Started, or being started; the guest agent does not answer yet.
    Booting,
    /// Booted, without any registration.
    Warm,
    /// A registration may have been made.
    Minting,
    /// The registration is being written into the guest.
    Arming,
    /// The runner listens.
    Idle,
    /// The runner has a job.
    Busy,
    /// GitHub is being asked to remove the registration.
    Retiring,
    /// GitHub assigns no new job; one that was handed over may still run.
    Fenced,
    /// Failed, without a registration, and kept for a person for a while.
    Quarantined,
    /// Being powered off.
    Stopping,
    /// Powered off; the VM and what is left of its registration are being removed.
    Destroying,
    /// Nothing is left. Kept for a while so that the VMID is not used again at once.
    Gone,
}

impl State {
    /// The word under which it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Cloning => "cloning",
            Self::Configuring => "configuring",
            Self::Booting => "booting",
            Self::Warm => "warm",
            Self::Minting => "minting",
            Self::Arming => "arming",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Retiring => "retiring",
            Self::Fenced => "fenced",
            Self::Quarantined => "quarantined",
            Self::Stopping => "stopping",
            Self::Destroying => "destroying",
            Self::Gone => "gone",
        }
    }

    /// Holds a slot of its pool.
    #[must_use]
    pub fn holds_slot(self) -> bool {
        self != Self::Gone
    }

    /// Returns true if PVE is expected to know the guest.
    #[must_use]
    pub fn has_guest(self) -> bool {
        (Self::Configuring..Self::Destroying).contains(&self)
    }

    /// Returns true if the VM has booted and may be off without a further step of ours.
    #[must_use]
    pub fn may_be_off(self) -> bool {
        let is_running = matches!(self, Self::Warm | Self::Idle | Self::Busy | Self::Retiring | Self::Fenced);
        is_running || matches!(self, Self::Quarantined | Self::Stopping)
    }

    /// Returns true if the guest has its registration, so that a job may run in it.
    #[must_use]
    pub(crate) fn may_run_a_job(self) -> bool {
        matches!(self, Self::Idle | Self::Busy | Self::Retiring | Self::Fenced)
    }

    /// Returns true if GitHub may say next that the job of this VM is over.
    #[must_use]
    pub(crate) fn expects_end_of_job(self) -> bool {
        matches!(self, Self::Busy | Self::Fenced)
    }

    /// Returns true while the registration is in the memory of one process only.
    #[must_use]
    pub(crate) fn is_being_registered(self) -> bool {
        matches!(self, Self::Minting | Self::Arming)
    }

    /// Returns true once the VM is off for good.
    #[must_use]
    pub(crate) fn has_ended(self) -> bool {
        matches!(self, Self::Destroying | Self::Gone)
    }
}
