//! Object-safe counterparts of the author's traits, which convert between typed models and values. A panic in the
//! author's code becomes a diagnostic here.

mod data_source;
mod ephemeral;
mod function;
mod resource;

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use futures::FutureExt;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::element::{Model, ValueError};
use crate::known::{Basis, Known};
use crate::path::Path;
use crate::schema::Schema;
use crate::value::Value;
pub(crate) use data_source::DynDataSource;
pub(crate) use ephemeral::{DynEphemeral, Lease};
pub(crate) use function::{DynFunction, Signature};
pub(crate) use resource::DynResource;

/// Wraps an author's type to implement the object-safe trait.
pub(crate) struct Erased<R>(pub(crate) R);

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Returns the schema that a model declares.
pub(crate) fn schema_of<M: Model>(version: i64) -> Schema {
    Schema {
        version,
        identity_version: 0,
        description: M::DESCRIPTION.to_owned(),
        deprecated: M::DEPRECATED.map(str::to_owned),
        attributes: M::attributes(),
    }
}

/// Runs a validation hook on the typed configuration.
pub(crate) fn run_validation<M: Model>(config: &Value, hook: impl FnOnce(&M, &mut Diagnostics)) -> Diagnostics {
    let config = match model(config) {
        Ok(config) => config,
        Err(error) => return error.into(),
    };
    let call = AssertUnwindSafe(|| {
        let mut diagnostics = Diagnostics::new();
        hook(&config, &mut diagnostics);
        diagnostics
    });
    catch_unwind(call).unwrap_or_else(|panic| panic_diagnostic(panic.as_ref()).into())
}

/// Converts a value to a typed model.
pub(crate) fn model<M: Model>(value: &Value) -> Result<M, Diagnostic> {
    M::from_value(value, &Path::root()).map_err(invalid_value)
}

/// Returns the known values of an object.
fn known<M: Model>(value: &Value, basis: Basis) -> Result<Known<M>, Diagnostic> {
    model::<M>(value)?
        .into_known(basis, &Path::root())
        .map_err(|error| Diagnostic { summary: missing_value_summary(basis).to_owned(), ..invalid_value(error) })
}

fn invalid_value(ValueError { path, problem }: ValueError) -> Diagnostic {
    Diagnostic::error("Invalid value", format!("\"{path}\": {problem}.")).at(path)
}

/// Returns the summary for an object that lacks a value.
fn missing_value_summary(basis: Basis) -> &'static str {
    match basis {
        Basis::Plan => "Missing value",
        Basis::Prior | Basis::Last => "Incomplete state",
    }
}

fn to_value<M: Model>(model: M) -> Value {
    model.to_value()
}

fn known_to_value<M: Model>(known: Known<M>) -> Value {
    M::from_known(known).to_value()
}

/// Runs the author's code. A panic becomes an error.
pub(crate) fn catch_panic<'a, T, E: From<Diagnostic> + 'a>(
    work: impl Future<Output = Result<T, E>> + Send + 'a,
) -> BoxFuture<'a, Result<T, E>> {
    Box::pin(async move {
        let result = AssertUnwindSafe(work).catch_unwind().await;
        result.unwrap_or_else(|panic| Err(panic_diagnostic(panic.as_ref()).into()))
    })
}

/// Runs the author's synchronous code. A panic becomes an error.
pub(crate) fn catch_panic_sync<T>(work: impl FnOnce() -> Result<T, Diagnostics>) -> Result<T, Diagnostics> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panic_diagnostic(panic.as_ref()).into()))
}

pub(crate) fn panic_diagnostic(panic: &(dyn Any + Send)) -> Diagnostic {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no message");
    let detail = format!(
        "The provider's code stopped unexpectedly: {text}. This is a bug in the provider. The operation may be \
         half done."
    );
    Diagnostic::error("Provider bug", detail)
}
