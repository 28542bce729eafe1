//! The fleet: facts, records and effects under way, and the inputs that change them.
//!
//! The engine feeds inputs, each with its time, and asks for decisions with [`Fleet::pass`]. There is no clock, no I/O and no
//! randomness here: the same inputs lead to the same decisions, in production, in a simulation and when a recording of a user's
//! dispatcher is played again.

use std::collections::{BTreeMap, BTreeSet};

use dispatcher_api::Config;
use jiff::{SignedDuration, Timestamp};
use ownership::{PoolName, RepositoryName, RunnerName, Vmid};
use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::effect::{Effect, FailureKind, Outcome, Step};
use crate::outcome::{Consequence, LONGEST_REST, consequence, rest};
use crate::rivals::{Rivals, Runs};
use crate::unrecorded::Unrecorded;
use crate::{Claim, Event, Facts, Guests, Intent, Life, Power, Reason, RepositorySeen};

/// Rest of the ledger after it refused a commit, which doubles with each further refusal.
const LEDGER_REST: SignedDuration = SignedDuration::from_secs(2);
const LONGEST_LEDGER_REST: SignedDuration = SignedDuration::from_secs(60);
/// Longest time for which a change that no effect waits for stays in memory.
const LONGEST_UNWRITTEN: SignedDuration = SignedDuration::from_secs(5);
/// Time for which ended VMs are remembered, so that their VMIDs rest and their failures count.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(30);
/// Time after which GitHub has removed a registration that never connected again.
const REGISTRATION_KEPT: SignedDuration = SignedDuration::from_hours(25);

/// An input of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Another configuration is in force.
    Configured(Box<Config>),
    /// The list of guests.
    Guests(Guests),
    /// The jobs and runners of a repository.
    Repository(RepositoryName, RepositorySeen),
    /// Begins or ends the drain.
    Draining(bool),
    /// A person asks to try everything again.
    Retry,
    /// The template or the storage of these pools changed, so that their failures no longer count.
    Mended(Vec<PoolName>),
    /// A person ends the quarantine of this VM.
    Release(RunnerName),
    /// An effect ended.
    Ended(RunnerName, Outcome),
    /// The last changes are on disk.
    Committed,
    /// The last changes could not be written.
    NotCommitted,
}

/// A failure that lasts, and its next attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Trouble {
    /// Error and its causes.
    pub message: String,
    /// Time of the first failure in a row.
    pub since: Timestamp,
    /// Number of failures in a row.
    pub failures: u32,
    /// Time of the next attempt.
    pub until: Timestamp,
}

/// The fleet of one dispatcher.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Fleet {
    pub(crate) facts: Facts,
    pub(crate) records: BTreeMap<RunnerName, Intent>,
    pub(crate) under_way: BTreeMap<RunnerName, Effect>,
    /// Rests of things without a record, and the failure of the last attempt.
    pub(crate) resting: BTreeMap<RunnerName, Trouble>,
    /// Repositories that refuse registrations.
    pub(crate) refusing: BTreeMap<RepositoryName, Trouble>,
    pub(crate) forgiven: BTreeMap<PoolName, Timestamp>,
    /// Lent VMs that were seen running, so that they have finished once they are off.
    pub(crate) lent_ran: BTreeSet<RunnerName>,
    /// VMs of earlier processes that are unarmed by the ledger and never answered. If the ledger is an older copy, another process
    /// may have armed them since.
    pub(crate) inherited: BTreeSet<RunnerName>,
    pub(crate) draining: bool,
    pub(crate) rivals: Rivals,
    pub(crate) unrecorded: Unrecorded,
    pub(crate) changes: Changes,
    /// Changes that the ledger was last given.
    pub(crate) committing: Option<Changes>,
    /// Effects that start once these changes are on disk.
    pub(crate) waiting: BTreeSet<RunnerName>,
    ledger_failures: u32,
    pub(crate) ledger_rests_until: Option<Timestamp>,
}

