//! I11: each outcome of each step leads to an event or to a rest, so no constant answer makes a step repeat without a pause.

use std::collections::BTreeSet;

use super::engine::*;
use super::fixture::*;
use crate::*;

fn every_outcome() -> Vec<Outcome> {
    let kinds = [
        FailureKind::Gone,
        FailureKind::VmidTaken,
        FailureKind::StillRunning,
        FailureKind::HalfMade,
        FailureKind::Refused,
        FailureKind::Passing,
        FailureKind::Lasting,
        FailureKind::Lost,
        FailureKind::BrokenOff,
    ];
    let signs = [Sign::Unarmed, Sign::Waiting, Sign::Job];
    let mut outcomes: Vec<Outcome> = kinds.into_iter().map(failed).collect();
    outcomes.extend([
        Ok(Success::Done),
        Ok(Success::Minted { runner_id: 7 }),
        Ok(Success::RefusedBusy),
        Ok(Success::Watched { is_off: true }),
        Ok(Success::Watched { is_off: false }),
        Ok(Success::Kept { file: "kept/vm.log".to_owned() }),
        Ok(Success::NothingToKeep),
        Ok(Success::FoundArmed { job: true }),
        Ok(Success::FoundArmed { job: false }),
    ]);
    for sign in signs {
        outcomes.push(Ok(Success::Probed { sign }));
        outcomes.push(Ok(Success::Examined { sign, registration: None }));
        outcomes.push(Ok(Success::Examined { sign, registration: Some((repository(), 7)) }));
    }
    outcomes
}

/// Returns a life in each state, and in each situation of a state that has a step of its own.
fn every_life() -> Vec<Life> {
    let minting = [warm(), vec![Event::MintBegun { repository: repository() }]].concat();
    let arming = [minting.clone(), vec![Event::Minted { runner_id: 7 }]].concat();
    let retiring = [idle(), vec![Event::Retire(Reason::Surplus)]].concat();
    let once = [fenced(), vec![Event::NoJobFound { source: Source::Github }]].concat();
    let over = [busy(), vec![Event::JobOver]].concat();
    let ending = [warm(), vec![Event::Failed(Reason::Surplus)]].concat();
    let off = [busy(), vec![Event::PoweredOff]].concat();
    let gone = [off.clone(), vec![Event::Destroyed]].concat();
    let mut lives: Vec<Life> = (0..=4).map(|length| life(&warm()[..length])).collect();
    let others = [minting, arming, idle(), busy(), over, retiring, fenced(), once, ending, off, gone];
    lives.extend(others.iter().map(|events| life(events)));
    lives.extend([Life::adopted(true, at(990)), Life::adopted(false, at(990))]);
    lives.push(Life { started_at: Some(at(990)), ..life(&warm()[..3]) });
    let failed =
        [[&warm()[..3], &[Event::Failed(Reason::BootDeadline)]].concat(), [idle(), vec![Event::NeverOnline]].concat()];
    lives.extend(failed.iter().map(|events| Life { since: at(990), ..life(events) }));
    lives
}

/// Starts an engine in which this life has each of its steps due.
fn engine(life: &Life, holds_registration: bool) -> Engine {
    let mut engine =
        Engine::with(config(1), [Intent { holds_registration, life: life.clone(), ..recorded(9100, &[]) }]);
    engine.guests(&[running(9100)]);
    let over = life.job_over_at.map(|_| job(1, JobPhase::Completed, Some(&name(9100))));
    let jobs = queued(1).into_iter().chain(over).collect();
    let is_gone = life.state == State::Gone;
    let runners = if is_gone { vec![runner(9100, false, false)] } else { vec![] };
    engine.github(jobs, runners);
    engine
}

#[test]
fn i11_no_constant_answer_repeats_a_step_while_the_clock_stands() {
    let mut answered = 0;
    for life in every_life() {
        for outcome in every_outcome() {
            let mut engine = engine(&life, true);
            let mut steps = Vec::new();
            loop {
                let effects = engine.pass();
                if effects.is_empty() {
                    break;
                }
                for effect in effects {
                    steps.push(effect.step.clone());
                    engine.end(&effect.name, outcome.clone());
                }
                assert!(steps.len() < 16, "{:?} with {outcome:?}: {steps:?}", life.state);
            }
            answered += steps.len();
        }
    }
    assert!(answered > 300, "only {answered} steps were answered");
}

