#![doc = include_str!("../README.md")]
//! # Where to start
//!
//! [`Core::all`] finds OpenTofu and Terraform. A [`Harness`] lets one of them use a provider that is served in the test's
//! process, or started as a program as it is for users. A [`Step`] plans, checks the plan, applies that very plan,
//! compares the outcome with it, and plans twice more, without and with a refresh: both plans must be empty.
//!
//! A failure names the step, the core with its version, the attribute and both values, and shows what the core printed:
//!
//! ```text
//! step "update" with OpenTofu 1.12.6: a plan with refresh: nothing should be left to do, but: paper_note.it: update
//!   paper_note.it.text: "U" -> "u"
//! --- it printed:
//! …
//! ```
//!
//! [`WorkingDirectory`] below it runs a core with any arguments, and interrupts it. A working directory depends on no
//! provider, so it also drives whole configurations. [`conformance`] takes a resource type through all that may happen to
//! it.
#![cfg(unix)]

pub mod conformance;
mod cores;
mod failed;
mod harness;
mod plan;
mod run;
pub mod schema;
pub mod search;
mod served;
mod state;
mod working_directory;

pub use crate::cores::{Core, CoreKind, Feature};
pub use crate::failed::Failed;
pub use crate::harness::{Harness, Step};
pub use crate::plan::Plan;
pub use crate::run::{Finished, Running};
pub use crate::state::{Attributes, State, Stored};
pub use crate::working_directory::WorkingDirectory;
