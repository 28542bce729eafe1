//! One guest at Proxmox VE (PVE): the proof that it is ours, and every action on it.
//!
//! ```text
//! Candidate ── prove: configuration and resource pool, on the node where it is now ──► OwnedGuest ── change · start · agent · console
//!     └── stop · destroy · change · mark: prove → act, until one attempt succeeds
//! RunnerVm = Candidate with a name: clone → configure → boot → arm
//!                                      └── one proof ─────┘
//! ```
//!
//! This is the only code that proves, stops and destroys a guest, for VMs and containers, the dispatcher and the provider.
//! Every step may be repeated after a crash or a lost reply, and ends in the same state. This crate must never touch a
//! guest without an [`OwnedGuest`], and never repeat an attempt without reading the proof again.

mod arm;
mod attempts;
mod boot_times;
mod candidate;
mod clone;
mod configure;
mod diagnostics;
mod error;
mod kind;
mod owned;
mod power;
mod registration;
mod removal;
mod vm;

pub use arm::GuestState;
pub use boot_times::{BootTimes, Booted};
pub use candidate::{Candidate, locate};
pub use configure::Shape;
pub use diagnostics::{DiagnosticPart, Diagnostics};
pub use error::{Error, Problem};
pub use kind::Kind;
pub use owned::{OwnedContainer, OwnedGuest, OwnedVm};
pub use power::Starting;
pub use registration::{Removal, deregister, mint};
pub use vm::{Place, RunnerVm};
