//! Times that the guests of each template took to boot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use guest::{BootTimes, Booted};
use ownership::Vmid;

/// Boot times by template. The ledger stores them.
#[derive(Debug, Default)]
pub(crate) struct Boots(Mutex<Learned>);

#[derive(Debug, Default)]
struct Learned {
    times: BTreeMap<Vmid, BootTimes>,
    /// Templates whose times are not stored yet.
    changed: BTreeSet<Vmid>,
}

impl Boots {
    /// Restores the times that the ledger stored.
    pub(crate) fn restored(stored: BTreeMap<Vmid, Vec<Duration>>) -> Self {
        let times = stored.into_iter().map(|(template, times)| (template, BootTimes::from_recent(times))).collect();
        Self(Mutex::new(Learned { times, changed: BTreeSet::new() }))
    }

    /// Returns the time from the end of a start to the first question to the guest agent.
    pub(super) fn first_question(&self, template: Vmid) -> Duration {
        let learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learned.times.get(&template).cloned().unwrap_or_default().first_question()
    }

    /// Remembers a boot.
    pub(super) fn learn(&self, template: Vmid, booted: Booted) {
        let mut learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learned.times.entry(template).or_default().learn(booted);
        learned.changed.insert(template);
    }

    /// Returns the times that changed since the last call, to store them.
    pub(crate) fn take_changed(&self) -> Vec<(Vmid, Vec<Duration>)> {
        let mut learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = std::mem::take(&mut learned.changed);
        let times = |template| learned.times.get(&template).map(|times| (template, times.recent().to_vec()));
        changed.into_iter().filter_map(times).collect()
    }
}