impl Fleet {
    /// Returns the fleet of a dispatcher that starts with these records.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = Intent>, lent_ran: BTreeSet<RunnerName>) -> Self {
        let records: BTreeMap<_, _> = records.into_iter().map(|intent| (intent.name.clone(), intent)).collect();
        let unanswered = records.values().filter(|intent| intent.life.never_answered());
        let inherited = unanswered.map(|intent| intent.name.clone()).collect();
        Self { records, inherited, lent_ran, ..Self::default() }
    }

    /// Returns the fleet of a dispatcher whose ledger knows these starts. Without them, other dispatchers of the installation
    /// are not recognised.
    #[must_use]
    pub fn with_runs(self, runs: Runs) -> Self {
        Self { rivals: Rivals::of(runs), ..self }
    }

    /// Returns the records, by name.
    pub fn records(&self) -> impl Iterator<Item = &Intent> {
        self.records.values()
    }

    /// Returns the record of this name.
    #[must_use]
    pub fn record(&self, name: &RunnerName) -> Option<&Intent> {
        self.records.get(name)
    }

    /// Returns the facts.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns the effects under way.
    pub fn under_way(&self) -> impl Iterator<Item = &Effect> {
        self.under_way.values()
    }

    /// Returns true while the dispatcher is being drained.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Takes an input. `now` is the time at which it arrives.
    pub fn take(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Configured(_) => {
                self.facts = Facts::default();
                self.unrecorded.start_over();
                self.try_again(now);
            }
            Input::Guests(guests) => self.take_guests(guests, now),
            Input::Repository(name, seen) => {
                self.facts.repositories.insert(name, seen);
            }
            Input::Draining(draining) => self.draining = draining,
            Input::Retry => self.try_again(now),
            Input::Mended(pools) => self.forgiven.extend(pools.into_iter().map(|pool| (pool, now))),
            Input::Release(name) => {
                self.note(&name, Event::Released, now);
            }
            Input::Ended(name, outcome) => self.take_outcome(&name, &outcome, now),
            Input::Committed => {
                self.committing = None;
                self.waiting.clear();
                (self.ledger_failures, self.ledger_rests_until) = (0, None);
            }
            Input::NotCommitted => self.not_committed(now),
        }
    }

    /// Ends every wait that follows from a failure, because the cause may have been removed.
    fn try_again(&mut self, now: Timestamp) {
        for intent in self.records.values_mut() {
            (intent.retry_at, intent.attempts) = (None, 0);
        }
        self.resting.clear();
        self.refusing.clear();
        let pools: BTreeSet<PoolName> = self.records.values().map(|intent| intent.pool.clone()).collect();
        self.forgiven.extend(pools.into_iter().map(|pool| (pool, now)));
    }

    /// Takes a list of guests. Records follow their guests to other nodes.
    fn take_guests(&mut self, guests: Guests, now: Timestamp) {
        if self.rivals.take(&guests, |name| self.records.contains_key(name)) {
            self.distrust_records(now);
        }
        for intent in self.records.values_mut() {
            let Some(guest) = guests.seen.get(&intent.vmid) else { continue };
            let is_it = matches!(&guest.claim, Claim::Ours { name, .. } if *name == intent.name);
            if is_it && intent.is_live() && guest.node != intent.node {
                intent.node = guest.node.clone();
                self.changes.put(intent, now);
            }
        }
        let lent = |guest: &crate::GuestSeen| match &guest.claim {
            Claim::Lent { name, .. } => Some((name.clone(), guest.power)),
            _ => None,
        };
        let lent: BTreeMap<RunnerName, Power> = guests.seen.values().filter_map(lent).collect();
        for (name, power) in &lent {
            if *power == Power::Running && self.lent_ran.insert(name.clone()) {
                self.changes.put_lent(name.clone(), true, now);
            }
        }
        let left: Vec<RunnerName> = self.lent_ran.iter().filter(|name| !lent.contains_key(*name)).cloned().collect();
        for name in left {
            self.lent_ran.remove(&name);
            self.changes.put_lent(name, false, now);
        }
        let recorded: BTreeSet<Vmid> =
            self.records.values().filter(|intent| intent.is_live()).map(|intent| intent.vmid).collect();
        self.unrecorded.take(&guests, |vmid| recorded.contains(&vmid));
        (self.facts.hidden, self.facts.clones) = self.unrecorded.hidden(&guests);
        self.facts.guests = Some(guests);
    }

    fn take_outcome(&mut self, name: &RunnerName, outcome: &Outcome, now: Timestamp) {
        let Some(effect) = self.under_way.remove(name) else { return };
        let is_removal = matches!(effect.step, Step::RemoveRegistration { .. });
        if is_removal {
            // GitHub's list shows it for a while, whether its VM has a record or not.
            self.rest_without_record(name, outcome, now);
        }
        let fits = |intent: &&Intent| effect.step.fits(intent.life.state);
        match self.records.get(name).filter(fits).map(|intent| consequence(intent, &effect.step, outcome, now)) {
            Some(consequence) => self.follow(name, &effect.step, outcome, consequence, now),
            None if is_removal => {}
            None => self.rest_without_record(name, outcome, now),
        }
    }

    /// Carries out the consequence of a step on a VM with a record.
    fn follow(&mut self, name: &RunnerName, step: &Step, outcome: &Outcome, then: Consequence, now: Timestamp) {
        // Missing diagnostics must not replace the failure that ends the VM.
        let is_about_vm = *step != Step::KeepDiagnostics;
        let failure = outcome.as_ref().err().filter(|failure| is_about_vm && failure.kind.is_reported());
        let Some(intent) = self.records.get_mut(name) else { return };
        match failure {
            Some(failure) => {
                intent.failure = Some(failure.message.clone());
                intent.failing_since.get_or_insert(now);
            }
            None if outcome.is_ok() => intent.succeeded(),
            None => {}
        }
        intent.holds_registration = matches!((step, outcome), (Step::Mint { .. }, Ok(_)));
        match then {
            Consequence::Rest(until) => intent.rest(until, outcome.is_err()),
            Consequence::StartAgain(until) => {
                intent.life.started_at = None;
                intent.rest(until, true);
            }
            Consequence::Event(event) => {
                let is_missing = event == Event::Missing;
                if !self.note(name, event, now) || is_missing {
                    self.rest_record(name, now);
                }
                self.note_answered_clone(name, step, outcome, now);
            }
            Consequence::Refused(event) => {
                let attempts = intent.attempts;
                self.note(name, event, now);
                self.refused(name, step, outcome, attempts, now);
            }
        }
        if let (Step::Mint { repository }, Ok(_)) = (step, outcome) {
            self.refusing.remove(repository);
        }
    }

    /// Notes that an earlier request for the clone may still be on its way while it is asked for again.
    pub(crate) fn note_repeated_clone(&mut self, effect: &Effect, now: Timestamp) {
        if let (Step::Clone { is_first: false }, Some(intent)) = (&effect.step, self.records.get_mut(&effect.name)) {
            intent.life.clone_unanswered_at = Some(now);
            self.changes.put(intent, now);
        }
    }

    /// Notes that no request for the clone is on its way, because the only one was answered.
    fn note_answered_clone(&mut self, name: &RunnerName, step: &Step, outcome: &Outcome, now: Timestamp) {
        let is_answered = outcome.as_ref().is_err_and(|failure| failure.kind == FailureKind::Lasting);
        if let (Step::Clone { is_first: true }, true, Some(intent)) = (step, is_answered, self.records.get_mut(name)) {
            intent.life.clone_unanswered_at = None;
            self.changes.put(intent, now);
        }
    }

    /// Lets rest what refused a step before it did anything: the repository, or the VM whose template is not the right one.
    fn refused(&mut self, name: &RunnerName, step: &Step, outcome: &Outcome, attempts: u32, now: Timestamp) {
        let Err(failure) = outcome else { return };
        if let Step::Mint { repository } = step {
            let trouble = Trouble::after(self.refusing.remove(repository), &failure.message, failure.retry_at, now);
            self.refusing.insert(repository.clone(), trouble);
        } else if let Some(intent) = self.records.get_mut(name) {
            intent.attempts = attempts;
            intent.rest(now + rest(attempts), true);
        }
    }

    fn rest_record(&mut self, name: &RunnerName, now: Timestamp) {
        if let Some(intent) = self.records.get_mut(name) {
            let until = now + rest(intent.attempts);
            intent.rest(until, true);
        }
    }

    fn rest_without_record(&mut self, name: &RunnerName, outcome: &Outcome, now: Timestamp) {
        let earlier = self.resting.remove(name);
        let trouble = match outcome {
            // The facts show the thing for a while.
            Ok(_) => Trouble { message: String::new(), since: now, failures: 0, until: now + LONGEST_REST },
            Err(failure) => Trouble::after(earlier, &failure.message, failure.retry_at, now),
        };
        self.resting.insert(name.clone(), trouble);
    }

    /// Notes an event in the life of a VM. Returns false if it does not fit the state, and so changes nothing.
    pub(crate) fn note(&mut self, name: &RunnerName, event: Event, now: Timestamp) -> bool {
        let Some(intent) = self.records.get_mut(name) else { return false };
        if !intent.apply(&event, now) {
            return false;
        }
        self.changes.note(intent, event, now);
        true
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, mut intent: Intent, entry: crate::changes::Entry) {
        intent.entered.push((intent.life.state, intent.created_at));
        self.changes.add(&intent, entry);
        self.records.insert(intent.name.clone(), intent);
    }

    /// Forgets VMs that ended long ago and whose registrations are gone.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        let is_old = |intent: &Intent| {
            let age = now.duration_since(intent.life.since);
            let kept = if intent.life.may_be_registered() { REGISTRATION_KEPT } else { REMEMBERED };
            !intent.is_live() && age > kept
        };
        let old: Vec<RunnerName> =
            self.records.values().filter(|intent| is_old(intent)).map(|intent| intent.name.clone()).collect();
        for name in old {
            self.records.remove(&name);
            self.changes.forget(name);
        }
        self.inherited.retain(|name| self.records.get(name).is_some_and(|intent| intent.life.never_answered()));
        self.rivals.forget(now);
        self.resting.retain(|_, trouble| now.duration_since(trouble.until) < REMEMBERED);
        self.refusing.retain(|_, trouble| now.duration_since(trouble.until) < REMEMBERED);
    }

    /// Makes all records those of VMs that were found, because the ledger went back in time: what it says of them may be
    /// older than what another process did with them.
    pub fn distrust_records(&mut self, now: Timestamp) {
        let live = self.records.values_mut().filter(|intent| intent.is_live() && intent.life.state.has_guest());
        for intent in live {
            let life = Life { job: intent.life.job, repository: None, ..Life::adopted(true, now) };
            intent.set_life(life, now);
            self.changes.put(intent, now);
        }
    }

    /// Returns the changes that are to be written now: because an effect waits for them, because a VM is gone, or because they
    /// have been in memory for long enough.
    pub(crate) fn changes_to_commit(&mut self, effect_waits: bool, now: Timestamp) -> Option<Changes> {
        if self.changes.is_empty() || self.committing.is_some() || self.ledger_rests_until.is_some_and(|at| at > now) {
            return None;
        }
        let is_old = self.changes.since.is_some_and(|since| now.duration_since(since) >= LONGEST_UNWRITTEN);
        if !effect_waits && !is_old && !self.changes.at_once {
            return None;
        }
        let changes = std::mem::take(&mut self.changes);
        self.committing = Some(changes.clone());
        Some(changes)
    }

    /// Returns true if nothing that must be on disk first may start.
    pub(crate) fn is_ledger_resting(&self, now: Timestamp) -> bool {
        self.committing.is_some() || self.ledger_rests_until.is_some_and(|at| at > now)
    }

    /// Returns all changes that are not on disk, for the last commit of a process that ends.
    pub fn take_changes(&mut self) -> Option<Changes> {
        let changes = std::mem::take(&mut self.changes);
        (!changes.is_empty()).then_some(changes)
    }

    fn not_committed(&mut self, now: Timestamp) {
        if let Some(mut changes) = self.committing.take() {
            changes.append(std::mem::take(&mut self.changes));
            self.changes = changes;
        }
        for name in std::mem::take(&mut self.waiting) {
            // Effects that waited for the commit were not started.
            let event = match self.under_way.remove(&name).map(|effect| effect.step) {
                Some(Step::Mint { .. }) => Event::MintRefused,
                Some(Step::Clone { is_first: true }) => Event::CloneRefused,
                _ => continue,
            };
            self.note(&name, event, now);
        }
        let doublings = self.ledger_failures.min(8);
        self.ledger_failures += 1;
        let rest = LEDGER_REST.saturating_mul(2_i32.saturating_pow(doublings)).min(LONGEST_LEDGER_REST);
        self.ledger_rests_until = Some(now + rest);
    }
}

