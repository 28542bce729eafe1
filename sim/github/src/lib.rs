//! A simulated GitHub Actions: the state as a pure value, the REST calls on it, and the HTTP front.
//!
//! [`World`] holds repositories, workflow runs with their jobs, runners, registrations and tokens. The present time is
//! an argument of every call; the world does not wait, read a clock or do I/O. [`Server`] is the front. It serves the
//! REST calls that runner farms use in GitHub's format ([`contract`] checks each request and answer against GitHub's
//! published description). Below `/_sim/runner/` it serves a private protocol and the download of a simulated runner
//! program. GitHub's real runner protocol is not simulated.

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
    Condition, Delivery, Event, EventKind, HookOwner, Job, JobSpec, JobState, JobStep, Level, RunSpec, Scope, Token,
    WebhookSpec,
};
