//! Which jobs wait, which VMs are on their way to take them, and how many are missing.
//!
//! Demand is counted, never bound: a registration serves one repository but pins no job, so that any matching job may land on it.

use std::collections::BTreeMap;

use crate::State;
use dispatcher_api::{Config, RunnerPool};
use jiff::{SignedDuration, Timestamp};
use ownership::{PoolName, RepositoryName, RunnerName};

use crate::{Intent, JobPhase, JobSeen, Jobs, Observed};

/// GitHub gives a queued job up after 24 h; runs that show queued jobs for longer are ghosts.
const OLDEST_QUEUED_JOB: SignedDuration = SignedDuration::from_hours(24);

/// A queued job that one of the pools serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueuedJob<'a> {
    pub(super) repository: &'a RepositoryName,
    pub(super) pool: &'a PoolName,
    pub(super) job: &'a JobSeen,
    pub(super) served_by: Server<'a>,
}

/// What is expected to take a queued job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server<'a> {
    /// A runner that listens, or is about to.
    Registered(&'a RunnerName),
    /// A VM that just had or has a job which the list of jobs is too old to show: perhaps this one.
    PerhapsTaken(&'a RunnerName),
    /// A booted VM, to be registered now.
    Warm(&'a RunnerName),
    /// A VM that is being made.
    Preparing(&'a RunnerName),
    /// Nothing yet.
    Missing,
}

/// How queued jobs are spread over VMs.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub(super) queued: Vec<QueuedJob<'a>>,
    register: BTreeMap<&'a RunnerName, &'a RepositoryName>,
    needed: Vec<&'a RunnerName>,
}

impl Plan<'_> {
    /// The repository that this warm VM is to be registered for.
    pub(super) fn repository_for(&self, name: &RunnerName) -> Option<&RepositoryName> {
        self.register.get(name).copied()
    }

    /// VMs that are to be made for the pool.
    pub(super) fn missing(&self, pool: &PoolName) -> usize {
        self.queued.iter().filter(|queued| queued.pool == pool && queued.served_by == Server::Missing).count()
    }

    /// Whether a queued job counts on this VM.
    pub(super) fn needs(&self, name: &RunnerName) -> bool {
        self.needed.contains(&name)
    }
}

/// Spreads the queued jobs, oldest first, over the VMs that can take them, the furthest advanced first.
pub(super) fn plan<'a>(observed: &'a Observed, intents: &'a [Intent], config: &'a Config, now: Timestamp) -> Plan<'a> {
    let mut plan = Plan { queued: queued_jobs(observed, config, now), ..Plan::default() };
    let mut free = Supply::new(observed, intents);
    for queued in &mut plan.queued {
        queued.served_by = free.take(queued.pool, queued.repository);
        match queued.served_by {
            Server::Warm(name) if !observed.draining => {
                plan.register.insert(name, queued.repository);
                plan.needed.push(name);
            }
            Server::Registered(name) | Server::PerhapsTaken(name) | Server::Warm(name) | Server::Preparing(name) => {
                plan.needed.push(name)
            }
            Server::Missing => {}
        }
    }
    plan
}

/// All queued jobs that a pool serves, oldest first.
fn queued_jobs<'a>(observed: &'a Observed, config: &'a Config, now: Timestamp) -> Vec<QueuedJob<'a>> {
    let mut queued = Vec::new();
    for (repository, seen) in &observed.repositories {
        let jobs = seen.jobs.iter().flat_map(|jobs| &jobs.list).filter(|job| is_waiting(job, now));
        queued.extend(jobs.filter_map(|job| {
            let pool = serving_pool(config, repository, job)?;
            Some(QueuedJob { repository, pool: &pool.name, job, served_by: Server::Missing })
        }));
    }
    queued.sort_by_key(|queued| (queued.job.created_at, queued.job.id));
    queued
}

