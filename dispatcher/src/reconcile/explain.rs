//! Why a queued job has no runner yet, in words for the person who waits for it.

use dispatcher_api::Config;
use jiff::Timestamp;
use ownership::PoolName;

use super::capacity::{self, Hold};
use super::demand::{self, Server};
use super::{Intent, Observed, pool_named};

/// A queued job and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// `owner/name`.
    pub(crate) repository: String,
    /// GitHub's number of the job.
    pub(crate) job: u64,
    /// Name for people.
    pub(crate) job_name: String,
    /// Pool that serves it.
    pub(crate) pool: PoolName,
    /// When it was queued.
    pub(crate) since: Option<Timestamp>,
    /// What it waits for.
    pub(crate) reason: String,
}

/// One line for each queued job that a pool serves, oldest first.
pub(crate) fn explain(observed: &Observed, intents: &[Intent], config: &Config, now: Timestamp) -> Vec<Waiting> {
    let plan = demand::plan(observed, intents, config, now);
    let explained = plan.queued.iter().map(|queued| Waiting {
        repository: queued.repository.to_owned(),
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
    let state = |name: &str| {
        intents.iter().find(|intent| intent.name == name).map_or("unknown", |intent| intent.life.state.as_str())
    };
    match queued.served_by {
        Server::Registered(name) => format!("runner {name} is {} and can take it", state(name)),
        Server::PerhapsTaken(name) => {
            format!("runner {name} may have taken it; GitHub's list of jobs is older than that")
        }
        Server::Warm(name) => format!("VM {name} has booted and is being registered"),
        Server::Preparing(name) => format!("VM {name} is {}", state(name)),
        Server::Missing => {
            match pool_named(config, queued.pool).map(|pool| (pool, capacity::free(pool, observed, intents, now))) {
                None => format!("pool {} is no longer configured", queued.pool),
                Some((_, Err(Hold::Draining))) => "the dispatcher is being drained".to_owned(),
                Some((_, Err(Hold::Unseen))) => "Proxmox VE has not answered lately".to_owned(),
                Some((pool, Err(Hold::BackOff { until }))) => {
                    format!("the last VMs of pool {} failed; the next is made at {until:.0}", pool.name)
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
