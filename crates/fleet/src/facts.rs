//! Facts: answers of Proxmox VE and GitHub. Each carries the time at which it was asked for.
//!
//! A negative fact ("there is no such guest") counts only against records that are older than the question.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ownership::{NodeName, PoolName, RepositoryName, Run, RunnerName, Vmid};
use serde::{Deserialize, Serialize};

/// The last answer of each source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Facts {
    /// The last complete list of guests; `None` before the first.
    pub guests: Option<Guests>,
    /// Jobs and runners, by repository.
    pub repositories: BTreeMap<RepositoryName, RepositorySeen>,
    /// VMIDs that are taken although the last list shows no guest there. They are not used.
    #[serde(default)]
    pub hidden: BTreeSet<Vmid>,
    /// Those of the hidden VMIDs that may be clones of ours in the making. They keep their slots.
    #[serde(default)]
    pub clones: BTreeSet<Vmid>,
}

/// Guests in the VMID ranges of the pools, and those that have a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guests {
    /// Time at which the list was asked for.
    pub taken_at: Timestamp,
    /// Guests by VMID.
    pub seen: BTreeMap<Vmid, GuestSeen>,
    /// VMIDs with a record that the whole cluster calls free, each confirmed by a question of its own.
    pub absent: BTreeSet<Vmid>,
    /// Answers about VMIDs at which the list shows no guest.
    #[serde(default)]
    pub unshown: Unshown,
}

/// Answers to [`crate::GuestQuestions`], about VMIDs at which the list of guests shows none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unshown {
    /// VMIDs that are free.
    pub free: BTreeSet<Vmid>,
    /// VMIDs that are taken, or about which the question failed.
    pub occupied: BTreeSet<Vmid>,
    /// True if no question failed.
    pub is_complete: bool,
    /// True if a clone of this token may be running on the node of a template. False if that was not asked.
    pub clones_run: bool,
}

/// One guest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GuestSeen {
    /// Node that holds the guest.
    pub node: NodeName,
    /// Power state. [`Power::Off`] is confirmed by a question about this guest, because the list lags by up to 10 s.
    pub power: Power,
    /// True while a clone, a backup or another operation has the guest locked.
    pub locked: bool,
    /// Owner of the guest.
    pub claim: Claim,
    /// Name of a foreign guest in the list, where its configuration was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Start of the dispatcher that made the guest, where its marker was read and names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
}

/// Power state of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Power {
    /// Running, or Proxmox VE does not say otherwise.
    Running,
    /// Confirmed to be powered off.
    Off,
}

/// Owner of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Claim {
    /// The guest carries our marker and passes the proof for this pool, or it has a record under this name.
    Ours {
        /// Name made from the marker.
        name: RunnerName,
        /// Pool in the marker.
        pool: PoolName,
    },
    /// The provider made the guest and lets the dispatcher destroy it once it has finished.
    Lent {
        /// Pool whose range and resource pool the guest is in.
        pool: PoolName,
        /// Name that its registration would have.
        name: RunnerName,
    },
    /// The guest belongs to the provider or to somebody else. It is never touched or counted.
    Foreign,
    /// Not known yet, or a clone in the making. It keeps its slot.
    Unknown,
}

/// Jobs and runners of one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RepositorySeen {
    /// Jobs of all runs that are not completed, and single jobs that were looked up.
    pub jobs: Option<Jobs>,
    /// Registered runners.
    pub runners: Option<Runners>,
}

/// Jobs as of one time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Jobs {
    /// Time at which the list was asked for.
    pub taken_at: Timestamp,
    /// The jobs.
    pub list: Vec<JobSeen>,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobSeen {
    /// GitHub's number of the job.
    pub id: u64,
    /// Name of the job.
    pub name: String,
    /// Labels that it asks for.
    pub labels: Vec<String>,
    /// Phase of the job.
    pub phase: JobPhase,
    /// Name of the runner that took it.
    pub runner_name: Option<String>,
    /// Time at which GitHub made the job.
    pub created_at: Option<Timestamp>,
    /// Last time at which its run was started, started again or approved. A re-run keeps the time of its creation.
    #[serde(default)]
    pub renewed_at: Option<Timestamp>,
}

/// Phase of a job, as far as runners are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobPhase {
    /// Waits for a runner.
    Queued,
    /// Runs on a runner.
    Running,
    /// Over.
    Completed,
    /// Waits for something else than a runner.
    Held,
}

/// Registered runners as of one time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Runners {
    /// Time at which the list was asked for.
    pub taken_at: Timestamp,
    /// The runners whose names are of this installation.
    pub list: Vec<RunnerSeen>,
}

/// One registered runner.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunnerSeen {
    /// GitHub's number of the runner.
    pub id: u64,
    /// Name of the runner.
    pub name: RunnerName,
    /// True if the runner is connected.
    pub online: bool,
    /// True if GitHub says that the runner has a job. False means nothing.
    pub busy: bool,
}

impl Facts {
    /// Returns the guest at this VMID in the last list.
    #[must_use]
    pub fn guest(&self, vmid: Vmid) -> Option<&GuestSeen> {
        self.guests.as_ref()?.seen.get(&vmid)
    }

    /// Returns the last list of this repository's jobs.
    pub(crate) fn jobs(&self, repository: &RepositoryName) -> Option<&Jobs> {
        self.repositories.get(repository)?.jobs.as_ref()
    }

    /// Returns the last list of this repository's runners.
    pub(crate) fn runners(&self, repository: &RepositoryName) -> Option<&Runners> {
        self.repositories.get(repository)?.runners.as_ref()
    }
}
