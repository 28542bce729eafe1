//! Drives the `packer` program: finds it, reads its event stream, ends it cleanly, and classifies failures.
//!
//! ```text
//! locate → probe version → (init) → validate → build ─┬─ ok
//!                                     cancel, deadline ┴─ SIGTERM → grace → SIGKILL of the whole process group
//! ```
//!
//! Packer is neither bundled nor downloaded. Packer must never outlive the program that drives it, and must never get
//! the credentials in that program's environment. This crate must never return a line that contains a known secret.
//! Packer 1.6.6 prints the values of sensitive variables.

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
