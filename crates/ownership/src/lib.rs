//! Ownership in a Proxmox VE cluster: names, markers, VMID ranges and the proof that comes before every destruction.
//!
//! This crate has neither I/O nor a clock. Provider and dispatcher use the same grammar, so each can recognise the
//! guests of the other. This crate must never accept a guest as ours because of its name or tags. They are for people,
//! and a clone made by hand inherits both.

mod files;
mod marker;
mod names;
mod proof;
mod range;
mod run;
mod runner_name;
mod vmid;

pub use files::SeedFile;
pub use marker::{Build, Kind, Marker, MarkerError, Owner, Reap};
pub use names::{Installation, NameError, NodeName, Nonce, PoolName, RepositoryName, fingerprint_tag, tags};
pub use proof::{Claim, Evidence, Guest, NotOurs, Proof, prove};
pub use range::{RangeError, VmidRange};
pub use run::{Run, RunId};
pub use runner_name::RunnerName;
pub use vmid::{Vmid, VmidError};
