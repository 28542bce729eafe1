//! What happened when: task starts and ends, guest events. The demo prints it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// Simulated time since the start.
    pub at: Duration,
    /// `cloned`, `destroyed`, `task_start`, `task_end`, `agent_up`, `agent_down` or `powered_off`.
    pub kind: String,
    /// The task's type, id and end, or the guest's number; of a clone also its template's number and its name.
    pub what: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline(Arc<Mutex<Vec<Happening>>>);

impl Timeline {
    pub(crate) fn note(&self, at: Duration, kind: &str, what: &str) {
        let happening = Happening { at, kind: kind.to_owned(), what: what.to_owned() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(happening);
    }

    pub(crate) fn take(&self) -> Vec<Happening> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn all(&self) -> Vec<Happening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
