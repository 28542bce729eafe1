#![doc = include_str!("../README.md")]
//! # Where to start
//!
//! [`Core::all`] finds OpenTofu and Terraform. A [`Harness`] lets one of them use a provider, which the test's process
//! serves or the core starts as a program. A [`Step`] plans, checks the plan, applies it, compares the result with it,
//! and plans twice more, without and with a refresh. Both plans must be empty.
//!
//! A failure names the step, the core with its version, the attribute and both values, and shows what the core printed:
//!
//! ```text
//! step "update" with OpenTofu 1.12.6: a plan with refresh: the plan should be empty, but has: paper_note.it: update
//!   paper_note.it.text: "U" -> "u"
//! --- output:
//! …
//! ```
//!
//! A [`WorkingDirectory`] runs a core with any arguments, and interrupts it. It depends on no provider, so it also
//! drives whole configurations. [`conformance`] runs all steps of the life of a resource type.
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
pub use crate::state::{Attributes, State, StoredResource};
pub use crate::working_directory::WorkingDirectory;
