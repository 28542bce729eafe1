//! The core by examples, by exhaustive exploration of a small world, and by seeded simulation of a larger one.

mod decisions;
mod exploration;
pub(crate) mod fixture;
mod found;
mod simulation;
mod world;
