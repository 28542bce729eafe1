use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn live(events: &[Event]) -> Life {
    let mut life = Life::reserved(at(0));
    for (second, event) in (1..).zip(events) {
        life = life.after(event, at(second)).unwrap();
    }
    life
}

fn to_idle() -> Vec<Event> {
    let repository = "acme/tools".parse().unwrap();
    vec![
        Event::CloneBegun,
        Event::Cloned,
        Event::Configured,
        Event::Ready,
        Event::MintBegun { repository },
        Event::Minted { runner_id: 7 },
        Event::Armed,
    ]
}

fn every_event() -> Vec<Event> {
    let mut events = to_idle();
    events.extend([
        Event::FoundUnarmed,
        Event::FoundRegistered { repository: "acme/tools".parse().unwrap(), runner_id: 8 },
        Event::JobSeen { job: Some(1) },
        Event::JobOver,
        Event::JobFound { job: 2 },
        Event::JobCut,
        Event::PoweredOff,
        Event::Retire(Reason::Surplus),
        Event::Deregistered,
        Event::RefusedBusy,
        Event::NoJobFound { source: Source::Guest },
        Event::NoJobFound { source: Source::Github },
        Event::Started,
        Event::MintRefused,
        Event::CloneRefused,
        Event::FoundArmed { job: false },
        Event::Missing,
        Event::Reappeared,
        Event::RunsAgain,
        Event::RegistrationGone,
        Event::NeverOnline,
        Event::Diagnosed { kept: None },
        Event::Quarantined { until: at(900) },
        Event::Released,
        Event::Failed(Reason::CloneFailed),
        Event::Interrupted,
        Event::Condemn(Reason::JobLimit),
        Event::Stopped,
        Event::Vanished,
        Event::Destroyed,
    ]);
    events
}

#[test]
fn a_job_from_the_reservation_to_the_end() {
    let mut events = to_idle();
    events.extend([Event::JobSeen { job: Some(3) }, Event::PoweredOff, Event::Destroyed]);
    let life = live(&events);
    assert_eq!((life.state, life.reason, life.job), (State::Gone, Some(Reason::Finished), Some(3)));
}

/// I1: once a registration was made for it, a VM never becomes available for another.
#[test]
fn i1_no_state_leads_back_to_warm_after_a_registration() {
    let mut seen = vec![live(&to_idle()[..6])];
    let mut index = 0;
    while index < seen.len() {
        for event in every_event() {
            let Ok(next) = seen[index].after(&event, at(500)) else { continue };
            assert!(next.state > State::Warm, "{:?} by {event:?}", seen[index].state);
            if !seen.iter().any(|life| {
                life.state == next.state && life.runner_id == next.runner_id && life.armed_at == next.armed_at
            }) {
                seen.push(next);
            }
        }
        index += 1;
    }
    assert!(seen.len() > 5);
}

/// I5: from every state in which a job may run, only the declared limit or a second negative leads to a power-off by us.
#[test]
fn i5_one_negative_never_stops_a_vm_that_may_run_a_job() {
    for state in [State::Idle, State::Busy, State::Retiring, State::Fenced] {
        let life = Life { state, ..live(&to_idle()) };
        for event in every_event() {
            let stops = life.after(&event, at(10_000)).is_ok_and(|next| next.state == State::Stopping);
            assert_eq!(stops, matches!(event, Event::Condemn(_)), "{state:?} by {event:?}");
        }
    }
}

#[test]
fn i5_two_negatives_count_only_from_two_sources_and_far_enough_apart() {
    let mut events = to_idle();
    events.extend([Event::Retire(Reason::Surplus), Event::Deregistered]);
    let negative = |source| Event::NoJobFound { source };
    let fenced = live(&events).after(&negative(Source::Github), at(100)).unwrap();
    assert_eq!(fenced.after(&negative(Source::Guest), at(174)).unwrap().state, State::Fenced);
    assert_eq!(fenced.after(&negative(Source::Github), at(300)).unwrap().state, State::Fenced, "one source twice");
    let stopping = fenced.after(&negative(Source::Guest), at(175)).unwrap();
    assert_eq!((stopping.state, stopping.reason), (State::Stopping, Some(Reason::Ghost)));
    let busy = fenced.after(&Event::JobSeen { job: None }, at(101)).unwrap();
    assert_eq!((busy.state, busy.negative_at), (State::Busy, None));
}

#[test]
fn i3_a_vm_that_was_never_armed_ends_without_github() {
    let minting = live(&to_idle()[..5]);
    for event in [Event::Interrupted, Event::Failed(Reason::MintFailed)] {
        assert_eq!(minting.after(&event, at(9)).unwrap().state, State::Stopping, "{event:?}");
    }
    // Release 0.1 left such a VM in this state until GitHub answered.
    let stuck = Life { state: State::Retiring, reason: Some(Reason::MintFailed), ..minting };
    assert_eq!(stuck.after(&Event::Failed(Reason::MintFailed), at(9)).unwrap().state, State::Stopping);
    let armed = live(&[to_idle(), vec![Event::Retire(Reason::Surplus)]].concat());
    assert!(armed.after(&Event::Failed(Reason::MintFailed), at(99)).is_err(), "an armed one is deregistered first");
}

