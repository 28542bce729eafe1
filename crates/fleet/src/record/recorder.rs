//! The recorder: it feeds a fleet and keeps the last inputs, within a number of bytes.

use std::sync::Arc;

use dispatcher_api::Config;
use jiff::Timestamp;
use ownership::Nonce;

use super::{Recorded, RecordedInput, Snapshot, digest};
use crate::Pass;
use crate::fleet::{Fleet, Input};

/// Keeps the last inputs of a fleet in two parts. Each begins with a snapshot, so that a recording without its older part can still
/// be played. When the newer part is full, it becomes the older one.
#[derive(Debug)]
pub struct Recorder {
    limit: usize,
    older: Part,
    newer: Part,
    config: Option<Config>,
}

/// A snapshot and the inputs that follow.
#[derive(Debug, Default)]
struct Part {
    lines: Vec<Arc<str>>,
    bytes: usize,
    /// Size of the snapshot.
    snapshot_bytes: usize,
}

impl Recorder {
    /// Returns a recorder that keeps about this number of bytes, or four times the size of a snapshot if that is more.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, older: Part::default(), newer: Part::default(), config: None }
    }

    /// Records an input and gives it to the fleet.
    pub fn take(&mut self, fleet: &mut Fleet, input: Input, now: Timestamp) {
        self.make_room(fleet, now);
        self.write(RecordedInput::Taken(Box::new(input.clone())), now);
        fleet.take(input, now);
    }

    /// Asks the fleet for decisions and records them.
    pub fn pass(
        &mut self,
        fleet: &mut Fleet,
        config: &Config,
        nonce: &mut dyn FnMut() -> Nonce,
        now: Timestamp,
    ) -> Pass {
        self.make_room(fleet, now);
        if self.config.as_ref() != Some(config) {
            self.config = Some(config.clone());
            self.write(RecordedInput::Config(Box::new(config.clone())), now);
        }
        let mut nonces = Vec::new();
        let mut draw = || {
            let drawn = nonce();
            nonces.push(drawn.clone());
            drawn
        };
        let pass = fleet.pass(config, &mut draw, now);
        match digest(&pass) {
            Ok(digest) => self.write(RecordedInput::Pass { nonces, digest }, now),
            Err(_) => self.start_again(),
        }
        pass
    }

    /// Returns the lines of the recording, oldest first. They are shared, so a copy of the recording is small.
    pub fn lines(&self) -> impl Iterator<Item = &Arc<str>> {
        self.older.lines.iter().chain(&self.newer.lines)
    }

    /// Begins a new part if there is none or the present one is full.
    fn make_room(&mut self, fleet: &Fleet, now: Timestamp) {
        let continues = !self.newer.lines.is_empty();
        if continues && self.newer.bytes < (self.limit / 2).max(2 * self.newer.snapshot_bytes) {
            return;
        }
        self.older = std::mem::take(&mut self.newer);
        self.write(RecordedInput::Start { continues, snapshot: Box::new(Snapshot::of(fleet)) }, now);
        if let Some(config) = self.config.clone() {
            self.write(RecordedInput::Config(Box::new(config)), now);
        }
        self.newer.snapshot_bytes = self.newer.bytes;
    }

    fn write(&mut self, input: RecordedInput, at: Timestamp) {
        match serde_json::to_string(&Recorded { at, input }) {
            Ok(line) => {
                self.newer.bytes += line.len() + 1;
                self.newer.lines.push(line.into());
            }
            Err(_) => self.start_again(),
        }
    }

    /// Drops what is kept, because it lacks an input that has no written form.
    fn start_again(&mut self) {
        (self.older, self.newer) = (Part::default(), Part::default());
    }
}
