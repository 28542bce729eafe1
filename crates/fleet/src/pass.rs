//! The decision: from facts and records to the effects that come next.

use dispatcher_api::Config;
use jiff::Timestamp;
use ownership::{NodeName, Nonce, PoolName, RunnerName, Vmid};

use crate::changes::{AuditEntry, Changes, Entry};
use crate::demand::{Demand, demand};
use crate::effect::{Effect, Step};
use crate::explain::Waiting;
use crate::fleet::Fleet;
use crate::index::{GithubIndex, RecordIndex};
use crate::lanes::Lanes;
use crate::reap::{self, Limits, Need};
use crate::view::View;
use crate::{
    Event, Intent, Life, Power, State, capacity, demand as demands, diagnostics, explain, orphans, placement,
    quarantine,
};

/// Rounds of one pass. Each ends with new records or new states, which the next one acts on.
const MOST_ROUNDS: usize = 6;
/// Events that one VM can have in one round: a bound, so that a contradiction cannot spin.
const MOST_EVENTS: usize = 4;

/// The result of a pass.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    /// Effects to start at once.
    pub start: Vec<Effect>,
    /// Changes to write now.
    pub commit: Option<Changes>,
    /// Effects to start once [`Pass::commit`] is on disk.
    pub start_after_commit: Vec<Effect>,
    /// Events in the lives of VMs since the last pass, oldest first.
    pub events: Vec<AuditEntry>,
    /// Queued jobs and what each waits for, oldest first.
    pub waiting: Vec<Waiting>,
}

impl Fleet {
    /// Decides what is to be done now. `nonce` draws the text that identifies a new incarnation.
    ///
    /// Without changes in facts, records and time, a second pass starts nothing.
    pub fn pass(&mut self, config: &Config, nonce: &mut dyn FnMut() -> Nonce, now: Timestamp) -> Pass {
        self.forget(now);
        let mut pass = Pass::default();
        for _ in 0..MOST_ROUNDS {
            if !self.round(config, nonce, now, &mut pass) {
                break;
            }
        }
        // Those of an earlier pass may still wait for their commit.
        self.waiting.extend(pass.start_after_commit.iter().map(|effect| effect.name.clone()));
        pass.events = std::mem::take(&mut self.changes.fresh);
        pass.commit = self.changes_to_commit(!pass.start_after_commit.is_empty(), now);
        pass
    }

    /// One round. Returns true if it changed records, so that another round has more to do.
    fn round(&mut self, config: &Config, nonce: &mut dyn FnMut() -> Nonce, now: Timestamp, pass: &mut Pass) -> bool {
        let mut changed = self.note_observations(config, now);
        let decided = self.decide(config, now);
        for (name, event) in decided.releases {
            changed |= self.note(&name, event, now);
        }
        pass.waiting = decided.waiting;
        for effect in decided.effects {
            changed |= self.begin(effect, now, pass);
        }
        for (pool, vmid) in decided.reservations {
            changed |= self.reserve(config, &pool, vmid, nonce(), now);
        }
        for stray in decided.strays {
            changed |= self.adopt(config, stray, now);
        }
        changed
    }

    /// Notes the events that the facts are in the lives of VMs on which nothing is under way.
    fn note_observations(&mut self, config: &Config, now: Timestamp) -> bool {
        let facts = std::mem::take(&mut self.facts);
        let github = GithubIndex::new(&facts);
        let mut noted = Vec::new();
        for intent in self.records.values_mut().filter(|intent| !self.under_way.contains_key(&intent.name)) {
            let limits = Limits::of(intent, config);
            for _ in 0..MOST_EVENTS {
                let Some(event) = reap::observation(&facts, &github, intent, &limits, now) else { break };
                if !intent.apply(&event, now) {
                    break;
                }
                self.changes.note(intent, event.clone(), now);
                noted.push(event);
            }
        }
        self.facts = facts;
        !noted.is_empty()
    }

    /// Returns the input of decisions.
    pub(crate) fn view<'a>(&'a self, config: &'a Config, now: Timestamp) -> View<'a> {
        View {
            config,
            facts: &self.facts,
            github: GithubIndex::new(&self.facts),
            records: RecordIndex::new(self.records.values()),
            inherited: &self.inherited,
            draining: self.draining,
            stands_back: self.rivals.stand_back(),
            rivals: &self.rivals,
            forgiven: &self.forgiven,
            refusing: &self.refusing,
            now,
        }
    }

    fn decide(&self, config: &Config, now: Timestamp) -> Decided {
        let view = self.view(config, now);
        let demand = demand(&view);
        let releases = self.releases(&view, &demand);
        let waiting = explain::explain(&view, &demand, |name| self.records.get(name));
        if !releases.is_empty() {
            // The steps follow in the next round, from the states that these events lead to.
            return Decided { waiting, releases, ..Decided::default() };
        }
        let effects = self.effects(&view, &demand);
        let strays = orphans::strays(&view, |name| self.records.contains_key(name));
        Decided { waiting, releases, effects, reservations: reservations(&view, &demand), strays }
    }

