//! Drives the `packer` program: finds it, reads its event stream, ends it cleanly, and classifies failures so that a user can act.
//!
//! ```text
//! locate → probe version → (init) → validate → build ─┬─ ok
//!                                     cancel, deadline ┴─ SIGTERM → grace → SIGKILL of the whole process group
//! ```
//!
//! Packer is never bundled or downloaded. It must never outlive the program that drives it, nor see its environment's credentials, and no line
//! leaves this crate with a known secret in it: Packer 1.6.6 prints variables marked sensitive verbatim.

mod build;
mod event;
mod failure;
mod locate;
mod process;
mod redact;
mod template;
mod version;

pub use build::{Build, Outcome};
pub use event::{Event, Level};
pub use failure::{Class, Error, Failure};
pub use locate::Packer;
pub use template::{Template, TemplateError};
pub use version::Version;
