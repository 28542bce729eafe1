//! Databases that another release wrote.

use super::*;

/// Makes a ledger as release 0.1 leaves it.
fn made_by_0_1(place: &Place) {
    let (mut connection, records) = release_0_1::open(&place.path).unwrap();
    assert!(records.is_empty());
    release_0_1::put(&mut connection, &record_text(9101, "aaaaaa", "idle"), true, "armed").unwrap();
    release_0_1::put(&mut connection, &record_text(9101, "bbbbbb", "gone"), false, "destroyed").unwrap();
    release_0_1::put(&mut connection, &record_text(9102, "cccccc", "warm"), true, "ready").unwrap();
    release_0_1::learn_boot(&connection, 9000, 2_500).unwrap();
    release_0_1::learn_boot(&connection, 9000, 3_500).unwrap();
}

fn version(connection: &Connection) -> u32 {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_ledger_of_0_1_opens_with_all_that_it_holds() {
    let place = Place::new();
    made_by_0_1(&place);
    let opened = place.open(1);
    assert!(!opened.was_empty);
    let expected = [record(9101, "aaaaaa", "idle"), record(9101, "bbbbbb", "gone"), record(9102, "cccccc", "warm")];
    assert_eq!(opened.records, expected);
    assert_eq!(opened.boots[&expected[0].template], [2_500, 3_500].map(Duration::from_millis));
    assert_eq!((opened.run.counter, opened.runs, opened.clock, opened.lent), (1, vec![], None, BTreeSet::new()));
    assert_eq!(opened.unreadable, Vec::<String>::new());
    assert_eq!(opened.ledger.audit_of(&expected[0].name).await.unwrap().len(), 1);
}

#[tokio::test]
async fn release_0_1_opens_our_ledger_and_we_open_what_it_leaves() {
    let place = Place::new();
    let ledger = place.open(1).ledger;
    let commit = Commit {
        lent: LentChanges { added: vec![name("lab-ubuntu-9103-cccccc")], removed: vec![] },
        clock: Some(crate::clock::Clock::system(None).stored()),
        ..upsert(record(9101, "aaaaaa", "busy"))
    };
    ledger.commit(commit).await.unwrap();
    drop(ledger);

    let (mut connection, records) = release_0_1::open(&place.path).unwrap();
    let read: Vec<_> = records.iter().map(|record| (record.name.as_str(), record.vmid, record.life.state)).collect();
    assert_eq!(read, [("lab-ubuntu-9101-aaaaaa", 9101, release_0_1::State::Busy)]);
    release_0_1::put(&mut connection, &record_text(9101, "aaaaaa", "gone"), false, "destroyed").unwrap();
    drop(connection);

    let again = place.open(2);
    assert_eq!(again.records, [record(9101, "aaaaaa", "gone")]);
    assert_eq!((again.run.counter, again.lent.len()), (2, 1));
    assert!(again.clock.is_some());
}

/// Release 0.1 knows no quarantine, and stops the VM.
#[tokio::test]
async fn release_0_1_reads_a_vm_in_quarantine_as_one_that_is_being_stopped() {
    let place = Place::new();
    let ledger = place.open(1).ledger;
    let mut kept = record(9101, "aaaaaa", "stopping");
    kept.life.state = State::Quarantined;
    kept.life.quarantined_until = Some(Timestamp::UNIX_EPOCH);
    kept.life.kept = Some("kept/lab-ubuntu-9101-aaaaaa.log".to_owned());
    ledger.commit(upsert(kept.clone())).await.unwrap();
    drop(ledger);

    let (connection, records) = release_0_1::open(&place.path).unwrap();
    assert_eq!(records[0].life.state, release_0_1::State::Stopping);
    drop(connection);
    assert_eq!(place.open(2).records, [kept]);
}

#[test]
fn a_copy_is_saved_once_before_the_tables_change_and_0_1_opens_it() {
    let place = Place::new();
    made_by_0_1(&place);
    place.open(1);
    let copy = place.beside("before-3");
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let (connection, records) = release_0_1::open(&copy).unwrap();
    assert_eq!((version(&connection), records.len()), (2, 3));
    drop(connection);

    std::fs::remove_file(&copy).unwrap();
    place.open(2);
    assert!(!copy.exists(), "the tables did not change again");
}

#[test]
fn a_new_ledger_needs_no_copy() {
    let place = Place::new();
    place.open(1);
    assert!(!place.beside("before-3").exists());
    assert_eq!(version(&place.database()), 3);
}

#[test]
fn nothing_changes_if_the_copy_cannot_be_saved() {
    let place = Place::new();
    made_by_0_1(&place);
    let obstacle = place.beside("before-3.partial");
    std::fs::create_dir(&obstacle).unwrap();
    let error = Ledger::open(&place.path, RunId::from(1), Mode::Thread).unwrap_err();
    assert!(matches!(&error, LedgerError::Copy { path, .. } if *path == place.beside("before-3")), "{error}");
    let (connection, records) = release_0_1::open(&place.path).unwrap();
    assert_eq!((version(&connection), records.len()), (2, 3));
    drop(connection);

    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(place.open(2).records.len(), 3);
}

#[test]
fn a_copy_that_was_cut_off_is_replaced() {
    let place = Place::new();
    made_by_0_1(&place);
    std::fs::write(place.beside("before-3.partial"), b"half a copy").unwrap();
    place.open(1);
    assert_eq!(release_0_1::open(&place.beside("before-3")).unwrap().1.len(), 3);
    assert!(!place.beside("before-3.partial").exists());
}
