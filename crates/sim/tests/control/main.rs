//! The control API over both simulators, by HTTP.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod bad_input;
mod chromium;
mod faults;
mod jobs;
mod page;
mod site;
mod state;
mod time;
