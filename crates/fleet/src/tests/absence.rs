//! VMs that moved, vanished, or were only not shown.

use super::engine::*;
use super::fixture::*;
use crate::*;

#[test]
fn i5_a_vm_that_moved_to_another_node_lives_on_and_its_record_follows() {
    let mut engine = Engine::with(config(1), [recorded(9100, &busy())]);
    engine.guests(&[running(9100)]);
    engine.github(vec![job(1, JobPhase::Running, Some(&name(9100)))], vec![runner(9100, true, true)]);
    assert!(engine.pass().is_empty());
    let (number, guest) = running(9100);
    engine.wait(15);
    engine.guests(&[(number, GuestSeen { node: "pve2".parse().unwrap(), ..guest.clone() })]);
    assert!(engine.pass().is_empty());
    let record = engine.fleet.record(&name(9100)).unwrap();
    assert_eq!((record.node.as_str(), record.life.state), ("pve2", State::Busy));
    engine.wait(5);
    engine.pass();
    let written = engine.written.last().unwrap();
    assert_eq!(written.records[&name(9100)].node.as_str(), "pve2", "written within five seconds");
    engine.wait(15);
    engine.guests(&[(number, GuestSeen { node: "pve2".parse().unwrap(), power: Power::Off, ..guest })]);
    assert_eq!(engine.steps(), [Step::Destroy]);
}

/// Only the guest of this record counts.
#[test]
fn a_record_does_not_follow_another_incarnation_of_its_vmid() {
    let mut engine = Engine::with(config(1), [recorded(9100, &busy())]);
    let claim = Claim::Ours { name: "lab-ubuntu-9100-bbbbbb".parse().unwrap(), pool: "ubuntu".parse().unwrap() };
    engine.guests(&[(9100, GuestSeen { node: "pve2".parse().unwrap(), claim, ..running(9100).1 })]);
    engine.pass();
    assert_eq!(engine.fleet.record(&name(9100)).unwrap().node, node());
    assert_eq!(engine.states().len(), 1, "a VMID has one live record");
}

/// Proxmox VE is wrong twice within milliseconds.
#[test]
fn i5_two_wrong_answers_in_a_row_do_not_end_a_vm_that_may_run_a_job() {
    let mut engine = Engine::with(config(1), [recorded(9100, &busy())]);
    engine.github(vec![job(1, JobPhase::Running, Some(&name(9100)))], vec![runner(9100, true, true)]);
    for _ in 0..3 {
        engine.absent(&[9100]);
        assert!(engine.pass().is_empty());
        engine.wait(1);
    }
    let missing = engine.fleet.record(&name(9100)).unwrap();
    assert_eq!((missing.life.state, missing.life.missing_at), (State::Busy, Some(at(1000))));
    engine.guests(&[running(9100)]);
    engine.pass();
    assert_eq!(engine.fleet.record(&name(9100)).unwrap().life.missing_at, None, "it is there");
    engine.wait(100);
    engine.absent(&[9100]);
    assert!(engine.pass().is_empty(), "the count starts again");
    assert_eq!(engine.state(&name(9100)), State::Busy);
}

/// A VM that the cluster does not know for long is gone.
#[test]
fn i3_a_vm_that_stays_unknown_to_the_cluster_is_gone() {
    let mut engine = Engine::with(config(1), [recorded(9100, &busy())]);
    engine.absent(&[9100]);
    assert!(engine.pass().is_empty());
    engine.wait(NEGATIVES_APART.as_secs() - 1);
    engine.absent(&[9100]);
    assert!(engine.pass().is_empty());
    engine.wait(1);
    engine.absent(&[9100]);
    assert_eq!(engine.steps(), [Step::Destroy]);
    engine.end(&name(9100), failed(FailureKind::Gone));
    assert_eq!(engine.state(&name(9100)), State::Gone);
}

/// Even a VM that was taken to be gone lives on when its destruction finds it running.
#[test]
fn i5_a_vm_that_was_taken_to_be_gone_and_runs_goes_on() {
    let mut engine = Engine::with(config(1), [recorded(9100, &busy())]);
    engine.absent(&[9100]);
    engine.pass();
    engine.wait(80);
    engine.absent(&[9100]);
    assert_eq!(engine.steps(), [Step::Destroy]);
    assert!(engine.then(&name(9100), failed(FailureKind::StillRunning)).is_empty());
    assert_eq!(engine.state(&name(9100)), State::Busy);
}

/// One answer of a question about one VM is a single look as well.
#[test]
fn i5_a_question_that_finds_no_vm_is_one_look() {
    let mut engine = Engine::with(config(1), [recorded(9100, &busy())]);
    engine.guests(&[running(9100)]);
    engine.github(vec![job(1, JobPhase::Completed, Some(&name(9100)))], vec![]);
    assert_eq!(engine.steps(), [Step::Watch]);
    let mut questions = 1;
    for _ in 0..60 {
        if engine.fleet.under_way().count() > 0 {
            engine.end(&name(9100), failed(FailureKind::Gone));
        }
        questions += engine.steps().len();
        engine.wait(1);
    }
    assert_eq!(engine.state(&name(9100)), State::Busy);
    assert!(questions < 12, "{questions} questions in a minute");
}

