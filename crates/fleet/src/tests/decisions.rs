//! Single decisions, by the invariant or the incident that they stand for.

use super::fixture::*;
use crate::*;

const STOP: Step = Step::Stop { asks_first: false };

fn decide(facts: &Facts, records: &[Intent], max: u32, second: i64) -> Vec<Action> {
    Situation::new(facts, records, max).decide(second)
}

fn queued(count: u64) -> Vec<JobSeen> {
    (1..=count).map(|id| job(id, JobPhase::Queued, None)).collect()
}

#[test]
fn i2_a_limit_counts_records_guests_and_hidden_vmids_once_each() {
    let cloning = intent(9100, life(&warm()[..1]));
    let mut seen = observed(50, &[], queued(5), vec![]);
    assert_eq!(reserved_vmids(&decide(&seen, std::slice::from_ref(&cloning), 3, 51)), [9101, 9102]);
    seen.clones.insert(vmid(9101));
    seen.hidden.insert(vmid(9101));
    assert_eq!(reserved_vmids(&decide(&seen, std::slice::from_ref(&cloning), 3, 51)), [9102]);
    let unknown =
        GuestSeen { node: node(), power: Power::Running, locked: true, claim: Claim::Unknown, name: None, run: None };
    seen.guests.as_mut().unwrap().seen.insert(vmid(9102), unknown);
    assert!(reserved_vmids(&decide(&seen, &[cloning], 3, 51)).is_empty());
}

#[test]
fn i2_nothing_is_made_before_pve_was_seen_or_long_after() {
    let unseen = Facts { guests: None, ..observed(50, &[], queued(1), vec![]) };
    assert!(reserved_vmids(&decide(&unseen, &[], 2, 51)).is_empty());
    let stale = observed(50, &[], queued(1), vec![]);
    assert!(reserved_vmids(&decide(&stale, &[], 2, 171)).is_empty());
    assert_eq!(reserved_vmids(&decide(&stale, &[], 2, 170)).len(), 1);
}

#[test]
fn i4_a_guest_of_somebody_else_is_neither_touched_nor_overwritten_nor_counted() {
    let foreign =
        GuestSeen { node: node(), power: Power::Off, locked: false, claim: Claim::Foreign, name: None, run: None };
    let seen = observed(50, &[(9100, foreign)], queued(1), vec![]);
    let actions = decide(&seen, &[], 1, 51);
    assert_eq!(reserved_vmids(&actions), [9101]);
    assert_eq!(actions.len(), 1);
}

#[test]
fn i5_not_being_listed_by_github_kills_nothing() {
    let idle = intent(9100, life(&idle()));
    let seen = observed(50, &[guest(9100, Power::Running)], vec![], vec![]);
    let actions = decide(&seen, &[idle], 1, 51);
    assert_eq!(actions, [Action::Step { name: name(9100), step: Step::Watch }], "PVE is asked, and nothing else");
}

#[test]
fn a_vm_whose_job_is_over_or_whose_registration_is_gone_is_asked_for_and_no_other() {
    let listed = |second| {
        let runner = RunnerSeen { id: 7, name: name(9100), online: true, busy: true };
        observed(second, &[guest(9100, Power::Running)], vec![], vec![runner])
    };
    let unlisted = |second| observed(second, &[guest(9100, Power::Running)], vec![], vec![]);
    let busy = intent(9100, life(&busy()));
    assert!(steps(&decide(&listed(50), std::slice::from_ref(&busy), 1, 51)).is_empty());
    assert_eq!(steps(&decide(&unlisted(50), std::slice::from_ref(&busy), 1, 51)), [&Step::Watch]);
    assert!(steps(&decide(&unlisted(12), std::slice::from_ref(&busy), 1, 51)).is_empty(), "the list may be too old");
    let over = intent(9100, busy.life.after(&Event::JobOver, at(40)).unwrap());
    assert_eq!(steps(&decide(&listed(50), std::slice::from_ref(&over), 1, 51)), [&Step::Watch]);
    let resting = Intent { retry_at: Some(at(60)), ..over };
    assert!(steps(&decide(&listed(50), &[resting], 1, 51)).is_empty());
}

