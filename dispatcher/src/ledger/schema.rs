//! The tables of the ledger. Each script brings a database from one `user_version` to the next.
//!
//! Since release 0.1, which knows the first two scripts, a script only adds tables. That release therefore opens a database of ours.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::LedgerError;
use super::store::make_private;

const MIGRATIONS: [&str; 3] = [
    // One live record at most for each VMID; ended ones are kept for a while, so that VMIDs rest.
    "CREATE TABLE vm (
        name TEXT PRIMARY KEY,
        vmid INTEGER NOT NULL,
        live INTEGER NOT NULL,
        record TEXT NOT NULL
     ) STRICT;
     CREATE UNIQUE INDEX one_live_vm_per_vmid ON vm (vmid) WHERE live = 1;
     CREATE TABLE audit (
        number INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        vm TEXT NOT NULL,
        event TEXT NOT NULL,
        state TEXT NOT NULL
     ) STRICT;
     CREATE INDEX audit_of_vm ON audit (vm, number);
     CREATE TABLE boot_time (
        template INTEGER PRIMARY KEY,
        milliseconds INTEGER NOT NULL
     ) STRICT;",
    // The old table held one number for each template, which counted the start.
    "DROP TABLE boot_time;
     CREATE TABLE boot (
        number INTEGER PRIMARY KEY,
        template INTEGER NOT NULL,
        milliseconds INTEGER NOT NULL
     ) STRICT;
     CREATE INDEX boot_of_template ON boot (template, number);",
    // The moment of the last commit is one row.
    "CREATE TABLE run (
        counter INTEGER PRIMARY KEY,
        id TEXT NOT NULL
     ) STRICT;
     CREATE TABLE lent (
        name TEXT PRIMARY KEY
     ) STRICT;
     CREATE TABLE clock (
        number INTEGER PRIMARY KEY CHECK (number = 1),
        fleet TEXT NOT NULL,
        wall TEXT NOT NULL,
        boottime_nanoseconds INTEGER NOT NULL,
        boot_id TEXT
     ) STRICT;",
];

/// Brings the database at `path` to the newest version. Before an existing one is changed, a copy is saved beside it.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    let failed = |source| LedgerError::Open { path: path.to_owned(), source };
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let missing = || (1_u32..).zip(MIGRATIONS).filter(|(next, _)| *next > version);
    if let Some((last, _)) = missing().last().filter(|_| version > 0) {
        save_copy(connection, &beside(path, &format!("before-{last}")))?;
    }
    for (next, script) in missing() {
        run(connection, next, script).map_err(failed)?;
    }
    Ok(())
}

fn run(connection: &mut Connection, version: u32, script: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(script)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

/// Copies the database to `target`, which is complete and on disk or does not exist.
fn save_copy(connection: &Connection, target: &Path) -> Result<(), LedgerError> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| LedgerError::Copy { path: target.to_owned(), source };
    let partial = beside(target, "partial");
    // A file of SQLite's must not be read directly: closing it would release the lock on the database.
    let written = prepare(&partial).map_err(Into::into).and_then(|()| {
        let name = ToSqlOutput::Borrowed(ValueRef::Text(partial.as_os_str().as_bytes()));
        connection.execute("VACUUM INTO ?1", [name]).map_err(Into::into)
    });
    written.and_then(|_| put_in_place(&partial, target).map_err(Into::into)).map_err(failed)
}

/// Makes the file, private and empty.
fn prepare(partial: &Path) -> io::Result<()> {
    if partial.exists() {
        fs::remove_file(partial)?;
    }
    make_private(partial)
}

/// SQLite does not synchronise what `VACUUM INTO` writes (<https://www.sqlite.org/lang_vacuum.html>).
fn put_in_place(partial: &Path, target: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    fs::rename(partial, target)?;
    match target.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Returns the path with a further suffix after a dot.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}
