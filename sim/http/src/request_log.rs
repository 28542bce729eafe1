//! The requests to a simulator in order, with their times. The demo counts requests in it, and tests check that a call
//! was not made.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::time::Instant;

/// One answered request.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Time since the log was created.
    pub at: Duration,
    /// Duration of the answer.
    pub took: Duration,
    /// HTTP method, upper case.
    pub method: String,
    /// Path and query as sent, without scheme and host. Secrets in it are kept, for tests that search for secrets;
    /// people see [`Entry::shown_path`].
    pub path: String,
    /// Caller: a token id, a user or `-`; never a secret.
    pub caller: String,
    /// Status of the answer; 0 if the connection was closed without one.
    pub status: u16,
    /// Simulated time for which the answer was delayed on purpose.
    pub waited: Duration,
}

impl Entry {
    /// Returns the path and query with the values of secret parameters left out.
    #[must_use]
    pub fn shown_path(&self) -> String {
        let Some((path, query)) = self.path.split_once('?') else { return self.path.clone() };
        let shown = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}=***"),
            _ => pair.to_owned(),
        });
        format!("{path}?{}", shown.collect::<Vec<_>>().join("&"))
    }
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

    /// Records an answer with the simulated time for which it was delayed on purpose.
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

    /// Returns the entries from this number on, oldest first, up to a limit. The first entry has the number 0.
    #[must_use]
    pub fn from(&self, first: usize, most: usize) -> Vec<Entry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().skip(first).take(most).cloned().collect()
    }

    /// Removes all entries and returns them, oldest first: a long run must not keep them. The next entry has the number 0.
    #[must_use]
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the number of entries so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns all entries so far, oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Parts of the names of parameters with secrets: console tickets, passwords, download tokens.
const SECRET_WORDS: [&str; 4] = ["ticket", "password", "secret", "token"];

fn is_secret(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy().to_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_query_are_kept_but_not_shown() {
        let log = RequestLog::default();
        let path = "/api2/json/nodes/pve1/lxc/1/vncwebsocket?port=5900&vncticket=PVEVNC%3A1&Pass%77ord=x&flag";
        log.record(Instant::now(), "GET", path, "-", 101);
        log.record(Instant::now(), "GET", "/plain", "-", 200);
        let paths: Vec<String> = log.from(0, 9).into_iter().map(|entry| entry.shown_path()).collect();
        let masked = "/api2/json/nodes/pve1/lxc/1/vncwebsocket?port=5900&vncticket=***&Pass%77ord=***&flag";
        assert_eq!(paths, [masked, "/plain"]);
        assert_eq!(log.from(0, 1)[0].path, path);
        assert_eq!((log.from(1, 9).len(), log.from(0, 1).len(), log.count()), (1, 1, 2));
    }
}