#[test]
fn github_says_after_the_end_of_a_vm_which_job_ran_on_it() {
    let ended = idle().into_iter().chain([Event::PoweredOff, Event::Destroyed]).collect::<Vec<_>>();
    let vm = intent(9100, life(&ended));
    assert_eq!(vm.life.reason, Some(Reason::ExitedIdle));
    let seen = observed(50, &[], vec![job(4, JobPhase::Completed, Some(&name(9100)))], vec![]);
    let actions = decide(&seen, std::slice::from_ref(&vm), 1, 51);
    let noted = [Event::JobFound { job: 4 }, Event::RegistrationGone];
    assert_eq!(actions, noted.clone().map(|event| Action::Note { name: name(9100), event }));
    let life = noted.iter().fold(vm.life, |life, event| life.after(event, at(51)).unwrap());
    let settled = intent(9100, life);
    assert!(decide(&seen, &[settled], 1, 52).is_empty());
}

#[test]
fn a_vm_that_is_off_while_its_job_goes_on_at_github_was_cut_off() {
    let ended =
        busy().into_iter().chain([Event::PoweredOff, Event::Destroyed, Event::RegistrationGone]).collect::<Vec<_>>();
    let vm = intent(9100, life(&ended));
    let running = |second| observed(second, &[], vec![job(1, JobPhase::Running, Some(&name(9100)))], vec![]);
    assert!(decide(&running(35), std::slice::from_ref(&vm), 1, 36).is_empty(), "the list may not show the end yet");
    let actions = decide(&running(60), std::slice::from_ref(&vm), 1, 61);
    assert_eq!(actions, [Action::Note { name: name(9100), event: Event::JobCut }]);
    assert_eq!(vm.life.after(&Event::JobCut, at(61)).unwrap().reason, Some(Reason::CutOff));
    let over = observed(60, &[], vec![job(1, JobPhase::Completed, Some(&name(9100)))], vec![]);
    assert!(decide(&over, &[vm], 1, 61).is_empty());
}

#[test]
fn i5_a_fenced_vm_is_left_to_power_itself_off_and_stopped_only_after_two_negatives() {
    let running = |second| observed(second, &[guest(9100, Power::Running)], vec![], vec![]);
    let vm = intent(9100, life(&fenced()));
    assert!(decide(&running(12), std::slice::from_ref(&vm), 1, 51).is_empty(), "GitHub's list is too old");
    let negative = Event::NoJobFound { source: Source::Github };
    let actions = decide(&running(50), std::slice::from_ref(&vm), 1, 51);
    assert_eq!(actions, [Action::Note { name: name(9100), event: negative.clone() }]);
    let once = Intent { life: vm.life.after(&negative, at(51)).unwrap(), ..vm };
    let later = 51 + NEGATIVES_APART.as_secs();
    assert!(decide(&running(later - 1), std::slice::from_ref(&once), 1, later - 1).is_empty());
    assert_eq!(steps(&decide(&running(later), std::slice::from_ref(&once), 1, later)), [&Step::Probe]);
    let negative = Event::NoJobFound { source: Source::Guest };
    let twice = Intent { life: once.life.after(&negative, at(later)).unwrap(), ..once };
    assert_eq!(steps(&decide(&running(later), std::slice::from_ref(&twice), 1, later)), [&Step::KeepDiagnostics]);
    let diagnosed = Intent { life: twice.life.after(&Event::Diagnosed { kept: None }, at(later)).unwrap(), ..twice };
    assert_eq!(steps(&decide(&running(later), &[diagnosed], 1, later)), [&STOP]);
}

