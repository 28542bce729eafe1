//! Write Terraform and OpenTofu providers.
// Derived code names this crate; so it can be used in here as well.
extern crate self as tf_provider;

mod attr;
#[doc(hidden)]
pub mod check;
mod cx;
mod diagnostic;
mod element;
mod erased;
mod path;
mod provider;
mod resource;
pub mod schema;
pub mod timeouts;
mod value;

#[cfg(test)]
mod derive_tests;

pub use attr::{Attr, Secret};
pub use cx::{Capabilities, Cx};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use element::{Choice, Element, Measured, Model, Ranged, ValueError, decode_attr, encode_attr};
pub use path::{Path, Step};
pub use provider::{Provider, Registry};
pub use resource::{Failure, ImportKey, Outcome, Plan, Resource};
pub use tf_provider_derive::Model;
pub use timeouts::Timeouts;
pub use tokio_util::sync::CancellationToken;
pub use value::{Number, Value};

/// Serves the provider to the core that started this process.
pub fn serve<P: Provider>(provider: P) -> std::process::ExitCode {
    let _ = provider;
    std::process::ExitCode::FAILURE
}
