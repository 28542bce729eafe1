//! Configurations, observations and records for the tests of the core.

use dispatcher_api::{Config, RunnerPool, TemplateSource};
use jiff::Timestamp;
use ownership::{NodeName, Nonce, PoolName, RepositoryName, RunnerName, Vmid};

use super::samples;
use crate::*;

const REPOSITORY: &str = "acme/tools";
pub(super) const TEMPLATE: u32 = 9000;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(super) fn pool(max: u32) -> RunnerPool {
    let template = TemplateSource {
        family: "ubuntu-2204".into(),
        vmid: vmid(TEMPLATE),
        node: "pve1".parse().unwrap(),
        by_name: false,
    };
    samples::pool("ubuntu".parse().unwrap(), vec![repository()], (max, "9100-9103".parse().unwrap()), template)
}

pub(super) fn config(max: u32) -> Config {
    samples::config("lab".parse().unwrap(), vec![pool(max)])
}

pub(super) fn vmid(number: u32) -> Vmid {
    Vmid::new(number).unwrap()
}

pub(super) fn repository() -> RepositoryName {
    REPOSITORY.parse().unwrap()
}

pub(super) fn name(vmid: u32) -> RunnerName {
    format!("lab-ubuntu-{vmid}-aaaaaa").parse().unwrap()
}

pub(crate) fn intent(number: u32, life: Life) -> Intent {
    samples::intent(name(number), &pool(1), at(0), life)
}

pub(super) fn node() -> NodeName {
    "pve1".parse().unwrap()
}

/// A life after these events, one a second from second 1 on.
pub(super) fn life(events: &[Event]) -> Life {
    let mut life = Life::reserved(at(0));
    for (second, event) in (1..).zip(events) {
        life = life.after(event, at(second)).unwrap();
    }
    life
}

pub(super) fn warm() -> Vec<Event> {
    vec![Event::CloneBegun, Event::Cloned, Event::Configured, Event::Ready]
}

pub(super) fn idle() -> Vec<Event> {
    let registered = [Event::MintBegun { repository: repository() }, Event::Minted { runner_id: 7 }, Event::Armed];
    warm().into_iter().chain(registered).collect()
}

pub(super) fn busy() -> Vec<Event> {
    idle().into_iter().chain([Event::JobSeen { job: Some(1) }]).collect()
}

pub(super) fn fenced() -> Vec<Event> {
    idle().into_iter().chain([Event::Retire(crate::Reason::Surplus), Event::Deregistered]).collect()
}

pub(super) fn job(id: u64, phase: JobPhase, runner: Option<&RunnerName>) -> JobSeen {
    samples::job(id, phase, runner, at(i64::try_from(id).unwrap()))
}

/// Everything was looked at at `second`: these guests, these jobs, these runners.
pub(super) fn observed(
    second: i64,
    guests: &[(u32, GuestSeen)],
    jobs: Vec<JobSeen>,
    runners: Vec<RunnerSeen>,
) -> Facts {
    let seen = guests.iter().map(|(number, guest)| (vmid(*number), guest.clone()));
    let guests = Some(samples::guests(at(second), seen));
    let repositories = [(repository(), samples::repository_seen(at(second), jobs, runners))].into();
    Facts { guests, repositories, ..Facts::default() }
}

pub(super) fn guest(number: u32, power: Power) -> (u32, GuestSeen) {
    let (_, seen) = samples::guest(&intent(number, Life::reserved(at(0))), power);
    (number, seen)
}

/// A decision of one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// An event in the life of a VM.
    Note { name: RunnerName, event: Event },
    /// A VMID that is reserved.
    Reserve { vmid: Vmid },
    /// A VM without a record that is taken over.
    Adopt { pool: PoolName, vmid: Vmid },
    /// A step on a VM that had a record before, or on something without a record.
    Step { name: RunnerName, step: Step },
}

/// The situation of one pass.
#[derive(Debug, Clone)]
pub(super) struct Situation {
    pub(super) facts: Facts,
    pub(super) records: Vec<Intent>,
    pub(super) config: Config,
    pub(super) draining: bool,
    /// Time up to which the failures of the pool are forgiven.
    pub(super) forgiven: Option<Timestamp>,
}

impl Situation {
    pub(super) fn new(facts: &Facts, records: &[Intent], max: u32) -> Self {
        let (facts, records) = (facts.clone(), records.to_vec());
        Self { facts, records, config: config(max), draining: false, forgiven: None }
    }

    pub(super) fn draining(self) -> Self {
        Self { draining: true, ..self }
    }

    pub(super) fn fleet(&self) -> Fleet {
        let mut fleet = Fleet::new(self.records.clone(), Default::default());
        fleet.facts = self.facts.clone();
        fleet.draining = self.draining;
        if let Some(forgiven) = self.forgiven {
            fleet.forgiven.insert("ubuntu".parse().unwrap(), forgiven);
        }
        fleet
    }

    /// Returns the decisions of a pass: events first, then steps.
    pub(super) fn decide(&self, second: i64) -> Vec<Action> {
        let mut fleet = self.fleet();
        let pass = fleet.pass(&self.config, &mut nonces(0), at(second));
        let changes = pass.commit.unwrap_or_else(|| fleet.changes.clone());
        let mut actions: Vec<Action> = changes.audit.into_iter().filter_map(action).collect();
        let is_new = |name: &RunnerName| {
            let known = self.records.iter().any(|intent| intent.name == *name);
            !known && fleet.record(name).is_some()
        };
        let effects = pass.start.into_iter().chain(pass.start_after_commit);
        let effects = effects.filter(|effect| !is_new(&effect.name));
        actions.extend(effects.map(|effect| Action::Step { name: effect.name, step: effect.step }));
        actions
    }

    /// Returns the queued jobs with the reasons for which they wait.
    pub(super) fn waiting(&self, second: i64) -> Vec<Waiting> {
        self.fleet().pass(&self.config, &mut nonces(0), at(second)).waiting
    }
}

/// Draws nonces that end with increasing numbers.
pub(super) fn nonces(drawn: u32) -> impl FnMut() -> Nonce {
    nonces_from(drawn + 1..)
}

/// Draws nonces that end with these numbers.
pub(super) fn nonces_from(mut numbers: impl Iterator<Item = u32>) -> impl FnMut() -> Nonce {
    move || format!("n{:05}", numbers.next().unwrap()).parse().unwrap()
}

/// Returns the decision that an entry of the audit trail stands for. The begin of an effect is seen from the effect.
fn action(entry: AuditEntry) -> Option<Action> {
    match entry.entry {
        Entry::Reserved => Some(Action::Reserve { vmid: entry.vm.vmid() }),
        Entry::Adopted => {
            let pool = entry.vm.pool(&"lab".parse().unwrap()).unwrap();
            Some(Action::Adopt { pool, vmid: entry.vm.vmid() })
        }
        Entry::Event(Event::CloneBegun | Event::MintBegun { .. }) => None,
        Entry::Event(event) => Some(Action::Note { name: entry.vm, event }),
    }
}

pub(super) fn reserved_vmids(actions: &[Action]) -> Vec<u32> {
    let vmid = |action: &Action| match action {
        Action::Reserve { vmid } => Some(vmid.get()),
        _ => None,
    };
    actions.iter().filter_map(vmid).collect()
}

pub(super) fn steps(actions: &[Action]) -> Vec<&Step> {
    actions.iter().filter_map(step_in).collect()
}

fn step_in(action: &Action) -> Option<&Step> {
    match action {
        Action::Step { step, .. } => Some(step),
        _ => None,
    }
}
