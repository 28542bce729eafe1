//! A family of template versions: inputs, versions, and the versions to remove.
//!
//! ```text
//! building ──verified──► ready ──superseded──► retired ──no clone needs it──► gone
//!     └── failed: destroyed
//! ```
//!
//! PVE is the only source: every version has its marker in its description, and nothing is stored elsewhere.
//! Installation and name identify a family. This crate must never hash a secret into a fingerprint, and must never
//! recognise a version by its name or tags. It must never act on a guest, which the crate `guest` does.

mod dependents;
mod fingerprint;
mod inputs;
mod name;
mod retention;
mod version;

pub use fingerprint::Fingerprint;
pub use inputs::{Inputs, InputsError};
pub use name::{FamilyName, FamilyNameError};
pub use retention::to_remove;
pub use version::{Family, Version, adoptable};
