//! Every decision of the dispatcher, from facts and records to the effects that come next.
//!
//! ```text
//!            Input ─────► Fleet ─────► Pass
//!   facts, outcomes       records      effects, changes to write, reasons of waiting jobs
//! ```
//!
//! Nothing here has a clock, I/O or randomness. Decisions follow from levels, not from events: a pass that comes twice, late, or after
//! a crash leads to the same place. They are safe against what was not seen: effects are idempotent, prove ownership again
//! before they destroy, and are written down before they start.
//!
//! It must never decide on a negative observation that is older than the fact which it contradicts.

mod capacity;
mod changes;
mod demand;
mod diagnostics;
mod drain;
mod effect;
mod explain;
mod facts;
mod fleet;
mod index;
mod intent;
mod lanes;
mod life;
mod orphans;
mod outcome;
mod pass;
mod placement;
mod quarantine;
mod reap;
mod record;
mod rivals;
mod state;
#[cfg(test)]
mod tests;
mod unrecorded;
mod view;

pub use changes::{AuditEntry, Changes, Entry};
pub use effect::{Effect, Failure, FailureKind, Outcome, Sign, Step, Success};
pub use explain::{Concern, Hindrance, Waiting};
pub use facts::{
    Claim, Facts, GuestSeen, Guests, JobPhase, JobSeen, Jobs, Power, RepositorySeen, RunnerSeen, Runners, Unshown,
};
pub use fleet::{Fleet, Input, Trouble};
pub use intent::Intent;
pub use life::{Event, Life, NEGATIVES_APART, Reason, Refused, Source};
pub use pass::Pass;
pub use record::{Recorded, RecordedInput, Recorder, Replay, ReplayError, Replayed, Snapshot, replay};
pub use rivals::Runs;
pub use state::State;
pub use unrecorded::GuestQuestions;
