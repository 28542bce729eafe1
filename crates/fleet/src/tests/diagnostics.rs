//! I10: the diagnostics of a failed VM are read before it ends, once, and never hold up its end.

use super::engine::*;
use super::fixture::*;
use crate::*;

fn booting() -> Vec<Event> {
    warm()[..3].to_vec()
}

/// Returns an engine with a VM whose guest agent did not answer within the boot limit.
fn with_silent_vm() -> Engine {
    let created_at = at(1000 - i64::from(pool(1).boot_limit_seconds));
    let mut engine = Engine::with(config(1), [Intent { created_at, ..recorded(9100, &booting()) }]);
    engine.guests(&[running(9100)]);
    engine
}

fn kept() -> Outcome {
    Ok(Success::Kept { file: "kept/vm.log".to_owned() })
}

#[test]
fn i10_the_diagnostics_of_a_failed_vm_are_kept_and_noted_before_it_is_stopped() {
    let mut engine = with_silent_vm();
    assert_eq!(engine.steps(), [Step::KeepDiagnostics]);
    assert_eq!(engine.then(&name(9100), kept()), [Step::Stop { asks_first: true }]);
    assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::Destroy]);
    let life = &engine.fleet.record(&name(9100)).unwrap().life;
    assert_eq!((life.reason, life.kept.as_deref()), (Some(Reason::BootDeadline), Some("kept/vm.log")));
    let audit: Vec<&Entry> =
        engine.written.iter().flat_map(|changes| &changes.audit).map(|entry| &entry.entry).collect();
    let diagnosed = Entry::Event(Event::Diagnosed { kept: Some("kept/vm.log".to_owned()) });
    let place = |wanted: &Entry| audit.iter().position(|entry| *entry == wanted);
    assert!(place(&diagnosed) < place(&Entry::Event(Event::Stopped)), "{audit:?}");
    assert!(place(&diagnosed).is_some(), "{audit:?}");
}

#[test]
fn i10_the_pool_says_where_the_log_of_its_failed_vm_is() {
    let mut engine = with_silent_vm();
    engine.steps();
    engine.then(&name(9100), kept());
    let hindrances = engine.fleet.hindrances(&engine.config, at(engine.now));
    let messages: Vec<&str> = hindrances.iter().map(|hindrance| hindrance.message.as_str()).collect();
    assert!(messages.iter().any(|message| message.ends_with("; log kept: kept/vm.log")), "{messages:?}");
}

/// Every end of the step but an interruption leads on, and none replaces the failure that people are shown.
#[test]
fn i10_diagnostics_that_cannot_be_read_are_tried_once() {
    let kinds =
        [FailureKind::Gone, FailureKind::Refused, FailureKind::Passing, FailureKind::Lasting, FailureKind::Lost];
    let outcomes = kinds.map(failed).into_iter().chain([Ok(Success::NothingToKeep)]);
    for outcome in outcomes {
        let mut engine = with_silent_vm();
        assert_eq!(engine.steps(), [Step::KeepDiagnostics]);
        assert_eq!(engine.then(&name(9100), outcome.clone()), [Step::Stop { asks_first: true }], "{outcome:?}");
        let record = engine.fleet.record(&name(9100)).unwrap();
        assert_eq!((&record.failure, &record.life.kept), (&None, &None), "{outcome:?}");
    }
}

/// A dispatcher that ends breaks the step off, and the next start takes it again, for as long as there is time.
#[test]
fn i10_interrupted_diagnostics_are_tried_again_within_their_deadline_and_then_given_up() {
    let mut engine = with_silent_vm();
    engine.steps();
    engine.end(&name(9100), failed(FailureKind::BrokenOff));
    assert!(engine.steps().is_empty());
    engine.wait(1);
    assert_eq!(engine.steps(), [Step::KeepDiagnostics]);
    engine.end(&name(9100), failed(FailureKind::BrokenOff));
    engine.wait(60);
    assert_eq!(engine.steps(), [Step::Stop { asks_first: true }]);
}

#[test]
fn i10_a_vm_that_did_not_fail_ends_without_diagnostics() {
    let mut engine = Engine::with(config(1), [recorded(9100, &warm())]);
    engine.guests(&[running(9100)]);
    engine.github(vec![], vec![]);
    engine.wait(120);
    assert_eq!(engine.steps(), [Step::Stop { asks_first: true }], "nobody needs it");
}

/// The listener exits once its registration is gone, and the VM then powers itself off, so its log is read before.
#[test]
fn i10_the_log_of_a_runner_that_never_came_online_is_read_before_it_is_deregistered() {
    let record = recorded(9100, &idle());
    let life = Life { armed_at: Some(at(900)), since: at(900), ..record.life.clone() };
    let mut engine = Engine::with(config(1), [Intent { life, ..record }]);
    engine.guests(&[running(9100)]);
    engine.github(queued(1), vec![runner(9100, false, false)]);
    assert_eq!(engine.steps(), [Step::KeepDiagnostics]);
    assert_eq!(engine.state(&name(9100)), State::Retiring);
    assert_eq!(engine.then(&name(9100), kept()), [Step::Deregister]);
}

#[test]
fn i10_a_vm_that_turns_out_to_work_is_diagnosed_again_if_it_fails_later() {
    let never_online = [idle(), vec![Event::NeverOnline, Event::Diagnosed { kept: None }]].concat();
    let busy = life(&never_online).after(&Event::JobSeen { job: Some(1) }, at(20)).unwrap();
    assert_eq!((busy.state, busy.is_offline, busy.diagnosed_at), (State::Busy, false, None));
    let mut engine = Engine::with(config(1), [intent(9100, busy)]);
    engine.guests(&[running(9100)]);
    engine.github(vec![job(1, JobPhase::Running, Some(&name(9100)))], vec![runner(9100, true, true)]);
    engine.now = 20 + i64::from(pool(1).job_limit_seconds);
    assert_eq!(engine.steps(), [Step::KeepDiagnostics], "its job exceeded the limit");
}
