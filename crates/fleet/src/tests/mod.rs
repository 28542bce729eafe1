//! The core by examples, by exhaustive exploration of a small world, and by seeded simulation of a larger one.

// `samples.rs` names the types of the crate as those of its parent, as it does in the benchmark's program.
use crate::*;

mod absence;
mod decisions;
mod demands;
mod diagnostics;
mod drains;
mod engine;
mod exploration;
pub(crate) mod fixture;
mod found;
mod lanes;
mod ledger;
mod negatives;
mod outcomes;
mod quarantine;
mod recordings;
mod samples;
mod simulation;
mod two_dispatchers;
mod unarmed;
mod unrecorded;
mod world;
