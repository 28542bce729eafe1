//! The dispatcher: sees queued jobs, makes a runner VM for each, hands it one registration, and clears away what has ended.
//!
//! The fleet's decisions are one pure function, [`fleet::reconcile`]; around it stand what observes, what executes, and the ledger in which
//! everything is written down before it is done. It must never hold a lock or a decision across an outside call.

mod clients;
#[cfg_attr(not(test), expect(dead_code, reason = "the engine does not use the clock of fleet time yet"))]
mod clock;
pub mod configuration;
pub mod console;
pub mod control;
mod engine;
mod execute;
mod intents;
#[cfg_attr(not(test), expect(dead_code, reason = "the engine does not use it yet"))]
mod ledger;
pub mod logs;
mod looks;
mod observe;
pub mod parts;
mod problems;
pub mod settings;
pub mod state_directory;
mod status;

pub use engine::{EngineError, run, run_with};
