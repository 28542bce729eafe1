//! Guests and VMIDs without a record: each is asked about as often as something can follow from the answer.

use std::collections::BTreeSet;

use super::engine::*;
use super::fixture::*;
use crate::*;

/// Returns an engine whose ledger had no history.
fn without_history(max: u32) -> Engine {
    let mut engine = Engine::new(config(max));
    engine.fleet = Fleet::default().without_history();
    engine
}

fn asked(engine: &Engine) -> Vec<u32> {
    engine.fleet.guest_questions(&engine.config, at(engine.now)).vmids.into_iter().map(|vmid| vmid.get()).collect()
}

/// Gives the fleet a list with these guests, and with the answers about the VMIDs that it asks about.
fn answered(engine: &mut Engine, guests: &[(u32, GuestSeen)], occupied: &[u32], clones_run: bool) {
    let (occupied, free): (BTreeSet<_>, BTreeSet<_>) =
        asked(engine).into_iter().map(vmid).partition(|vmid| occupied.contains(&vmid.get()));
    let listed = observed(engine.now, guests, vec![], vec![]).guests.unwrap();
    let unshown = Unshown { free, occupied, is_complete: true, clones_run };
    engine.take(Input::Guests(Guests { unshown, ..listed }));
}

#[test]
fn a_fleet_with_a_history_asks_about_no_vmid() {
    let mut engine = Engine::new(config(1));
    assert!(asked(&engine).is_empty());
    engine.guests(&[]);
    assert!(asked(&engine).is_empty());
}

#[test]
fn a_fleet_without_a_history_asks_about_each_vmid_until_all_questions_are_answered() {
    let mut engine = without_history(1);
    assert_eq!(asked(&engine), [9100, 9101, 9102, 9103]);
    let listed = observed(engine.now, &[], vec![], vec![]).guests.unwrap();
    let unshown = Unshown { occupied: [vmid(9102)].into(), ..Unshown::default() };
    engine.take(Input::Guests(Guests { unshown, ..listed }));
    assert_eq!(asked(&engine).len(), 4, "a question failed");
    answered(&mut engine, &[], &[], false);
    assert!(asked(&engine).is_empty());
    engine.take(Input::Configured(Box::new(config(1))));
    assert_eq!(asked(&engine).len(), 4, "the ranges may be others");
}

#[test]
fn i2_a_hidden_vmid_keeps_its_slot_while_it_may_be_a_clone_of_ours() {
    let mut engine = without_history(1);
    answered(&mut engine, &[], &[9101], true);
    engine.github(queued(1), vec![]);
    for second in [0, 60, 59] {
        engine.wait(second);
        answered(&mut engine, &[], &[9101], true);
        assert!(engine.pass().is_empty(), "{} s", engine.now - 1000);
    }
    engine.wait(1);
    answered(&mut engine, &[], &[9101], true);
    assert_eq!(engine.one().name.vmid(), vmid(9100), "a clone does not take that long");
}

#[test]
fn a_hidden_vmid_is_never_used_and_takes_no_slot_while_no_clone_runs() {
    let mut engine = without_history(4);
    answered(&mut engine, &[], &[9101, 9102], false);
    engine.github(queued(4), vec![]);
    let used: Vec<u32> = engine.pass().iter().map(|effect| effect.name.vmid().get()).collect();
    assert_eq!(used, [9100, 9103]);
}

#[test]
fn i11_a_hidden_vmid_is_asked_about_ever_more_rarely() {
    let mut engine = without_history(1);
    answered(&mut engine, &[], &[9101], false);
    let mut questions = Vec::new();
    for second in 0..7_200 {
        engine.now = 1001 + second;
        if !asked(&engine).is_empty() {
            questions.push(engine.now);
            answered(&mut engine, &[], &[9101], false);
        }
    }
    let gaps: Vec<i64> = questions.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.is_sorted() && gaps.last() == Some(&300), "{gaps:?}");
    assert!(questions.len() < 45, "{} questions in two hours", questions.len());
    answered(&mut engine, &[], &[], false);
    engine.wait(300);
    answered(&mut engine, &[], &[], false);
    engine.wait(3600);
    assert!(asked(&engine).is_empty(), "the VMID is free");
}

#[test]
fn a_hidden_vmid_that_gets_a_visible_guest_is_no_longer_asked_about() {
    let mut engine = without_history(1);
    answered(&mut engine, &[], &[9101], true);
    engine.wait(3);
    answered(&mut engine, &[running(9101)], &[9101], false);
    engine.wait(600);
    assert!(asked(&engine).is_empty());
    engine.pass();
    assert!(engine.fleet.record(&name(9101)).is_some(), "it was a clone of ours");
}

#[test]
fn a_foreign_guest_is_believed_to_be_foreign_for_five_minutes_or_until_its_name_changes() {
    let mut engine = Engine::new(config(1));
    let foreign = |name: &str| (9101, GuestSeen { claim: Claim::Foreign, name: Some(name.into()), ..running(9101).1 });
    let believed = |engine: &Engine| engine.fleet.guest_questions(&engine.config, at(engine.now)).foreign;
    engine.guests(&[foreign("database")]);
    let first = believed(&engine);
    assert_eq!(first, [(vmid(9101), Some("database".to_owned()))].into());
    engine.wait(299);
    engine.guests(&[foreign("database")]);
    assert_eq!(believed(&engine), first);
    engine.wait(1);
    assert!(believed(&engine).is_empty(), "its configuration was read five minutes ago");
    engine.guests(&[foreign("database")]);
    engine.wait(200);
    engine.guests(&[foreign("mail")]);
    engine.wait(200);
    assert_eq!(believed(&engine), [(vmid(9101), Some("mail".to_owned()))].into());
    engine.guests(&[]);
    assert!(believed(&engine).is_empty());
}
