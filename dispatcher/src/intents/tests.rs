use fleet::{Reason, State};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn name(text: &str) -> RunnerName {
    text.parse().unwrap()
}

fn intent(vmid: u32, nonce: &str) -> Intent {
    Intent {
        name: name(&format!("lab-ubuntu-{vmid}-{nonce}")),
        pool: "ubuntu".parse().unwrap(),
        vmid: Vmid::new(vmid).unwrap(),
        node: "pve1".parse().unwrap(),
        template: Vmid::new(9000).unwrap(),
        resource_pool: "ci".into(),
        created_at: at(0),
        life: Life::reserved(at(0)),
        retry_at: None,
        failure: None,
    }
}

fn ledger() -> (tempfile::TempDir, Ledger) {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&directory.path().join("ledger.sqlite")).unwrap();
    (directory, ledger)
}

#[test]
fn what_is_written_is_there_after_a_restart() {
    let (directory, ledger) = ledger();
    assert!(ledger.was_empty);
    ledger.add(intent(9101, "aaaaaa"), "reserved").unwrap();
    ledger.note(&name("lab-ubuntu-9101-aaaaaa"), &Event::CloneBegun, at(1)).unwrap();
    drop(ledger);
    let again = Ledger::open(&directory.path().join("ledger.sqlite")).unwrap();
    assert!(!again.was_empty);
    assert_eq!(again.intents()[0].life.state, State::Cloning);
    let trail: Vec<_> =
        again.audit_of(&name("lab-ubuntu-9101-aaaaaa")).unwrap().into_iter().map(|row| row.state).collect();
    assert_eq!(trail, ["reserved", "cloning"]);
}

#[test]
fn a_vmid_has_one_live_record_at_most() {
    let (_directory, ledger) = ledger();
    ledger.add(intent(9101, "aaaaaa"), "reserved").unwrap();
    assert!(ledger.add(intent(9101, "bbbbbb"), "reserved").is_err());
    ledger.note(&name("lab-ubuntu-9101-aaaaaa"), &Event::Failed(Reason::Surplus), at(1)).unwrap();
    ledger.add(intent(9101, "bbbbbb"), "reserved").unwrap();
    assert_eq!(ledger.intents().len(), 2);
}

#[test]
fn a_late_event_is_refused_and_not_written() {
    let (_directory, ledger) = ledger();
    ledger.add(intent(9101, "aaaaaa"), "reserved").unwrap();
    assert!(matches!(ledger.note(&name("lab-ubuntu-9101-aaaaaa"), &Event::Armed, at(1)), Err(LedgerError::Refused(_))));
    assert_eq!(ledger.audit_of(&name("lab-ubuntu-9101-aaaaaa")).unwrap().len(), 1);
}

#[test]
fn a_second_dispatcher_cannot_open_it() {
    let (directory, _ledger) = ledger();
    assert!(Ledger::open(&directory.path().join("ledger.sqlite")).is_err());
}

#[test]
fn a_damaged_ledger_is_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.sqlite");
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    let ledger = Ledger::open(&path).unwrap();
    assert!(ledger.was_empty && directory.path().join("ledger.sqlite.damaged").exists());
}

#[test]
fn the_last_boots_of_each_template_are_remembered_across_a_restart() {
    let (directory, ledger) = ledger();
    let template = |vmid: u32| Vmid::new(vmid).unwrap();
    for second in 1..=7 {
        ledger.learn_boot(template(9000), Booted { took: Duration::from_secs(second), asked_in_vain: 1 }).unwrap();
    }
    ledger.learn_boot(template(9001), Booted { took: Duration::from_secs(30), asked_in_vain: 1 }).unwrap();
    drop(ledger);
    let again = Ledger::open(&directory.path().join("ledger.sqlite")).unwrap();
    assert_eq!(again.boot_times(template(9000)).recent(), [3, 4, 5, 6, 7].map(Duration::from_secs));
    assert_eq!(again.boot_times(template(9001)).recent(), [Duration::from_secs(30)]);
}

#[test]
fn ended_vms_are_forgotten_in_time() {
    let (_directory, ledger) = ledger();
    ledger.add(intent(9101, "aaaaaa"), "reserved").unwrap();
    ledger.note(&name("lab-ubuntu-9101-aaaaaa"), &Event::Failed(Reason::Surplus), at(1)).unwrap();
    ledger.forget(at(60)).unwrap();
    assert_eq!(ledger.intents().len(), 1);
    ledger.forget(at(3600)).unwrap();
    assert!(ledger.intents().is_empty());
}

#[test]
fn the_text_of_a_failure_outlives_a_restart_and_goes_with_the_next_success() {
    let (directory, ledger) = ledger();
    let name = &name("lab-ubuntu-9101-aaaaaa");
    ledger.add(intent(9101, "aaaaaa"), "reserved").unwrap();
    ledger.keep_failure(name, "unable to clone: no space".into());
    ledger.note(name, &Event::CloneBegun, at(1)).unwrap();
    assert_eq!(ledger.intent(name).unwrap().failure, None);
    ledger.keep_failure(name, "unable to clone: no space".into());
    ledger.note(name, &Event::Failed(Reason::CloneFailed), at(2)).unwrap();
    drop(ledger);
    let again = Ledger::open(&directory.path().join("ledger.sqlite")).unwrap();
    assert_eq!(again.intent(name).unwrap().failure.as_deref(), Some("unable to clone: no space"));
}

/// A record that the release before wrote must be read, and be written as it was.
#[test]
fn the_written_form_of_a_record_does_not_change() {
    let text = concat!(
        r#"{"name":"lab-ubuntu-9101-aaaaaa","pool":"ubuntu","vmid":9101,"node":"pve1","template":9000,"resource_pool":"ci","#,
        r#""created_at":"2027-01-15T08:00:00Z","life":{"state":"idle","since":"2027-01-15T08:00:01Z","#,
        r#""repository":"acme/tools","runner_id":7,"armed_at":"2027-01-15T08:00:01Z","busy_at":null,"job":null,"#,
        r#""job_over_at":null,"ended_at":null,"negative_at":null,"reason":null}}"#,
    );
    let record: Intent = serde_json::from_str(text).unwrap();
    assert_eq!((record.vmid, record.life.state), (Vmid::new(9101).unwrap(), State::Idle));
    assert_eq!(serde_json::to_string(&record).unwrap(), text);
    let event = r#"{"event":"mint_begun","repository":"acme/tools"}"#;
    assert_eq!(serde_json::to_string(&serde_json::from_str::<Event>(event).unwrap()).unwrap(), event);
}
