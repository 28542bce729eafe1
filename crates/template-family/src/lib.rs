//! A family of template versions: what a version is made from, which versions there are, and which may go.
//!
//! ```text
//! building ──verified──► ready ──superseded──► retired ──no clone needs it──► gone
//!     └── failed: destroyed
//! ```
//!
//! PVE is the truth: every version carries its marker in its description, and nothing is kept elsewhere. A family is
//! {installation, name}; VMIDs come and go. It must never hash a secret into a fingerprint, never take a guest for a version
//! because of its name or tags, and never act on one: the crate `guest` does that.

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
