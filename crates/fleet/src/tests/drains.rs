//! The end of a drain.

use super::engine::*;
use super::fixture::*;
use crate::*;

fn is_drained(engine: &Engine) -> bool {
    engine.fleet.is_drained(&engine.config, at(engine.now))
}

fn ended() -> Vec<Event> {
    [busy(), vec![Event::PoweredOff, Event::Destroyed]].concat()
}

/// Returns the record of a VM that ended at this second, with a registration that GitHub may have.
fn ended_at(second: i64) -> Intent {
    intent(9100, Life { since: at(second), ..life(&ended()) })
}

#[test]
fn a_drain_is_over_when_no_vm_and_no_effect_is_left() {
    let mut engine = Engine::with(config(1), [recorded(9100, &warm()[..2])]);
    engine.take(Input::Draining(true));
    engine.guests(&[running(9100)]);
    assert!(!is_drained(&engine));
    assert_eq!(engine.steps(), [Step::Stop { asks_first: true }]);
    assert_eq!(engine.then(&name(9100), Ok(Success::Done)), [Step::Destroy]);
    assert!(!is_drained(&engine));
    engine.end(&name(9100), Ok(Success::Done));
    assert!(is_drained(&engine), "it never had a registration");
}

#[test]
fn i3_a_drain_waits_for_registrations() {
    let mut engine = Engine::with(config(1), [ended_at(990)]);
    engine.take(Input::Draining(true));
    engine.guests(&[]);
    engine.github(vec![], vec![runner(9100, false, false)]);
    engine.pass();
    assert!(!is_drained(&engine), "GitHub lists it");
    engine.wait(400);
    engine.guests(&[]);
    engine.github(vec![], vec![runner(9100, false, false)]);
    let step = engine.one().step;
    assert_eq!(step, Step::RemoveRegistration { repository: repository(), runner_id: Some(7) });
    assert!(!is_drained(&engine), "it is being removed");
    engine.end(&name(9100), Ok(Success::Done));
    engine.github(vec![], vec![]);
    assert!(is_drained(&engine));
}

#[test]
fn i3_a_registration_that_cannot_be_listed_holds_up_a_drain_for_five_minutes() {
    let mut engine = Engine::with(config(1), [ended_at(1000)]);
    engine.take(Input::Draining(true));
    engine.guests(&[]);
    engine.github_of(&repository(), None, None);
    engine.wait(299);
    engine.pass();
    assert!(!is_drained(&engine));
    engine.wait(1);
    assert!(is_drained(&engine));
}

#[test]
fn i3_a_registration_that_cannot_be_removed_holds_up_a_drain_for_five_minutes() {
    for records in [vec![ended_at(900)], vec![]] {
        let mut engine = Engine::with(config(1), records);
        engine.take(Input::Draining(true));
        let list = |engine: &mut Engine| {
            engine.github(vec![], vec![runner(9100, false, false)]);
            engine.guests(&[]);
        };
        list(&mut engine);
        engine.one();
        engine.end(&name(9100), failed(FailureKind::Passing));
        let mut waited = 0;
        while !is_drained(&engine) {
            engine.wait(10);
            waited += 10;
            list(&mut engine);
            for effect in engine.pass() {
                engine.end(&effect.name, failed(FailureKind::Passing));
            }
            assert!(waited < 400);
        }
        assert!((290..=310).contains(&waited), "{waited} s");
    }
}

#[test]
fn registrations_of_others_do_not_hold_up_a_drain() {
    let mut engine = Engine::new(config(1));
    let named = |name: &str, online| RunnerSeen { name: name.parse().unwrap(), ..runner(9100, online, false) };
    let others = vec![
        named("lab-ubuntu-200-aaaaaa", false),
        named("lab-debian-9100-aaaaaa", false),
        named("lab-ubuntu-9101-bbbbbb", true),
    ];
    engine.github(vec![], others);
    engine.guests(&[]);
    assert!(is_drained(&engine));
    let claim = Claim::Lent { pool: "ubuntu".parse().unwrap(), name: name(9100) };
    engine.guests(&[(9100, GuestSeen { claim, ..running(9100).1 })]);
    engine.github(vec![], vec![runner(9100, false, false)]);
    assert!(is_drained(&engine), "the provider lends this VM");
    engine.guests(&[]);
    assert!(!is_drained(&engine), "this one was of the dispatcher");
}
