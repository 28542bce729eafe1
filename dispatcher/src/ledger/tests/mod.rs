mod faults;
mod killed;
mod migrations;
mod release_0_1;
mod rows;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn name(text: &str) -> RunnerName {
    text.parse().unwrap()
}

/// Returns the text of a record as release 0.1 writes it.
fn record_text(vmid: u32, nonce: &str, state: &str) -> String {
    format!(
        concat!(
            r#"{{"name":"lab-ubuntu-{vmid}-{nonce}","pool":"ubuntu","vmid":{vmid},"node":"pve1","template":9000,"resource_pool":"ci","#,
            r#""created_at":"2027-01-15T08:00:00Z","life":{{"state":"{state}","since":"2027-01-15T08:00:01Z","#,
            r#""repository":"acme/tools","runner_id":7,"armed_at":"2027-01-15T08:00:01Z","busy_at":null,"job":null,"#,
            r#""job_over_at":null,"ended_at":null,"negative_at":null,"reason":null}}}}"#,
        ),
        vmid = vmid,
        nonce = nonce,
        state = state
    )
}

fn record(vmid: u32, nonce: &str, state: &str) -> Intent {
    serde_json::from_str(&record_text(vmid, nonce, state)).unwrap()
}

fn names(records: &[Intent]) -> Vec<&str> {
    records.iter().map(|record| record.name.as_str()).collect()
}

fn upsert(record: Intent) -> Commit {
    Commit { upserts: vec![record], is_synchronised: true, ..Commit::default() }
}

fn entry(vm: &str, event: &str, state: State) -> AuditEntry {
    AuditEntry { at: at(1), vm: name(vm), event: event.to_owned(), state }
}

/// A directory with the path of a ledger.
struct Place {
    _directory: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.sqlite");
        Self { _directory: directory, path }
    }

    fn open(&self, run: u32) -> Opened {
        Ledger::open(&self.path, RunId::from(run), Mode::Thread).unwrap()
    }

    /// Returns the path of a file beside the ledger.
    fn beside(&self, suffix: &str) -> PathBuf {
        schema::beside(&self.path, suffix)
    }

    /// Opens the database without the ledger.
    fn database(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }
}

#[tokio::test]
async fn everything_that_is_written_is_there_after_a_restart() {
    let place = Place::new();
    let opened = place.open(1);
    assert!(opened.was_empty && opened.records.is_empty() && opened.clock.is_none());
    let idle = record(9101, "aaaaaa", "idle");
    let clock = StoredClock {
        fleet: at(5),
        wall: at(9),
        boottime: Duration::new(77, 123_456_789),
        boot_id: Some("5f1c".to_owned()),
    };
    let commit = Commit {
        upserts: vec![idle.clone(), record(9102, "bbbbbb", "gone")],
        audit: vec![entry("lab-ubuntu-9101-aaaaaa", "armed", State::Idle)],
        boots: vec![(idle.template, [3, 4].map(Duration::from_secs).to_vec())],
        lent: LentChanges {
            added: vec![name("lab-ubuntu-9103-cccccc"), name("lab-ubuntu-9104-dddddd")],
            removed: vec![],
        },
        clock: Some(clock.clone()),
        ..Commit::default()
    };
    opened.ledger.commit(commit).await.unwrap();
    let removal = LentChanges { added: vec![], removed: vec![name("lab-ubuntu-9104-dddddd")] };
    opened.ledger.commit(Commit { lent: removal, ..Commit::default() }).await.unwrap();
    drop(opened);

    let again = place.open(2);
    assert!(!again.was_empty && again.unreadable.is_empty());
    assert_eq!(again.records, [idle.clone(), record(9102, "bbbbbb", "gone")]);
    assert_eq!(again.boots, BTreeMap::from([(idle.template, [3, 4].map(Duration::from_secs).to_vec())]));
    assert_eq!(again.lent, BTreeSet::from([name("lab-ubuntu-9103-cccccc")]));
    assert_eq!(again.clock, Some(clock));
    let trail = again.ledger.audit_of(&idle.name).await.unwrap();
    assert_eq!(trail, [AuditRow { at: at(1), state: "idle".to_owned() }]);
}

#[tokio::test]
async fn both_modes_write_the_same_and_count_their_commits() {
    for mode in [Mode::Thread, Mode::Inline] {
        let place = Place::new();
        let opened = Ledger::open(&place.path, RunId::from(1), mode).unwrap();
        opened.ledger.commit(Commit::default()).await.unwrap();
        assert_eq!(opened.ledger.commits(), 0, "an empty commit needs no fsync");
        opened.ledger.commit(upsert(record(9101, "aaaaaa", "idle"))).await.unwrap();
        let busy = upsert(record(9101, "aaaaaa", "busy"));
        opened.ledger.commit(Commit { is_synchronised: false, ..busy }).await.unwrap();
        assert_eq!((opened.ledger.commits(), opened.ledger.synchronised_commits()), (2, 1));
        drop(opened);
        assert_eq!(place.open(2).records, [record(9101, "aaaaaa", "busy")], "{mode:?}");
    }
}

