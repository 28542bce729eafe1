//! VMs without a registration: they need no GitHub to end, and they are asked before they are stopped.

use super::engine::*;
use super::fixture::*;
use crate::*;

/// An engine with a booted VM and a queued job.
fn with_warm_vm() -> Engine {
    let mut engine = Engine::with(config(1), [recorded(9100, &warm())]);
    engine.guests(&[running(9100)]);
    engine.github(queued(1), vec![]);
    engine
}

#[test]
fn i3_a_vm_whose_registration_failed_ends_while_github_refuses_every_list() {
    let mut engine = with_warm_vm();
    engine.github_of(&repository(), Some(queued(1)), None);
    assert_eq!(engine.one().step, Step::Mint { repository: repository() });
    assert_eq!(engine.then(&name(9100), failed(FailureKind::Passing)), [Step::Stop { asks_first: true }]);
    assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::Destroy]);
    engine.end(&name(9100), Ok(Success::Done));
    assert_eq!(engine.state(&name(9100)), State::Gone);
}

/// The same after a restart in the middle, and with the state in which release 0.1 left such VMs.
#[test]
fn i3_an_interrupted_registration_ends_without_github_if_the_guest_never_got_it() {
    let minting = [warm(), vec![Event::MintBegun { repository: repository() }]].concat();
    let stuck = Life { state: State::Retiring, reason: Some(Reason::MintFailed), ..life(&minting) };
    for record in [recorded(9100, &minting), intent(9100, stuck)] {
        let mut engine = Engine::with(config(1), [record]);
        engine.guests(&[running(9100)]);
        engine.github_of(&repository(), None, None);
        assert_eq!(engine.steps(), [Step::Stop { asks_first: true }]);
        assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::Destroy]);
        engine.end(&name(9100), Ok(Success::Done));
        assert_eq!(engine.state(&name(9100)), State::Gone);
    }
}

#[test]
fn i5_a_warm_vm_that_another_process_armed_is_not_stopped() {
    for job in [true, false] {
        let mut engine = with_warm_vm();
        engine.github(vec![], vec![]);
        engine.wait(120);
        assert_eq!(engine.steps(), [Step::Stop { asks_first: true }], "nobody needs it");
        engine.end(&name(9100), Ok(Success::FoundArmed { job }));
        engine.steps();
        assert_eq!(engine.state(&name(9100)), if job { State::Busy } else { State::Idle });
    }
}

/// Silence is not an answer before the limit of an armed VM.
#[test]
fn i5_a_warm_vm_whose_guest_stays_silent_is_stopped_without_an_answer_only_at_its_limit() {
    let mut engine = with_warm_vm();
    engine.take(Input::Draining(true));
    let begin = engine.now;
    let mut questions = 0;
    loop {
        engine.wait(5);
        engine.guests(&[running(9100)]);
        match engine.pass().pop().map(|effect| effect.step) {
            Some(Step::Stop { asks_first: true }) => {
                questions += 1;
                engine.end(&name(9100), failed(FailureKind::Passing));
            }
            Some(Step::Stop { asks_first: false }) => break,
            other => assert_eq!(other, None),
        }
    }
    let pool = &engine.config.pools[0];
    let limit = i64::from(pool.idle_limit_seconds + pool.job_limit_seconds);
    let waited = engine.now - begin;
    assert!((limit..limit + 65).contains(&waited), "{waited} s");
    assert!(questions < limit / 45, "{questions} questions");
}

/// A refusal costs no VM and does not count against the pool.
#[test]
fn i7_a_refused_registration_keeps_the_vm_warm_for_another_repository() {
    let other: ownership::RepositoryName = "acme/other".parse().unwrap();
    let mut engine = with_warm_vm();
    engine.config.pools[0].repositories.push(other.clone());
    assert_eq!(engine.one().step, Step::Mint { repository: repository() });
    let refused = Failure { kind: FailureKind::Refused, message: "rate limit".into(), retry_at: Some(at(1600)) };
    assert!(engine.then(&name(9100), Err(refused)).is_empty());
    assert_eq!(engine.state(&name(9100)), State::Warm);
    assert_eq!(engine.waiting[0].reason, "acme/tools takes no registration: rate limit");
    assert!(engine.fleet.backing_off(&engine.config, at(engine.now)).is_empty());
    let concerns = |engine: &Engine| engine.fleet.hindrances(&engine.config, at(engine.now));
    assert_eq!(concerns(&engine).len(), 2, "the repository and the VM that waits for it");
    engine.github_of(&other, Some(queued(1)), Some(vec![]));
    assert_eq!(engine.one().step, Step::Mint { repository: other });
    engine.end(&name(9100), Ok(Success::Minted { runner_id: 8 }));
    assert_eq!(concerns(&engine).len(), 1, "the first repository still rests");
}

#[test]
fn i7_a_repository_that_fails_does_not_make_its_pool_wait() {
    let other: ownership::RepositoryName = "acme/other".parse().unwrap();
    let mut engine = with_warm_vm();
    engine.config.pools[0].repositories.push(other.clone());
    engine.one();
    engine.end(&name(9100), failed(FailureKind::Lasting));
    engine.steps();
    engine.end(&name(9100), Ok(Success::Done));
    engine.steps();
    engine.end(&name(9100), Ok(Success::Done));
    engine.guests(&[]);
    assert!(engine.pass().is_empty(), "no VM is made for the repository that failed");
    engine.github_of(&other, Some(queued(1)), Some(vec![]));
    assert!(matches!(engine.steps()[..], [Step::Clone { is_first: true }]), "but one is made for the other");
}

/// The repository rests until the time that GitHub named, and then goes on with the same VM.
#[test]
fn i7_a_registration_is_asked_for_again_at_the_time_that_github_named() {
    let mut engine = with_warm_vm();
    engine.one();
    let refused = Failure { kind: FailureKind::Refused, message: "rate limit".into(), retry_at: Some(at(1600)) };
    engine.end(&name(9100), Err(refused));
    engine.now = 1050;
    engine.guests(&[running(9100)]);
    assert!(engine.steps().is_empty());
    engine.now = 1600;
    engine.guests(&[running(9100)]);
    let steps = engine.steps();
    assert!(matches!(steps[..], [Step::Mint { .. } | Step::Stop { .. }]), "{steps:?}");
}
