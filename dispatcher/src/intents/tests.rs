use runner_vm::{Reason, State};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn intent(vmid: u32, nonce: &str) -> Intent {
    Intent {
        name: format!("lab-ubuntu-{vmid}-{nonce}"),
        pool: "ubuntu".parse().unwrap(),
        vmid,
        node: "pve1".into(),
        template: 9000,
        resource_pool: "ci".into(),
        created_at: at(0),
        life: Life::reserved(at(0)),
        retry_at: None,
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
    ledger.note("lab-ubuntu-9101-aaaaaa", &Event::CloneBegun, at(1)).unwrap();
    drop(ledger);
    let again = Ledger::open(&directory.path().join("ledger.sqlite")).unwrap();
    assert!(!again.was_empty);
    assert_eq!(again.intents()[0].life.state, State::Cloning);
    let trail: Vec<_> = again.audit_of("lab-ubuntu-9101-aaaaaa").unwrap().into_iter().map(|row| row.state).collect();
    assert_eq!(trail, ["reserved", "cloning"]);
}

#[test]
fn a_vmid_has_one_live_record_at_most() {
    let (_directory, ledger) = ledger();
    ledger.add(intent(9101, "aaaaaa"), "reserved").unwrap();
    assert!(ledger.add(intent(9101, "bbbbbb"), "reserved").is_err());
    ledger.note("lab-ubuntu-9101-aaaaaa", &Event::Failed(Reason::Surplus), at(1)).unwrap();
    ledger.add(intent(9101, "bbbbbb"), "reserved").unwrap();
    assert_eq!(ledger.intents().len(), 2);
}

#[test]
fn a_late_event_is_refused_and_not_written() {
    let (_directory, ledger) = ledger();
    ledger.add(intent(9101, "aaaaaa"), "reserved").unwrap();
    assert!(matches!(ledger.note("lab-ubuntu-9101-aaaaaa", &Event::Armed, at(1)), Err(LedgerError::Refused(_))));
    assert_eq!(ledger.audit_of("lab-ubuntu-9101-aaaaaa").unwrap().len(), 1);
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
fn the_boot_time_is_remembered_and_ended_vms_are_forgotten_in_time() {
    let (_directory, ledger) = ledger();
    ledger.learn_boot_time(9000, Duration::from_secs(9)).unwrap();
    ledger.learn_boot_time(9000, Duration::from_secs(12)).unwrap();
    assert_eq!(ledger.boot_time(9000), Some(Duration::from_secs(12)));
    ledger.add(intent(9101, "aaaaaa"), "reserved").unwrap();
    ledger.note("lab-ubuntu-9101-aaaaaa", &Event::Failed(Reason::Surplus), at(1)).unwrap();
    ledger.forget(at(60)).unwrap();
    assert_eq!(ledger.intents().len(), 1);
    ledger.forget(at(3600)).unwrap();
    assert!(ledger.intents().is_empty());
}
