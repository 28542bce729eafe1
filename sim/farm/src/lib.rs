//! The fixture of acceptance tests and the demo: engines, simulators, and the framework's harness, by which a real core is
//! driven.
//!
//! Development only: no program that users run depends on this crate.

pub mod build;
pub mod engines;
pub mod image;
pub mod machine_image;
pub mod mirror;
pub mod privileges;
pub mod simulation;
pub mod site;

pub use tf_provider_testing as harness;
