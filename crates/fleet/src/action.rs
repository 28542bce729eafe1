//! The actions that a decision asks for.

use ownership::{PoolName, RepositoryName, RunnerName, Vmid};

use crate::{Event, State};

/// An action that follows from a decision. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Write down what was observed or decided. No outside call.
    Note {
        /// Name of the VM.
        name: RunnerName,
        /// Event that its life takes.
        event: Event,
    },
    /// Set a VMID and a slot aside, under a name that is drawn when this is carried out. No outside call.
    Reserve {
        /// Pool that the VM is made for.
        pool: PoolName,
        /// Its VMID.
        vmid: Vmid,
    },
    /// Write down a VM of ours that was found without a record. No outside call.
    Adopt {
        /// Pool that the marker names.
        pool: PoolName,
        /// Its VMID.
        vmid: Vmid,
    },
    /// Carry one VM a step further.
    Step {
        /// Name of the VM.
        name: RunnerName,
        /// Step to make.
        step: Step,
    },
    /// Destroy a powered-off VM that the provider lends us, with proof.
    DestroyLent {
        /// Pool whose range holds the VMID.
        pool: PoolName,
        /// Its VMID.
        vmid: Vmid,
    },
    /// Remove a registration of ours whose VM is gone.
    RemoveRegistration {
        /// Repository that the runner is registered at.
        repository: RepositoryName,
        /// GitHub's number of the runner.
        runner_id: u64,
        /// Name of the runner.
        name: RunnerName,
    },
}

/// A step of one VM. The executor records the step, makes it, and records its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Ask for the linked clone, or find out how the one asked for ended.
    Clone,
    /// Set size, network, seed and protection.
    Configure,
    /// Start it and wait for its guest agent.
    Boot,
    /// Register it for one job of this repository and hand it the registration.
    Register {
        /// Repository to register at.
        repository: RepositoryName,
    },
    /// Ask a running guest that was adopted whether it was ever armed.
    Examine,
    /// Remove its registration.
    Deregister,
    /// Ask whether the VM, whose job is over, has powered itself off.
    Watch,
    /// Look for signs of a job, at GitHub and in the guest.
    Probe,
    /// Power it off.
    Stop,
    /// Remove what is left of its registration, then destroy it with proof.
    Destroy,
}

impl Step {
    /// Returns true if the step belongs to the state.
    pub fn fits(&self, state: State) -> bool {
        match self {
            Self::Clone => matches!(state, State::Reserved | State::Cloning),
            Self::Configure => state == State::Configuring,
            Self::Boot => state == State::Booting,
            Self::Register { .. } => state == State::Warm,
            Self::Examine => state == State::Idle,
            Self::Watch => matches!(state, State::Idle | State::Busy),
            Self::Deregister => state == State::Retiring,
            Self::Probe => state == State::Fenced,
            Self::Stop => state == State::Stopping,
            Self::Destroy => state == State::Destroying,
        }
    }
}
