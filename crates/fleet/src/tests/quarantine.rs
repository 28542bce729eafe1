//! Quarantine: failed VMs that stay for a person, within a quota and for a limited time.

use dispatcher_api::Quarantine;

use super::engine::*;
use super::fixture::*;
use crate::*;

const KEPT: u32 = 600;

fn with_quota(max: u32) -> dispatcher_api::Config {
    let mut config = config(4);
    config.pools[0].quarantine = Some(Quarantine { max, keep_for_seconds: KEPT });
    config
}

/// Returns the record of a VM whose guest agent did not answer within the boot limit.
fn silent(number: u32) -> Intent {
    let created_at = at(1000 - i64::from(pool(1).boot_limit_seconds));
    Intent { created_at, ..recorded(number, &warm()[..3]) }
}

/// Starts an engine with silent VMs, and keeps their diagnostics.
fn with_failed(quota: u32, numbers: &[u32]) -> Engine {
    let mut engine = Engine::with(with_quota(quota), numbers.iter().map(|number| silent(*number)));
    engine.guests(&numbers.iter().map(|number| running(*number)).collect::<Vec<_>>());
    engine.github(vec![], vec![]);
    for effect in engine.pass() {
        assert_eq!(effect.step, Step::KeepDiagnostics);
        engine.end(&effect.name, Ok(Success::NothingToKeep));
    }
    engine
}

#[test]
fn a_failed_vm_stays_until_its_time_is_over_and_is_destroyed_then() {
    let mut engine = with_failed(1, &[9100]);
    assert!(engine.pass().is_empty(), "nothing is done with it");
    assert_eq!(engine.state(&name(9100)), State::Quarantined);
    engine.wait(i64::from(KEPT) - 1);
    engine.guests(&[running(9100)]);
    assert!(engine.pass().is_empty());
    engine.wait(1);
    assert_eq!(engine.steps(), [Step::Stop { asks_first: true }]);
    assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::Destroy]);
    engine.end(&name(9100), Ok(Success::Done));
    assert_eq!(engine.state(&name(9100)), State::Gone);
}

#[test]
fn a_pool_without_quarantine_keeps_no_vm() {
    let mut engine = with_failed(1, &[9100]);
    engine.config.pools[0].quarantine = None;
    assert_eq!(engine.steps(), [Step::Stop { asks_first: true }]);
}

#[test]
fn i2_a_vm_in_quarantine_holds_its_slot_and_the_quota_limits_their_number() {
    let mut engine = with_failed(2, &[9100, 9101, 9102]);
    assert_eq!(engine.steps(), [Step::Stop { asks_first: true }], "the quota has room for two");
    let kept = engine.states().into_iter().filter(|state| *state == State::Quarantined).count();
    assert_eq!(kept, 2);
    engine.take(Input::Retry);
    engine.github(queued(9), vec![]);
    engine.guests(&[running(9100), running(9101), running(9102)]);
    let clones = engine.steps().into_iter().filter(|step| matches!(step, Step::Clone { .. })).count();
    assert_eq!(clones, 1, "three of four slots are taken");
    assert!(engine.waiting[8].reason.ends_with("4 of 4 VMs exist, 2 of them in quarantine"), "{:?}", engine.waiting[8]);
}

#[test]
fn a_person_releases_a_vm_and_it_is_not_kept_again() {
    let mut engine = with_failed(1, &[9100]);
    engine.pass();
    engine.take(Input::Release(name(9101)));
    assert!(engine.pass().is_empty(), "another VM");
    engine.take(Input::Release(name(9100)));
    assert_eq!(engine.steps(), [Step::Stop { asks_first: true }]);
    engine.wait(5);
    engine.pass();
    assert_eq!(engine.audited()["Event(Released)"], 1);
}

#[test]
fn a_drain_ends_each_quarantine_at_once() {
    let mut engine = with_failed(1, &[9100]);
    engine.pass();
    engine.take(Input::Draining(true));
    assert_eq!(engine.steps(), [Step::Stop { asks_first: true }]);
    let mut engine = with_failed(1, &[9100]);
    engine.take(Input::Draining(true));
    assert_eq!(engine.steps(), [Step::Stop { asks_first: true }], "and begins none");
}

#[test]
fn a_vm_that_powers_itself_off_in_quarantine_is_destroyed() {
    let mut engine = with_failed(1, &[9100]);
    engine.pass();
    engine.wait(1);
    engine.guests(&[guest(9100, Power::Off)]);
    assert_eq!(engine.steps(), [Step::Destroy]);
}

/// Returns an engine with a VM whose job is over, and which does not power itself off.
fn with_lingering() -> Engine {
    let over = Life { job_over_at: Some(at(880)), since: at(800), ..life(&busy()) };
    let mut engine = Engine::with(with_quota(1), [Intent { life: over, ..recorded(9100, &[]) }]);
    engine.guests(&[running(9100)]);
    engine
}

#[test]
fn i1_a_vm_whose_registration_may_still_be_there_is_not_kept() {
    for (listed, kept) in [(Some(vec![]), true), (Some(vec![runner(9100, true, false)]), false), (None, false)] {
        let mut engine = with_lingering();
        engine.github_of(&repository(), Some(vec![]), listed.clone());
        assert_eq!(engine.steps(), [Step::KeepDiagnostics], "{listed:?}");
        engine.end(&name(9100), Ok(Success::NothingToKeep));
        engine.steps();
        assert_eq!(engine.state(&name(9100)) == State::Quarantined, kept, "{listed:?}");
    }
}

#[test]
fn i5_a_job_ends_at_its_limit_whatever_the_quota() {
    let mut engine = Engine::with(with_quota(1), [recorded(9100, &busy())]);
    engine.now = 10 + i64::from(pool(1).job_limit_seconds);
    engine.guests(&[running(9100)]);
    engine.github(vec![job(1, JobPhase::Running, Some(&name(9100)))], vec![]);
    assert_eq!(engine.steps(), [Step::KeepDiagnostics]);
    assert_eq!(engine.then(&name(9100), Ok(Success::NothingToKeep)), [Step::Stop { asks_first: false }]);
}

#[test]
fn i8_a_quarantine_outlives_a_restart_and_release_0_1_reads_a_vm_that_is_being_stopped() {
    let mut engine = with_failed(1, &[9100]);
    engine.pass();
    let record = engine.fleet.record(&name(9100)).unwrap();
    let stored = record.to_stored();
    assert_eq!(stored.life.state, State::Stopping);
    assert!(!stored.entered.iter().any(|(state, _)| *state == State::Quarantined));
    let mut again = Engine::with(with_quota(1), [stored.from_stored()]);
    again.guests(&[running(9100)]);
    assert!(again.pass().is_empty());
    assert_eq!(again.state(&name(9100)), State::Quarantined);
    again.wait(i64::from(KEPT));
    assert_eq!(again.steps(), [Step::Stop { asks_first: true }]);
    let released = again.fleet.record(&name(9100)).unwrap().to_stored();
    let mut last = Engine::with(with_quota(1), [released.from_stored()]);
    last.now = again.now;
    assert_eq!(last.steps(), [Step::Stop { asks_first: true }], "a release is not forgotten");
}
