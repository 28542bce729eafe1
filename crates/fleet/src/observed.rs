//! What the adapters saw. Every part says when looking began: a negative counts only for facts older than that.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ownership::{PoolName, RepositoryName, RunnerName, Vmid};

/// Everything that was seen, as of its parts' own times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Observed {
    /// The last complete list of PVE's guests; `None` until there was one.
    pub guests: Option<Guests>,
    /// By repository.
    pub repositories: BTreeMap<RepositoryName, RepositorySeen>,
    /// VMs and registrations, by name, on which this process has a step under way.
    pub in_flight: BTreeSet<RunnerName>,
    /// No new VMs; idle ones are to be released.
    pub draining: bool,
    /// By pool: failures up to this time no longer make the pool wait, because what may have caused them was changed.
    pub forgiven: BTreeMap<PoolName, Timestamp>,
}

/// PVE's guests in the VMID ranges of the pools.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Guests {
    /// When the list was asked for.
    pub taken_at: Timestamp,
    /// By VMID.
    pub seen: BTreeMap<Vmid, GuestSeen>,
    /// VMIDs of written-down VMs of which PVE confirmed one by one that there is no such guest.
    pub absent: BTreeSet<Vmid>,
    /// VMIDs that PVE calls taken without showing us the guest, and that may be half-made clones of ours: they keep their slots.
    pub hidden: BTreeSet<Vmid>,
    /// The same for so long that they are somebody else's: only not to be used.
    pub taken: BTreeSet<Vmid>,
}

/// One guest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GuestSeen {
    /// Confirmed one by one where the list's word would lead to a decision: the list lags by up to 10 s.
    pub power: Power,
    /// Something (a clone, a backup) has it locked.
    pub locked: bool,
    /// Whose it is.
    pub claim: Claim,
}

/// Whether a guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Power {
    /// Runs, or PVE does not say otherwise.
    Running,
    /// Confirmed powered off.
    Off,
}

/// Whose a guest is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Claim {
    /// Carries our marker under this name, and passes the proof for this pool.
    Ours {
        /// Name made from its marker.
        name: RunnerName,
        /// Pool in its marker.
        pool: PoolName,
    },
    /// Made by the provider, which lets us clear it away once it has finished.
    Lent {
        /// Pool whose range and resource pool it is in.
        pool: PoolName,
        /// It was seen running before, so that being off means that it has finished.
        ran: bool,
        /// Name that its registration would have.
        name: RunnerName,
    },
    /// The provider's, or somebody else's: never acted on, never counted.
    Foreign,
    /// Not known yet, or a clone in the making: keeps its slot counted.
    Unknown,
}

/// What GitHub said about one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RepositorySeen {
    /// Jobs of all runs that are not completed, and single jobs that were looked up.
    pub jobs: Option<Jobs>,
    /// Registered runners.
    pub runners: Option<Runners>,
}

/// Jobs as of one time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Jobs {
    /// When the list was asked for.
    pub taken_at: Timestamp,
    /// The jobs.
    pub list: Vec<JobSeen>,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobSeen {
    /// GitHub's number.
    pub id: u64,
    /// Name for people.
    pub name: String,
    /// Labels that it asks for.
    pub labels: Vec<String>,
    /// How far it is.
    pub phase: JobPhase,
    /// Name of the runner that took it.
    pub runner_name: Option<String>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
}

/// How far a job is, as far as runners are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Runners {
    /// When the list was asked for.
    pub taken_at: Timestamp,
    /// The runners whose names are of our installation.
    pub list: Vec<RunnerSeen>,
}

/// One registered runner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunnerSeen {
    /// GitHub's number.
    pub id: u64,
    /// Its name.
    pub name: RunnerName,
    /// Whether it is connected.
    pub online: bool,
    /// Whether GitHub says that it has a job. Only a yes means anything.
    pub busy: bool,
}

impl Observed {
    /// The job that this runner has or had, where GitHub's list names it.
    pub(crate) fn job_of(&self, repository: Option<&RepositoryName>, runner_name: &RunnerName) -> Option<&JobSeen> {
        let wanted = |job: &&JobSeen| job.runner_name.as_deref() == Some(runner_name.as_str());
        self.seen_in(repository).filter_map(|seen| seen.jobs.as_ref()).find_map(|jobs| jobs.list.iter().find(wanted))
    }

    /// The registration of this name.
    pub fn runner(&self, repository: Option<&RepositoryName>, name: &RunnerName) -> Option<&RunnerSeen> {
        let wanted = |runner: &&RunnerSeen| runner.name == *name;
        self.seen_in(repository)
            .filter_map(|seen| seen.runners.as_ref())
            .find_map(|runners| runners.list.iter().find(wanted))
    }

    /// One repository, or all of them where the VM's is not known.
    fn seen_in(&self, repository: Option<&RepositoryName>) -> impl Iterator<Item = &RepositorySeen> {
        self.repositories
            .iter()
            .filter(move |(name, _)| repository.is_none_or(|wanted| *wanted == **name))
            .map(|(_, seen)| seen)
    }

    /// The guest at this VMID, in the last list.
    pub fn guest(&self, vmid: Vmid) -> Option<&GuestSeen> {
        self.guests.as_ref()?.seen.get(&vmid)
    }
}
