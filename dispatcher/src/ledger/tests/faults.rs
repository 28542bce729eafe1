//! Disks that do not take what is written.
//!
//! Each test runs a second time in a process of its own, most of them in a user and mount namespace with a small file system.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use error_chain::Chain;
use futures::executor::block_on;
use rusqlite::ErrorCode;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::*;

/// The small file system, for the process that runs on it.
const DIRECTORY: &str = "PXCI_TEST_SMALL_FILE_SYSTEM";
/// Path of the ledger, for the process that may not write after a while.
const LEDGER: &str = "PXCI_TEST_LEDGER_TO_MAKE_READ_ONLY";
/// A write beyond a file's permitted size is an error then, and does not kill the process.
const MOUNT_AND_RUN: &str = r#"mount -t tmpfs -o size=4m,mode=0700 tmpfs "$1"; shift; trap '' XFSZ; exec "$@""#;
/// Fails all writes but those to stdout and stderr with `EROFS`, the error of a file system that the kernel made read-only.
const READ_ONLY: &str = r#"{"all": {"mismatch_action": "allow", "match_action": {"errno": 30}, "filter": [
    {"syscall": "write", "args": [{"index": 0, "type": "dword", "op": "gt", "val": 2}]},
    {"syscall": "pwrite64"}, {"syscall": "pwritev"}, {"syscall": "ftruncate"}, {"syscall": "fallocate"}
]}}"#;
/// Fails all fsyncs with `EIO`.
const NO_FSYNC: &str = r#"{"all": {"mismatch_action": "allow", "match_action": {"errno": 5}, "filter": [
    {"syscall": "fsync"}, {"syscall": "fdatasync"}
]}}"#;

/// Returns the path of a ledger on a small file system. Outside of one, runs the named test of this module on one and returns `None`.
fn on_small_file_system(test: &str) -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return Some(Path::new(&directory).join("ledger.sqlite"));
    }
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "--", "sh", "-euc", MOUNT_AND_RUN, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .env(DIRECTORY, directory.path());
    run_again(&mut command, test);
    None
}

/// Runs a command that ends with the program of these tests, for the named test of this module, which must succeed.
fn run_again(command: &mut Command, test: &str) {
    let output = command.args(["--exact", &format!("ledger::tests::faults::{test}"), "--nocapture"]).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{}\n{text}", output.status);
}

/// A ledger, and the records that it accepted.
struct Written {
    ledger: Ledger,
    accepted: Vec<String>,
    next: u32,
}

impl Written {
    fn open(path: &Path) -> Self {
        let opened = Ledger::open(path, RunId::from(1), Mode::Thread).unwrap();
        Self { ledger: opened.ledger, accepted: Vec::new(), next: 1000 }
    }

    /// Commits a further record.
    fn commit(&mut self) -> Result<(), LedgerError> {
        let record = record(self.next, "aaaaaa", "idle");
        self.next += 1;
        let name = record.name.to_string();
        let audit = vec![entry(&name, "armed", State::Idle)];
        block_on(self.ledger.commit(Commit { audit, ..upsert(record) }))?;
        self.accepted.push(name);
        Ok(())
    }

    fn commit_some(&mut self) {
        (0..5).for_each(|_| self.commit().unwrap());
    }

    /// Commits until an error comes, and some more that must fail in the same way.
    fn commit_until_it_fails(&mut self) -> LedgerError {
        let first = (0..2_000).find_map(|_| self.commit().err()).expect("no commit failed");
        let commits = self.ledger.commits();
        for _ in 0..20 {
            let next = self.commit().unwrap_err();
            assert_eq!(Chain(&next).to_string(), Chain(&first).to_string());
        }
        assert_eq!(self.ledger.commits(), commits, "a failed commit does not count");
        first
    }

    /// Closes the ledger, opens it again, and compares it with what was accepted.
    fn check(self, path: &Path) {
        drop(self.ledger);
        check(path, &self.accepted);
    }
}

/// Checks that the ledger has the records with their audit rows, and no others.
fn check(path: &Path, accepted: &[String]) {
    let opened = Ledger::open(path, RunId::from(2), Mode::Thread).unwrap();
    assert_eq!(names(&opened.records), accepted);
    drop(opened);
    let database = Connection::open(path).unwrap();
    let mut statement = database.prepare("SELECT vm FROM audit ORDER BY number").unwrap();
    let audited: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(audited, accepted);
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

fn code(error: &LedgerError) -> Option<ErrorCode> {
    match error {
        LedgerError::Write(source) | LedgerError::Open { source, .. } => source.sqlite_error_code(),
        _ => None,
    }
}

/// Fills the file system with a file.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
}

#[test]
fn commits_fail_while_the_disk_is_full_and_nothing_that_was_written_is_lost() {
    let test = "commits_fail_while_the_disk_is_full_and_nothing_that_was_written_is_lost";
    let Some(path) = on_small_file_system(test) else { return };
    let ballast = path.with_file_name("ballast");
    let mut written = Written::open(&path);
    for _ in 0..3 {
        written.commit_some();
        fill(&ballast);
        let error = written.commit_until_it_fails();
        assert_eq!(code(&error), Some(ErrorCode::DiskFull));
        let text = Chain(&error).to_string();
        assert!(text.contains("the ledger cannot be written") && text.contains("full"), "{text}");
        let readable = block_on(written.ledger.audit_of(&name(&written.accepted[0]))).unwrap();
        assert_eq!(readable.len(), 1);
        fs::remove_file(&ballast).unwrap();
        written.commit_some();
    }
    written.check(&path);
}

