//! The tables of the ledger. Each script brings a database from one `user_version` to the next.

use rusqlite::Connection;

const MIGRATIONS: [&str; 2] = [
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
];

/// Brings the database to the newest version; returns whether it was empty before.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<bool> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (next, script) in (1_u32..).zip(MIGRATIONS).filter(|(next, _)| *next > version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", next)?;
        transaction.commit()?;
    }
    Ok(version == 0)
}