#[test]
fn i5_a_job_that_github_names_makes_a_fenced_vm_busy_again() {
    let vm = intent(9100, life(&fenced()));
    let seen = observed(50, &[guest(9100, Power::Running)], vec![job(4, JobPhase::Running, Some(&name(9100)))], vec![]);
    let actions = decide(&seen, &[vm], 1, 500);
    assert_eq!(actions, [Action::Note { name: name(9100), event: Event::JobSeen { job: Some(4) } }]);
}

#[test]
fn i5_a_job_is_ended_only_at_its_declared_limit_with_a_reason() {
    let vm = intent(9100, life(&busy()));
    let listed = RunnerSeen { id: 7, name: name(9100), online: true, busy: true };
    let seen = observed(50, &[guest(9100, Power::Running)], vec![], vec![listed]);
    assert!(decide(&seen, std::slice::from_ref(&vm), 1, 3607).is_empty());
    let actions = decide(&seen, &[vm], 1, 3608);
    assert_eq!(actions[0], Action::Note { name: name(9100), event: Event::Condemn(Reason::JobLimit) });
    assert_eq!(steps(&actions), [&Step::KeepDiagnostics]);
}

#[test]
fn a_list_of_guests_from_before_the_fact_ends_nothing() {
    let vm = intent(9100, life(&busy()));
    let since = 8;
    let off = |second| observed(second, &[guest(9100, Power::Off)], vec![], vec![]);
    assert!(decide(&off(since), std::slice::from_ref(&vm), 1, 60).is_empty());
    let actions = decide(&off(since + 1), &[vm], 1, 60);
    assert_eq!(actions[0], Action::Note { name: name(9100), event: Event::PoweredOff });
    assert_eq!(steps(&actions), [&Step::Destroy]);
}

#[test]
fn i7_the_oldest_job_gets_the_warm_vm_and_the_next_one_a_new_vm() {
    let vm = intent(9100, life(&warm()));
    let seen = observed(50, &[guest(9100, Power::Running)], queued(2), vec![]);
    let actions = decide(&seen, &[vm], 2, 51);
    assert_eq!(steps(&actions), [&Step::Mint { repository: repository() }]);
    assert_eq!(reserved_vmids(&actions), [9101]);
}

#[test]
fn i7_a_pool_whose_vms_fail_does_not_delay_another_pool() {
    let failed = Life { state: State::Gone, reason: Some(Reason::CloneFailed), since: at(50), ..life(&[]) };
    let mut two_pools = config(1);
    let other = dispatcher_api::RunnerPool {
        name: "debian".parse().unwrap(),
        labels: vec!["debian".into()],
        vmid_range: "9200-9203".parse().unwrap(),
        ..pool(1)
    };
    two_pools.pools.push(other);
    let mut for_the_other = job(2, JobPhase::Queued, None);
    for_the_other.labels = vec!["debian".into()];
    let seen = observed(50, &[], vec![job(1, JobPhase::Queued, None), for_the_other], vec![]);
    let records = vec![intent(9100, failed)];
    let situation = Situation { config: two_pools, records, ..Situation::new(&seen, &[], 1) };
    let actions = situation.decide(51);
    assert_eq!(reserved_vmids(&actions), [9200], "the first pool waits, the other one does not");
}

#[test]
fn a_job_that_just_ended_is_not_made_a_second_vm_for() {
    // The job list is older than the end of the VM that may have taken the job it shows as queued.
    let ended = idle().into_iter().chain([Event::PoweredOff, Event::Destroyed]).collect::<Vec<_>>();
    let vm = intent(9100, life(&ended));
    let stale = observed(5, &[], queued(1), vec![]);
    assert!(reserved_vmids(&decide(&stale, std::slice::from_ref(&vm), 2, 20)).is_empty());
    let fresh = observed(12, &[], queued(1), vec![]);
    assert_eq!(reserved_vmids(&decide(&fresh, &[vm], 2, 20)).len(), 1);
}