#[test]
fn a_start_on_a_full_disk_is_refused_and_nothing_that_was_written_is_lost() {
    let test = "a_start_on_a_full_disk_is_refused_and_nothing_that_was_written_is_lost";
    let Some(path) = on_small_file_system(test) else { return };
    let ballast = path.with_file_name("ballast");
    let mut written = Written::open(&path);
    written.commit_some();
    let accepted = written.accepted;
    drop(written.ledger);
    fill(&ballast);
    let error = Ledger::open(&path, RunId::from(3), Mode::Thread).unwrap_err();
    assert_eq!(code(&error), Some(ErrorCode::DiskFull));
    assert!(!schema::beside(&path, "damaged").exists());
    fs::remove_file(&ballast).unwrap();
    check(&path, &accepted);
}

#[test]
fn a_commit_whose_write_comes_short_leaves_nothing_behind() {
    let Some(path) = on_small_file_system("a_commit_whose_write_comes_short_leaves_nothing_behind") else { return };
    let log = PathBuf::from(format!("{}-wal", path.display()));
    let mut written = Written::open(&path);
    written.commit_some();
    // Within the header of the first page, at its end, within that page, and within later ones.
    for part in [1, 23, 24, 25, 1_000, 4_119, 4_120, 4_121, 9_000] {
        let limit = log.metadata().unwrap().len() + part;
        setrlimit(Resource::Fsize, Rlimit { current: Some(limit), maximum: None }).unwrap();
        let error = written.commit().unwrap_err();
        assert_eq!(code(&error), Some(ErrorCode::SystemIoFailure), "{part}");
        assert_eq!(log.metadata().unwrap().len(), limit, "a part was written");
        setrlimit(Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
        written.commit().unwrap();
    }
    written.check(&path);
}

#[test]
fn commits_fail_on_a_file_system_that_became_read_only_and_nothing_that_was_written_is_lost() {
    let test = "commits_fail_on_a_file_system_that_became_read_only_and_nothing_that_was_written_is_lost";
    if let Some(path) = std::env::var_os(LEDGER) {
        return write_until_read_only(Path::new(&path));
    }
    let place = Place::new();
    // Nothing lifts the filter from a process, so another one checks the ledger.
    run_again(Command::new(std::env::current_exe().unwrap()).env(LEDGER, &place.path), test);
    check(&place.path, &(1_000..1_005).map(|vmid| format!("lab-ubuntu-{vmid}-aaaaaa")).collect::<Vec<_>>());
}

/// Puts a filter on all calls of this process to the kernel.
fn filter(text: &str) {
    let programs = seccompiler::compile_from_json(text.as_bytes(), std::env::consts::ARCH.try_into().unwrap());
    seccompiler::apply_filter_all_threads(&programs.unwrap()["all"]).unwrap();
}

fn write_until_read_only(path: &Path) {
    let mut written = Written::open(path);
    written.commit_some();
    filter(READ_ONLY);
    let error = written.commit_until_it_fails();
    assert_eq!(code(&error), Some(ErrorCode::SystemIoFailure));
    drop(written.ledger);
    let error = Ledger::open(path, RunId::from(3), Mode::Thread).unwrap_err();
    assert!(matches!(&error, LedgerError::Open { .. }), "{error}");
    assert!(!schema::beside(path, "damaged").exists());
}

#[test]
fn a_start_on_a_read_only_file_system_is_refused_and_nothing_that_was_written_is_lost() {
    let test = "a_start_on_a_read_only_file_system_is_refused_and_nothing_that_was_written_is_lost";
    let Some(path) = on_small_file_system(test) else { return };
    let remount = |option: &str| {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{option}")]).arg(path.parent().unwrap()).output().unwrap()
    };
    let mut written = Written::open(&path);
    written.commit_some();
    let refused = remount("ro");
    assert!(!refused.status.success(), "the kernel remounts no file system with files that are open for writing");
    written.commit_some();
    let accepted = written.accepted;
    drop(written.ledger);

    assert!(remount("ro").status.success());
    let error = Ledger::open(&path, RunId::from(3), Mode::Thread).unwrap_err();
    assert!(error.to_string().ends_with("ledger.sqlite cannot be opened"), "{error}");
    assert!(!schema::beside(&path, "damaged").exists());
    assert!(remount("rw").status.success());
    check(&path, &accepted);
}

#[test]
fn only_a_synchronised_commit_makes_an_fsync() {
    let test = "only_a_synchronised_commit_makes_an_fsync";
    let Some(path) = std::env::var_os(LEDGER) else {
        let place = Place::new();
        run_again(Command::new(std::env::current_exe().unwrap()).env(LEDGER, &place.path), test);
        // Without the fsync of the third commit, a restart may find it.
        return assert_eq!(
            place.open(2).records[..2],
            [record(1_000, "aaaaaa", "idle"), record(1_001, "aaaaaa", "idle")]
        );
    };
    let ledger = Ledger::open(Path::new(&path), RunId::from(1), Mode::Thread).unwrap().ledger;
    let commit = |vmid, is_synchronised| {
        block_on(ledger.commit(Commit { is_synchronised, ..upsert(record(vmid, "aaaaaa", "idle")) }))
    };
    commit(1_000, true).unwrap();
    filter(NO_FSYNC);
    commit(1_001, false).unwrap();
    assert_eq!(code(&commit(1_002, true).unwrap_err()), Some(ErrorCode::SystemIoFailure));
    assert_eq!((ledger.commits(), ledger.synchronised_commits()), (2, 1));
}
