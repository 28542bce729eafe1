//! The log of a guest's boot, which shows why a guest does not come up.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::task::JoinHandle;

/// The log of one guest. Clones share it.
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

    /// Starts a task that adds the lines of `stream` to the log until the stream ends, and returns the task.
    pub(super) fn follow(&self, stream: impl AsyncRead + Send + Unpin + 'static) -> JoinHandle<()> {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).split(b'\n');
            // The output of a console also contains bytes that are not text.
            while let Ok(Some(line)) = lines.next_segment().await {
                log.say(String::from_utf8_lossy(&line).trim_end_matches('\r'));
            }
        })
    }

    /// Returns the error with the last line of the log, which is usually its cause.
    pub(super) fn explain(&self, error: io::Error) -> io::Error {
        match self.lines().last() {
            Some(line) => io::Error::new(error.kind(), format!("{error}: {line}")),
            None => error,
        }
    }
}
