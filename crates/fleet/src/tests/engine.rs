//! The fleet as the engine drives it: facts go in, effects come out, outcomes go in.

use std::collections::{BTreeMap, BTreeSet};

use dispatcher_api::Config;
use ownership::{RepositoryName, RunnerName};

use super::fixture::*;
use crate::*;

/// A fleet, its configuration, and what Proxmox VE and GitHub answer.
pub(super) struct Engine {
    pub(super) fleet: Fleet,
    pub(super) config: Config,
    /// Seconds of the clock.
    pub(super) now: i64,
    /// True while the ledger writes what it is given.
    pub(super) ledger_writes: bool,
    /// Number of commits that the ledger was given.
    pub(super) commits: usize,
    /// Last changes that the ledger wrote.
    pub(super) written: Vec<Changes>,
    pub(super) waiting: Vec<Waiting>,
    nonces: u32,
}

impl Engine {
    pub(super) fn new(config: Config) -> Self {
        Self::with(config, [])
    }

    /// Starts with these records, at second 1000.
    pub(super) fn with(config: Config, records: impl IntoIterator<Item = Intent>) -> Self {
        let fleet = Fleet::new(records, BTreeSet::new());
        let (written, waiting) = (Vec::new(), Vec::new());
        Self { fleet, config, now: 1000, ledger_writes: true, commits: 0, written, waiting, nonces: 0 }
    }

    pub(super) fn take(&mut self, input: Input) {
        self.fleet.take(input, at(self.now));
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, seconds: i64) {
        self.now += seconds;
    }

    /// Proxmox VE lists these guests.
    pub(super) fn guests(&mut self, guests: &[(u32, GuestSeen)]) {
        let guests = observed(self.now, guests, vec![], vec![]).guests.unwrap();
        self.take(Input::Guests(guests));
    }

    /// Proxmox VE lists no guest, and the whole cluster does not know these VMIDs.
    pub(super) fn absent(&mut self, vmids: &[u32]) {
        let mut guests = observed(self.now, &[], vec![], vec![]).guests.unwrap();
        guests.absent = vmids.iter().copied().map(vmid).collect();
        self.take(Input::Guests(guests));
    }

    /// GitHub lists these jobs and runners of the repository of the fixture.
    pub(super) fn github(&mut self, jobs: Vec<JobSeen>, runners: Vec<RunnerSeen>) {
        self.github_of(&repository(), Some(jobs), Some(runners));
    }

    /// GitHub lists these jobs and runners. `None` is a list that it refuses.
    pub(super) fn github_of(
        &mut self,
        of: &RepositoryName,
        jobs: Option<Vec<JobSeen>>,
        runners: Option<Vec<RunnerSeen>>,
    ) {
        let taken_at = at(self.now);
        let jobs = jobs.map(|list| Jobs { taken_at, list });
        let runners = runners.map(|list| Runners { taken_at, list });
        self.take(Input::Repository(of.clone(), RepositorySeen { jobs, runners }));
    }

    /// Decides, writes, and returns the effects that started, in the order of names.
    pub(super) fn pass(&mut self) -> Vec<Effect> {
        let (nonces, config) = (&mut self.nonces, &self.config);
        let mut nonce = || {
            *nonces += 1;
            format!("n{nonces:05}").parse().unwrap()
        };
        let pass = self.fleet.pass(config, &mut nonce, at(self.now));
        self.waiting = pass.waiting;
        let mut started = pass.start;
        if let Some(changes) = pass.commit {
            self.commits += 1;
            if self.ledger_writes {
                self.written.push(changes);
                started.extend(pass.start_after_commit);
                self.take(Input::Committed);
            } else {
                self.take(Input::NotCommitted);
            }
        } else {
            assert!(pass.start_after_commit.is_empty(), "these effects wait for a commit that does not come");
        }
        started.sort_by(|one, other| one.name.cmp(&other.name));
        started
    }

    /// Decides, and returns the steps that started.
    pub(super) fn steps(&mut self) -> Vec<Step> {
        self.pass().into_iter().map(|effect| effect.step).collect()
    }

    /// Decides, and returns the one effect that started.
    pub(super) fn one(&mut self) -> Effect {
        let mut effects = self.pass();
        assert_eq!(effects.len(), 1, "{effects:?}");
        effects.remove(0)
    }

    /// Ends the effect of this name.
    pub(super) fn end(&mut self, name: &RunnerName, outcome: Outcome) {
        assert!(self.fleet.under_way().any(|effect| effect.name == *name), "nothing is under way for {name}");
        self.take(Input::Ended(name.clone(), outcome));
    }

    /// Ends the effect of this name, decides, and returns the steps that started.
    pub(super) fn then(&mut self, name: &RunnerName, outcome: Outcome) -> Vec<Step> {
        self.end(name, outcome);
        self.steps()
    }

    pub(super) fn state(&self, name: &RunnerName) -> State {
        self.fleet.record(name).unwrap().life.state
    }

    pub(super) fn states(&self) -> Vec<State> {
        self.fleet.records().map(|intent| intent.life.state).collect()
    }

    /// Returns the number of times that each VM entered a state, as the ledger was given them.
    pub(super) fn audited(&self) -> BTreeMap<String, usize> {
        let mut numbers = BTreeMap::new();
        for entry in self.written.iter().flat_map(|changes| &changes.audit) {
            *numbers.entry(format!("{:?}", entry.entry)).or_default() += 1;
        }
        numbers
    }
}

/// Returns a failure of this kind.
pub(super) fn failed(kind: FailureKind) -> Outcome {
    Err(Failure { kind, message: format!("the other side said: {kind:?}"), retry_at: None })
}

/// Returns a record whose life took these steps, as a dispatcher that starts at second 1000 finds it.
pub(super) fn recorded(number: u32, events: &[Event]) -> Intent {
    Intent { created_at: at(900), ..intent(number, life(events)) }
}

/// Returns a record that entered its state five seconds before second 1000.
pub(super) fn fresh(number: u32, events: &[Event]) -> Intent {
    let record = recorded(number, events);
    Intent { life: Life { since: at(995), ..record.life.clone() }, ..record }
}

pub(super) fn queued(count: u64) -> Vec<JobSeen> {
    (1..=count).map(|id| JobSeen { created_at: Some(at(990)), ..job(id, JobPhase::Queued, None) }).collect()
}

pub(super) fn runner(number: u32, online: bool, busy: bool) -> RunnerSeen {
    RunnerSeen { id: 7, name: name(number), online, busy }
}

pub(super) fn running(number: u32) -> (u32, GuestSeen) {
    guest(number, Power::Running)
}
