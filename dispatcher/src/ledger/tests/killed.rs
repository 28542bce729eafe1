//! A process that is killed while it writes.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// Path of the ledger for the process that is killed.
const LEDGER: &str = "PXCI_TEST_LEDGER_TO_KILL";
const TEST: &str = "ledger::tests::killed::a_killed_process_loses_at_most_the_commit_under_way";

#[tokio::test]
async fn a_killed_process_loses_at_most_the_commit_under_way() {
    if let Some(path) = std::env::var_os(LEDGER) {
        return commit_until_killed(Path::new(&path)).await;
    }
    let place = Place::new();
    let mut stored = 0;
    // The last round is long enough for checkpoints.
    for (run, lines) in [(1, 1), (2, 2), (3, 25), (4, 400)] {
        let durable = kill_after(&place.path, lines);
        assert!(durable >= stored + lines, "round {run}: {durable} after {stored}");
        stored = check(&place, run, durable);
    }
}

/// Commits numbers that go on from those in the ledger, and prints each one that must outlive the process. Only every other commit
/// is synchronised.
async fn commit_until_killed(path: &Path) {
    let opened = Ledger::open(path, RunId::from(1), Mode::Thread).unwrap();
    for number in written(&opened) + 1.. {
        let busy = record(9101, "aaaaaa", "busy");
        let commit = Commit {
            boots: vec![(busy.template, vec![Duration::from_millis(number)])],
            audit: vec![entry("lab-ubuntu-9101-aaaaaa", &number.to_string(), State::Busy)],
            is_synchronised: number % 2 == 0,
            ..upsert(busy)
        };
        opened.ledger.commit(commit).await.unwrap();
        println!("durable {number}");
    }
}

/// Returns the number of the last commit, which is stored as the time of a boot.
fn written(opened: &Opened) -> u64 {
    let times = opened.boots.values().flatten();
    times.map(|time| u64::try_from(time.as_millis()).unwrap()).max().unwrap_or_default()
}

/// Kills a process that commits after a number of lines. Returns the last number that it printed.
fn kill_after(path: &Path, lines: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(LEDGER, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap()).lines();
    // The first line may continue one of the test harness.
    let mut numbers = output.filter_map(|line| line.unwrap().rsplit_once("durable ")?.1.parse::<u64>().ok());
    let mut last = numbers.by_ref().take(usize::try_from(lines).unwrap()).last();
    child.kill().unwrap();
    last = numbers.last().or(last);
    assert!(!child.wait().unwrap().success());
    last.expect("the process printed a number")
}

/// Compares the ledger with the last number that was printed. Returns the last number in the ledger.
fn check(place: &Place, run: u64, durable: u64) -> u64 {
    let opened = place.open(99);
    let stored = written(&opened);
    assert!(stored == durable || stored == durable + 1, "{stored} is stored, {durable} was printed");
    assert_eq!(opened.records, [record(9101, "aaaaaa", "busy")]);
    assert_eq!(opened.run.counter, 2 * run, "each start is a run");
    drop(opened);
    let database = place.database();
    let query = "SELECT count(*), min(CAST(event AS INTEGER)), max(CAST(event AS INTEGER)) FROM audit";
    let row: (u64, u64, u64) = database
        .query_row(query, [], |row| {
            let number = |column| row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap());
            Ok((number(0)?, number(1)?, number(2)?))
        })
        .unwrap();
    assert_eq!(row, (stored, 1, stored), "each commit is there once, whole");
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    stored
}
