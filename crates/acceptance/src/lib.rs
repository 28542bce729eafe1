//! What acceptance tests and the demo share: engines, simulators, and a working directory that a real core is driven in.
//!
//! Development only: no program that users run depends on this crate.

pub mod build;
pub mod core;
pub mod engines;
pub mod farm;
pub mod image;
pub mod mirror;
pub mod site;
pub mod working_directory;
