//! Reading the database at the start. A row that cannot be read is named and skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet::Intent;
use jiff::Timestamp;
use ownership::{Run, RunnerName, Vmid};
use rusqlite::{Connection, Row};

use crate::clock::StoredClock;

/// Everything in the database but the audit trail.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) records: Vec<Intent>,
    pub(super) boots: BTreeMap<Vmid, Vec<Duration>>,
    pub(super) lent: BTreeSet<RunnerName>,
    pub(super) runs: Vec<Run>,
    /// Counter of the last run, also if the rest of its row cannot be read; 0 if there is none.
    pub(super) last_counter: u64,
    pub(super) was_empty: bool,
    pub(super) unreadable: Vec<String>,
    pub(super) clock: Option<StoredClock>,
}

/// Reads the database.
///
/// # Errors
/// When the database itself cannot be read. A row whose contents make no sense is not an error.
pub(super) fn contents(connection: &Connection) -> rusqlite::Result<Contents> {
    let mut contents = Contents { was_empty: is_empty(connection)?, ..Contents::default() };
    for_each(connection, "SELECT name, vmid, record FROM vm ORDER BY name", |row| contents.take_record(row))?;
    for_each(connection, "SELECT template, milliseconds FROM boot ORDER BY number", |row| contents.take_boot(row))?;
    for_each(connection, "SELECT name FROM lent ORDER BY name", |row| contents.take_lent(row))?;
    for_each(connection, "SELECT counter, id FROM run ORDER BY counter", |row| contents.take_run(row))?;
    let clock = "SELECT fleet, wall, boottime_nanoseconds, boot_id FROM clock";
    for_each(connection, clock, |row| contents.take_clock(row))?;
    Ok(contents)
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let query = "SELECT NOT EXISTS (SELECT 1 FROM vm) AND NOT EXISTS (SELECT 1 FROM audit)";
    connection.query_row(query, [], |row| row.get(0))
}

fn for_each(connection: &Connection, query: &str, mut take: impl FnMut(&Row<'_>)) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row);
    }
    Ok(())
}

impl Contents {
    fn take_record(&mut self, row: &Row<'_>) {
        let name = text(row, 0);
        let record = text(row, 2).and_then(|text| serde_json::from_str::<Intent>(text).ok());
        // A record under the name or VMID of another one would be written back beside it.
        let is_its_own = |record: &Intent| {
            name == Some(record.name.as_str()) && row.get(1).is_ok_and(|vmid: u32| vmid == record.vmid.get())
        };
        match record.filter(is_its_own) {
            Some(record) => self.records.push(record.from_stored()),
            None => self.unreadable.push(lossy(row, 0)),
        }
    }

    fn take_boot(&mut self, row: &Row<'_>) {
        let template = row.get(0).ok().and_then(|number: u32| Vmid::new(number).ok());
        let took = unsigned(row, 1).map(Duration::from_millis);
        match template.zip(took) {
            Some((template, took)) => self.boots.entry(template).or_default().push(took),
            None => self.unreadable.push("boot".to_owned()),
        }
    }

    fn take_lent(&mut self, row: &Row<'_>) {
        match text(row, 0).and_then(|text| text.parse().ok()) {
            Some(name) => drop(self.lent.insert(name)),
            None => self.unreadable.push(lossy(row, 0)),
        }
    }

    fn take_run(&mut self, row: &Row<'_>) {
        let counter = unsigned(row, 0);
        self.last_counter = counter.unwrap_or(self.last_counter);
        let id = text(row, 1).and_then(|text| text.parse().ok());
        match counter.zip(id) {
            Some((counter, id)) => self.runs.push(Run { counter, id }),
            None => self.unreadable.push(format!("run {}", lossy(row, 1))),
        }
    }

    fn take_clock(&mut self, row: &Row<'_>) {
        let time = |column| text(row, column).and_then(|text| text.parse::<Timestamp>().ok());
        let boottime = unsigned(row, 2).map(Duration::from_nanos);
        let clock = time(0).zip(time(1)).zip(boottime);
        self.clock = clock.map(|((fleet, wall), boottime)| StoredClock {
            fleet,
            wall,
            boottime,
            boot_id: text(row, 3).map(str::to_owned),
        });
        if self.clock.is_none() {
            self.unreadable.push("clock".to_owned());
        }
    }
}

/// Returns a text, or `None` if the column is null or not UTF-8.
fn text<'row>(row: &'row Row<'_>, column: usize) -> Option<&'row str> {
    row.get_ref(column).ok()?.as_str().ok()
}

fn unsigned(row: &Row<'_>, column: usize) -> Option<u64> {
    u64::try_from(row.get::<_, i64>(column).ok()?).ok()
}

fn lossy(row: &Row<'_>, column: usize) -> String {
    let bytes = row.get_ref(column).ok().and_then(|value| value.as_bytes().ok());
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}
