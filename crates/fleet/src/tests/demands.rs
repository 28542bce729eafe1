//! The jobs that count, and the VMs that count as their supply.

use jiff::SignedDuration;

use super::engine::*;
use super::fixture::*;
use crate::*;

fn created(hours_ago: i64, renewed_hours_ago: Option<i64>) -> JobSeen {
    let before = |hours: i64| at(1000) - SignedDuration::from_hours(hours);
    JobSeen {
        created_at: Some(before(hours_ago)),
        renewed_at: renewed_hours_ago.map(before),
        ..job(1, JobPhase::Queued, None)
    }
}

#[test]
fn i7_a_job_that_is_run_again_or_approved_late_is_served() {
    let is_served = |job: JobSeen| {
        let mut engine = Engine::new(config(1));
        engine.guests(&[]);
        engine.github(vec![job], vec![]);
        !engine.pass().is_empty()
    };
    assert!(is_served(created(72, Some(1))), "run again an hour ago");
    assert!(is_served(created(23, None)));
    assert!(!is_served(created(25, None)), "GitHub gave it up");
    assert!(!is_served(created(72, Some(25))), "GitHub gave the second run up as well");
}

#[test]
fn i7_a_listener_that_never_comes_online_does_not_count_as_supply() {
    let armed = |second| {
        let life = Life { armed_at: Some(at(second)), ..life(&idle()) };
        intent(9100, life)
    };
    for listed in [vec![runner(9100, false, false)], vec![]] {
        let mut engine = Engine::with(config(2), [armed(920)]);
        engine.guests(&[running(9100)]);
        engine.github(queued(1), listed.clone());
        let makes_one = |engine: &mut Engine| {
            let effects = engine.pass();
            effects.iter().any(|effect| matches!(effect.step, Step::Clone { is_first: true }))
        };
        assert!(!makes_one(&mut engine), "80 s after it was armed: {listed:?}");
        engine.wait(10);
        engine.github(queued(1), listed.clone());
        assert!(makes_one(&mut engine), "90 s after it was armed: {listed:?}");
    }
    let mut engine = Engine::with(config(2), [armed(900)]);
    engine.guests(&[running(9100)]);
    engine.github(queued(1), vec![runner(9100, true, false)]);
    assert!(engine.pass().is_empty(), "this one listens");
}

/// The listener that never came online is released.
#[test]
fn i3_a_listener_that_never_comes_online_is_retired() {
    let mut engine = Engine::with(config(1), [intent(9100, Life { armed_at: Some(at(900)), ..life(&idle()) })]);
    engine.guests(&[running(9100)]);
    engine.github(queued(1), vec![runner(9100, false, false)]);
    assert_eq!(engine.steps(), [Step::KeepDiagnostics]);
    assert_eq!(engine.then(&name(9100), Ok(Success::NothingToKeep)), [Step::Deregister]);
}

#[test]
fn i2_two_spellings_of_a_repository_do_not_double_its_demand() {
    let mut engine = Engine::new(config(4));
    let other_spelling: ownership::RepositoryName = "Acme/Tools".parse().unwrap();
    engine.config.pools[0].repositories.push(other_spelling.clone());
    assert_eq!(engine.fleet.repositories_to_watch(&engine.config).len(), 1);
    engine.guests(&[]);
    engine.github(queued(1), vec![]);
    engine.github_of(&other_spelling, Some(queued(1)), Some(vec![]));
    assert_eq!(engine.pass().len(), 1);
}

/// The problem of a VM ends with the VM.
#[test]
fn problems_end_with_the_vms_that_they_are_about() {
    let mut engine = Engine::with(config(1), [recorded(9100, &[busy(), vec![Event::PoweredOff]].concat())]);
    engine.guests(&[guest(9100, Power::Off)]);
    assert_eq!(engine.steps(), [Step::Destroy]);
    engine.end(&name(9100), failed(FailureKind::Passing));
    let hindrances = |engine: &Engine| engine.fleet.hindrances(&engine.config, at(engine.now));
    assert_eq!(hindrances(&engine)[0].concern, Concern::Vm(name(9100)));
    engine.wait(60);
    assert_eq!(engine.steps(), [Step::Destroy]);
    engine.end(&name(9100), Ok(Success::Done));
    assert!(hindrances(&engine).is_empty());
}

/// So does the problem of a registration without a record.
#[test]
fn problems_of_registrations_without_a_record_are_forgotten() {
    let mut engine = Engine::new(config(1));
    engine.guests(&[]);
    engine.github(vec![], vec![runner(9100, false, false)]);
    engine.one();
    engine.end(&name(9100), failed(FailureKind::Passing));
    assert_eq!(engine.fleet.hindrances(&engine.config, at(engine.now)).len(), 1);
    engine.github(vec![], vec![]);
    engine.wait(3600);
    engine.pass();
    assert!(engine.fleet.hindrances(&engine.config, at(engine.now)).is_empty());
}
