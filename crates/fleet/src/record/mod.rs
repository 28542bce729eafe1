//! The flight recorder: the inputs of a fleet as lines of JSON, which can be played again.
//!
//! ```text
//! {"at":…,"input":{"start":…}}       everything that the fleet knows, at the begin of what is kept
//! {"at":…,"input":{"config":…}}      the configuration of the passes that follow
//! {"at":…,"input":{"taken":…}}       an input
//! {"at":…,"input":{"pass":…}}        a pass: the nonces that it drew, and the digest of its decisions
//! ```
//!
//! The fleet has no clock, no I/O and no randomness, so the same lines lead to the same decisions. It must never contain a secret:
//! none of these types has one, and a test lists the keys that a recording may have.

mod recorder;
mod replay;

use std::collections::BTreeMap;

use dispatcher_api::Config;
use jiff::Timestamp;
use ownership::{Nonce, RunnerName};
use serde::{Deserialize, Serialize};

pub use recorder::Recorder;
pub use replay::{Replay, ReplayError, Replayed, replay};

use crate::fleet::{Fleet, Input};
use crate::{Intent, Pass};

/// One line of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Time at which it happened.
    pub at: Timestamp,
    /// The event.
    pub input: RecordedInput,
}

/// An event that changes a fleet or asks it for decisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedInput {
    /// The recording begins here.
    Start {
        /// True if the lines before lead to this state.
        continues: bool,
        /// State of the fleet.
        snapshot: Box<Snapshot>,
    },
    /// The configuration of the passes that follow.
    Config(Box<Config>),
    /// An input.
    Taken(Box<Input>),
    /// A pass.
    Pass {
        /// Nonces that it drew.
        nonces: Vec<Nonce>,
        /// Digest of its decisions, 16 hexadecimal digits.
        digest: String,
    },
}

/// Everything that a fleet knows at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    fleet: Fleet,
    unstored: BTreeMap<RunnerName, Unstored>,
}

/// The part of a record that the ledger does not store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Unstored {
    retry_at: Option<Timestamp>,
    attempts: u32,
    holds_registration: bool,
    started_at: Option<Timestamp>,
}

impl Unstored {
    fn of(intent: &Intent) -> Self {
        Self {
            retry_at: intent.retry_at,
            attempts: intent.attempts,
            holds_registration: intent.holds_registration,
            started_at: intent.life.started_at,
        }
    }

    fn put_into(self, intent: &mut Intent) {
        intent.retry_at = self.retry_at;
        intent.attempts = self.attempts;
        intent.holds_registration = self.holds_registration;
        intent.life.started_at = self.started_at;
    }
}

impl Snapshot {
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let unstored = fleet.records.iter().map(|(name, intent)| (name.clone(), Unstored::of(intent)));
        Self { unstored: unstored.collect(), fleet: fleet.clone() }
    }

    pub(crate) fn into_fleet(self) -> Fleet {
        let Self { mut fleet, unstored } = self;
        for (name, unstored) in unstored {
            if let Some(intent) = fleet.records.get_mut(&name) {
                unstored.put_into(intent);
            }
        }
        fleet
    }
}

/// Returns the digest of a pass: of its effects, events and reasons.
fn digest(pass: &Pass) -> Result<String, serde_json::Error> {
    let decisions = serde_json::to_vec(&(&pass.start, &pass.start_after_commit, &pass.events, &pass.waiting))?;
    // FNV-1a: short, and the same in each release and on each machine.
    let hash = decisions
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    Ok(format!("{hash:016x}"))
}