#[test]
fn a_job_that_asks_for_a_label_we_do_not_have_is_not_ours() {
    let mut other = job(1, JobPhase::Queued, None);
    other.labels = vec!["linux".into(), "gpu".into()];
    assert!(decide(&observed(50, &[], vec![other.clone()], vec![]), &[], 2, 51).is_empty());
    other.labels = vec!["Linux".into(), "X64".into()];
    assert_eq!(reserved_vmids(&decide(&observed(50, &[], vec![other], vec![]), &[], 2, 51)).len(), 1);
}

#[test]
fn an_interrupted_registration_is_given_up_after_a_restart() {
    let vm = intent(9100, life(&idle()[..6]));
    let seen = observed(50, &[guest(9100, Power::Running)], queued(1), vec![]);
    let actions = decide(&seen, &[vm], 1, 51);
    assert_eq!(actions[0], Action::Note { name: name(9100), event: Event::Interrupted });
    assert_eq!(steps(&actions), [&Step::Deregister]);
    let unarmed = intent(9100, life(&idle()[..5]));
    let actions = decide(&seen, &[unarmed], 1, 51);
    assert_eq!(steps(&actions), [&Step::Stop { asks_first: true }], "it never had a registration to remove");
}

#[test]
fn i3_a_registration_without_a_vm_is_removed_unless_it_is_connected_busy_or_somebody_elses() {
    let runner = |name: &str, online, busy| RunnerSeen { id: 1, name: name.parse().unwrap(), online, busy };
    let ours = name(9100).to_string();
    let removed = |runner: RunnerSeen| !decide(&observed(50, &[], vec![], vec![runner]), &[], 1, 51).is_empty();
    assert!(removed(runner(&ours, false, false)));
    assert!(!removed(runner(&ours, true, false)));
    assert!(!removed(runner(&ours, false, true)));
    assert!(!removed(runner("lab-ubuntu-200-aaaaaa", false, false)), "outside the pool's range");
    assert!(!removed(runner("lab-debian-9100-aaaaaa", false, false)), "no pool of ours");
    assert!(!removed(runner("other-ubuntu-9100-aaaaaa", false, false)), "another installation");
    let mut older = observed(50, &[], vec![], vec![runner(&ours, false, false)]);
    older.guests.as_mut().unwrap().taken_at = at(49);
    assert!(decide(&older, &[], 1, 51).is_empty(), "its VM may have been made between the two lists");
}

#[test]
fn i3_a_vm_whose_pool_was_taken_out_of_the_configuration_is_ended_and_destroyed() {
    let without_pools = dispatcher_api::Config { pools: Vec::new(), ..config(1) };
    let decide = |power, life: Life, second| {
        let seen = observed(second, &[guest(9100, power)], vec![], vec![]);
        let records = vec![intent(9100, life)];
        Situation { config: without_pools.clone(), records, ..Situation::new(&seen, &[], 1) }.decide(second)
    };
    let idle = decide(Power::Running, life(&idle()), 100);
    assert_eq!(idle[0], Action::Note { name: name(9100), event: Event::Retire(Reason::Surplus) });
    assert_eq!(steps(&idle), [&Step::Deregister]);
    let working = decide(Power::Running, life(&busy()), 100);
    assert!(!working.iter().any(|action| matches!(action, Action::Note { .. })), "its job goes on: {working:?}");
    let ended = decide(Power::Off, life(&busy()), 100);
    assert_eq!(ended[0], Action::Note { name: name(9100), event: Event::PoweredOff });
    assert_eq!(steps(&ended), [&Step::Destroy]);
}

#[test]
fn i8_a_vm_without_a_record_is_taken_over() {
    let seen = observed(50, &[guest(9100, Power::Running)], vec![], vec![]);
    assert_eq!(decide(&seen, &[], 1, 51), [Action::Adopt { pool: "ubuntu".parse().unwrap(), vmid: vmid(9100) }]);
    let adopted = intent(9100, Life::adopted(true, at(51)));
    assert_eq!(steps(&decide(&seen, std::slice::from_ref(&adopted), 1, 52)), [&Step::Examine]);
    assert!(
        reserved_vmids(&decide(&observed(53, &[guest(9100, Power::Running)], queued(1), vec![]), &[adopted], 1, 54))
            .is_empty()
    );
}

