//! GitHub Actions: a pure world, the REST calls on it, and the HTTP front.
//!
//! [`World`] holds repositories, workflow runs with their jobs, runners, registrations and tokens. Every call gets the
//! present instant; nothing in it waits, asks a clock or does I/O. [`Server`] is the front: the REST calls that runner
//! farms use, in GitHub's own shape ([`contract`] checks each exchange against GitHub's published description), and,
//! below `/_sim/runner/`, a private protocol of ours for the stand-in of GitHub's runner program, which the front
//! serves as a download. GitHub's real runner protocol is not simulated.

mod behaviour;
pub mod contract;
mod front;
mod program;
mod refusal;
mod rest;
mod shapes;
pub(crate) mod world;

pub use behaviour::{Behaviour, Gap, SecondaryLimits};
pub use front::{Server, ServerHandle, ServerOptions, Unanswered};
pub use program::{Archive as RunnerArchive, pack as pack_runner};
pub use world::World;
pub use world::apps::{AppKeyError, SAMPLE_APP_KEY};
pub use world::model::{
    Delivery, Event, EventKind, HookOwner, Job, JobSpec, JobState, Level, RunSpec, Scope, Token, WebhookSpec,
};
