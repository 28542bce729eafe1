//! The reasons for which queued jobs have no runner yet, and the problems of pools, for the people who wait.
//!
//! They are read off the same decisions that lead to effects.

use dispatcher_api::{Config, RunnerPool};
use jiff::Timestamp;
use ownership::{PoolName, RepositoryName, RunnerName};
use serde::Serialize;

use crate::capacity::{self, Hold};
use crate::demand::{Demand, QueuedJob, Server};
use crate::fleet::Fleet;
use crate::rivals::Rival;
use crate::view::View;
use crate::{Intent, Reason, State};

/// A queued job and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Repository of the job.
    pub repository: RepositoryName,
    /// GitHub's number of the job.
    pub job: u64,
    /// Name of the job.
    pub job_name: String,
    /// Pool that serves it.
    pub pool: PoolName,
    /// Time at which it was queued.
    pub since: Option<Timestamp>,
    /// Reason for which it waits.
    pub reason: String,
}

/// The thing that a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// A pool whose last VMs all failed.
    Pool(PoolName),
    /// A VM, or a registration, whose last step failed.
    Vm(RunnerName),
    /// A repository that refuses registrations.
    Repository(RepositoryName),
    /// Another dispatcher of the same installation.
    Rival,
}

/// A problem that hinders the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hindrance {
    /// The thing that it is about.
    pub concern: Concern,
    /// The problem and its cause.
    pub message: String,
    /// Time at which it began.
    pub since: Timestamp,
}

impl Fleet {
    /// Returns the problems that hinder the fleet: pools first, then other dispatchers, repositories and VMs.
    #[must_use]
    pub fn hindrances(&self, config: &Config, now: Timestamp) -> Vec<Hindrance> {
        let view = self.view(config, now);
        let mut hindrances: Vec<Hindrance> = config.pools.iter().filter_map(|pool| of_pool(pool, &view)).collect();
        hindrances.extend(self.rivals.working.iter().map(|rival| self.of_rival(rival)));
        hindrances.extend(self.refusing.iter().map(|(repository, trouble)| Hindrance {
            concern: Concern::Repository(repository.clone()),
            message: format!("{repository} takes no registration: {}", trouble.message),
            since: trouble.since,
        }));
        hindrances.extend(self.records.values().filter(|intent| intent.is_live()).filter_map(of_vm));
        let resting = self.resting.iter().filter(|(_, trouble)| trouble.failures > 0);
        hindrances.extend(resting.map(|(name, trouble)| Hindrance {
            concern: Concern::Vm(name.clone()),
            message: trouble.message.clone(),
            since: trouble.since,
        }));
        hindrances
    }

    fn of_rival(&self, rival: &Rival) -> Hindrance {
        let run = rival.run;
        let goes_first = !self.rivals.stand_back();
        let then = match goes_first {
            true => "this one goes on, and leaves the VMs of the other alone",
            false => "this one makes and registers no VMs until nothing of the other appeared for ten minutes",
        };
        let message = format!("another dispatcher of this installation works (run {run}); {then}");
        Hindrance { concern: Concern::Rival, message, since: rival.since }
    }

    /// Returns the pools that make no VM for now because their last ones failed.
    #[must_use]
    pub fn backing_off<'a>(&self, config: &'a Config, now: Timestamp) -> Vec<&'a RunnerPool> {
        let view = self.view(config, now);
        let waits = |pool: &&RunnerPool| capacity::back_off(pool, &view).is_some_and(|until| until > now);
        config.pools.iter().filter(waits).collect()
    }
}

fn of_vm(intent: &Intent) -> Option<Hindrance> {
    let message = intent.failure.clone()?;
    let since = intent.failing_since?;
    Some(Hindrance { concern: Concern::Vm(intent.name.clone()), message, since })
}

fn of_pool(pool: &RunnerPool, view: &View<'_>) -> Option<Hindrance> {
    let failures = capacity::failures(pool, view);
    let since = failures.last()?.created_at;
    Some(Hindrance { concern: Concern::Pool(pool.name.clone()), message: failed(pool, &failures)?, since })
}

