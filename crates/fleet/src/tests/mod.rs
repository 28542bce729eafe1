//! The core by examples, by exhaustive exploration of a small world, and by seeded simulation of a larger one.

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
mod simulation;
mod two_dispatchers;
mod unarmed;
mod world;
