//! The message queue of a scale set.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde_json::Value;

/// Largest number of job messages in one batch.
const BATCH: usize = 50;

/// The messages for a scale set.
#[derive(Debug, Clone, Default)]
pub(crate) struct MessageQueue {
    pub(crate) session: Option<MessageSession>,
    /// Job messages that are in no batch yet.
    pub(crate) unsent: VecDeque<Value>,
    /// Batches that were not deleted, by number.
    pub(crate) batches: BTreeMap<u64, Vec<Value>>,
    last_batch: u64,
    /// Value of `X-ScaleSetMaxCapacity` in the last poll.
    pub(crate) capacity: Option<usize>,
    /// Time at which the last session ended, or at which the set was created.
    pub(crate) silent_since: Timestamp,
}

impl MessageQueue {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { silent_since: now, ..Self::default() }
    }

    /// Returns the number and the messages of the batch after the one with the number `after`, if there is one.
    pub(crate) fn next(&mut self, after: u64) -> Option<(u64, Vec<Value>)> {
        if let Some((number, batch)) = self.batches.range(after + 1..).next() {
            return Some((*number, batch.clone()));
        }
        if self.unsent.is_empty() {
            return None;
        }
        let batch: Vec<Value> = self.unsent.drain(..self.unsent.len().min(BATCH)).collect();
        self.last_batch = self.last_batch.max(after) + 1;
        self.batches.insert(self.last_batch, batch.clone());
        Some((self.last_batch, batch))
    }
}

/// A session that may read the queue.
#[derive(Debug, Clone)]
pub(crate) struct MessageSession {
    pub(crate) id: String,
    pub(crate) owner: String,
    pub(crate) token: String,
    pub(crate) token_ends: Timestamp,
    pub(crate) seen_at: Timestamp,
    /// Number of waiting polls.
    pub(crate) waiting: usize,
}

/// Answer to a poll.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Poll {
    /// Number of the batch and its job messages.
    Message(u64, Vec<Value>),
    Nothing,
    /// The token is not, or no longer, the session's.
    BadToken,
    /// The session does not exist.
    Gone,
}
