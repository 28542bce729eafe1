//! The code that provider and dispatcher share: the configuration model, the status model, and the protocol that both
//! speak over a Proxmox VE container console.
//!
//! The feature `console` adds the protocol and the sealing of secrets. Without it, the crate has neither randomness nor
//! cryptography.
//!
//! This crate has neither I/O nor a clock. A console is a shared terminal that echoes, so secrets are sealed before
//! they are put into a frame.

mod config;
#[cfg(feature = "console")]
pub mod frames;
#[cfg(feature = "console")]
pub mod protocol;
#[cfg(feature = "console")]
mod secrets;
mod status;

pub use config::{Config, ConfigError, ConfigProblem, GithubApp, GithubConfig, PveConfig, RunnerPool, TemplateSource};
#[cfg(feature = "console")]
pub use secrets::{PublicKey, SealError, SealedSecrets, Secrets, SessionKey};
pub use status::{MOST_LISTED, Machine, Phase, PoolStatus, Problem, Status, Subject, WaitingJob};
