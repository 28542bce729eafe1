//! One bad pool, storage or repository holds up only itself.

use std::collections::BTreeMap;

use super::engine::*;
use super::fixture::*;
use crate::*;
use dispatcher_api::{Config, RunnerPool, TemplateSource};

/// Returns a second pool with a template of its own on the same node.
fn debian(max: u32) -> RunnerPool {
    RunnerPool {
        name: "debian".parse().unwrap(),
        labels: vec!["debian".into()],
        vmid_range: "9200-9299".parse().unwrap(),
        template: TemplateSource { vmid: vmid(9001), family: "debian-12".into(), ..pool(1).template },
        ..pool(max)
    }
}

fn two_pools() -> Config {
    let mut config = config(40);
    config.pools[0].vmid_range = "9100-9199".parse().unwrap();
    config.pools.push(debian(40));
    config
}

/// Returns a record of the second pool.
fn of_debian(number: u32, events: &[Event]) -> Intent {
    let name = format!("lab-debian-{number}-aaaaaa").parse().unwrap();
    let pool = "debian".parse().unwrap();
    Intent { name, pool, template: vmid(9001), ..recorded(number, events) }
}

fn for_debian(job: JobSeen) -> JobSeen {
    JobSeen { labels: vec!["debian".into()], ..job }
}

#[test]
fn i7_a_pool_whose_guests_hang_does_not_delay_another() {
    the_second_pool_goes_on(&two_pools());
}

#[test]
fn i7_a_node_that_hangs_does_not_delay_another() {
    let mut config = two_pools();
    config.pools[1].template.node = "pve2".parse().unwrap();
    the_second_pool_goes_on(&config);
}

/// Lets each step of the first pool hang, in each state in which it can, while the second pool serves a job.
fn the_second_pool_goes_on(config: &Config) {
    for events in (0..=3).map(|length| warm()[..length].to_vec()) {
        let mut engine = Engine::with(config.clone(), (9100..9120).map(|number| recorded(number, &events)));
        let guests: Vec<_> = if events.len() > 1 { (9100..9120).map(running).collect() } else { vec![] };
        engine.guests(&guests);
        engine.github(queued(20), vec![]);
        let hung = engine.pass().len();
        assert!(hung > 0, "{events:?}");
        let jobs = queued(20).into_iter().chain([for_debian(JobSeen { id: 99, ..queued(1).remove(0) })]);
        engine.github(jobs.collect(), vec![]);
        let clone = engine.one();
        assert!(clone.name.to_string().starts_with("lab-debian-"), "{clone:?}");
        let others =
            [Step::Configure, Step::Start, Step::AwaitAgent, Step::Mint { repository: repository() }, Step::Arm];
        for expected in others {
            let minted = Ok(Success::Minted { runner_id: 9 });
            let outcome = if expected == Step::Arm { minted } else { Ok(Success::Done) };
            assert_eq!(engine.then(&clone.name, outcome), [expected], "while {hung} of {events:?} hang");
        }
        engine.end(&clone.name, Ok(Success::Done));
        assert_eq!(engine.state(&clone.name), State::Idle);
    }
}

/// The widths of the lanes, as `docs/dispatcher.md` lists them.
#[test]
fn lanes_have_the_documented_widths() {
    let started = |events: &[Event], queued_jobs: u64, pools: usize| {
        let mut records: Vec<Intent> = (9100..9120).map(|number| recorded(number, events)).collect();
        if pools == 2 {
            records.extend((9200..9220).map(|number| of_debian(number, events)));
        }
        let mut engine = Engine::with(two_pools(), records);
        engine.guests(&[]);
        let jobs = queued(queued_jobs).into_iter().flat_map(|job| {
            let other = for_debian(JobSeen { id: job.id + 1000, ..job.clone() });
            [job, other].into_iter().take(pools)
        });
        engine.github(jobs.collect(), vec![]);
        engine.pass().len()
    };
    let destroying = [busy(), vec![Event::PoweredOff]].concat();
    let retiring = [idle(), vec![Event::Retire(Reason::Surplus)]].concat();
    assert_eq!((started(&warm()[..1], 20, 1), started(&warm()[..1], 20, 2)), (2, 4), "clones of each template");
    assert_eq!((started(&warm()[..2], 20, 1), started(&warm()[..2], 20, 2)), (4, 6), "guests on a node");
    assert_eq!((started(&warm()[..3], 20, 1), started(&warm()[..3], 20, 2)), (3, 4), "starts on a node");
    assert_eq!((started(&destroying, 0, 1), started(&destroying, 0, 2)), (3, 4), "destructions on a node");
    assert_eq!((started(&warm(), 20, 1), started(&warm(), 20, 2)), (4, 4), "registrations at a repository");
    assert_eq!((started(&retiring, 0, 1), started(&retiring, 0, 2)), (4, 4), "removals at a repository");
}

/// A lost ledger leaves many registrations without records. Their removals queue like others.
#[test]
fn i11_registrations_without_records_are_removed_a_few_at_a_time() {
    let mut engine = Engine::new(two_pools());
    engine.guests(&[]);
    let left = (9100..9160).map(|number| RunnerSeen { id: u64::from(number), ..runner(number, false, false) });
    let mut left: BTreeMap<_, _> = left.map(|runner| (runner.name.clone(), runner)).collect();
    let mut rounds = 0;
    while !left.is_empty() {
        engine.github(vec![], left.values().cloned().collect());
        engine.guests(&[]);
        let removals = engine.pass();
        assert!((1..=4).contains(&removals.len()), "{} removals at a time", removals.len());
        for removal in removals {
            left.remove(&removal.name);
            engine.end(&removal.name, Ok(Success::Done));
        }
        rounds += 1;
    }
    assert_eq!(rounds, 15);
}

/// One repository that does not answer holds up only its own registrations.
#[test]
fn i7_a_repository_that_hangs_does_not_delay_another() {
    let other: ownership::RepositoryName = "acme/other".parse().unwrap();
    let mut engine = Engine::with(two_pools(), (9100..9110).map(|number| fresh(number, &warm())));
    engine.config.pools[0].repositories.push(other.clone());
    engine.guests(&(9100..9110).map(running).collect::<Vec<_>>());
    engine.github(queued(8), vec![]);
    assert_eq!(engine.pass().len(), 4, "these hang");
    let later = JobSeen { id: 50, created_at: Some(at(995)), ..queued(1).remove(0) };
    engine.github_of(&other, Some(vec![later]), Some(vec![]));
    assert_eq!(engine.steps(), [Step::Mint { repository: other }]);
}