#[test]
fn vms_of_an_old_template_version_go_when_idle_and_stay_when_busy() {
    let old = |number, events: &[Event]| Intent { template: vmid(8999), ..intent(number, life(events)) };
    let guests = [guest(9100, Power::Running), guest(9101, Power::Running), guest(9102, Power::Running)];
    let intents = [old(9100, &warm()), old(9101, &idle()), old(9102, &busy())];
    let actions = decide(&observed(5, &guests, vec![], vec![]), &intents, 3, 20);
    let noted: Vec<_> = actions.iter().filter(|action| matches!(action, Action::Note { .. })).collect();
    assert_eq!(noted.len(), 2);
    assert_eq!(steps(&actions), [&Step::Stop { asks_first: true }, &Step::Deregister]);
}

#[test]
fn draining_makes_nothing_new_and_releases_what_has_no_job() {
    let guests = [guest(9100, Power::Running), guest(9101, Power::Running)];
    let seen = observed(5, &guests, queued(3), vec![]);
    let records = [intent(9100, life(&idle())), intent(9101, life(&busy()))];
    let actions = Situation::new(&seen, &records, 3).draining().decide(20);
    assert_eq!(actions[0], Action::Note { name: name(9100), event: Event::Retire(Reason::Surplus) });
    assert_eq!(steps(&actions), [&Step::Deregister]);
    assert!(reserved_vmids(&actions).is_empty());
}

#[test]
fn draining_ends_a_vm_that_still_boots() {
    let guests = [guest(9100, Power::Running)];
    let booting = intent(9100, life(&[Event::CloneBegun, Event::Cloned, Event::Configured]));
    let calm = Situation::new(&observed(5, &guests, queued(1), vec![]), &[booting], 3);
    let ends = |situation: &Situation| steps(&situation.decide(20)) == [&Step::Stop { asks_first: true }];
    assert!(!ends(&calm));
    assert!(ends(&calm.draining()));
}

#[test]
fn a_pool_whose_vms_fail_waits_longer_each_time() {
    let failed = |vmid, created: i64| {
        let life = Life {
            ended_at: Some(at(created + 10)),
            since: at(created + 10),
            state: State::Gone,
            reason: Some(Reason::BootDeadline),
            ..life(&[])
        };
        Intent {
            created_at: at(created),
            name: format!("lab-ubuntu-{vmid}-{created:06}").parse().unwrap(),
            ..intent(vmid, life)
        }
    };
    let seen = |second| observed(second, &[], queued(1), vec![]);
    let made = |intents: &[Intent], second| reserved_vmids(&decide(&seen(second), intents, 1, second)).len();
    let once = [failed(9100, 100)];
    assert_eq!((made(&once, 114), made(&once, 115)), (0, 1));
    let twice = [failed(9100, 100), failed(9101, 200)];
    assert_eq!((made(&twice, 219), made(&twice, 220)), (0, 1));
}

