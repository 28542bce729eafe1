//! The dispatcher: sees queued jobs, makes a runner VM for each, hands it one registration, and destroys what has ended.
//!
//! Every decision is in [`fleet::Fleet`]. Around it are `observe`, which gives facts, `execute`, which performs effects, and `ledger`,
//! in which records are written before the calls that they describe. It must never hold a lock or a decision across an outside
//! call.

mod clients;
mod clock;
pub mod configuration;
pub mod console;
pub mod control;
mod engine;
mod execute;
#[cfg(feature = "failpoints")]
pub mod failpoint;
mod kept;
mod ledger;
pub mod logs;
mod observe;
pub mod parts;
mod problems;
pub mod recording;
mod redaction;
pub mod settings;
pub mod state_directory;
mod status;
mod writing;

pub use engine::{EngineError, run, run_with};
