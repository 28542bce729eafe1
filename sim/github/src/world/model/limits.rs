//! Use of the rate limits, and the cost of calls.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

/// The unit that a limit applies to: all tokens of an installation, a user's tokens, or all callers without one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LimitKey {
    Nobody,
    User(u64),
    Installation(u64),
    App(u64),
}

/// The cost of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost<'a> {
    /// Path of the call. GitHub does not document if it counts the jobs of all runs as one endpoint.
    pub(crate) endpoint: &'a str,
    pub(crate) changes: bool,
    pub(crate) registers: bool,
}

/// State of a limit, as an answer's headers show it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RateState {
    pub(crate) resource: &'static str,
    pub(crate) limit: u64,
    pub(crate) used: u64,
    pub(crate) reset_at: Timestamp,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) used: u64,
    pub(crate) reset_at: Timestamp,
}

impl Window {
    const NEW: Self = Self { used: 0, reset_at: Timestamp::UNIX_EPOCH };

    /// Returns the window of `now`: this one, or a new one if this one has ended.
    pub(crate) fn at(&mut self, now: Timestamp, length: SignedDuration) -> &mut Self {
        if self.reset_at <= now {
            *self = Self { used: 0, reset_at: now + length };
        }
        self
    }
}

/// Use of the limits by one caller.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) core: Window,
    pub(crate) registrations: Window,
    pub(crate) in_flight: usize,
    /// Points of the last minute: time, endpoint, number.
    pub(crate) points: VecDeque<(Timestamp, String, u64)>,
    pub(crate) throttled_until: Option<Timestamp>,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            core: Window::NEW,
            registrations: Window::NEW,
            in_flight: 0,
            points: VecDeque::new(),
            throttled_until: None,
        }
    }
}

pub(crate) type Usages = HashMap<LimitKey, Usage>;
