//! Object-safe counterparts of the author's traits, which convert between typed models and values. A panic in the
//! author's code becomes a diagnostic here.

mod data_source;
mod ephemeral;
mod function;
mod panics;
mod resource;
mod typed;

pub(crate) use data_source::DynDataSource;
pub(crate) use ephemeral::{DynEphemeral, Lease};
pub(crate) use function::{DynFunction, Signature};
pub(crate) use futures::future::BoxFuture;
pub(crate) use panics::{catch_panic, panic_diagnostic};
pub(crate) use resource::DynResource;
pub(crate) use typed::{Erased, model, run_validation, schema_of};
