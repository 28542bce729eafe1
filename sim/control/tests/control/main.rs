//! The control API over both simulators, by HTTP.
#![cfg(test)]

mod bad_input;
mod chromium;
mod faults;
mod jobs;
mod page;
mod simulators;
mod state;
mod time;
