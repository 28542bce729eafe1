//! Queued jobs, the VMs on their way to take them, and the number that is missing.
//!
//! Demand is counted, never bound: a registration serves one repository but pins no job, so that any matching job may land on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use ownership::{PoolName, RepositoryName, RunnerName, Vmid};

use crate::index::Served;
use crate::view::View;
use crate::{Intent, JobPhase, JobSeen, Jobs, State};

/// Age from which a queued job is a ghost: GitHub gives it up after 24 h. The age counts from the last start of its run, because
/// a job that is run again or approved late keeps the time of its creation.
const OLDEST_QUEUED_JOB: SignedDuration = SignedDuration::from_hours(24);
/// Time within which the runner of an armed VM connects to GitHub.
const CONNECTS: SignedDuration = SignedDuration::from_secs(90);

/// A queued job that one of the pools serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueuedJob<'a> {
    pub(crate) repository: &'a RepositoryName,
    pub(crate) pool: &'a PoolName,
    pub(crate) job: &'a JobSeen,
    pub(crate) served_by: Server,
}

/// The VM that is expected to take a queued job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Server {
    /// A runner that listens, or is about to.
    Registered(RunnerName),
    /// A VM that just had or has a job which the list of jobs is too old to show: perhaps this one.
    PerhapsTaken(RunnerName),
    /// A booted VM, to be registered now.
    Warm(RunnerName),
    /// A VM that is being made.
    Preparing(RunnerName),
    /// Nothing yet.
    Missing,
    /// Nothing for now, because the repository refuses registrations.
    Refused,
}

/// The assignment of queued jobs to VMs.
#[derive(Debug, Default)]
pub(crate) struct Demand<'a> {
    pub(crate) queued: Vec<QueuedJob<'a>>,
    register: BTreeMap<RunnerName, RepositoryName>,
    needed: BTreeSet<RunnerName>,
    missing: BTreeMap<&'a PoolName, usize>,
}

impl Demand<'_> {
    /// Returns the repository that this warm VM is to be registered for.
    pub(crate) fn repository_for(&self, name: &RunnerName) -> Option<&RepositoryName> {
        self.register.get(name)
    }

    /// Returns the number of VMs that are to be made for the pool.
    pub(crate) fn missing(&self, pool: &PoolName) -> usize {
        self.missing.get(pool).copied().unwrap_or_default()
    }

    /// Returns true if a queued job counts on this VM.
    pub(crate) fn needs(&self, name: &RunnerName) -> bool {
        self.needed.contains(name)
    }
}

/// Assigns the queued jobs, oldest first, to the VMs that can take them, the furthest advanced first.
pub(crate) fn demand<'a>(view: &View<'a>) -> Demand<'a> {
    let mut demand = Demand { queued: queued_jobs(view), ..Demand::default() };
    let mut supply = Supply::new(view);
    for queued in &mut demand.queued {
        if view.refusing.get(queued.repository).is_some_and(|trouble| trouble.until > view.now) {
            queued.served_by = supply.take_registered(queued.pool, queued.repository).unwrap_or(Server::Refused);
        } else {
            queued.served_by = supply.take(queued.pool, queued.repository);
        }
        match &queued.served_by {
            Server::Warm(name) => {
                if !view.draining && !view.stands_back {
                    demand.register.insert(name.clone(), queued.repository.clone());
                }
                demand.needed.insert(name.clone());
            }
            Server::Registered(name) | Server::PerhapsTaken(name) | Server::Preparing(name) => {
                demand.needed.insert(name.clone());
            }
            Server::Missing => *demand.missing.entry(queued.pool).or_default() += 1,
            Server::Refused => {}
        }
    }
    demand
}

/// Returns all queued jobs that a pool serves, oldest first.
fn queued_jobs<'a>(view: &View<'a>) -> Vec<QueuedJob<'a>> {
    let served = Served::new(view.config);
    let mut queued = Vec::new();
    for (repository, seen) in &view.facts.repositories {
        let jobs = seen.jobs.iter().flat_map(|jobs| &jobs.list).filter(|job| is_waiting(job, view.now));
        queued.extend(jobs.filter_map(|job| {
            let pool = served.pool_for(repository, job)?;
            Some(QueuedJob { repository, pool: &pool.name, job, served_by: Server::Missing })
        }));
    }
    queued.sort_by_key(|queued| (queued.job.created_at, queued.job.id));
    queued
}

fn is_waiting(job: &JobSeen, now: Timestamp) -> bool {
    let renewed_at = job.renewed_at.max(job.created_at);
    let too_old = renewed_at.is_some_and(|renewed| now.duration_since(renewed) > OLDEST_QUEUED_JOB);
    job.phase == JobPhase::Queued && !too_old
}

/// Order in which VMs are given jobs: the furthest advanced first, then the oldest, so that the answer does not depend on the
/// order of records.
type Rank = (u8, std::cmp::Reverse<State>, Timestamp, Vmid);

/// Pool of a VM, and repository of its registration.
type Place<'a> = (&'a PoolName, Option<&'a RepositoryName>);