#[test]
fn a_failure_is_shown_with_its_cause_until_a_vm_succeeds_or_the_failures_are_forgiven() {
    let failed = |vmid, created: i64, failure: Option<&str>| {
        let (since, reason) = (at(created + 10), Some(Reason::BootDeadline));
        let life = Life { ended_at: Some(since), since, state: State::Gone, reason, ..life(&[]) };
        let failure = failure.map(str::to_owned);
        Intent {
            created_at: at(created),
            name: format!("lab-ubuntu-{vmid}-{created:06}").parse().unwrap(),
            failure,
            ..intent(vmid, life)
        }
    };
    let seen = observed(211, &[], queued(1), vec![]);
    let shown = |situation: &Situation| situation.fleet().hindrances(&config(1), at(212));
    let twice = [failed(9100, 100, None), failed(9101, 200, Some("unable to clone: no space left"))];
    let trouble = shown(&Situation::new(&seen, &twice, 1)).remove(0);
    assert_eq!(trouble.message, "the last 2 VMs of pool ubuntu failed: unable to clone: no space left");
    assert_eq!(trouble.since, at(100));
    let reason = Situation::new(&seen, &twice, 1).waiting(212).remove(0).reason;
    assert!(
        reason.ends_with("because the last 2 VMs of pool ubuntu failed: unable to clone: no space left"),
        "{reason}"
    );
    let once = shown(&Situation::new(&seen, &twice[..1], 1)).remove(0).message;
    assert_eq!(once, "the last VM of pool ubuntu failed: its guest agent did not answer within the pool's boot limit");

    let success = Life { state: State::Gone, reason: Some(Reason::Finished), ..life(&[]) };
    let recovered = [twice[0].clone(), Intent { created_at: at(300), ..intent(9102, success) }];
    assert!(shown(&Situation::new(&seen, &recovered, 1)).is_empty());

    assert!(reserved_vmids(&decide(&seen, &twice, 1, 212)).is_empty());
    let mended = Situation { forgiven: Some(at(211)), ..Situation::new(&seen, &twice, 1) };
    assert!(shown(&mended).is_empty());
    assert_eq!(reserved_vmids(&mended.decide(212)).len(), 1);
}

#[test]
fn a_vm_that_is_being_made_says_why_it_does_not_get_on() {
    let failure =
        Some("guest 9000 is not cloned for pool \"ubuntu\": its name is \"debian\", not \"ubuntu\"".to_owned());
    let reserved = Intent { failure, ..intent(9100, life(&[])) };
    let seen = observed(50, &[], queued(1), vec![]);
    let reason = Situation::new(&seen, &[reserved], 1).waiting(51).remove(0).reason;
    assert!(reason.contains("is cloning; its last step failed: guest 9000 is not cloned"), "{reason}");
}

#[test]
fn vmids_are_taken_in_turn_and_rest() {
    let gone = |vmid, created: i64| {
        let life = Life { state: State::Gone, since: at(created + 5), reason: Some(Reason::Finished), ..life(&[]) };
        Intent { created_at: at(created), ..intent(vmid, life) }
    };
    let seen = observed(50, &[], queued(1), vec![]);
    assert_eq!(reserved_vmids(&decide(&seen, &[gone(9100, 40)], 1, 51)), [9101]);
    assert_eq!(reserved_vmids(&decide(&seen, &[gone(9103, 40)], 1, 51)), [9100]);
    let all = [gone(9101, 30), gone(9102, 31), gone(9103, 32), gone(9100, 33)];
    assert_eq!(reserved_vmids(&decide(&seen, &all, 1, 51)), [9101], "all rest: the longest rest comes first");
}

#[test]
fn a_vmid_that_somebody_else_was_found_to_have_is_avoided_for_a_while() {
    let taken = Life { state: State::Gone, since: at(45), reason: Some(Reason::VmidTaken), ..life(&[]) };
    let taken: Vec<_> = (9100..9104).map(|vmid| intent(vmid, taken.clone())).collect();
    let made = |second| reserved_vmids(&decide(&observed(second, &[], queued(1), vec![]), &taken, 1, second)).len();
    assert_eq!((made(50), made(344), made(345)), (0, 0, 1));
}

#[test]
fn a_waiting_job_has_a_reason() {
    let reason = |facts: &Facts, intents: &[Intent]| Situation::new(facts, intents, 1).waiting(51).remove(0).reason;
    let seen = observed(50, &[], queued(1), vec![]);
    let busy = intent(9100, life(&busy()));
    assert!(reason(&seen, std::slice::from_ref(&busy)).contains("at its limit: 1 of 1"));
    let booting = intent(9100, life(&warm()[..3]));
    assert!(reason(&seen, &[booting]).contains("is booting"));
    let draining = Situation::new(&seen, &[], 1).draining();
    assert!(draining.waiting(51).remove(0).reason.contains("drained"));
    assert!(reason(&Facts { guests: None, ..seen }, &[]).contains("not answered"));
}
