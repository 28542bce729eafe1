//! The fixture of acceptance tests and the demo: engines, simulators, and the framework's test harness, which runs a
//! real core.
//!
//! Development only: no program for users depends on this crate.

pub mod build;
pub mod engines;
pub mod image;
pub mod machine_image;
pub mod mirror;
pub mod privileges;
pub mod simulation;
pub mod targets;

pub use tf_provider_testing as harness;
