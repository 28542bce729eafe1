//! The ledger of release 0.1: its tables and its loader, copied.

use std::path::Path;

use rusqlite::{Connection, params};
use serde::Deserialize;

const MIGRATIONS: [&str; 2] = [
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
    "DROP TABLE boot_time;
     CREATE TABLE boot (
        number INTEGER PRIMARY KEY,
        template INTEGER NOT NULL,
        milliseconds INTEGER NOT NULL
     ) STRICT;
     CREATE INDEX boot_of_template ON boot (template, number);",
];

/// The fields that 0.1 cannot do without.
#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    pub(super) name: String,
    #[expect(dead_code, reason = "0.1 needs it to read the record")]
    pool: String,
    pub(super) vmid: u32,
    #[expect(dead_code, reason = "0.1 needs it to read the record")]
    node: String,
    #[expect(dead_code, reason = "0.1 needs it to read the record")]
    template: u32,
    #[expect(dead_code, reason = "0.1 needs it to read the record")]
    resource_pool: String,
    #[expect(dead_code, reason = "0.1 needs it to read the record")]
    created_at: jiff::Timestamp,
    pub(super) life: Life,
}

/// The fields of a life that 0.1 cannot do without.
#[derive(Debug, Deserialize)]
pub(super) struct Life {
    pub(super) state: State,
    #[expect(dead_code, reason = "0.1 needs it to read the record")]
    since: jiff::Timestamp,
}

/// The states that 0.1 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Reserved,
    Cloning,
    Configuring,
    Booting,
    Warm,
    Minting,
    Arming,
    Idle,
    Busy,
    Retiring,
    Fenced,
    Stopping,
    Destroying,
    Gone,
}

/// Opens the database as 0.1 does, and returns all records. An unreadable record is an error.
pub(super) fn open(path: &Path) -> rusqlite::Result<(Connection, Vec<Intent>)> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    migrate(&mut connection)?;
    let records = load(&connection)?;
    Ok((connection, records))
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (next, script) in (1_u32..).zip(MIGRATIONS).filter(|(next, _)| *next > version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", next)?;
        transaction.commit()?;
    }
    Ok(())
}

fn load(connection: &Connection) -> rusqlite::Result<Vec<Intent>> {
    let mut statement = connection.prepare("SELECT record FROM vm ORDER BY name")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|row| {
        serde_json::from_str::<Intent>(&row?)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))
    })
    .collect()
}

/// Writes a record with its audit row as 0.1 does.
pub(super) fn put(connection: &mut Connection, record: &str, is_live: bool, event: &str) -> rusqlite::Result<()> {
    let intent: Intent = serde_json::from_str(record).unwrap();
    let transaction = connection.transaction()?;
    let query = "INSERT INTO vm (name, vmid, live, record) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET live = excluded.live, record = excluded.record";
    transaction.execute(query, params![intent.name, intent.vmid, is_live, record])?;
    let query = "INSERT INTO audit (at, vm, event, state) VALUES (?1, ?2, ?3, ?4)";
    transaction.execute(query, params!["2027-01-15T08:00:01Z", intent.name, event, "idle"])?;
    transaction.commit()
}

/// Writes the time of a boot as 0.1 does.
pub(super) fn learn_boot(connection: &Connection, template: u32, milliseconds: i64) -> rusqlite::Result<()> {
    let query = "INSERT INTO boot (template, milliseconds) VALUES (?1, ?2)";
    connection.execute(query, params![template, milliseconds]).map(drop)
}