/// The rests are long enough: twenty minutes of one and the same answer cost a bounded number of calls.
#[test]
fn i11_twenty_minutes_of_one_answer_cost_few_calls() {
    let mut too_many = Vec::new();
    for life in every_life() {
        for outcome in every_outcome().into_iter().filter(may_last) {
            // A step that was broken off, or whose start is forgotten, goes on after a second.
            let is_short =
                matches!(&outcome, Err(failure) if matches!(failure.kind, FailureKind::BrokenOff | FailureKind::Lost));
            let (seconds, most) = if is_short { (600, 610) } else { (1200, 160) };
            let calls = calls_of(&mut engine(&life, true), &outcome, seconds);
            if calls >= most {
                too_many.push(format!("{:?} with {outcome:?}: {calls} calls in {seconds} s", life.state));
            }
        }
    }
    assert!(too_many.is_empty(), "{too_many:#?}");
}

/// Returns true for failures, and for successes after which the same step may follow.
fn may_last(outcome: &Outcome) -> bool {
    match outcome {
        Err(_) => true,
        Ok(success) => matches!(
            success,
            Success::Done | Success::Watched { is_off: false } | Success::Probed { sign: Sign::Waiting }
        ),
    }
}

/// Answers each call with this outcome, and returns the number of calls.
fn calls_of(engine: &mut Engine, outcome: &Outcome, seconds: i64) -> usize {
    let mut calls = 0;
    let end = engine.now + seconds;
    while engine.now < end {
        let effects = engine.pass();
        calls += effects.len();
        let is_quiet = effects.is_empty();
        for effect in effects {
            engine.end(&effect.name, outcome.clone());
        }
        // Nothing changes before the end of the rests, which are whole seconds. Deadlines may pass a little late.
        engine.wait(if is_quiet { 5 } else { 1 });
        engine.guests(&[running(9100)]);
    }
    calls
}

/// The outcome table: each step in each state that it fits, with each outcome.
#[test]
fn i11_each_outcome_leads_to_an_event_or_to_a_rest() {
    let (mut events, mut rests) = (0, 0);
    let mut steps = BTreeSet::new();
    for life in every_life() {
        let mut probe = engine(&life, true);
        let Some(effect) = probe.pass().into_iter().find(|effect| effect.name == name(9100)) else { continue };
        steps.insert(kind(&effect.step));
        for outcome in every_outcome() {
            let mut engine = engine(&life, true);
            engine.pass();
            let before = engine.fleet.record(&name(9100)).unwrap().clone();
            engine.end(&name(9100), outcome.clone());
            let after = engine.fleet.record(&name(9100)).unwrap();
            let is_resting = after.retry_at.is_some_and(|until| until > at(engine.now));
            let is_event = after.life != before.life;
            assert!(is_resting || is_event, "{:?} of {:?} with {outcome:?}", effect.step, life.state);
            events += usize::from(is_event);
            rests += usize::from(is_resting);
        }
    }
    assert!(events > 50 && rests > 100, "{events} events and {rests} rests");
    assert_eq!(steps.len(), 14, "all steps on a VM with a record: {steps:?}");
}

/// The same for things without a record, which always rest.
#[test]
fn i11_each_outcome_of_a_step_without_a_record_leads_to_a_rest() {
    let claim = Claim::Lent { pool: "ubuntu".parse().unwrap(), name: name(9101) };
    let lent = |power| (9101, GuestSeen { claim: claim.clone(), ..guest(9101, power).1 });
    for outcome in every_outcome() {
        let mut engine = Engine::new(config(1));
        engine.guests(&[lent(Power::Running)]);
        engine.github(vec![], vec![runner(9100, false, false)]);
        engine.guests(&[lent(Power::Off)]);
        let effects = engine.pass();
        let steps: BTreeSet<String> = effects.iter().map(|effect| kind(&effect.step)).collect();
        assert_eq!(steps, ["DestroyLent", "RemoveRegistration"].map(str::to_owned).into());
        for effect in effects {
            engine.end(&effect.name, outcome.clone());
        }
        assert!(engine.pass().is_empty(), "{outcome:?}");
        engine.wait(4);
        assert!(engine.pass().is_empty(), "{outcome:?}");
    }
}

/// Returns the name of a step without its fields.
fn kind(step: &Step) -> String {
    let text = format!("{step:?}");
    text.split([' ', '{']).next().unwrap().to_owned()
}
