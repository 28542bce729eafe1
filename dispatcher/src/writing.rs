//! The form in which the fleet's changes are written to the ledger.

use std::time::Duration;

use fleet::{Changes, Entry};
use ownership::Vmid;

use crate::clock::StoredClock;
use crate::ledger::{AuditEntry, Commit, LentChanges};

/// Returns the commit of these changes.
pub(crate) fn commit(changes: Changes, boots: Vec<(Vmid, Vec<Duration>)>, clock: StoredClock) -> Commit {
    let is_synchronised = changes.must_survive_power_loss();
    let (added, removed) = changes.lent.into_iter().partition::<Vec<_>, _>(|(_, ran)| *ran);
    let names = |list: Vec<(ownership::RunnerName, bool)>| list.into_iter().map(|(name, _)| name).collect();
    let audit = changes.audit.into_iter().map(|entry| AuditEntry {
        at: entry.at,
        vm: entry.vm,
        event: text(&entry.entry),
        state: entry.state,
    });
    Commit {
        upserts: changes.records.into_values().collect(),
        forgotten: changes.forgotten.into_iter().collect(),
        audit: audit.collect(),
        boots,
        lent: LentChanges { added: names(added), removed: names(removed) },
        audit_before: None,
        clock: Some(clock),
        is_synchronised,
    }
}

/// Returns an event as JSON, the form of release 0.1.
fn text(entry: &Entry) -> String {
    match entry {
        Entry::Reserved => "reserved".to_owned(),
        Entry::Adopted => "adopted".to_owned(),
        // An event is made of numbers and names, which JSON can hold.
        Entry::Event(event) => serde_json::to_string(event).unwrap_or_default(),
    }
}
