//! The ledger: what this dispatcher is about to do and has done, written down before each outside call, and the audit trail.
//!
//! SQLite with a write-ahead log and full synchronisation: what is written is on disk. It is no truth: PVE says what exists, GitHub
//! what is registered, and a lost ledger is rebuilt from both. It must never hold a secret.

mod schema;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet::{Event, Life, Refused};
use guest::{BootTimes, Booted};
use jiff::{SignedDuration, Timestamp};
use ownership::{RunnerName, Vmid};
use rusqlite::{Connection, Transaction, params};

use fleet::Intent;

/// How long ended VMs are remembered, so that their VMIDs rest and their failures count.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(30);
/// How long the audit trail goes back.
const AUDITED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Why the ledger did not take something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// The database failed.
    #[error("the ledger {} cannot be {doing}", path.display())]
    Database {
        /// `opened`, `written`, …
        doing: &'static str,
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A record cannot be turned into text.
    #[error("a record of the ledger cannot be encoded")]
    Encode(#[source] serde_json::Error),
    /// There is no record of that name.
    #[error("the ledger has no record of {0}")]
    Unknown(RunnerName),
    /// The event came too late.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// One entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditRow {
    /// When.
    pub(crate) at: Timestamp,
    /// State of the VM afterwards.
    pub(crate) state: String,
}

/// The ledger of one dispatcher. The file is locked: a second dispatcher cannot open it.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    inner: Mutex<Inner>,
    /// It had no history when it was opened: more may exist than it knows of.
    pub(crate) was_empty: bool,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    /// All records, as they stand in the database.
    records: BTreeMap<RunnerName, Intent>,
}

impl Ledger {
    /// Opens the ledger, and makes it if need be. A damaged file is put aside and begun anew: losing it is safe.
    ///
    /// # Errors
    /// When the file cannot be used, also when another dispatcher uses it.
    pub(crate) fn open(path: &Path) -> Result<Self, LedgerError> {
        match Self::open_once(path) {
            Err(LedgerError::Database { source, .. }) if is_damage(&source) => {
                tracing::warn!(path = %path.display(), "the ledger is damaged: it is put aside, and what exists is taken over anew");
                put_aside(path);
                Self::open_once(path)
            }
            other => other,
        }
    }

