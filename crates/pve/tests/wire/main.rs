//! The client against servers that show every byte: transport habits, trust, tasks, console.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod console;
mod server;
mod transport;