fn is_waiting(job: &JobSeen, now: Timestamp) -> bool {
    let too_old = job.created_at.is_some_and(|created| now.duration_since(created) > OLDEST_QUEUED_JOB);
    job.phase == JobPhase::Queued && !too_old
}

/// The first pool, in the order of the configuration, whose labels include all that the job asks for.
fn serving_pool<'a>(config: &'a Config, repository: &RepositoryName, job: &JobSeen) -> Option<&'a RunnerPool> {
    let has = |pool: &RunnerPool, wanted: &String| pool.labels.iter().any(|label| label.eq_ignore_ascii_case(wanted));
    config.pools.iter().find(|pool| {
        let serves = pool.repositories.iter().any(|served| served.as_str().eq_ignore_ascii_case(repository.as_str()));
        serves && !job.labels.is_empty() && job.labels.iter().all(|wanted| has(pool, wanted))
    })
}

/// VMs that no queued job counts on yet.
struct Supply<'a> {
    free: Vec<(&'a Intent, Server<'a>)>,
}

impl<'a> Supply<'a> {
    fn new(observed: &'a Observed, intents: &'a [Intent]) -> Self {
        let mut free: Vec<_> = intents.iter().filter_map(|intent| Some((intent, server(observed, intent)?))).collect();
        let rank = |server: &Server<'_>| match server {
            Server::Registered(_) => 0,
            Server::PerhapsTaken(_) => 1,
            Server::Warm(_) => 2,
            Server::Preparing(_) | Server::Missing => 3,
        };
        // The furthest advanced first; among equals the oldest, so that the answer does not depend on the order of rows.
        free.sort_by_key(|(intent, server)| {
            (rank(server), std::cmp::Reverse(intent.life.state), intent.created_at, intent.vmid)
        });
        Self { free }
    }

    fn take(&mut self, pool: &PoolName, repository: &RepositoryName) -> Server<'a> {
        let fits = |(intent, _): &(&Intent, Server<'_>)| {
            intent.pool == *pool && intent.life.repository.as_ref().is_none_or(|registered| registered == repository)
        };
        match self.free.iter().position(fits) {
            Some(index) => self.free.remove(index).1,
            None => Server::Missing,
        }
    }
}

fn server<'a>(observed: &'a Observed, intent: &'a Intent) -> Option<Server<'a>> {
    match intent.life.state {
        State::Reserved | State::Cloning | State::Configuring | State::Booting => Some(Server::Preparing(&intent.name)),
        State::Warm => Some(Server::Warm(&intent.name)),
        State::Minting | State::Arming => Some(Server::Registered(&intent.name)),
        State::Idle if intent.life.repository.is_some() => Some(Server::Registered(&intent.name)),
        State::Busy | State::Stopping | State::Destroying | State::Gone => {
            perhaps_taken(observed, intent).then_some(Server::PerhapsTaken(&intent.name))
        }
        State::Idle | State::Retiring | State::Fenced => None,
    }
}

/// Whether the VM may have taken one of the jobs that the list still shows as queued: the list is older than the end of its
/// idleness, and names no other job that it took.
fn perhaps_taken(observed: &Observed, intent: &Intent) -> bool {
    let life = &intent.life;
    let Some(repository) = &life.repository else { return false };
    let Some(jobs) = observed.repositories.get(repository).and_then(|seen| seen.jobs.as_ref()) else { return false };
    let was_idle_then = life.armed_at.is_some() && is_later(life.busy_at, jobs) && is_later(life.ended_at, jobs);
    let left_idle = life.busy_at.is_some() || life.ended_at.is_some();
    was_idle_then && left_idle && !jobs.list.iter().any(|job| job.runner_name.as_deref() == Some(intent.name.as_str()))
}

/// Whether this happened after the list of jobs was asked for, or has not happened.
fn is_later(time: Option<Timestamp>, jobs: &Jobs) -> bool {
    time.is_none_or(|time| time > jobs.taken_at)
}
