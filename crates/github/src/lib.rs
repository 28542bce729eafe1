//! A client for the part of GitHub's REST API that runner farms need: workflow runs, jobs, self-hosted runners and
//! just-in-time registrations.
//!
//! [`Client`] is cheap to clone. Clones share connections, the cache of conditional requests and the state of the rate
//! limit. The client never waits for a rate limit. It returns [`Error::RateLimited`] with the time of the next possible
//! request, and the caller decides. It must never put a token or an encoded JIT configuration into an error, a log line
//! or `Debug` output.

mod actions;
mod app;
mod base_url;
mod budget;
mod cache;
mod calls;
mod client;
mod error;
mod link;
mod model;
mod permission;
mod releases;
mod runners;
mod scope;
mod setup;
mod transport;

pub use app::AppCredential;
pub use base_url::{BaseUrl, BaseUrlError};
pub use budget::Budget;
pub use client::Client;
pub use error::Error;
pub use model::{Conclusion, Job, JobStatus, Runner, RunnerDownload, RunnerLabel, RunnerStatus, WorkflowRun};
pub use runners::{JitConfig, JitRequest};
pub use scope::Scope;
pub use setup::{ClientConfig, Credential};
pub use transport::{Transport, TransportError};