/// VMs that no queued job counts on yet, the best of each place first.
struct Supply<'a> {
    free: BTreeMap<Place<'a>, VecDeque<(Rank, Server)>>,
}

impl<'a> Supply<'a> {
    fn new(view: &View<'a>) -> Self {
        let mut free: BTreeMap<_, Vec<(Rank, Server)>> = BTreeMap::new();
        for pool in &view.config.pools {
            for intent in view.records.of_pool(&pool.name) {
                let Some(server) = server(view, intent) else { continue };
                let key = (&intent.pool, intent.life.repository.as_ref());
                free.entry(key).or_default().push((rank(intent, &server), server));
            }
        }
        for list in free.values_mut() {
            list.sort_by_key(|(rank, _)| *rank);
        }
        Self { free: free.into_iter().map(|(key, list)| (key, list.into())).collect() }
    }

    /// Takes the best VM that serves the repository, or that is not registered yet.
    fn take(&mut self, pool: &'a PoolName, repository: &'a RepositoryName) -> Server {
        let first = |supply: &Self, key| supply.free.get(&key).and_then(|list| list.front()).map(|(rank, _)| *rank);
        let (bound, unbound) = ((pool, Some(repository)), (pool, None));
        let key = match (first(self, bound), first(self, unbound)) {
            (Some(a), Some(b)) if a > b => unbound,
            (None, Some(_)) => unbound,
            _ => bound,
        };
        self.pop(key).unwrap_or(Server::Missing)
    }

    /// Takes a VM that is registered at the repository already.
    fn take_registered(&mut self, pool: &'a PoolName, repository: &'a RepositoryName) -> Option<Server> {
        self.pop((pool, Some(repository)))
    }

    fn pop(&mut self, key: Place<'a>) -> Option<Server> {
        Some(self.free.get_mut(&key)?.pop_front()?.1)
    }
}

fn rank(intent: &Intent, server: &Server) -> Rank {
    let class = match server {
        Server::Registered(_) => 0,
        Server::PerhapsTaken(_) => 1,
        Server::Warm(_) => 2,
        Server::Preparing(_) | Server::Missing | Server::Refused => 3,
    };
    (class, std::cmp::Reverse(intent.life.state), intent.created_at, intent.vmid)
}

fn server(view: &View<'_>, intent: &Intent) -> Option<Server> {
    let name = || intent.name.clone();
    match intent.life.state {
        State::Reserved | State::Cloning | State::Configuring | State::Booting => Some(Server::Preparing(name())),
        State::Warm => Some(Server::Warm(name())),
        State::Minting | State::Arming => Some(Server::Registered(name())),
        State::Idle
            if intent.life.repository.is_some() && !is_unconnected(view, intent) && !is_unlisted(view, intent) =>
        {
            Some(Server::Registered(name()))
        }
        State::Busy | State::Quarantined | State::Stopping | State::Destroying | State::Gone => {
            perhaps_taken(view, intent).then(|| Server::PerhapsTaken(name()))
        }
        State::Idle | State::Retiring | State::Fenced => None,
    }
}

/// Returns true if the runner should have connected by now, and GitHub says that it has not.
pub(crate) fn is_unconnected(view: &View<'_>, intent: &Intent) -> bool {
    let life = &intent.life;
    let (Some(armed_at), Some(repository)) = (life.armed_at, &life.repository) else { return false };
    let Some(asked_at) = view.facts.runners(repository).map(|runners| runners.taken_at) else { return false };
    let is_offline = view.github.runner(&intent.name).is_some_and(|runner| !runner.online && !runner.busy);
    is_offline && asked_at.duration_since(armed_at) >= CONNECTS
}

/// Returns true if GitHub no longer has the registration of a runner that should have connected by now. Its listener takes no job.
fn is_unlisted(view: &View<'_>, intent: &Intent) -> bool {
    let life = &intent.life;
    let asked_at = life.repository.as_ref().and_then(|name| view.facts.runners(name)).map(|runners| runners.taken_at);
    let (Some(armed_at), Some(asked_at)) = (life.armed_at, asked_at) else { return false };
    asked_at.duration_since(armed_at) >= CONNECTS && view.github.runner(&intent.name).is_none()
}

/// Returns true if the VM may have taken one of the jobs that the list still shows as queued. Then the list is older than the
/// end of its idleness, and names no other job that it took.
fn perhaps_taken(view: &View<'_>, intent: &Intent) -> bool {
    let life = &intent.life;
    let Some(jobs) = life.repository.as_ref().and_then(|repository| view.facts.jobs(repository)) else { return false };
    let was_idle_then = life.armed_at.is_some() && is_later(life.busy_at, jobs) && is_later(life.ended_at, jobs);
    let left_idle = life.busy_at.is_some() || life.ended_at.is_some();
    was_idle_then && left_idle && view.github.job_of(&intent.name).is_none()
}

/// Returns true if this happened after the list of jobs was asked for, or has not happened.
fn is_later(time: Option<Timestamp>, jobs: &Jobs) -> bool {
    time.is_none_or(|time| time > jobs.taken_at)
}