#[tokio::test]
async fn forgotten_records_and_old_audit_entries_are_deleted() {
    let place = Place::new();
    let ledger = place.open(1).ledger;
    let vm = "lab-ubuntu-9101-aaaaaa";
    let audit = [1, 2, 3].map(|second| AuditEntry { at: at(second), ..entry(vm, "event", State::Gone) }).to_vec();
    ledger.commit(Commit { audit, ..upsert(record(9101, "aaaaaa", "gone")) }).await.unwrap();
    let commit = Commit { forgotten: vec![name(vm)], audit_before: Some(at(3)), ..Commit::default() };
    ledger.commit(commit).await.unwrap();
    let trail = ledger.audit_of(&name(vm)).await.unwrap();
    assert_eq!(trail.iter().map(|row| row.at).collect::<Vec<_>>(), [at(3)]);
    drop(ledger);
    assert!(place.open(2).records.is_empty());
}

#[tokio::test]
async fn a_second_live_record_of_a_vmid_is_refused_with_the_whole_commit() {
    let place = Place::new();
    let ledger = place.open(1).ledger;
    ledger.commit(upsert(record(9101, "aaaaaa", "idle"))).await.unwrap();
    let commit = Commit {
        upserts: vec![record(9102, "cccccc", "idle"), record(9101, "bbbbbb", "reserved")],
        audit: vec![entry("lab-ubuntu-9102-cccccc", "reserved", State::Reserved)],
        ..Commit::default()
    };
    let error = ledger.commit(commit).await.unwrap_err();
    assert!(
        matches!(&error, LedgerError::Occupied { vm, vmid } if vm.as_str() == "lab-ubuntu-9101-bbbbbb" && vmid.get() == 9101)
    );
    assert_eq!(ledger.audit_of(&name("lab-ubuntu-9102-cccccc")).await.unwrap(), []);
    assert_eq!(ledger.commits(), 1);
    drop(ledger);
    assert_eq!(names(&place.open(2).records), ["lab-ubuntu-9101-aaaaaa"]);
}

#[tokio::test]
async fn a_vmid_changes_from_an_ended_record_to_a_new_one_in_one_commit_in_any_order() {
    let place = Place::new();
    let ledger = place.open(1).ledger;
    ledger.commit(upsert(record(9101, "aaaaaa", "idle"))).await.unwrap();
    let upserts = vec![record(9101, "bbbbbb", "reserved"), record(9101, "aaaaaa", "gone")];
    ledger.commit(Commit { upserts, ..Commit::default() }).await.unwrap();
    let forgotten = vec![name("lab-ubuntu-9101-bbbbbb")];
    ledger.commit(Commit { forgotten, ..upsert(record(9101, "cccccc", "reserved")) }).await.unwrap();
    drop(ledger);
    assert_eq!(names(&place.open(2).records), ["lab-ubuntu-9101-aaaaaa", "lab-ubuntu-9101-cccccc"]);
}

#[test]
fn each_start_is_a_run_with_the_next_counter() {
    let place = Place::new();
    let first = place.open(0xa).run;
    let second = place.open(0xb);
    assert_eq!((first.counter, second.run), (1, Run { counter: 2, id: RunId::from(0xb) }));
    assert_eq!(second.runs, [first]);
    assert!(second.was_empty, "a start alone is not a history");
}

#[test]
fn very_old_runs_are_forgotten_and_the_counter_goes_on() {
    let place = Place::new();
    place.open(1);
    let insert = "WITH RECURSIVE c (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM c WHERE n < 5000)
                  INSERT INTO run SELECT n, '0000000a' FROM c";
    place.database().execute(insert, []).unwrap();
    assert_eq!(place.open(2).run.counter, 5_001);
    let last = place.open(3);
    let kept = (last.runs[0].counter, last.runs[last.runs.len() - 1].counter, last.run.counter);
    assert_eq!(kept, (905, 5_001, 5_002));
}

#[test]
fn a_second_dispatcher_cannot_open_it() {
    let place = Place::new();
    let first = place.open(1);
    let error = Ledger::open(&place.path, RunId::from(2), Mode::Thread).unwrap_err();
    assert!(error.to_string().ends_with("ledger.sqlite cannot be opened"), "{error}");
    drop(first);
    assert_eq!(place.open(3).run.counter, 2, "the refused start is not a run");
}

#[test]
fn only_its_owner_can_read_it() {
    let place = Place::new();
    let _opened = place.open(1);
    for file in [place.path.clone(), PathBuf::from(format!("{}-wal", place.path.display()))] {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_thread_that_panicked_is_an_error_and_what_was_written_is_kept() {
    let place = Place::new();
    let ledger = place.open(1).ledger;
    ledger.commit(upsert(record(9101, "aaaaaa", "idle"))).await.unwrap();
    let panicked = ledger.writer.run(|_| panic!("a job of this test panics")).await;
    assert!(matches!(panicked, Err(LedgerError::Stopped)));
    let error = ledger.commit(upsert(record(9102, "bbbbbb", "idle"))).await.unwrap_err();
    assert_eq!(error.to_string(), "the ledger's thread has ended");
    assert_eq!(ledger.commits(), 1);
    drop(ledger);
    assert_eq!(names(&place.open(2).records), ["lab-ubuntu-9101-aaaaaa"]);
}

#[tokio::test]
async fn a_commit_is_carried_out_if_its_caller_stops_waiting() {
    let place = Place::new();
    let ledger = place.open(1).ledger;
    let mut commit = Box::pin(ledger.commit(upsert(record(9101, "aaaaaa", "idle"))));
    // One poll sends it to the thread.
    let _ = futures::poll!(&mut commit);
    drop(commit);
    drop(ledger);
    assert_eq!(names(&place.open(2).records), ["lab-ubuntu-9101-aaaaaa"]);
}
