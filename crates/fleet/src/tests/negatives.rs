//! A VM that may run a job ends by two negatives, one from GitHub and one from the guest, or at a declared limit.

use super::engine::*;
use super::fixture::*;
use crate::*;

/// An engine with a deregistered VM, since second 9, that does not power itself off.
fn with_fenced_vm() -> Engine {
    let mut engine = Engine::with(config(1), [recorded(9100, &fenced())]);
    engine.guests(&[running(9100)]);
    engine
}

/// The guest alone, asked any number of times, is one source.
#[test]
fn i5_without_github_a_deregistered_vm_is_stopped_only_at_its_limit() {
    let mut engine = with_fenced_vm();
    let pool = &engine.config.pools[0];
    let limit = i64::from(pool.idle_limit_seconds + pool.job_limit_seconds);
    while engine.now < limit {
        engine.guests(&[running(9100)]);
        assert!(engine.steps().is_empty(), "at {}", engine.now);
        assert_eq!(engine.state(&name(9100)), State::Fenced);
        engine.wait(60);
    }
    engine.wait(60);
    engine.guests(&[running(9100)]);
    assert_eq!(engine.steps(), [Step::KeepDiagnostics]);
    assert_eq!(engine.then(&name(9100), Ok(Success::NothingToKeep)), [Step::Stop { asks_first: false }]);
    assert_eq!(engine.fleet.record(&name(9100)).unwrap().life.reason, Some(Reason::JobLimit));
}

/// GitHub first, then the guest, far enough apart.
#[test]
fn i5_github_and_the_guest_together_end_a_deregistered_vm() {
    let mut engine = with_fenced_vm();
    engine.github(vec![], vec![]);
    assert!(engine.steps().is_empty(), "this is GitHub's negative");
    engine.wait(NEGATIVES_APART.as_secs() - 1);
    engine.github(vec![], vec![]);
    assert!(engine.steps().is_empty());
    engine.wait(1);
    assert_eq!(engine.steps(), [Step::Probe]);
    let probed = Ok(Success::Probed { sign: Sign::Waiting });
    assert_eq!(engine.then(&name(9100), probed), [Step::KeepDiagnostics]);
    assert_eq!(engine.then(&name(9100), Ok(Success::NothingToKeep)), [Step::Stop { asks_first: false }]);
}

/// A guest that does not answer gives no negative.
#[test]
fn i5_a_silent_guest_is_not_a_negative() {
    let mut engine = with_fenced_vm();
    engine.github(vec![], vec![]);
    engine.steps();
    let mut questions = 0;
    for _ in 0..600 {
        engine.wait(1);
        for effect in engine.pass() {
            assert_eq!(effect.step, Step::Probe);
            questions += 1;
            engine.end(&name(9100), failed(FailureKind::Passing));
        }
    }
    assert_eq!(engine.state(&name(9100)), State::Fenced);
    assert!((10..60).contains(&questions), "{questions} questions in ten minutes");
}

/// A job that starts in between makes both negatives void.
#[test]
fn i5_a_job_that_appears_between_the_negatives_makes_them_void() {
    let mut engine = with_fenced_vm();
    engine.github(vec![], vec![]);
    engine.steps();
    engine.wait(80);
    engine.github(vec![job(4, JobPhase::Running, Some(&name(9100)))], vec![]);
    engine.pass();
    let life = engine.fleet.record(&name(9100)).unwrap().life.clone();
    assert_eq!((life.state, life.negative_at, life.job), (State::Busy, None, Some(4)));
}

/// An answer that there is no such registration may mean that the token lost access.
#[test]
fn i5_a_registration_that_github_does_not_find_is_one_negative_at_most() {
    let retiring = [idle(), vec![Event::Retire(Reason::Surplus)]].concat();
    let mut engine = Engine::with(config(1), [recorded(9100, &retiring)]);
    engine.guests(&[running(9100)]);
    engine.github_of(&repository(), None, None);
    assert_eq!(engine.steps(), [Step::Deregister]);
    assert!(engine.then(&name(9100), Ok(Success::Done)).is_empty());
    for _ in 0..20 {
        engine.wait(60);
        engine.guests(&[running(9100)]);
        assert!(engine.steps().is_empty());
    }
    assert_eq!(engine.state(&name(9100)), State::Fenced);
}

#[test]
fn i5_a_registration_that_github_keeps_for_a_job_makes_the_vm_busy() {
    let retiring = [idle(), vec![Event::Retire(Reason::Surplus)]].concat();
    let mut engine = Engine::with(config(1), [recorded(9100, &retiring)]);
    engine.guests(&[running(9100)]);
    assert_eq!(engine.steps(), [Step::Deregister]);
    engine.end(&name(9100), Ok(Success::RefusedBusy));
    assert_eq!(engine.state(&name(9100)), State::Busy);
}
