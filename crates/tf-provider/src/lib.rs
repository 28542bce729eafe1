//! Write Terraform and OpenTofu providers.
// Derived code names this crate; so it can be used in its own tests as well.
#[cfg(test)]
extern crate self as tf_provider;

mod attr;
#[doc(hidden)]
pub mod check;
mod cx;
mod diagnostic;
mod element;
mod engine;
mod erased;
mod path;
mod plan;
mod provider;
mod resource;
pub mod schema;
mod serve;
mod service;
pub mod timeouts;
mod validate;
mod value;
mod wire;

#[cfg(test)]
mod derive_tests;

pub use attr::{Attr, Secret};
pub use cx::{Capabilities, Cx};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use element::{Choice, Element, Measured, Model, Ranged, ValueError, decode_attr, encode_attr};
pub use path::{Path, Step};
pub use provider::{Provider, Registry};
pub use resource::{Failure, ImportKey, Outcome, Plan, Resource};
pub use serve::{Reattach, ServeError, serve};
pub use tf_provider_derive::Model;
pub use timeouts::Timeouts;
pub use tokio_util::sync::CancellationToken;
pub use value::{Number, Value};
