//! A second dispatcher of the same installation, and a ledger that went back in time.

use ownership::{Run, RunnerName};

use super::engine::*;
use super::fixture::*;
use crate::*;

fn run(counter: u64, id: u32) -> Run {
    Run { counter, id: id.into() }
}

/// Returns an engine whose ledger knows starts 1 to 5 and is at start 6.
fn engine(records: Vec<Intent>) -> Engine {
    let mut engine = Engine::with(config(4), records);
    let earlier = (1..6).map(|counter| run(counter, 0xa)).collect();
    engine.fleet = engine.fleet.with_runs(Runs { own: run(6, 0xa), earlier });
    engine
}

fn made_by(run: Run, (number, guest): (u32, GuestSeen)) -> (u32, GuestSeen) {
    (number, GuestSeen { run: Some(run), ..guest })
}

/// Returns a running VM that this dispatcher has no record of.
fn other_vm(number: u32, made: Run) -> (u32, GuestSeen) {
    let claim = Claim::Ours { name: other_name(number), pool: "ubuntu".parse().unwrap() };
    made_by(made, (number, GuestSeen { claim, ..running(number).1 }))
}

fn other_name(number: u32) -> RunnerName {
    format!("lab-ubuntu-{number}-bbbbbb").parse().unwrap()
}

fn rivals(engine: &Engine) -> Vec<Hindrance> {
    let hindrances = engine.fleet.hindrances(&engine.config, at(engine.now));
    hindrances.into_iter().filter(|hindrance| hindrance.concern == Concern::Rival).collect()
}

#[test]
fn i5_a_ledger_that_went_back_in_time_is_not_believed() {
    for unknown in [run(7, 0xa), run(5, 0xb), run(6, 0xb)] {
        let mut engine = engine(vec![recorded(9100, &warm()), recorded(9101, &warm()[..1])]);
        engine.guests(&[running(9100), other_vm(9102, unknown)]);
        assert_eq!(engine.state(&name(9100)), State::Idle, "it may have been armed: {unknown}");
        assert_eq!(engine.state(&name(9101)), State::Cloning, "there is no guest yet");
        engine.pass();
        let asked: Vec<_> = engine.fleet.under_way().filter(|effect| effect.step == Step::Examine).collect();
        assert_eq!(asked.len(), 2, "the guests are asked: {asked:?}");
        assert!(rivals(&engine).is_empty(), "a run of the past is not a second dispatcher");
    }
}

#[test]
fn i8_the_runs_of_the_past_prove_nothing() {
    for known in [Some(run(1, 0xa)), Some(run(5, 0xa)), Some(run(6, 0xa)), None] {
        let mut engine = engine(vec![recorded(9100, &warm())]);
        let (number, guest) = running(9100);
        engine.guests(&[(number, GuestSeen { run: known, ..guest })]);
        assert_eq!(engine.state(&name(9100)), State::Warm, "{known:?}");
    }
    let mut engine = Engine::with(config(1), [recorded(9100, &warm())]);
    let runs = Runs { own: run(60, 0xa), earlier: (40..60).map(|counter| run(counter, 0xa)).collect() };
    engine.fleet = engine.fleet.with_runs(runs);
    engine.guests(&[made_by(run(12, 0xc), running(9100))]);
    assert_eq!(engine.state(&name(9100)), State::Warm, "the ledger forgot so old a run");
}

#[test]
fn i5_of_two_dispatchers_the_later_one_stands_back_and_reaps_its_own() {
    let own = recorded(9100, &[busy(), vec![Event::PoweredOff]].concat());
    let mut engine = engine(vec![own, fresh(9101, &warm())]);
    let own_guests = [guest(9100, Power::Off), running(9101)];
    engine.guests(&own_guests);
    assert_eq!(engine.steps(), [Step::Destroy]);
    engine.end(&name(9100), Ok(Success::Done));
    engine.wait(15);
    engine.guests(&[own_guests.to_vec(), vec![other_vm(9102, run(3, 0xf))]].concat());
    engine.github(queued(4), vec![]);
    assert!(engine.pass().is_empty(), "no VM is made, registered or taken over");
    assert!(engine.fleet.record(&other_name(9102)).is_none());
    assert!(engine.waiting.iter().any(|job| job.reason.contains("another dispatcher")), "{:?}", engine.waiting);
    let hindrance = rivals(&engine).remove(0);
    assert!(hindrance.message.contains("run 3-0000000f") && hindrance.message.contains("makes and registers no VMs"));
    assert_eq!(hindrance.since, at(1015));
    engine.wait(599);
    engine.guests(&[running(9101)]);
    assert!(!engine.pass().iter().any(|effect| matches!(effect.step, Step::Clone { .. } | Step::Mint { .. })));
    engine.wait(1);
    engine.guests(&[]);
    engine.github(queued(4), vec![]);
    let steps = engine.steps();
    assert!(
        steps.contains(&Step::Clone { is_first: true }),
        "nothing of the other appeared for ten minutes: {steps:?}"
    );
    assert!(rivals(&engine).is_empty());
}

