//! GitHub Actions: a pure world and its HTTP front.
//!
//! [`World`] holds repositories, workflow runs with their jobs, runners, registrations and tokens. Every call gets the
//! present instant; nothing in it waits, asks a clock or does I/O. [`Server`] is the front: the REST calls that runner
//! farms use, in GitHub's own shape ([`contract`] checks each exchange against GitHub's published description), and,
//! below `/_sim/runner/`, a private protocol of ours for the stand-in of GitHub's runner program, which the front
//! serves as a download. GitHub's real runner protocol is not simulated.

mod access;
mod assign;
pub mod contract;
mod http;
mod json;
mod listener;
mod model;
mod program;
mod refusal;
mod registration;
mod rest;
mod runner_routes;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod world;

pub use access::{Level, Token};
pub use model::{Behaviour, Event, EventKind, Job, JobSpec, JobState, RunSpec, Scope};
pub use server::{Server, ServerHandle, ServerOptions};
pub use world::World;
