//! A ledger that refuses commits: nothing that must be written down first starts, nothing is lost, and the rate is bounded.

use super::engine::*;
use super::fixture::*;
use crate::*;

#[test]
fn i11_a_full_disk_stops_what_must_be_written_down_and_asks_the_ledger_rarely() {
    let mut engine = Engine::new(config(4));
    engine.ledger_writes = false;
    engine.github(queued(4), vec![]);
    for _ in 0..600 {
        engine.guests(&[]);
        for _ in 0..100 {
            assert!(engine.pass().is_empty());
        }
        engine.wait(1);
    }
    assert!((5..20).contains(&engine.commits), "{} commits in ten minutes of 60,000 passes", engine.commits);
    engine.ledger_writes = true;
    engine.wait(60);
    engine.guests(&[]);
    let started = [engine.steps(), engine.steps()].concat();
    assert_eq!(started, [const { Step::Clone { is_first: true } }; 2], "the width of the lane");
    let written: std::collections::BTreeSet<_> =
        engine.written.iter().flat_map(|changes| changes.records.keys().cloned()).collect();
    let records: std::collections::BTreeSet<_> = engine.fleet.records().map(|intent| intent.name.clone()).collect();
    assert_eq!((written.len(), &written), (4, &records));
}

/// A VM that ends while the disk is full.
#[test]
fn i11_an_end_that_cannot_be_written_is_destroyed_after_the_ledger_recovers() {
    let mut engine = Engine::with(config(1), [recorded(9100, &busy())]);
    engine.ledger_writes = false;
    for _ in 0..300 {
        engine.guests(&[guest(9100, Power::Off)]);
        assert!(engine.pass().is_empty());
        engine.wait(1);
    }
    assert!(engine.commits < 12, "{} commits in five minutes", engine.commits);
    engine.ledger_writes = true;
    engine.wait(60);
    assert_eq!(engine.steps(), [Step::Destroy]);
    assert_eq!(engine.audited()["Event(PoweredOff)"], 1, "nothing is lost, nothing is doubled");
}

/// A step that needs no ledger goes on.
#[test]
fn i7_steps_that_need_no_ledger_go_on() {
    let mut engine = Engine::with(config(1), [recorded(9100, &[Event::CloneBegun])]);
    engine.guests(&[]);
    engine.github(queued(1), vec![]);
    assert_eq!(engine.steps(), [Step::Clone { is_first: false }]);
    engine.ledger_writes = false;
    assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::Configure]);
    assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::Start]);
    assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::AwaitAgent]);
    assert!(engine.then(&name(9100), Ok(Success::Done)).is_empty(), "the registration waits for the ledger");
    assert_eq!(engine.state(&name(9100)), State::Warm);
}

#[test]
fn a_registration_that_waited_for_a_failed_commit_leaves_the_vm_warm() {
    let mut engine = Engine::with(config(1), [recorded(9100, &warm())]);
    engine.guests(&[running(9100)]);
    engine.github(queued(1), vec![]);
    engine.ledger_writes = false;
    assert!(engine.steps().is_empty());
    let record = engine.fleet.record(&name(9100)).unwrap();
    assert_eq!((record.life.state, &record.life.repository), (State::Warm, &None));
    engine.ledger_writes = true;
    engine.wait(2);
    assert_eq!(engine.steps(), [Step::Mint { repository: repository() }]);
}

#[test]
fn a_clone_that_waited_for_a_failed_commit_was_never_asked_for() {
    let mut engine = Engine::new(config(1));
    engine.guests(&[]);
    engine.github(queued(1), vec![]);
    engine.ledger_writes = false;
    assert!(engine.steps().is_empty());
    assert_eq!(engine.states(), [State::Reserved]);
    engine.ledger_writes = true;
    engine.wait(2);
    assert_eq!(engine.steps(), [Step::Clone { is_first: true }]);
}

/// The registration is in memory while its record waits for the disk.
#[test]
fn i1_a_registration_that_waits_for_the_ledger_is_not_written_into_the_guest_before() {
    let mut engine = Engine::with(config(1), [recorded(9100, &warm())]);
    engine.guests(&[running(9100)]);
    engine.github(queued(1), vec![]);
    assert_eq!(engine.steps(), [Step::Mint { repository: repository() }]);
    engine.ledger_writes = false;
    assert!(engine.then(&name(9100), Ok(Success::Minted { runner_id: 7 })).is_empty());
    assert_eq!(engine.state(&name(9100)), State::Arming);
    engine.ledger_writes = true;
    engine.wait(2);
    assert_eq!(engine.steps(), [Step::Arm], "it is still held");
}

