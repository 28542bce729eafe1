//! The example provider driven by real cores: the path that users take.
//!
//! Takes `PXCI_TOFU`, `PXCI_TERRAFORM`, else `tofu` and `terraform` from `PATH`; each that is there is used.

mod boxes;
mod fetched;
mod moved;
mod process;
mod racks;
mod site;
