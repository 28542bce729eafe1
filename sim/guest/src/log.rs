//! The log of a guest's boot, for tests, and for people who wonder why a guest does not come up.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::task::JoinHandle;

/// The log of one guest; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log {
    pub(super) fn say(&self, line: &str) {
        tracing::debug!(line, "guest");
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes up what is written to `stream`, until it ends, with the task that is returned.
    pub(super) fn follow(&self, stream: impl AsyncRead + Send + Unpin + 'static) -> JoinHandle<()> {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).split(b'\n');
            // Consoles also carry bytes that are not text.
            while let Ok(Some(line)) = lines.next_segment().await {
                log.say(String::from_utf8_lossy(&line).trim_end_matches('\r'));
            }
        })
    }

    /// Returns the error with the last thing that was said, which is usually its cause.
    pub(super) fn explain(&self, error: io::Error) -> io::Error {
        match self.lines().last() {
            Some(line) => io::Error::new(error.kind(), format!("{error}: {line}")),
            None => error,
        }
    }
}
