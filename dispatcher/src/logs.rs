//! The last log lines, kept in memory for the console.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::clock;

/// Lines kept; at about 150 bytes each this stays below 200 KiB.
const KEPT_LINES: usize = 1_000;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Counts up from 1 with every line of this process.
    pub sequence: u64,
    /// When it was written.
    pub at: Timestamp,
    /// `ERROR`, `WARN`, `INFO` or `DEBUG`.
    pub level: &'static str,
    /// Message, then fields as `name=value`.
    pub text: String,
}

/// A ring of log lines. Clones share it; as a `tracing` layer it is filled by the whole process.
#[derive(Debug, Clone, Default)]
pub struct LogRing {
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    last_sequence: u64,
    kept: VecDeque<LogLine>,
}

impl LogRing {
    /// Lines with a sequence number greater than `since`, oldest first.
    pub(crate) fn since(&self, since: u64) -> Vec<LogLine> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.kept.iter().filter(|line| line.sequence > since).cloned().collect()
    }

    fn push(&self, level: &'static str, text: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.last_sequence += 1;
        let line = LogLine { sequence: lines.last_sequence, at: clock::wall_now(), level, text };
        if lines.kept.len() == KEPT_LINES {
            lines.kept.pop_front();
        }
        lines.kept.push_back(line);
    }
}

impl<S: Subscriber> Layer<S> for LogRing {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = event.metadata().level();
        if *level > tracing::Level::INFO {
            return;
        }
        let mut text = LineText::default();
        event.record(&mut text);
        self.push(level.as_str(), text.finish());
    }
}

/// Collects an event's message and fields.
#[derive(Default)]
struct LineText {
    message: String,
    fields: String,
}

impl LineText {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        self.message
    }
}

impl Visit for LineText {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing into a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;

    #[test]
    fn keeps_message_and_fields_in_order() {
        let ring = LogRing::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(ring.clone()), || {
            tracing::info!(vmid = 9101, pool = "ubuntu-2204", "cloned");
            tracing::debug!("not kept");
            tracing::warn!("second");
        });
        let lines = ring.since(0);
        assert_eq!(lines[0].text, "cloned vmid=9101 pool=ubuntu-2204");
        assert_eq!((lines[1].level, lines[1].sequence), ("WARN", 2));
        assert_eq!(ring.since(1).len(), 1);
    }

    #[test]
    fn forgets_the_oldest_lines_and_keeps_counting() {
        let ring = LogRing::default();
        for number in 0..KEPT_LINES + 5 {
            ring.push("INFO", number.to_string());
        }
        let lines = ring.since(0);
        assert_eq!(lines.len(), KEPT_LINES);
        assert_eq!((lines[0].sequence, lines[0].text.as_str()), (6, "5"));
    }
}