impl Trouble {
    /// Returns the trouble after one more failure.
    fn after(earlier: Option<Self>, message: &str, retry_at: Option<Timestamp>, now: Timestamp) -> Self {
        let failures = earlier.as_ref().map_or(0, |earlier| earlier.failures) + 1;
        let since = earlier.map_or(now, |earlier| earlier.since);
        let until = retry_at.unwrap_or(now).max(now + rest(failures.saturating_mul(2)));
        Self { message: message.to_owned(), since, failures, until }
    }
}

impl Intent {
    /// Notes that a step succeeded. The failure that ends the VM stays, as the cause that is shown to people.
    fn succeeded(&mut self) {
        self.failing_since = None;
        if !self.life.reason.is_some_and(Reason::is_failure) {
            self.failure = None;
        }
    }

    /// Forgets the failure of the last step when an event makes it void: the VM turned out to work.
    pub(crate) fn forget_failure_after(&mut self, event: &Event) {
        let is_void = matches!(event, Event::JobSeen { .. } | Event::RefusedBusy | Event::FoundArmed { .. });
        if is_void {
            (self.failure, self.failing_since) = (None, None);
        }
    }

    fn rest(&mut self, until: Timestamp, is_failure: bool) {
        self.retry_at = Some(until);
        if is_failure {
            self.attempts = self.attempts.saturating_add(1);
        }
    }
}
