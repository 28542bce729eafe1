//! The end of a drain, and the repositories that must be watched until then.

use std::collections::BTreeSet;

use dispatcher_api::Config;
use jiff::{SignedDuration, Timestamp};
use ownership::RepositoryName;

use crate::fleet::Fleet;
use crate::{Intent, RunnerSeen, orphans};

/// Longest time for which a registration that cannot be listed or removed holds up the end of a drain.
const HOLDS_UP: SignedDuration = SignedDuration::from_mins(5);

impl Fleet {
    /// Returns the repositories whose jobs and runners decisions need: those of the configuration, and those at which VMs of
    /// the records may still be registered.
    #[must_use]
    pub fn repositories_to_watch(&self, config: &Config) -> BTreeSet<RepositoryName> {
        let configured = config.pools.iter().flat_map(|pool| pool.repositories.iter().cloned());
        let registered = self.records.values().filter(|intent| intent.life.may_be_registered());
        configured.chain(registered.filter_map(|intent| intent.life.repository.clone())).collect()
    }

    /// Returns true if nothing of this dispatcher is left: no VM, no effect under way and no registration. A registration
    /// that cannot be listed or removed holds this up for five minutes at most.
    #[must_use]
    pub fn is_drained(&self, config: &Config, now: Timestamp) -> bool {
        let holds_up = |intent: &Intent| intent.is_live() || self.record_holds_up(intent, now);
        self.under_way.is_empty()
            && !self.records.values().any(holds_up)
            && !self.registrations_without_record(config).any(|runner| self.registration_holds_up(runner, now))
    }

    /// Returns true if GitHub may still have the registration of an ended VM.
    fn record_holds_up(&self, intent: &Intent, now: Timestamp) -> bool {
        let life = &intent.life;
        if !life.may_be_registered() {
            return false;
        }
        let runners = life.repository.as_ref().and_then(|repository| self.facts.runners(repository));
        let is_listed = runners.is_some_and(|runners| {
            runners.taken_at > life.since && runners.list.iter().any(|runner| runner.name == intent.name)
        });
        let since = if is_listed { intent.failing_since } else { Some(life.since) };
        since.is_none_or(|since| now.duration_since(since) < HOLDS_UP)
    }

    fn registration_holds_up(&self, runner: &RunnerSeen, now: Timestamp) -> bool {
        let trouble = self.resting.get(&runner.name).filter(|trouble| trouble.failures > 0);
        trouble.is_none_or(|trouble| now.duration_since(trouble.since) < HOLDS_UP)
    }

    /// Returns the registrations of this dispatcher's VMs that GitHub listed and that have no record. A runner that is connected or
    /// busy belongs to a VM that this dispatcher does not know.
    fn registrations_without_record<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = &'a RunnerSeen> {
        let listed = self.facts.repositories.values().flat_map(|seen| &seen.runners).flat_map(|runners| &runners.list);
        listed.filter(move |runner| {
            let is_lent = orphans::is_lent(&runner.name, &self.facts);
            let is_left = !runner.online && !runner.busy && !self.records.contains_key(&runner.name);
            is_left && !is_lent && orphans::is_of_a_pool(&runner.name, config)
        })
    }
}
