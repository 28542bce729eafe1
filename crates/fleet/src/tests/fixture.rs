//! Configurations, observations and records for the tests of the core.

use dispatcher_api::{GithubConfig, PveConfig, TemplateSource};

use crate::*;
use dispatcher_api::{Config, RunnerPool};
use jiff::Timestamp;
use ownership::{RepositoryName, RunnerName, Vmid};

const REPOSITORY: &str = "acme/tools";
pub(super) const TEMPLATE: u32 = 9000;

pub(super) fn at(second: i64) -> Timestamp {
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

pub(super) fn intent(number: u32, life: Life) -> Intent {
    Intent {
        name: name(number),
        pool: "ubuntu".parse().unwrap(),
        vmid: vmid(number),
        node: "pve1".parse().unwrap(),
        template: vmid(TEMPLATE),
        resource_pool: "ci".into(),
        created_at: at(0),
        life,
        retry_at: None,
        failure: None,
    }
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
    }
}

/// Everything was looked at at `second`: these guests, these jobs, these runners.
pub(super) fn observed(
    second: i64,
    guests: &[(u32, GuestSeen)],
    jobs: Vec<JobSeen>,
    runners: Vec<RunnerSeen>,
) -> Observed {
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
    Observed { guests: Some(guests), repositories: [(repository(), seen)].into(), ..Observed::default() }
}

pub(super) fn guest(vmid: u32, power: Power) -> (u32, GuestSeen) {
    let claim = Claim::Ours { name: name(vmid), pool: "ubuntu".parse().unwrap() };
    (vmid, GuestSeen { power, locked: false, claim })
}

pub(super) fn reserved_vmids(actions: &[Action]) -> Vec<u32> {
    let vmid = |action: &Action| match action {
        Action::Reserve { vmid, .. } => Some(vmid.get()),
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