#[test]
fn i3_a_vm_of_a_renamed_pool_is_ended_and_its_registration_removed() {
    let mut engine = Engine::with(config(1), [recorded(9100, &busy())]);
    let pool = &mut engine.config.pools[0];
    pool.name = "renamed".parse().unwrap();
    pool.vmid_range = "9200-9203".parse().unwrap();
    pool.repositories = vec!["acme/other".parse().unwrap()];
    let watched = engine.fleet.repositories_to_watch(&engine.config);
    assert_eq!(watched, ["acme/other".parse().unwrap(), repository()].into());
    engine.guests(&[guest(9100, Power::Off)]);
    engine.github(vec![], vec![runner(9100, false, false)]);
    assert_eq!(engine.steps(), [Step::Destroy]);
    engine.end(&name(9100), Ok(Success::Done));
    for _ in 0..4 {
        engine.wait(10);
        engine.guests(&[]);
        engine.github(vec![], vec![runner(9100, false, false)]);
        if let Some(effect) = engine.pass().pop() {
            assert_eq!(effect.step, Step::RemoveRegistration { repository: repository(), runner_id: Some(7) });
            engine.end(&name(9100), Ok(Success::Done));
            break;
        }
    }
    assert!(!engine.fleet.record(&name(9100)).unwrap().life.may_be_registered());
    assert_eq!(engine.fleet.repositories_to_watch(&engine.config), ["acme/other".parse().unwrap()].into());
}

/// The record of an ended VM stays until GitHub has no registration of it.
#[test]
fn i3_a_record_is_kept_until_github_was_listed_without_its_registration() {
    let ended = [busy(), vec![Event::PoweredOff, Event::Destroyed]].concat();
    let mut engine = Engine::with(config(1), [recorded(9100, &ended)]);
    engine.config.pools.clear();
    engine.now += 2 * 3600;
    engine.pass();
    assert!(engine.fleet.record(&name(9100)).is_some(), "GitHub was never listed");
    engine.github(vec![], vec![]);
    engine.pass();
    engine.pass();
    assert!(engine.fleet.record(&name(9100)).is_none());
}

/// The request for a clone may still be on its way when nobody waits for it any more, for example after a crash.
#[test]
fn i2_a_clone_that_was_given_up_keeps_its_slot_while_it_may_appear() {
    let mut engine = Engine::with(config(1), [recorded(9100, &warm()[..1])]);
    engine.guests(&[]);
    engine.github(queued(1), vec![]);
    assert_eq!(engine.steps(), [Step::Clone { is_first: false }]);
    engine.wait(300);
    engine.guests(&[]);
    let stop = engine.then(&name(9100), failed(FailureKind::Passing));
    assert_eq!(stop, [Step::Stop { asks_first: true }], "its boot limit is over");
    assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::Destroy]);
    assert!(engine.then(&name(9100), Ok(Success::Done)).is_empty(), "no other VM is made");
    engine.wait(119);
    engine.guests(&[]);
    assert!(engine.steps().is_empty());
    engine.wait(1);
    engine.guests(&[]);
    assert_eq!(engine.steps(), [Step::Destroy], "it may have appeared");
    assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::Clone { is_first: true }]);
    assert_eq!(engine.state(&name(9100)), State::Gone);
}

/// Two requests for the same clone were sent. The VM that the second one made is gone before the first one arrives.
#[test]
fn i2_a_clone_that_was_asked_for_twice_keeps_its_slot_while_it_may_appear_again() {
    let mut engine = Engine::with(config(1), [recorded(9100, &warm()[..1])]);
    engine.guests(&[]);
    engine.github(queued(1), vec![]);
    assert_eq!(engine.steps(), [Step::Clone { is_first: false }]);
    assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::Configure]);
    assert_eq!(engine.then(&name(9100), failed(FailureKind::Gone)), [Step::Destroy]);
    assert!(engine.then(&name(9100), failed(FailureKind::Gone)).is_empty());
    engine.wait(120);
    engine.guests(&[]);
    assert_eq!(engine.steps(), [Step::Destroy]);
    assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::Clone { is_first: true }]);
}

#[test]
fn a_clone_that_was_refused_frees_its_slot_at_once() {
    let mut engine = Engine::new(config(1));
    engine.guests(&[]);
    engine.github(queued(1), vec![]);
    let vm = engine.one().name;
    assert_eq!(engine.then(&vm, failed(FailureKind::Lasting)), [Step::Stop { asks_first: false }]);
    assert_eq!(engine.then(&vm, Ok(Success::Done)), [Step::Destroy]);
    engine.end(&vm, Ok(Success::Done));
    engine.wait(5);
    assert_eq!(engine.steps(), [Step::Clone { is_first: true }]);
}