#[test]
fn changes_that_no_effect_waits_for_are_written_within_five_seconds() {
    let mut engine = Engine::with(config(1), [recorded(9100, &idle())]);
    engine.guests(&[running(9100)]);
    engine.github(vec![job(1, JobPhase::Running, Some(&name(9100)))], vec![runner(9100, true, true)]);
    assert!(engine.pass().is_empty());
    assert_eq!((engine.state(&name(9100)), engine.commits), (State::Busy, 0));
    engine.wait(4);
    engine.pass();
    assert_eq!(engine.commits, 0);
    engine.wait(1);
    engine.pass();
    assert_eq!(engine.commits, 1);
}

#[test]
fn i8_a_lent_vm_that_was_seen_running_is_written_at_once_and_destroyed_once_it_is_off() {
    let lent = |power| {
        let claim = Claim::Lent { pool: "ubuntu".parse().unwrap(), name: name(9100) };
        (9100, GuestSeen { claim, ..guest(9100, power).1 })
    };
    let mut engine = Engine::new(config(1));
    engine.guests(&[lent(Power::Off)]);
    assert!(engine.pass().is_empty(), "it has not run yet");
    engine.guests(&[lent(Power::Running)]);
    engine.pass();
    assert_eq!(engine.written.last().unwrap().lent, [(name(9100), true)].into(), "a restart does not forget it");
    engine.guests(&[lent(Power::Off)]);
    assert!(matches!(engine.one().step, Step::DestroyLent { .. }));
}

/// Returns, for each commit since the last call, true if it must survive a power loss.
fn synchronised(engine: &mut Engine) -> Vec<bool> {
    std::mem::take(&mut engine.written).iter().map(Changes::must_survive_power_loss).collect()
}

/// Reservation with clone, registration, delivery and end are on disk first. The rest is written for a restart of the process.
#[test]
fn a_life_needs_four_commits_that_survive_a_power_loss() {
    let mut engine = Engine::new(config(1));
    engine.guests(&[]);
    engine.github(queued(1), vec![]);
    let name = engine.one().name;
    assert_eq!(synchronised(&mut engine), [true], "clone");
    for step in [Step::Configure, Step::Start, Step::AwaitAgent] {
        engine.wait(5);
        assert_eq!(engine.then(&name, Ok(Success::Done)), [step]);
    }
    assert_eq!(synchronised(&mut engine), [false], "after five seconds");
    assert_eq!(engine.then(&name, Ok(Success::Done)), [Step::Mint { repository: repository() }]);
    assert_eq!(synchronised(&mut engine), [true]);
    assert_eq!(engine.then(&name, Ok(Success::Minted { runner_id: 7 })), [Step::Arm]);
    assert_eq!(synchronised(&mut engine), [true]);
    assert!(engine.then(&name, Ok(Success::Done)).is_empty());
    let vmid = name.vmid().get();
    let runs = |engine: &mut Engine, power| {
        let claim = Claim::Ours { name: name.clone(), pool: "ubuntu".parse().unwrap() };
        engine.guests(&[(vmid, GuestSeen { claim, ..guest(vmid, power).1 })]);
    };
    runs(&mut engine, Power::Running);
    engine.github(
        vec![job(1, JobPhase::Running, Some(&name))],
        vec![RunnerSeen { name: name.clone(), ..runner(vmid, true, true) }],
    );
    engine.wait(5);
    engine.pass();
    engine.wait(5);
    runs(&mut engine, Power::Off);
    assert_eq!(engine.steps(), [Step::Destroy]);
    let written = synchronised(&mut engine);
    assert!(!written.is_empty() && !written.contains(&true), "written before the VM is destroyed: {written:?}");
    engine.end(&name, Ok(Success::Done));
    engine.pass();
    assert_eq!((engine.state(&name), synchronised(&mut engine)), (State::Gone, vec![true]));
}

/// Its delivery may have to wait for its turn, and notes nothing when it starts.
#[test]
fn i1_a_registration_that_waits_for_a_turn_is_on_disk_before_its_delivery() {
    let mut config = config(5);
    config.pools[0].vmid_range = "9100-9199".parse().unwrap();
    let mut engine = Engine::with(config, (9100..9105).map(|number| recorded(number, &warm())));
    engine.guests(&(9100..9105).map(running).collect::<Vec<_>>());
    engine.github(queued(5), vec![]);
    assert_eq!(engine.steps().len(), 4, "the width of the lane");
    for number in 9100..9104 {
        engine.end(&name(number), Ok(Success::Minted { runner_id: u64::from(number) }));
    }
    assert_eq!(engine.steps().len(), 5, "four deliveries and the last registration");
    engine.written.clear();
    assert!(engine.then(&name(9104), Ok(Success::Minted { runner_id: 9104 })).is_empty());
    engine.wait(5);
    assert!(engine.pass().is_empty());
    assert_eq!(synchronised(&mut engine), [true]);
}
