//! Every decision of the dispatcher, from what was observed and recorded to what is done next.
//!
//! [`reconcile`] is a pure function: no clock, no I/O, no randomness, no memory. It reacts to levels, not to events. Calling it
//! twice, late, or after a crash leads to the same place. Its answer is safe against what it did not see: the steps that it asks
//! for are idempotent, prove ownership again before they destroy, and are recorded before they are made.
//!
//! It must never decide on a negative observation that is older than the fact which it contradicts.

mod action;
mod capacity;
mod demand;
mod explain;
mod intent;
mod life;
mod observed;
mod orphans;
mod placement;
mod reap;
mod reconcile;
mod state;
#[cfg(test)]
mod tests;

pub use action::{Action, Step};
pub use explain::{Waiting, explain, troubles};
pub use intent::Intent;
pub use life::{Event, Life, NEGATIVES_APART, Reason, Refused};
pub use observed::{
    Claim, GuestSeen, Guests, JobPhase, JobSeen, Jobs, Observed, Power, RepositorySeen, RunnerSeen, Runners,
};
pub use reconcile::{backing_off, reconcile};
pub use state::State;
