//! The example provider driven by real cores: the path that users take.
//!
//! Takes the cores that `TF_PROVIDER_CORES` names, else `tofu` and `terraform` from `PATH`.

mod boxes;
mod fetched;
mod moved;
mod own_tests;
mod process;
mod racks;
mod shelf;