    /// Returns the events that release VMs which nobody needs, and those that begin and end quarantines.
    fn releases(&self, view: &View<'_>, demand: &Demand<'_>) -> Vec<(RunnerName, Event)> {
        let pressed: Vec<&PoolName> = view
            .config
            .pools
            .iter()
            .filter(|pool| reap::is_pressed(pool, demand, view))
            .map(|pool| &pool.name)
            .collect();
        let idle = self.records.values().filter(|intent| !self.under_way.contains_key(&intent.name));
        let release = |intent: &Intent| {
            let need = Need {
                is_needed: demand.needs(&intent.name) && !view.draining,
                is_pressed: pressed.contains(&&intent.pool),
                draining: view.draining,
                is_unconnected: demands::is_unconnected(view, intent),
            };
            let event = reap::surplus(intent, &Limits::of(intent, view.config), need, view.now)?;
            Some((intent.name.clone(), event))
        };
        let mut events: Vec<(RunnerName, Event)> = idle.filter_map(release).collect();
        let is_idle = |intent: &Intent| !self.under_way.contains_key(&intent.name);
        events.extend(quarantine::events(view, self.records.values(), is_idle));
        events
    }

    /// Returns the lanes with the effects that are under way.
    fn lanes(&self) -> Lanes<'_> {
        let mut lanes = Lanes::default();
        for effect in self.under_way.values() {
            match self.records.get(&effect.name) {
                Some(intent) => lanes.occupy(intent, effect),
                None => lanes.occupy_without_record(effect),
            }
        }
        lanes
    }

    /// Returns the effects that have room in their lanes: the steps that the states of VMs call for, the oldest VM first, then those
    /// on things without a record.
    fn effects(&self, view: &View<'_>, demand: &Demand<'_>) -> Vec<Effect> {
        let mut wanted: Vec<(&Intent, Step)> = Vec::new();
        for intent in self.records.values() {
            if !self.under_way.contains_key(&intent.name) && intent.is_actionable(view.now) {
                wanted.extend(step_of(intent, view, demand).map(|step| (intent, step)));
            }
        }
        wanted.sort_by_key(|(intent, _)| (intent.created_at, intent.vmid));
        let without_record = self.effects_without_record(view);
        let ledger_rests = self.is_ledger_resting(view.now);
        let mut lanes = self.lanes();
        let mut effects = Vec::new();
        for (intent, step) in &wanted {
            if !(ledger_rests && step.is_written_down_first()) && lanes.enter(intent, step) {
                effects.push(Effect { name: intent.name.clone(), step: step.clone() });
            }
        }
        effects.extend(without_record.iter().filter(|effect| lanes.enter_without_record(effect)).cloned());
        effects
    }

    /// Returns the effects on things that have no record.
    fn effects_without_record(&self, view: &View<'_>) -> Vec<Effect> {
        let settled = |name: &RunnerName| {
            let intent = self.records.get(name)?;
            let is_over = !intent.is_live() && orphans::is_settled(intent.life.since, view.now);
            // A record that names the registration removes it with a step of its own.
            Some(is_over && !intent.life.may_be_registered())
        };
        let mut effects = orphans::registrations(view, settled);
        effects.extend(orphans::lent(view, &self.lent_ran));
        let rests = |name: &RunnerName| self.resting.get(name).is_some_and(|trouble| trouble.until > view.now);
        effects.retain(|effect| !self.under_way.contains_key(&effect.name) && !rests(&effect.name));
        effects
    }

    /// Notes what an effect begins, and lists it. Returns true if a record changed.
    fn begin(&mut self, effect: Effect, now: Timestamp, pass: &mut Pass) -> bool {
        let event = match &effect.step {
            Step::Clone { is_first: true } => Some(Event::CloneBegun),
            Step::Mint { repository } => Some(Event::MintBegun { repository: repository.clone() }),
            _ => None,
        };
        let changed = event.is_some_and(|event| self.note(&effect.name, event, now));
        self.note_repeated_clone(&effect, now);
        let has_record = self.records.contains_key(&effect.name);
        let list = match effect.step.is_written_down_first() && has_record && !self.changes.is_empty() {
            true => &mut pass.start_after_commit,
            false => &mut pass.start,
        };
        list.push(effect.clone());
        self.under_way.insert(effect.name.clone(), effect);
        changed
    }

    fn reserve(&mut self, config: &Config, pool: &PoolName, vmid: Vmid, nonce: Nonce, now: Timestamp) -> bool {
        let Some(pool) = config.pool(pool).filter(|_| !self.is_ledger_resting(now)) else { return false };
        let name = RunnerName::new(&config.installation, &pool.name, vmid, nonce);
        self.add(new_intent(name, pool, pool.template.node.clone(), Life::reserved(now), now), Entry::Reserved);
        true
    }

    /// Takes over a VM of ours that has no record.
    fn adopt(&mut self, config: &Config, stray: orphans::Stray, now: Timestamp) -> bool {
        // Without its pool in the configuration, the limits and the template of another serve for its end.
        let in_range = || config.pools.iter().find(|pool| pool.vmid_range.contains(stray.vmid));
        let Some(pool) = config.pool(&stray.pool).or_else(in_range) else { return false };
        let Some(guest) = self.facts.guest(stray.vmid) else { return false };
        let (node, life) = (guest.node.clone(), Life::adopted(guest.power == Power::Running, now));
        let intent = Intent { pool: stray.pool, ..new_intent(stray.name, pool, node, life, now) };
        self.add(intent, Entry::Adopted);
        true
    }
}