/// Returns a message with the number of failures, which are sorted from the newest, and the cause of the newest.
fn failed(pool: &RunnerPool, failures: &[&Intent]) -> Option<String> {
    let newest = failures.first()?;
    let count = match failures.len() {
        1 => format!("the last VM of pool {} failed", pool.name),
        count => format!("the last {count} VMs of pool {} failed", pool.name),
    };
    let why = newest.failure.as_deref().or_else(|| newest.life.reason.map(Reason::explanation))?;
    let log = newest.life.kept.as_ref().map(|file| format!("; log kept: {file}")).unwrap_or_default();
    Some(format!("{count}: {why}{log}"))
}

/// Returns one entry for each queued job that a pool serves, oldest first.
pub(crate) fn explain<'a>(
    view: &View<'_>,
    demand: &Demand<'_>,
    record: impl Fn(&RunnerName) -> Option<&'a Intent>,
) -> Vec<Waiting> {
    let missing: std::collections::BTreeMap<&PoolName, String> =
        view.config.pools.iter().map(|pool| (&pool.name, reason_of_pool(pool, view))).collect();
    let explained = demand.queued.iter().map(|queued| Waiting {
        repository: queued.repository.clone(),
        job: queued.job.id,
        job_name: queued.job.name.clone(),
        pool: queued.pool.clone(),
        since: queued.job.created_at,
        reason: reason(queued, view, &missing, &record),
    });
    explained.collect()
}

fn reason<'a>(
    queued: &QueuedJob<'_>,
    view: &View<'_>,
    missing: &std::collections::BTreeMap<&PoolName, String>,
    record: &impl Fn(&RunnerName) -> Option<&'a Intent>,
) -> String {
    let state = |name| record(name).map_or("unknown", |intent| intent.life.state.as_str());
    match &queued.served_by {
        Server::Registered(name) => format!("runner {name} is {} and can take it", state(name)),
        Server::PerhapsTaken(name) => {
            format!("runner {name} may have taken it; GitHub's list of jobs is older than that")
        }
        Server::Warm(name) => format!("VM {name} has booted and is being registered"),
        Server::Preparing(name) => {
            let failure = record(name).and_then(|intent| intent.failure.as_deref());
            let failure = failure.map(|failure| format!("; its last step failed: {failure}")).unwrap_or_default();
            format!("VM {name} is {}{failure}", state(name))
        }
        Server::Refused => {
            let why = view.refusing.get(queued.repository).map(|trouble| trouble.message.as_str()).unwrap_or_default();
            format!("{} takes no registration: {why}", queued.repository)
        }
        Server::Missing => missing.get(queued.pool).cloned().unwrap_or_default(),
    }
}

/// Returns the reason for which a pool does not make the VMs that are missing.
fn reason_of_pool(pool: &RunnerPool, view: &View<'_>) -> String {
    match capacity::free(pool, view) {
        Err(Hold::Draining) => "the dispatcher is being drained".to_owned(),
        Err(Hold::StandingBack) => "another dispatcher of this installation makes VMs, so this one does not".to_owned(),
        Err(Hold::Unseen) => "Proxmox VE has not answered lately".to_owned(),
        Err(Hold::BackOff { until }) => {
            let why = failed(pool, &capacity::failures(pool, view)).unwrap_or_default();
            format!("the next VM is made at {until:.0}, because {why}")
        }
        Err(Hold::Full { live }) => {
            let is_kept = |intent: &&&Intent| intent.life.state == State::Quarantined;
            let kept = view.records.of_pool(&pool.name).iter().filter(is_kept).count();
            let kept = if kept > 0 { format!(", {kept} of them in quarantine") } else { String::new() };
            format!("pool {} is at its limit: {live} of {} VMs exist{kept}", pool.name, pool.max)
        }
        Ok(_) => {
            format!("a VM of pool {} is about to be made; if not, no VMID of {} is free", pool.name, pool.vmid_range)
        }
    }
}
