//! Configurations, observations and records for the tests of the core.

use dispatcher_api::{GithubConfig, PveConfig, TemplateSource};

use crate::*;
use dispatcher_api::{Config, RunnerPool};
use jiff::Timestamp;
use ownership::{NodeName, Nonce, PoolName, RepositoryName, RunnerName, Vmid};

const REPOSITORY: &str = "acme/tools";
pub(super) const TEMPLATE: u32 = 9000;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(super) fn pool(max: u32) -> RunnerPool {
    RunnerPool {
        name: "ubuntu".parse().unwrap(),
        labels: vec!["linux".into(), "x64".into()],
        repositories: vec![repository()],
        runner_group_id: 1,
        max,
        vmid_range: "9100-9103".parse().unwrap(),
        resource_pool: "ci".into(),
        template: TemplateSource {
            family: "ubuntu-2204".into(),
            vmid: vmid(TEMPLATE),
            node: "pve1".parse().unwrap(),
            by_name: false,
        },
        seed_iso: None,
        cores: None,
        memory_mib: None,
        bridge: None,
        boot_limit_seconds: 300,
        idle_limit_seconds: 600,
        job_limit_seconds: 3600,
        quarantine: None,
    }
}

pub(super) fn config(max: u32) -> Config {
    Config {
        installation: "lab".parse().unwrap(),
        pve: PveConfig {
            endpoints: vec!["https://h:8006".into()],
            ca_pem: None,
            fingerprint: None,
            token_id: "a@pve!b".into(),
        },
        github: GithubConfig::default(),
        poll_interval_seconds: 15,
        pools: vec![pool(max)],
    }
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
    Intent {
        name: name(number),
        pool: "ubuntu".parse().unwrap(),
        vmid: vmid(number),
        node: node(),
        template: vmid(TEMPLATE),
        resource_pool: "ci".into(),
        created_at: at(0),
        life,
        retry_at: None,
        attempts: 0,
        holds_registration: false,
        failure: None,
        failing_since: None,
        entered: Vec::new(),
    }
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
    JobSeen {
        id,
        name: format!("job {id}"),
        labels: vec!["linux".into()],
        phase,
        runner_name: runner.map(ToString::to_string),
        created_at: Some(at(i64::try_from(id).unwrap())),
        renewed_at: None,
    }
}

/// Everything was looked at at `second`: these guests, these jobs, these runners.
pub(super) fn observed(
    second: i64,
    guests: &[(u32, GuestSeen)],
    jobs: Vec<JobSeen>,
    runners: Vec<RunnerSeen>,
) -> Facts {
    let taken_at = at(second);
    let guests = Guests {
        taken_at,
        seen: guests.iter().map(|(number, guest)| (vmid(*number), guest.clone())).collect(),
        absent: Default::default(),
        hidden: Default::default(),
        taken: Default::default(),
    };
    let seen = RepositorySeen {
        jobs: Some(Jobs { taken_at, list: jobs }),
        runners: Some(Runners { taken_at, list: runners }),
    };
    Facts { guests: Some(guests), repositories: [(repository(), seen)].into() }
}

pub(super) fn guest(vmid: u32, power: Power) -> (u32, GuestSeen) {
    let claim = Claim::Ours { name: name(vmid), pool: "ubuntu".parse().unwrap() };
    (vmid, GuestSeen { node: node(), power, locked: false, claim, run: None })
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
