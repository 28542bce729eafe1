//! The open database: one connection, and the statements that write.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet::Intent;
#[cfg(test)]
use jiff::Timestamp;
#[cfg(test)]
use ownership::RunnerName;
use ownership::{Run, RunId, Vmid};
use rusqlite::{Connection, ErrorCode, Transaction, params};

#[cfg(test)]
use super::AuditRow;
use super::load::{self, Contents};
use super::{AuditEntry, Commit, LedgerError, schema};
use crate::clock::StoredClock;

/// Number of runs that are remembered. A marker of an older run counts as unknown, as it does after a lost ledger, which is safe.
const REMEMBERED_RUNS: u64 = 4_096;

/// The connection to the database.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    connection: Connection,
    /// True if commits of the connection end with an fsync.
    synchronises: bool,
}

impl Store {
    /// Opens the database, which is made if need be. A damaged one is put aside and replaced.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents), LedgerError> {
        match Self::open_once(path) {
            Err(LedgerError::Open { source, .. }) if is_damage(&source) => {
                tracing::warn!(
                    path = %path.display(),
                    error = %source,
                    "the ledger is damaged: it is put aside, and the VMs that exist are adopted"
                );
                put_aside(path);
                Self::open_once(path)
            }
            other => other,
        }
    }

    fn open_once(path: &Path) -> Result<(Self, Contents), LedgerError> {
        let failed = |source| LedgerError::Open { path: path.to_owned(), source };
        // A file that cannot be made is reported by the opening that follows.
        let _ = make_private(path);
        let mut connection = connect(path).map_err(failed)?;
        schema::migrate(&mut connection, path)?;
        let contents = load::contents(&connection).map_err(failed)?;
        Ok((Self { path: path.to_owned(), connection, synchronises: true }, contents))
    }

    /// Stores the start of this process, and returns it.
    pub(super) fn start_run(&self, id: RunId, last_counter: u64) -> Result<Run, LedgerError> {
        let run = Run { counter: last_counter.saturating_add(1), id };
        let oldest = run.counter.saturating_sub(REMEMBERED_RUNS);
        let written = || {
            let transaction = self.connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM run WHERE counter < ?1", [number(oldest)])?;
            transaction.execute("INSERT INTO run VALUES (?1, ?2)", params![number(run.counter), id.to_string()])?;
            transaction.commit()
        };
        written().map_err(|source| LedgerError::Open { path: self.path.clone(), source })?;
        Ok(run)
    }

    /// Writes all changes of a commit, or none.
    pub(super) fn write(&mut self, commit: &Commit) -> Result<(), LedgerError> {
        self.synchronise(commit.is_synchronised)?;
        let transaction = self.connection.transaction()?;
        for name in &commit.forgotten {
            transaction.prepare_cached("DELETE FROM vm WHERE name = ?1")?.execute([name.as_str()])?;
        }
        // An ended record first, because it may free the VMID of a live one.
        let (live, ended): (Vec<&Intent>, Vec<&Intent>) = commit.upserts.iter().partition(|record| record.is_live());
        ended.into_iter().chain(live).try_for_each(|record| put(&transaction, record))?;
        commit.audit.iter().try_for_each(|entry| add_audit(&transaction, entry))?;
        for (template, times) in &commit.boots {
            replace_boots(&transaction, *template, times)?;
        }
        for name in &commit.lent.added {
            transaction.prepare_cached("INSERT OR IGNORE INTO lent VALUES (?1)")?.execute([name.as_str()])?;
        }
        for name in &commit.lent.removed {
            transaction.prepare_cached("DELETE FROM lent WHERE name = ?1")?.execute([name.as_str()])?;
        }
        if let Some(before) = commit.audit_before {
            transaction.prepare_cached("DELETE FROM audit WHERE at < ?1")?.execute([before.to_string()])?;
        }
        if let Some(clock) = &commit.clock {
            put_clock(&transaction, clock)?;
        }
        Ok(transaction.commit()?)
    }

    /// Chooses whether commits end with an fsync of the write-ahead log (<https://www.sqlite.org/pragma.html#pragma_synchronous>).
    fn synchronise(&mut self, synchronises: bool) -> rusqlite::Result<()> {
        if self.synchronises != synchronises {
            self.connection.pragma_update(None, "synchronous", if synchronises { "FULL" } else { "NORMAL" })?;
            self.synchronises = synchronises;
        }
        Ok(())
    }

    /// Returns the audit trail of one VM, oldest first.
    #[cfg(test)]
    pub(super) fn audit_of(&self, name: &RunnerName) -> Result<Vec<AuditRow>, LedgerError> {
        let read = || {
            let mut statement =
                self.connection.prepare_cached("SELECT at, state FROM audit WHERE vm = ?1 ORDER BY number")?;
            let rows = statement.query_map([name.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<(String, String)>>>()
        };
        let rows = read().map_err(LedgerError::Read)?.into_iter();
        // A time that cannot be read shows as the epoch in the log line that is made from it.
        Ok(rows.map(|(at, state)| AuditRow { at: at.parse().unwrap_or(Timestamp::UNIX_EPOCH), state }).collect())
    }
}

/// Makes the file, which holds names of repositories and jobs, readable by its owner only.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn put_aside(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut from = path.as_os_str().to_owned();
        from.push(suffix);
        let from = PathBuf::from(from);
        // A file that does not exist need not be moved. If a move fails, the next opening fails and reports it.
        let _ = std::fs::rename(&from, schema::beside(&from, "damaged"));
    }
}

fn put(transaction: &Transaction<'_>, record: &Intent) -> Result<(), LedgerError> {
    let text = serde_json::to_string(&record.to_stored())
        .map_err(|source| LedgerError::Encode { vm: record.name.clone(), source })?;
    let query = "INSERT INTO vm (name, vmid, live, record) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET vmid = excluded.vmid, live = excluded.live, record = excluded.record";
    let values = params![record.name.as_str(), record.vmid.get(), record.is_live(), text];
    match transaction.prepare_cached(query)?.execute(values) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(LedgerError::Occupied { vm: record.name.clone(), vmid: record.vmid })
        }
        other => Ok(other.map(drop)?),
    }
}

fn add_audit(transaction: &Transaction<'_>, entry: &AuditEntry) -> rusqlite::Result<()> {
    let query = "INSERT INTO audit (at, vm, event, state) VALUES (?1, ?2, ?3, ?4)";
    let values = params![entry.at.to_string(), entry.vm.as_str(), entry.event, entry.state.as_str()];
    transaction.prepare_cached(query)?.execute(values).map(drop)
}

fn replace_boots(transaction: &Transaction<'_>, template: Vmid, times: &[Duration]) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM boot WHERE template = ?1")?.execute([template.get()])?;
    let mut insert = transaction.prepare_cached("INSERT INTO boot (template, milliseconds) VALUES (?1, ?2)")?;
    times.iter().try_for_each(|took| insert.execute(params![template.get(), number(took.as_millis())]).map(drop))
}

fn put_clock(transaction: &Transaction<'_>, clock: &StoredClock) -> rusqlite::Result<()> {
    let query = "INSERT OR REPLACE INTO clock VALUES (1, ?1, ?2, ?3, ?4)";
    let boottime = number(clock.boottime.as_nanos());
    let values = params![clock.fleet.to_string(), clock.wall.to_string(), boottime, clock.boot_id];
    transaction.prepare_cached(query)?.execute(values).map(drop)
}

/// Returns the number as SQLite stores it. The ledger has no number that is too large.
fn number(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
