//! Look-ups over records and facts, built once in a pass.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use dispatcher_api::{Config, RunnerPool};
use jiff::Timestamp;
use ownership::{PoolName, RepositoryName, RunnerName, Vmid};

use crate::{Facts, Guests, Intent, JobSeen, Reason, RunnerSeen};

/// Jobs and registrations by the name of their runner. Nothing depends on the order of these maps, because they are only asked.
#[derive(Debug, Default)]
pub(crate) struct GithubIndex<'a> {
    jobs: HashMap<&'a str, &'a JobSeen>,
    runners: HashMap<&'a str, &'a RunnerSeen>,
}

impl<'a> GithubIndex<'a> {
    pub(crate) fn new(facts: &'a Facts) -> Self {
        let mut index = Self::default();
        for seen in facts.repositories.values() {
            for job in seen.jobs.iter().flat_map(|jobs| &jobs.list) {
                if let Some(name) = &job.runner_name {
                    index.jobs.entry(name).or_insert(job);
                }
            }
            for runner in seen.runners.iter().flat_map(|runners| &runners.list) {
                index.runners.entry(runner.name.as_str()).or_insert(runner);
            }
        }
        index
    }

    /// Returns the job that this runner has or had, where GitHub's list names it.
    pub(crate) fn job_of(&self, name: &RunnerName) -> Option<&'a JobSeen> {
        self.jobs.get(name.as_str()).copied()
    }

    /// Returns the registration of this name.
    pub(crate) fn runner(&self, name: &RunnerName) -> Option<&'a RunnerSeen> {
        self.runners.get(name.as_str()).copied()
    }
}

/// The last end of a VMID's incarnations.
#[derive(Debug, Clone, Copy)]
struct Ended {
    at: Timestamp,
    /// Time at which the VMID was last found to belong to somebody else.
    taken_at: Option<Timestamp>,
}

/// Records by VMID and pool.
#[derive(Debug, Default)]
pub(crate) struct RecordIndex<'a> {
    live: BTreeMap<Vmid, &'a Intent>,
    ended: BTreeMap<Vmid, Ended>,
    pools: BTreeMap<&'a PoolName, Vec<&'a Intent>>,
}

impl<'a> RecordIndex<'a> {
    pub(crate) fn new(records: impl IntoIterator<Item = &'a Intent>) -> Self {
        let mut index = Self::default();
        for intent in records {
            index.pools.entry(&intent.pool).or_default().push(intent);
            if intent.is_live() {
                index.live.insert(intent.vmid, intent);
            } else {
                index.add_ended(intent);
            }
        }
        index
    }

    fn add_ended(&mut self, intent: &Intent) {
        let at = intent.life.since;
        let taken_at = (intent.life.reason == Some(Reason::VmidTaken)).then_some(at);
        let ended = self.ended.entry(intent.vmid).or_insert(Ended { at, taken_at });
        ended.at = ended.at.max(at);
        ended.taken_at = ended.taken_at.max(taken_at);
    }

    /// Returns the live record of this VMID.
    pub(crate) fn live(&self, vmid: Vmid) -> Option<&'a Intent> {
        self.live.get(&vmid).copied()
    }

    /// Returns the VMIDs of this range that have a live record.
    pub(crate) fn live_in(&self, range: RangeInclusive<Vmid>) -> impl Iterator<Item = Vmid> {
        self.live.range(range).map(|(vmid, _)| *vmid)
    }

    /// Returns the records of a pool.
    pub(crate) fn of_pool(&self, pool: &PoolName) -> &[&'a Intent] {
        self.pools.get(pool).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the time at which the last incarnation of this VMID ended.
    pub(crate) fn freed_at(&self, vmid: Vmid) -> Option<Timestamp> {
        self.ended.get(&vmid).map(|ended| ended.at)
    }

    /// Returns the time at which this VMID was last found to belong to somebody else.
    pub(crate) fn taken_at(&self, vmid: Vmid) -> Option<Timestamp> {
        self.ended.get(&vmid)?.taken_at
    }

    /// Returns true if the list shows a VM of ours that was destroyed after the list was asked for.
    pub(crate) fn is_stale(&self, vmid: Vmid, guests: &Guests) -> bool {
        self.freed_at(vmid).is_some_and(|freed| freed >= guests.taken_at)
    }
}

/// Pools by the repositories that they serve, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Served<'a>(BTreeMap<&'a RepositoryName, Vec<&'a RunnerPool>>);

impl<'a> Served<'a> {
    pub(crate) fn new(config: &'a Config) -> Self {
        let mut served: BTreeMap<_, Vec<&RunnerPool>> = BTreeMap::new();
        for pool in &config.pools {
            let repositories: BTreeSet<&RepositoryName> = pool.repositories.iter().collect();
            for repository in repositories {
                served.entry(repository).or_default().push(pool);
            }
        }
        Self(served)
    }

    /// Returns the first pool whose labels include all that the job asks for.
    pub(crate) fn pool_for(&self, repository: &RepositoryName, job: &JobSeen) -> Option<&'a RunnerPool> {
        let has = |pool: &RunnerPool, wanted: &String| pool.labels.iter().any(|l| l.eq_ignore_ascii_case(wanted));
        let pools = self.0.get(repository)?;
        let fits = |pool: &&&RunnerPool| job.labels.iter().all(|wanted| has(pool, wanted));
        pools.iter().find(|pool| !job.labels.is_empty() && fits(pool)).copied()
    }
}
