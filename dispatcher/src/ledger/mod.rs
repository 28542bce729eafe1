//! The ledger: the records of all VMs, written before each call to PVE or GitHub, the runs of this dispatcher, and the audit trail.
//!
//! ```text
//! engine ── Commit ──► thread with the connection ──► one transaction, one fsync if asked for ──► engine goes on
//! ```
//!
//! SQLite with a write-ahead log. After [`Ledger::commit`] the data survives the end of the process. After a synchronised commit, it
//! and all earlier data also survive a power loss: the log is one file, so one fsync covers everything before it. After a power loss
//! the database is that of a commit which is not older than the last synchronised one.
//!
//! The ledger is not the truth: PVE knows what exists, GitHub what is registered, and a lost ledger is rebuilt from both. It must
//! never hold a secret, and it never decides: it stores the records that the fleet returns.

mod load;
mod schema;
mod store;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleet::{Intent, State};
use jiff::Timestamp;
use ownership::{Run, RunId, RunnerName, Vmid};

use crate::clock::StoredClock;
#[cfg(feature = "failpoints")]
use crate::failpoint::{self, Action, Side};
use store::Store;
use writer::Writer;

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// The database cannot be opened, also because another dispatcher uses it.
    #[error("the ledger {} cannot be opened", path.display())]
    Open {
        /// File of the database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The database cannot be copied before its tables are changed. It is unchanged.
    #[error("the ledger cannot be copied to {} before its tables are changed", path.display())]
    Copy {
        /// File of the copy.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database cannot be written.
    #[error("the ledger cannot be written")]
    Write(#[from] rusqlite::Error),
    /// The database cannot be read.
    #[cfg(test)]
    #[error("the ledger cannot be read")]
    Read(#[source] rusqlite::Error),
    /// A record has no written form.
    #[error("the record of {vm} cannot be encoded")]
    Encode {
        /// VM of the record.
        vm: RunnerName,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Another live record has the VMID of this one.
    #[error("the record of {vm} cannot be written, because VMID {vmid} has another live record")]
    Occupied {
        /// VM of the refused record.
        vm: RunnerName,
        /// VMID of both records.
        vmid: Vmid,
    },
    /// The ledger's thread cannot be started.
    #[error("the ledger's thread cannot be started")]
    Start(#[source] io::Error),
    /// The ledger's thread has ended, so nothing can be written until the dispatcher restarts.
    #[error("the ledger's thread has ended")]
    Stopped,
}

/// The place where the ledger's work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// On a thread of its own, so that a slow disk delays nothing else.
    Thread,
    /// In the call itself, so that a simulation on virtual time repeats exactly.
    Inline,
}

/// An opened ledger and its contents.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The ledger.
    pub(crate) ledger: Ledger,
    /// Records of all VMs, by name.
    pub(crate) records: Vec<Intent>,
    /// Times of the last boots of each template, oldest first.
    pub(crate) boots: BTreeMap<Vmid, Vec<Duration>>,
    /// Lent VMs that were seen running.
    pub(crate) lent: BTreeSet<RunnerName>,
    /// This start, which is stored already.
    pub(crate) run: Run,
    /// Earlier starts, oldest first. Very old ones are forgotten.
    pub(crate) runs: Vec<Run>,
    /// True if the database had neither records nor an audit trail. More VMs may exist than it knows.
    pub(crate) was_empty: bool,
    /// Names of rows that cannot be read. They stay in the database, and a live one keeps its VMID.
    pub(crate) unreadable: Vec<String>,
    /// The moment that was stored last.
    pub(crate) clock: Option<StoredClock>,
}

/// Changes that are written together or not at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commit {
    /// Records to write, new or changed.
    pub(crate) upserts: Vec<Intent>,
    /// Records to delete.
    pub(crate) forgotten: Vec<RunnerName>,
    /// Entries to add to the audit trail, in order.
    pub(crate) audit: Vec<AuditEntry>,
    /// Times of the last boots of a template, oldest first. They replace the stored ones.
    pub(crate) boots: Vec<(Vmid, Vec<Duration>)>,
    /// Changes of the lent VMs that were seen running.
    pub(crate) lent: LentChanges,
    /// Time before which audit entries are deleted.
    pub(crate) audit_before: Option<Timestamp>,
    /// The present moment.
    pub(crate) clock: Option<StoredClock>,
    /// True if the data must survive a power loss when the commit has ended.
    pub(crate) is_synchronised: bool,
}

impl Commit {
    /// Returns true if there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.upserts.is_empty()
            && self.forgotten.is_empty()
            && self.audit.is_empty()
            && self.boots.is_empty()
            && self.lent.added.is_empty()
            && self.lent.removed.is_empty()
            && self.audit_before.is_none()
            && self.clock.is_none()
    }
}

/// Changes of the lent VMs that were seen running.
#[derive(Debug, Clone, Default)]
pub(crate) struct LentChanges {
    /// Names to add.
    pub(crate) added: Vec<RunnerName>,
    /// Names to remove.
    pub(crate) removed: Vec<RunnerName>,
}

/// An entry to add to the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditEntry {
    /// Time of the event.
    pub(crate) at: Timestamp,
    /// VM that it happened to.
    pub(crate) vm: RunnerName,
    /// The event, free of secrets.
    pub(crate) event: String,
    /// State of the VM afterwards.
    pub(crate) state: State,
}