#[test]
fn i1_the_dispatcher_that_goes_first_leaves_the_vms_of_the_other_alone() {
    let mut engine = engine(vec![]);
    engine.guests(&[]);
    engine.pass();
    engine.wait(15);
    engine.github(queued(1), vec![]);
    engine.guests(&[other_vm(9102, run(9, 0xf))]);
    let effects = engine.pass();
    assert!(matches!(effects[..], [Effect { step: Step::Clone { is_first: true }, .. }]), "{effects:?}");
    assert!(engine.fleet.record(&other_name(9102)).is_none());
    assert!(rivals(&engine)[0].message.contains("leaves the VMs of the other alone"));
    engine.wait(600);
    engine.guests(&[other_vm(9102, run(9, 0xf))]);
    engine.pass();
    assert!(engine.fleet.record(&other_name(9102)).is_some(), "the other one has ended, so its VM is taken over");
}

/// A clone that was under way at a crash appears after the start, with an earlier run.
#[test]
fn i8_a_vm_of_a_record_that_appears_late_is_not_a_second_dispatcher() {
    let mut engine = engine(vec![recorded(9100, &warm()[..1])]);
    engine.guests(&[]);
    engine.pass();
    engine.wait(15);
    engine.guests(&[made_by(run(5, 0xa), running(9100))]);
    engine.pass();
    assert!(rivals(&engine).is_empty());
}

/// A record from before the boot, of a VM that another process booted and armed later.
#[test]
fn i5_a_vm_that_never_answered_by_an_older_ledger_is_asked_before_it_is_stopped() {
    /// Number of events after which it boots.
    const BOOTING: usize = 3;
    for steps in 1..=BOOTING {
        let record = Intent { created_at: at(0), ..recorded(9100, &warm()[..steps]) };
        let mut engine = engine(vec![record]);
        engine.guests(&[made_by(run(5, 0xa), running(9100))]);
        let mut after_limit = engine.steps();
        if steps == BOOTING {
            assert_eq!(after_limit, [Step::KeepDiagnostics]);
            after_limit = engine.then(&name(9100), Ok(Success::NothingToKeep));
        }
        assert_eq!(after_limit, [Step::Stop { asks_first: true }], "its boot limit is over");
        engine.end(&name(9100), Ok(Success::FoundArmed { job: true }));
        engine.pass();
        assert_eq!(engine.state(&name(9100)), State::Busy);
    }
}

#[test]
fn i7_a_vm_that_does_not_boot_is_stopped_soon_after_a_restart_and_at_once_without_one() {
    let mut engine = engine(vec![Intent { created_at: at(0), ..fresh(9100, &warm()[..3]) }]);
    let begin = engine.now;
    loop {
        engine.guests(&[made_by(run(5, 0xa), running(9100))]);
        match engine.pass().pop().map(|effect| effect.step) {
            Some(Step::KeepDiagnostics) => engine.end(&name(9100), Ok(Success::NothingToKeep)),
            Some(Step::Stop { asks_first: true }) => engine.end(&name(9100), failed(FailureKind::Passing)),
            Some(Step::Stop { asks_first: false }) => break,
            other => assert_eq!(other, None),
        }
        engine.wait(5);
    }
    assert!((75..100).contains(&(engine.now - begin)), "{} s", engine.now - begin);

    let mut engine = Engine::new(config(1));
    engine.guests(&[]);
    engine.github(queued(1), vec![]);
    let vm = engine.one().name;
    engine.then(&vm, Ok(Success::Done));
    assert_eq!(engine.then(&vm, failed(FailureKind::Lasting)), [Step::Stop { asks_first: false }]);
}
