//! Why a queued job has no runner yet, in words for the person who waits for it.

use dispatcher_api::Config;
use jiff::Timestamp;
use ownership::{PoolName, RepositoryName, RunnerName};

use crate::Reason;

use crate::capacity::{self, Hold};
use crate::demand::{self, Server};
use crate::{Intent, Observed};

/// A queued job and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Repository of the job.
    pub repository: RepositoryName,
    /// GitHub's number of the job.
    pub job: u64,
    /// Name for people.
    pub job_name: String,
    /// Pool that serves it.
    pub pool: PoolName,
    /// When it was queued.
    pub since: Option<Timestamp>,
    /// What it waits for.
    pub reason: String,
}

/// A pool whose last VMs all failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Name of the pool.
    pub pool: PoolName,
    /// Number of the VMs that failed, and the cause of the last failure.
    pub message: String,
    /// Time at which the first of them was reserved.
    pub since: Timestamp,
}

/// Returns the pools whose last VMs all failed, in the order of the configuration.
pub fn troubles(observed: &Observed, intents: &[Intent], config: &Config) -> Vec<Trouble> {
    let trouble = |pool: &dispatcher_api::RunnerPool| {
        let failures = capacity::failures(pool, observed, intents);
        let since = failures.last()?.created_at;
        Some(Trouble { pool: pool.name.clone(), message: failed(pool, &failures)?, since })
    };
    config.pools.iter().filter_map(trouble).collect()
}

/// Returns a message with the number of failures, which are sorted from the newest, and the cause of the newest.
fn failed(pool: &dispatcher_api::RunnerPool, failures: &[&Intent]) -> Option<String> {
    let newest = failures.first()?;
    let count = match failures.len() {
        1 => format!("the last VM of pool {} failed", pool.name),
        count => format!("the last {count} VMs of pool {} failed", pool.name),
    };
    let why = newest.failure.as_deref().or_else(|| newest.life.reason.map(Reason::explanation))?;
    Some(format!("{count}: {why}"))
}

/// One line for each queued job that a pool serves, oldest first.
pub fn explain(observed: &Observed, intents: &[Intent], config: &Config, now: Timestamp) -> Vec<Waiting> {
    let plan = demand::plan(observed, intents, config, now);
    let explained = plan.queued.iter().map(|queued| Waiting {
        repository: queued.repository.clone(),
        job: queued.job.id,
        job_name: queued.job.name.clone(),
        pool: queued.pool.clone(),
        since: queued.job.created_at,
        reason: reason(queued, observed, intents, config, now),
    });
    explained.collect()
}

fn reason(
    queued: &demand::QueuedJob<'_>,
    observed: &Observed,
    intents: &[Intent],
    config: &Config,
    now: Timestamp,
) -> String {
    let state = |name: &RunnerName| {
        intents.iter().find(|intent| intent.name == *name).map_or("unknown", |intent| intent.life.state.as_str())
    };
    match queued.served_by {
        Server::Registered(name) => format!("runner {name} is {} and can take it", state(name)),
        Server::PerhapsTaken(name) => {
            format!("runner {name} may have taken it; GitHub's list of jobs is older than that")
        }
        Server::Warm(name) => format!("VM {name} has booted and is being registered"),
        Server::Preparing(name) => {
            let failure =
                intents.iter().find(|intent| intent.name == *name).and_then(|intent| intent.failure.as_deref());
            let failure = failure.map(|failure| format!("; its last step failed: {failure}")).unwrap_or_default();
            format!("VM {name} is {}{failure}", state(name))
        }
        Server::Missing => {
            match config.pool(queued.pool).map(|pool| (pool, capacity::free(pool, observed, intents, now))) {
                None => format!("pool {} is no longer configured", queued.pool),
                Some((_, Err(Hold::Draining))) => "the dispatcher is being drained".to_owned(),
                Some((_, Err(Hold::Unseen))) => "Proxmox VE has not answered lately".to_owned(),
                Some((pool, Err(Hold::BackOff { until }))) => {
                    let why = failed(pool, &capacity::failures(pool, observed, intents)).unwrap_or_default();
                    format!("the next VM is made at {until:.0}, because {why}")
                }
                Some((pool, Err(Hold::Full { live }))) => {
                    format!("pool {} is at its limit: {live} of {} VMs exist", pool.name, pool.max)
                }
                Some((pool, Ok(_))) => format!(
                    "a VM of pool {} is about to be made; if not, no VMID of {} is free",
                    pool.name, pool.vmid_range
                ),
            }
        }
    }
}