/// The decisions of one round.
#[derive(Default)]
struct Decided {
    waiting: Vec<Waiting>,
    releases: Vec<(RunnerName, Event)>,
    effects: Vec<Effect>,
    reservations: Vec<(PoolName, Vmid)>,
    strays: Vec<orphans::Stray>,
}

fn new_intent(
    name: RunnerName,
    pool: &dispatcher_api::RunnerPool,
    node: NodeName,
    life: Life,
    now: Timestamp,
) -> Intent {
    Intent {
        vmid: name.vmid(),
        name,
        pool: pool.name.clone(),
        node,
        template: pool.template.vmid,
        resource_pool: pool.resource_pool.clone(),
        created_at: now,
        life,
        retry_at: None,
        attempts: 0,
        holds_registration: false,
        failure: None,
        failing_since: None,
        entered: Vec::new(),
    }
}

/// Returns the step that a VM's state calls for.
fn step_of(intent: &Intent, view: &View<'_>, demand: &Demand<'_>) -> Option<Step> {
    let (life, now) = (&intent.life, view.now);
    Some(match life.state {
        State::Reserved => Step::Clone { is_first: true },
        State::Cloning => Step::Clone { is_first: false },
        State::Configuring => Step::Configure,
        State::Booting if life.started_at.is_none() => Step::Start,
        State::Booting => Step::AwaitAgent,
        State::Warm => Step::Mint { repository: demand.repository_for(&intent.name)?.clone() },
        State::Arming if intent.holds_registration => Step::Arm,
        State::Idle if is_unexamined(life) => Step::Examine,
        State::Idle | State::Busy if reap::is_end_expected(life, &intent.name, view.facts, &view.github) => Step::Watch,
        State::Retiring | State::Stopping if diagnostics::is_due(life, now) => Step::KeepDiagnostics,
        State::Retiring => Step::Deregister,
        State::Fenced if reap::is_probe_due(life, now) => Step::Probe,
        State::Stopping => {
            let is_inherited = view.inherited.contains(&intent.name);
            Step::Stop { asks_first: reap::asks_before_stop(life, is_inherited, &Limits::of(intent, view.config), now) }
        }
        State::Destroying => Step::Destroy,
        State::Gone => {
            let runner_id = Some(registration_left(intent, view)?);
            Step::RemoveRegistration { repository: life.repository.clone()?, runner_id }
        }
        State::Minting | State::Arming | State::Idle | State::Busy | State::Fenced | State::Quarantined => {
            return None;
        }
    })
}

/// Returns true if a record is adopted, and not known to be registered or busy.
fn is_unexamined(life: &Life) -> bool {
    life.runner_id.is_none() && life.repository.is_none() && life.busy_at.is_none()
}

/// Returns GitHub's number of the registration of an ended VM, if GitHub still lists it and does not remove it by itself.
fn registration_left(intent: &Intent, view: &View<'_>) -> Option<u64> {
    let is_over = intent.life.may_be_registered() && orphans::is_settled(intent.life.since, view.now);
    let runner = view.github.runner(&intent.name).filter(|runner| !runner.busy && !runner.online)?;
    is_over.then_some(runner.id)
}

fn reservations(view: &View<'_>, demand: &Demand<'_>) -> Vec<(PoolName, Vmid)> {
    let mut reservations = Vec::new();
    for pool in &view.config.pools {
        let wanted = demand.missing(&pool.name);
        let granted = capacity::free(pool, view).map_or(0, |free| wanted.min(free));
        let vmids = placement::choose(granted, pool, view);
        reservations.extend(vmids.into_iter().map(|vmid| (pool.name.clone(), vmid)));
    }
    reservations
}
