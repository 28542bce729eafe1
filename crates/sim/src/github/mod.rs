//! GitHub Actions: a pure world and its HTTP front.
//!
//! [`World`] holds repositories, workflow runs with their jobs, runners, registrations and tokens. Every call gets the
//! present instant; nothing in it waits, asks a clock or does I/O. [`Server`] is the front: the REST calls that runner
//! farms use, in GitHub's own shape ([`contract`] checks each exchange against GitHub's published description), and,
//! below `/_sim/runner/`, a private protocol of ours for the stand-in of GitHub's runner program, which the front
//! serves as a download. GitHub's real runner protocol is not simulated.

mod access;
mod app_routes;
mod apps;
mod assign;
mod behaviour;
pub mod contract;
mod deletion;
mod enterprises;
mod group_routes;
mod groups;
mod http;
mod json;
mod json_repository;
mod limits;
mod listener;
mod message_queue;
mod meta;
mod model;
pub(crate) mod overview;
mod program;
mod refusal;
mod registration;
mod rest;
mod rest_front;
mod rest_repositories;
mod rest_runners;
mod rest_runs;
mod runner_routes;
mod scale_sets;
mod server;
mod service_routes;
#[cfg(test)]
mod tests;
mod tls;
mod webhook_sender;
mod webhooks;
mod world;

pub use access::{Level, Token};
pub use apps::{AppKeyError, SAMPLE_APP_KEY};
pub use behaviour::{Behaviour, Gap, SecondaryLimits};
pub use model::{Event, EventKind, Job, JobSpec, JobState, RunSpec, Scope};
pub use program::{Archive as RunnerArchive, pack as pack_runner};
pub use server::{Server, ServerHandle, ServerOptions};
pub use webhooks::{Delivery, HookOwner, WebhookSpec};
pub use world::World;