/// An entry of the audit trail, as it is stored.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditRow {
    /// Time of the event.
    pub(crate) at: Timestamp,
    /// State of the VM afterwards. An older release may have used another word.
    pub(crate) state: String,
}

/// The ledger of one dispatcher. Its file is locked: a second dispatcher cannot open it. Closed when dropped.
#[derive(Debug)]
pub(crate) struct Ledger {
    writer: Writer,
    commits: AtomicU64,
    synchronised: AtomicU64,
}

impl Ledger {
    /// Opens the ledger, or makes it if it does not exist, and stores the run. A damaged file is put aside: losing it is safe.
    ///
    /// # Errors
    /// When the file cannot be used, also when another dispatcher uses it.
    pub(crate) fn open(path: &Path, run_id: RunId, mode: Mode) -> Result<Opened, LedgerError> {
        let (store, contents) = Store::open(path)?;
        let run = store.start_run(run_id, contents.last_counter)?;
        for row in &contents.unreadable {
            tracing::warn!(row, path = %path.display(), "a row of the ledger cannot be read and is left alone");
        }
        let writer = match mode {
            Mode::Thread => Writer::thread(store).map_err(LedgerError::Start)?,
            Mode::Inline => Writer::inline(store),
        };
        Ok(Opened {
            ledger: Self { writer, commits: AtomicU64::new(0), synchronised: AtomicU64::new(0) },
            records: contents.records,
            boots: contents.boots,
            lent: contents.lent,
            run,
            runs: contents.runs,
            was_empty: contents.was_empty,
            unreadable: contents.unreadable,
            clock: contents.clock,
        })
    }

    /// Writes all changes in one transaction, in this order: deletions, ended records, live records, all else. A VMID may
    /// therefore change from one record to another in one commit. An empty commit does nothing.
    ///
    /// A commit is also carried out if this call is dropped before it ends.
    ///
    /// # Errors
    /// Nothing of the commit is visible, now or to a later commit. Only if the disk failed in the final fsync, and the process is
    /// killed before the next commit, a restart may find the whole commit. Records are written before the calls that they
    /// describe, so this is safe.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<(), LedgerError> {
        if commit.is_empty() {
            return Ok(());
        }
        #[cfg(feature = "failpoints")]
        let actions = Action::of_commit(&commit.upserts);
        #[cfg(feature = "failpoints")]
        failpoint::reach_each(&actions, Side::Before);
        let is_synchronised = commit.is_synchronised;
        self.writer.run(move |store| store.write(&commit)).await??;
        #[cfg(feature = "failpoints")]
        failpoint::reach_each(&actions, Side::After);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.synchronised.fetch_add(u64::from(is_synchronised), Ordering::Relaxed);
        Ok(())
    }

    /// Returns the audit trail of one VM, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    #[cfg(test)]
    pub(crate) async fn audit_of(&self, name: &RunnerName) -> Result<Vec<AuditRow>, LedgerError> {
        let name = name.clone();
        self.writer.run(move |store| store.audit_of(&name)).await?
    }

    /// Returns the number of successful commits since the start.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Returns the number of those that were synchronised, each with one fsync. SQLite makes three more for each thousand pages,
    /// when it copies the log into the database.
    pub(crate) fn synchronised_commits(&self) -> u64 {
        self.synchronised.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
