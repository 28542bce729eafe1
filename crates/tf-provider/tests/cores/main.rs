//! Drives the example provider with real cores, as users do.
//!
//! `TF_PROVIDER_CORES` names the cores, otherwise `tofu` and `terraform` from `PATH`.

mod boxes;
mod fetched;
mod moved;
mod own_tests;
mod process;
mod racks;
mod shelf;