    fn open_once(path: &Path) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::Database { doing: "opened", path: path.to_owned(), source };
        make_private(path);
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(2)).map_err(failed)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        let was_empty = schema::migrate(&mut connection).map_err(failed)?;
        let records = load(&connection).map_err(failed)?;
        Ok(Self { path: path.to_owned(), inner: Mutex::new(Inner { connection, records }), was_empty })
    }

    /// All records, by name.
    pub(crate) fn intents(&self) -> Vec<Intent> {
        self.lock().records.values().cloned().collect()
    }

    /// The record of that name.
    pub(crate) fn intent(&self, name: &RunnerName) -> Option<Intent> {
        self.lock().records.get(name).cloned()
    }

    /// Writes a new record down.
    ///
    /// # Errors
    /// Also when the VMID has a live record already.
    pub(crate) fn add(&self, intent: Intent, why: &str) -> Result<(), LedgerError> {
        let mut inner = self.lock();
        let at = intent.created_at;
        self.write(&mut inner.connection, |transaction| {
            put(transaction, &intent)?;
            audit(transaction, at, &intent, why)
        })?;
        inner.records.insert(intent.name.clone(), intent);
        Ok(())
    }

    /// Writes down what happened to a VM, and returns its life from now on.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when the event does not fit the state: nothing is written then.
    pub(crate) fn note(&self, name: &RunnerName, event: &Event, now: Timestamp) -> Result<Life, LedgerError> {
        let mut inner = self.lock();
        let known = inner.records.get(name).ok_or_else(|| LedgerError::Unknown(name.clone()))?;
        let mut intent = known.clone();
        intent.life = known.life.after(event, now)?;
        intent.retry_at = None;
        if intent.life.reason.is_none() {
            intent.failure = None;
        }
        let event = serde_json::to_string(event).map_err(LedgerError::Encode)?;
        self.write(&mut inner.connection, |transaction| {
            put(transaction, &intent)?;
            audit(transaction, now, &intent, &event)
        })?;
        let life = intent.life.clone();
        inner.records.insert(name.clone(), intent);
        Ok(life)
    }

    /// Lets a VM rest before its next step. Forgotten in a restart, which then tries at once.
    pub(crate) fn postpone(&self, name: &RunnerName, until: Timestamp) {
        if let Some(intent) = self.lock().records.get_mut(name) {
            intent.retry_at = Some(until);
        }
    }

    /// Ends the pauses of all VMs.
    pub(crate) fn hurry(&self) {
        self.lock().records.values_mut().for_each(|intent| intent.retry_at = None);
    }

    /// Keeps the failure of a VM's last step. The next event writes it to disk.
    pub(crate) fn keep_failure(&self, name: &RunnerName, failure: String) {
        if let Some(intent) = self.lock().records.get_mut(name) {
            intent.failure = Some(failure);
        }
    }

    /// Forgets VMs that ended long ago.
    pub(crate) fn forget(&self, now: Timestamp) -> Result<(), LedgerError> {
        let mut inner = self.lock();
        let is_old = |intent: &Intent| !intent.is_live() && now.duration_since(intent.life.since) > REMEMBERED;
        let old: Vec<RunnerName> =
            inner.records.values().filter(|intent| is_old(intent)).map(|intent| intent.name.clone()).collect();
        if old.is_empty() {
            return Ok(());
        }
        self.write(&mut inner.connection, |transaction| {
            for name in &old {
                transaction.execute("DELETE FROM vm WHERE name = ?1", [name.as_str()])?;
            }
            transaction.execute("DELETE FROM audit WHERE at < ?1", [(now - AUDITED).to_string()]).map(drop)
        })?;
        inner.records.retain(|name, _| !old.contains(name));
        Ok(())
    }

    /// The audit trail of one VM, oldest first.
    pub(crate) fn audit_of(&self, name: &RunnerName) -> Result<Vec<AuditRow>, LedgerError> {
        let inner = self.lock();
        let read = || {
            let mut statement =
                inner.connection.prepare_cached("SELECT at, state FROM audit WHERE vm = ?1 ORDER BY number")?;
            let rows = statement.query_map([name.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<(String, String)>>>()
        };
        let rows = read().map_err(|source| self.failed("read", source))?;
        let rows = rows.into_iter().map(|(at, state)| AuditRow { at: at.parse().unwrap_or_default(), state });
        Ok(rows.collect())
    }

    /// Returns the times of the last boots of this template.
    pub(crate) fn boot_times(&self, template: Vmid) -> BootTimes {
        boot_times(&self.lock().connection, template)
    }

    /// Remembers a boot of this template.
    pub(crate) fn learn_boot(&self, template: Vmid, booted: Booted) -> Result<(), LedgerError> {
        let mut inner = self.lock();
        let mut times = boot_times(&inner.connection, template);
        times.learn(booted);
        self.write(&mut inner.connection, |transaction| {
            transaction.execute("DELETE FROM boot WHERE template = ?1", [template.get()])?;
            for took in times.recent() {
                let milliseconds = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
                let query = "INSERT INTO boot (template, milliseconds) VALUES (?1, ?2)";
                transaction.execute(query, params![template.get(), milliseconds])?;
            }
            Ok(())
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(
        &self,
        connection: &mut Connection,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), LedgerError> {
        let written = || {
            let transaction = connection.transaction()?;
            work(&transaction)?;
            transaction.commit()
        };
        written().map_err(|source| self.failed("written", source))
    }

    fn failed(&self, doing: &'static str, source: rusqlite::Error) -> LedgerError {
        LedgerError::Database { doing, path: self.path.clone(), source }
    }
}

/// Names of repositories and jobs are nobody else's business. What cannot be made is reported by the opening that follows.
fn make_private(path: &Path) {
    let _ = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
}

fn load(connection: &Connection) -> rusqlite::Result<BTreeMap<RunnerName, Intent>> {
    let mut statement = connection.prepare("SELECT record FROM vm")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut records = BTreeMap::new();
    for row in rows {
        let record = serde_json::from_str::<Intent>(&row?);
        let record = record
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))?;
        records.insert(record.name.clone(), record);
    }
    Ok(records)
}

fn boot_times(connection: &Connection, template: Vmid) -> BootTimes {
    let read = || {
        let mut statement =
            connection.prepare_cached("SELECT milliseconds FROM boot WHERE template = ?1 ORDER BY number")?;
        let rows = statement.query_map([template.get()], |row| row.get::<_, i64>(0))?;
        rows.collect::<rusqlite::Result<Vec<i64>>>()
    };
    // Without these times the agent is asked too early, which costs little.
    let recent = read().unwrap_or_default().into_iter().filter_map(|milliseconds| u64::try_from(milliseconds).ok());
    BootTimes::from_recent(recent.map(Duration::from_millis).collect())
}

fn put(transaction: &Transaction<'_>, intent: &Intent) -> rusqlite::Result<()> {
    let record =
        serde_json::to_string(intent).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let query = "INSERT INTO vm (name, vmid, live, record) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET live = excluded.live, record = excluded.record";
    transaction.execute(query, params![intent.name.as_str(), intent.vmid.get(), intent.is_live(), record]).map(drop)
}

fn audit(transaction: &Transaction<'_>, at: Timestamp, intent: &Intent, event: &str) -> rusqlite::Result<()> {
    let query = "INSERT INTO audit (at, vm, event, state) VALUES (?1, ?2, ?3, ?4)";
    transaction
        .execute(query, params![at.to_string(), intent.name.as_str(), event, intent.life.state.as_str()])
        .map(drop)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    let unreadable = matches!(error, rusqlite::Error::FromSqlConversionFailure(..));
    unreadable || matches!(code, Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase))
}

fn put_aside(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let from = PathBuf::from(format!("{}{suffix}", path.display()));
        // What is not there need not be moved; what cannot be moved makes the next attempt to open fail, which is reported.
        let _ = std::fs::rename(&from, format!("{}.damaged", from.display()));
    }
}

#[cfg(test)]
mod tests;
