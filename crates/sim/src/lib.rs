//! Simulators of Proxmox VE and of GitHub Actions, with guests that really run.
//!
//! Each service is a *pure world* stepped by a clock, with an HTTP front over it. What stands behind a simulated
//! guest is a [`backend::Backend`]: scripted ones that answer at once, or throw-away root directories in namespaces.
//! Nothing in this crate uses a type of the clients that it tests.

mod authority;
pub mod backend;
pub mod control;
pub mod faults;
pub mod github;
pub mod guest;
mod payload;
pub mod pve;
pub mod request_log;