#[test]
fn a_refused_registration_leaves_the_vm_warm() {
    let warm = live(&to_idle()[..5]).after(&Event::MintRefused, at(9)).unwrap();
    assert_eq!((warm.state, warm.repository), (State::Warm, None));
    let arming = live(&to_idle()[..6]);
    assert!(arming.after(&Event::MintRefused, at(9)).is_err(), "this one has a registration");
}

#[test]
fn i5_a_vm_that_somebody_else_armed_is_not_stopped() {
    let stopping = live(&to_idle()[..4]).after(&Event::Failed(Reason::Surplus), at(9)).unwrap();
    let idle = stopping.after(&Event::FoundArmed { job: false }, at(10)).unwrap();
    assert_eq!((idle.state, idle.armed_at, idle.reason), (State::Idle, Some(at(10)), None));
    let busy = stopping.after(&Event::FoundArmed { job: true }, at(10)).unwrap();
    assert_eq!((busy.state, busy.busy_at), (State::Busy, Some(at(10))));
    let booting = live(&to_idle()[..3]).after(&Event::Failed(Reason::BootDeadline), at(9)).unwrap();
    let armed = booting.after(&Event::FoundArmed { job: false }, at(10)).unwrap();
    assert_eq!(armed.state, State::Idle, "its agent answered another process");
}

#[test]
fn i5_a_vm_that_runs_although_it_was_taken_to_be_gone_lives_on() {
    let gone = live(&[to_idle(), vec![Event::JobSeen { job: Some(3) }, Event::Missing, Event::Vanished]].concat());
    assert_eq!((gone.state, gone.reason), (State::Destroying, Some(Reason::Vanished)));
    let back = gone.after(&Event::Reappeared, at(50)).unwrap();
    assert_eq!((back.state, back.reason, back.ended_at, back.missing_at), (State::Busy, None, None, None));
    let finished = live(&[to_idle(), vec![Event::JobSeen { job: Some(3) }, Event::PoweredOff]].concat());
    assert!(finished.after(&Event::Reappeared, at(50)).is_err(), "its job is over");
}

#[test]
fn a_job_that_github_names_after_the_end_corrects_the_reason_once() {
    let mut events = to_idle();
    events.extend([Event::PoweredOff, Event::Destroyed]);
    let gone = live(&events);
    assert_eq!((gone.reason, gone.job), (Some(Reason::ExitedIdle), None));
    let found = gone.after(&Event::JobFound { job: 9 }, at(60)).unwrap();
    assert_eq!((found.state, found.since), (State::Gone, gone.since));
    assert_eq!((found.reason, found.job), (Some(Reason::Finished), Some(9)));
    assert!(found.after(&Event::JobFound { job: 10 }, at(61)).is_err());
}

#[test]
fn a_vm_whose_job_still_runs_after_its_end_was_cut_off() {
    let mut events = to_idle();
    events.extend([Event::JobSeen { job: Some(3) }, Event::PoweredOff]);
    let ended = live(&events);
    assert_eq!(ended.after(&Event::JobCut, at(90)).unwrap().reason, Some(Reason::CutOff));
    let idle_exit = live(&[to_idle(), vec![Event::PoweredOff]].concat());
    assert!(idle_exit.after(&Event::JobCut, at(90)).is_err());
}

#[test]
fn an_interrupted_registration_is_given_up() {
    let arming = live(&to_idle()[..6]).after(&Event::Interrupted, at(9)).unwrap();
    assert_eq!(arming.after(&Event::Deregistered, at(10)).unwrap().state, State::Fenced);
}

#[test]
fn a_vmid_taken_by_somebody_else_is_never_cleaned_up() {
    let taken = live(&to_idle()[..1]).after(&Event::Failed(Reason::VmidTaken), at(2)).unwrap();
    assert_eq!(taken.state, State::Gone);
}

#[test]
fn the_end_is_the_end() {
    for reason in [None, Some(Reason::Finished), Some(Reason::ExitedIdle), Some(Reason::Ghost)] {
        let gone = Life { state: State::Gone, reason, ..live(&to_idle()) };
        for event in every_event() {
            let corrects = matches!(event, Event::JobFound { .. } | Event::JobCut | Event::RegistrationGone);
            let after = gone.after(&event, at(100));
            assert!(after.is_err() || corrects && after.is_ok_and(|life| life.state == State::Gone), "{event:?}");
        }
    }
}
