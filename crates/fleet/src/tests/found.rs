//! Defects that the exploration found, each as a short test.

use super::fixture::*;
use crate::*;

fn pass(fleet: &mut Fleet, second: i64) -> Pass {
    fleet.pass(&config(1), &mut nonces(0), at(second))
}

fn removals(pass: &Pass) -> usize {
    pass.start.iter().filter(|effect| matches!(effect.step, Step::RemoveRegistration { .. })).count()
}

/// I11: until GitHub is listed again, the list shows a registration that was removed.
#[test]
fn i11_a_removed_registration_rests_until_the_list_is_newer() {
    let mut events = idle();
    events.extend([Event::JobSeen { job: Some(1) }, Event::PoweredOff, Event::Destroyed]);
    let vm = intent(9100, life(&events));
    let runner = RunnerSeen { id: 7, name: name(9100), online: false, busy: false };
    let facts = observed(10, &[], Vec::new(), vec![runner]);
    let mut fleet = Situation::new(&facts, &[vm], 1).fleet();
    assert_eq!(removals(&pass(&mut fleet, 100)), 1);
    fleet.take(Input::Ended(name(9100), Ok(Success::Done)), at(100));
    assert_eq!(removals(&pass(&mut fleet, 100)), 0);
    fleet.take(Input::Guests(observed(101, &[], Vec::new(), Vec::new()).guests.unwrap()), at(101));
    assert_eq!(removals(&pass(&mut fleet, 101)), 0);
}

/// I3: a pass between the hand-over of changes and the answer of the disk must not forget which effects wait for it.
#[test]
fn i3_an_effect_that_waits_for_a_refused_commit_is_taken_again() {
    let facts = observed(0, &[], vec![job(1, JobPhase::Queued, None)], Vec::new());
    let mut fleet = Situation::new(&facts, &[], 1).fleet();
    assert_eq!(pass(&mut fleet, 1).start_after_commit.len(), 1);
    pass(&mut fleet, 1);
    fleet.take(Input::NotCommitted, at(1));
    assert_eq!(fleet.under_way().count(), 0);
}

/// I11: a list without the VM and a list with it follow one another, and the guest is not asked more often for that.
#[test]
fn i11_lists_that_disagree_do_not_shorten_a_rest() {
    let events = [Event::CloneBegun, Event::Cloned, Event::Configured, Event::Started];
    let vm = intent(9100, life(&events));
    let there = observed(10, &[guest(9100, Power::Running)], Vec::new(), Vec::new());
    let mut fleet = Situation::new(&there, &[vm], 1).fleet();
    let asks = |pass: &Pass| pass.start.iter().any(|effect| effect.step == Step::AwaitAgent);
    assert!(asks(&pass(&mut fleet, 10)));
    let failure = Failure { kind: FailureKind::Passing, message: "no answer".into(), retry_at: None };
    fleet.take(Input::Ended(name(9100), Err(failure)), at(11));
    let mut gone = observed(12, &[], Vec::new(), Vec::new()).guests.unwrap();
    gone.absent.insert(vmid(9100));
    fleet.take(Input::Guests(gone), at(12));
    assert!(!asks(&pass(&mut fleet, 12)));
    fleet.take(
        Input::Guests(observed(13, &[guest(9100, Power::Running)], Vec::new(), Vec::new()).guests.unwrap()),
        at(13),
    );
    assert!(!asks(&pass(&mut fleet, 13)));
    assert!(asks(&pass(&mut fleet, 17)));
}
