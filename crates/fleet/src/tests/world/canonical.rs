//! Fingerprints of worlds. Two worlds with the same future count as one.
//!
//! Only the order of two times matters where they are less than a second apart, so that each time is replaced by its seconds before
//! now and its rank. Fields that no decision reads are cleared.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;

use super::{Fault, Late, World};
use crate::*;

/// Times in a world by how decisions compare them.
#[derive(Default)]
struct Times<'a> {
    /// Times of lists, compared with one another.
    lists: Vec<&'a mut Timestamp>,
    /// Compared with lists.
    instants: Vec<&'a mut Timestamp>,
    /// Compared with one another: begins and ends of records.
    records: Vec<&'a mut Timestamp>,
    /// Compared with now only.
    deadlines: Vec<&'a mut Timestamp>,
    /// Only their presence matters.
    marks: Vec<&'a mut Timestamp>,
}

impl World {
    /// Returns a number that worlds with the same future share.
    pub(in super::super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.canonical().hash(&mut hasher);
        hasher.finish()
    }

    /// Returns the world without what its future does not depend on.
    pub(in super::super) fn canonical(&self) -> Self {
        let mut world = self.clone();
        let now = self.now;
        world.fleet.changes.audit.clear();
        world.fleet.committing.iter_mut().for_each(|changes| changes.audit.clear());
        world.commit.iter_mut().for_each(|commit| commit.changes.audit.clear());
        world.now = Timestamp::UNIX_EPOCH;
        world.started.retain(|_, (_, count)| *count > 1);
        world.fleet.unrecorded.foreign.clear();
        for guests in world.fleet.facts.guests.iter_mut() {
            (guests.unshown.free, guests.unshown.occupied) = Default::default();
        }
        if !self.may_restart() {
            // Nobody reads them.
            world.disk.clear();
            world.fleet.changes = Changes::default();
        }
        if self.faults.left(Fault::Outage) == 0 {
            world.safe.clear();
        }
        world.times().rewrite(now);
        world
    }

    /// Returns true if the disk may be read or refuse a change again.
    fn may_restart(&self) -> bool {
        let faults = [Fault::Crash, Fault::Outage, Fault::LedgerLoss, Fault::FailedCommit];
        self.rules.slow_disk || faults.into_iter().any(|fault| self.faults.left(fault) > 0)
    }

    fn times(&mut self) -> Times<'_> {
        let mut times = Times::default();
        let Fleet {
            facts,
            records,
            resting,
            refusing,
            forgiven,
            changes,
            committing,
            ledger_rests_until,
            unrecorded,
            ..
        } = &mut self.fleet;
        for hidden in unrecorded.hidden.values_mut() {
            // The world answers about all of them in each list.
            times.marks.push(&mut hidden.asked_at);
            times.deadlines.push(&mut hidden.since);
        }
        times.guests(facts.guests.as_mut());
        facts.repositories.values_mut().for_each(|seen| times.repository(seen));
        match &mut self.late {
            Some(Late::Guests(guests)) => times.guests(Some(guests)),
            Some(Late::Github(seen)) => times.repository(seen),
            None => {}
        }
        let commit = self.commit.as_mut().map(|commit| &mut commit.changes);
        for changes in [Some(changes), committing.as_mut(), commit].into_iter().flatten() {
            times.deadlines.extend(&mut changes.since);
            changes.records.values_mut().for_each(|intent| times.intent(intent));
        }
        let stored = self.disk.values_mut().chain(self.safe.values_mut());
        records.values_mut().chain(stored).for_each(|intent| times.intent(intent));
        for trouble in resting.values_mut().chain(refusing.values_mut()) {
            times.marks.push(&mut trouble.since);
            times.deadlines.push(&mut trouble.until);
        }
        times.records.extend(forgiven.values_mut());
        times.deadlines.extend(ledger_rests_until);
        for vm in self.vms.values_mut() {
            times.deadlines.extend(vm.armed.iter_mut().map(|(_, at)| at).chain(vm.job.iter_mut().map(|(_, at)| at)));
            times.deadlines.extend(vm.handed.iter_mut().map(|(_, at)| at));
        }
        times
    }
}

impl<'a> Times<'a> {
    fn guests(&mut self, guests: Option<&'a mut Guests>) {
        self.lists.extend(guests.map(|guests| &mut guests.taken_at));
    }

    fn repository(&mut self, seen: &'a mut RepositorySeen) {
        self.lists.extend(seen.jobs.as_mut().map(|jobs| &mut jobs.taken_at));
        self.lists.extend(seen.runners.as_mut().map(|runners| &mut runners.taken_at));
    }

    fn intent(&mut self, intent: &'a mut Intent) {
        intent.entered.clear();
        (intent.failure, intent.failing_since) = (None, None);
        let life = &mut intent.life;
        self.records.push(&mut intent.created_at);
        self.instants.push(&mut life.since);
        self.instants.extend([&mut life.busy_at, &mut life.ended_at, &mut life.missing_at].into_iter().flatten());
        self.deadlines.extend([&mut life.armed_at, &mut life.job_over_at, &mut life.negative_at].into_iter().flatten());
        self.deadlines.extend(
            [&mut intent.retry_at, &mut life.quarantined_until, &mut life.clone_unanswered_at].into_iter().flatten(),
        );
        life.kept = None;
        self.marks.extend([&mut life.ready_at, &mut life.started_at, &mut life.diagnosed_at].into_iter().flatten());
    }

    fn rewrite(self, now: Timestamp) {
        let seconds = |time: Timestamp| time.as_second() - now.as_second();
        let lists = order(&self.lists);
        let records = order(&self.records);
        for time in self.lists.into_iter().chain(self.instants) {
            *time = moment(seconds(*time), rank(&lists, *time));
        }
        for time in self.records {
            *time = moment(seconds(*time), rank(&records, *time));
        }
        for time in self.deadlines {
            *time = moment(seconds(*time), 0);
        }
        for time in self.marks {
            *time = Timestamp::UNIX_EPOCH;
        }
    }
}

/// Returns the moves of the clock's smallest unit at these times, in order.
fn order(times: &[&mut Timestamp]) -> Vec<i32> {
    let mut order: Vec<i32> = times.iter().map(|time| time.subsec_nanosecond()).collect();
    order.sort_unstable();
    order.dedup();
    order
}

/// Returns the number of times before this one, with odd numbers for times between two of them.
fn rank(order: &[i32], time: Timestamp) -> usize {
    match order.binary_search(&time.subsec_nanosecond()) {
        Ok(index) => 2 * index + 1,
        Err(index) => 2 * index,
    }
}

fn moment(second: i64, rank: usize) -> Timestamp {
    Timestamp::new(second, 0).unwrap() + jiff::SignedDuration::from_nanos(i64::try_from(rank).unwrap())
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The rest never changes during a run, or follows from these.
        (&self.now, &self.fleet, &self.disk, &self.safe, &self.commit, &self.running).hash(state);
        (&self.secrets, &self.requests, &self.late, &self.vms, &self.runners, &self.jobs).hash(state);
        (&self.faults, &self.started, self.forgot).hash(state);
    }
}
