//! Changes of records that are not on disk yet, and the audit trail that goes with them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ownership::RunnerName;
use serde::{Deserialize, Serialize};

use crate::{Event, Intent, State};

/// Most entries of the audit trail that are kept in memory while the disk refuses them. The oldest are dropped first.
const MOST_ENTRIES: usize = 20_000;

/// Changes that one commit writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Changes {
    /// Records that are new or have changed.
    pub records: BTreeMap<RunnerName, Intent>,
    /// Names of records that are no longer needed.
    pub forgotten: BTreeSet<RunnerName>,
    /// New entries of the audit trail, oldest first.
    pub audit: Vec<AuditEntry>,
    /// Lent VMs that were seen running (true) or are gone (false).
    pub lent: BTreeMap<RunnerName, bool>,
    /// Time of the oldest change.
    pub since: Option<Timestamp>,
    /// True if they are written at once: a VM is gone, or a lent VM was seen running.
    pub(crate) at_once: bool,
    /// Entries that no pass has returned yet.
    pub(crate) fresh: Vec<AuditEntry>,
}

/// One entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Time of the event.
    pub at: Timestamp,
    /// Name of the VM.
    pub vm: RunnerName,
    /// The event.
    pub entry: Entry,
    /// State of the VM afterwards.
    pub state: State,
}

/// The event of an entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A VMID and a slot were reserved.
    Reserved,
    /// A VM of ours without a record was found.
    Adopted,
    /// An event in the life of the VM.
    #[serde(untagged)]
    Event(Event),
}

impl Changes {
    /// Returns true if there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.forgotten.is_empty() && self.audit.is_empty() && self.lent.is_empty()
    }

    /// Returns true if these changes must survive a power loss before anything follows from them: a clone, a registration or
    /// its delivery to a guest, the end of a VM, or a lent VM that was seen running. All others must survive the end of the process, and become safe from a
    /// power loss with the next changes that must.
    #[must_use]
    pub fn must_survive_power_loss(&self) -> bool {
        let precedes_call = |state| matches!(state, State::Cloning | State::Minting | State::Arming);
        self.at_once || self.records.values().any(|intent| precedes_call(intent.life.state))
    }

    /// Adds the present state of a record.
    pub(crate) fn put(&mut self, intent: &Intent, now: Timestamp) {
        self.since.get_or_insert(now);
        self.records.insert(intent.name.clone(), intent.clone());
    }

    /// Adds that a lent VM was seen running, or is gone.
    pub(crate) fn put_lent(&mut self, name: RunnerName, ran: bool, now: Timestamp) {
        self.since.get_or_insert(now);
        // The next list may show the VM as off, and only a lent VM that was seen running is destroyed.
        self.at_once |= ran;
        self.lent.insert(name, ran);
    }

    /// Adds a new record.
    pub(crate) fn add(&mut self, intent: &Intent, entry: Entry) {
        self.enter(intent, entry, intent.created_at);
    }

    /// Adds an event in the life of a VM.
    pub(crate) fn note(&mut self, intent: &Intent, event: Event, now: Timestamp) {
        self.at_once |= event == Event::Destroyed;
        self.enter(intent, Entry::Event(event), now);
    }

    fn enter(&mut self, intent: &Intent, entry: Entry, at: Timestamp) {
        self.put(intent, at);
        let entry = AuditEntry { at, vm: intent.name.clone(), entry, state: intent.life.state };
        self.fresh.push(entry.clone());
        self.audit.push(entry);
        let surplus = self.audit.len().saturating_sub(MOST_ENTRIES);
        self.audit.drain(..surplus);
    }

    /// Adds the deletion of a record.
    pub(crate) fn forget(&mut self, name: RunnerName) {
        self.records.remove(&name);
        self.forgotten.insert(name);
    }

    /// Adds later changes.
    pub(crate) fn append(&mut self, later: Self) {
        for name in &later.forgotten {
            self.records.remove(name);
        }
        self.records.extend(later.records);
        self.forgotten.extend(later.forgotten);
        self.audit.extend(later.audit);
        self.lent.extend(later.lent);
        self.fresh.extend(later.fresh);
        self.since = self.since.or(later.since);
        self.at_once |= later.at_once;
    }
}
