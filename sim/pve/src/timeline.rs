//! The times of events: starts and ends of tasks, guest events. The demo prints them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Simulated time since the start.
    pub at: Duration,
    /// Kind: `cloned`, `destroyed`, `task_start`, `task_end`, `agent_up`, `agent_down` or `powered_off`.
    pub kind: String,
    /// Type, id and end of the task, or the guest's VMID. For a clone also its template's VMID and its name.
    pub what: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline(Arc<Mutex<Vec<Event>>>);

impl Timeline {
    pub(crate) fn note(&self, at: Duration, kind: &str, what: &str) {
        let happening = Event { at, kind: kind.to_owned(), what: what.to_owned() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(happening);
    }

    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
