//! What a simulator was asked, in order, with times: the demo's request counts and the tests' "was never called" read it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One answered request.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Time since the log was opened.
    pub at: Duration,
    /// How long the answer took.
    pub took: Duration,
    /// HTTP method, upper case.
    pub method: String,
    /// Path and query as sent, without scheme and host.
    pub path: String,
    /// Who asked: a token id, user or `-`; never a secret.
    pub caller: String,
    /// Status of the answer; 0 where the connection was closed without one.
    pub status: u16,
    /// How long the answer was held back on purpose, in the simulator's time.
    pub waited: Duration,
}

/// A shared, append-only list of [`Entry`].
#[derive(Debug, Clone)]
pub struct RequestLog {
    opened: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Default for RequestLog {
    fn default() -> Self {
        Self { opened: Instant::now(), entries: Arc::default() }
    }
}

impl RequestLog {
    /// Records an answer to a request that began at `began`.
    pub fn record(&self, began: Instant, method: &str, path: &str, caller: &str, status: u16) {
        self.record_simulated(began, method, path, caller, status, Duration::ZERO);
    }

    /// The same, with the simulated time that the answer waited on purpose.
    pub fn record_simulated(
        &self,
        began: Instant,
        method: &str,
        path: &str,
        caller: &str,
        status: u16,
        waited: Duration,
    ) {
        let entry = Entry {
            at: began.saturating_duration_since(self.opened),
            took: began.elapsed(),
            method: method.to_owned(),
            path: path.to_owned(),
            caller: caller.to_owned(),
            status,
            waited,
        };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// All entries so far, oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
