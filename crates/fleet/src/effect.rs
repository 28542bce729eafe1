//! Effects: the outside calls that decisions ask for, and their outcomes.
//!
//! An effect is one step on one VM or registration. Each is safe to repeat. The executor performs it, returns its outcome, and
//! knows nothing about states; `outcome.rs` says what follows from each outcome.

use jiff::Timestamp;
use ownership::{NodeName, PoolName, RepositoryName, RunnerName, Vmid};
use serde::{Deserialize, Serialize};

use crate::State;

/// An outside call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Effect {
    /// Name of the VM and of its registration. At most one effect of a name is under way.
    pub name: RunnerName,
    /// Step to take.
    pub step: Step,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// Asks for the linked clone, or finds out how the one asked for ended.
    Clone {
        /// True if the clone was never asked for.
        is_first: bool,
    },
    /// Sets size, network, seed and protection.
    Configure,
    /// Starts the VM.
    Start,
    /// Waits until the guest agent answers.
    AwaitAgent,
    /// Registers the runner for one job of this repository. The registration stays in the memory of the executor.
    Mint {
        /// Repository to register at.
        repository: RepositoryName,
    },
    /// Writes the registration into the guest.
    Arm,
    /// Asks an adopted guest whether it was ever armed, and GitHub where it is registered.
    Examine,
    /// Removes the registration.
    Deregister,
    /// Asks whether the VM, whose job is over, has powered itself off.
    Watch,
    /// Looks for signs of a job in the guest.
    Probe,
    /// Reads the diagnostics of a failed VM, and keeps them in a file. This is tried once and never holds up the end of the VM.
    KeepDiagnostics,
    /// Powers the VM off.
    Stop {
        /// True if the guest is asked first whether it is armed.
        asks_first: bool,
    },
    /// Destroys the VM with proof. A registration that it leaves at GitHub is removed by another step.
    Destroy,
    /// Destroys a powered-off VM that the provider lends.
    DestroyLent {
        /// Pool whose range holds the VMID.
        pool: PoolName,
        /// VMID of the VM.
        vmid: Vmid,
        /// Node that holds it.
        node: NodeName,
    },
    /// Removes a registration whose VM is gone.
    RemoveRegistration {
        /// Repository that the runner is registered at.
        repository: RepositoryName,
        /// GitHub's number of the runner, if it is known.
        runner_id: Option<u64>,
    },
}

impl Step {
    /// Returns true if the step belongs to the state.
    #[must_use]
    pub fn fits(&self, state: State) -> bool {
        match self {
            Self::Clone { .. } => matches!(state, State::Reserved | State::Cloning),
            Self::Configure => state == State::Configuring,
            Self::Start | Self::AwaitAgent => state == State::Booting,
            Self::Mint { .. } => matches!(state, State::Warm | State::Minting),
            Self::Arm => state == State::Arming,
            Self::Examine => state == State::Idle,
            Self::Watch => matches!(state, State::Idle | State::Busy),
            Self::Deregister => state == State::Retiring,
            Self::Probe => state == State::Fenced,
            Self::KeepDiagnostics => matches!(state, State::Retiring | State::Stopping),
            Self::Stop { .. } => state == State::Stopping,
            Self::Destroy => state == State::Destroying,
            Self::DestroyLent { .. } => false,
            Self::RemoveRegistration { .. } => state == State::Gone,
        }
    }

    /// Returns true if the record must be on disk before the step is taken.
    #[must_use]
    pub(crate) fn is_written_down_first(&self) -> bool {
        match self {
            // The name under which the guest or the registration will exist.
            Self::Clone { .. } | Self::Mint { .. } | Self::Arm => true,
            // The audit trail of the VM.
            Self::Destroy | Self::DestroyLent { .. } => true,
            Self::Configure
            | Self::Start
            | Self::AwaitAgent
            | Self::Examine
            | Self::Deregister
            | Self::Watch
            | Self::Probe
            | Self::KeepDiagnostics
            | Self::Stop { .. }
            | Self::RemoveRegistration { .. } => false,
        }
    }
}

/// The outcome of a step: its result, or the reason why it has none.
pub type Outcome = Result<Success, Failure>;

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Success {
    /// The step was taken.
    Done,
    /// GitHub's number of the new registration.
    Minted {
        /// The number.
        runner_id: u64,
    },
    /// The guest's answer about its runner, and the registration that GitHub has, if any.
    Examined {
        /// The guest's answer.
        sign: Sign,
        /// Repository and number of the registration.
        registration: Option<(RepositoryName, u64)>,
    },
    /// GitHub keeps the registration because the runner has a job.
    RefusedBusy,
    /// The power state.
    Watched {
        /// True if the VM is off.
        is_off: bool,
    },
    /// The guest's answer about its runner.
    Probed {
        /// The answer.
        sign: Sign,
    },
    /// The diagnostics are kept.
    Kept {
        /// File that holds them, relative to the dispatcher's state directory.
        file: String,
    },
    /// The VM has no diagnostics, or none that can be read.
    NothingToKeep,
    /// The guest was not stopped, because it says that it is armed.
    FoundArmed {
        /// True if a job has started.
        job: bool,
    },
}

/// A guest's answer about its runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sign {
    /// The guest never had a registration.
    Unarmed,
    /// The guest has a registration, and no job has started.
    Waiting,
    /// A job has started.
    Job,
}

/// A step without a result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// Kind of the failure, which decides what follows.
    pub kind: FailureKind,
    /// Error and its causes, without secrets.
    pub message: String,
    /// Time before which another attempt makes no sense, where the other side said so.
    pub retry_at: Option<Timestamp>,
}

/// Kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureKind {
    /// The whole cluster does not know this incarnation.
    Gone,
    /// Another guest has the VMID.
    VmidTaken,
    /// The VM runs and was to be destroyed.
    StillRunning,
    /// Only a person can remove the rest of an interrupted clone.
    HalfMade,
    /// The other side refused before it did anything, and may accept the same later.
    Refused,
    /// Another attempt may succeed. The step may have been taken.
    Passing,
    /// Another attempt with the same VM cannot succeed.
    Lasting,
    /// The executor no longer has what the step needs.
    Lost,
    /// The dispatcher is ending or draining, so the step was broken off.
    BrokenOff,
}

impl FailureKind {
    /// Returns true if the failure is shown to people.
    pub(crate) fn is_reported(self) -> bool {
        !matches!(self, Self::Gone | Self::BrokenOff | Self::Lost)
    }
}
