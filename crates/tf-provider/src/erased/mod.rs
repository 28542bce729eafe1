//! The object-safe twins of the author's traits: typed models on one side, values on the other. A panic of the author's
//! code ends here as a diagnostic.

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

/// A type of the author's, behind its object-safe trait.
pub(crate) struct Erased<R>(pub(crate) R);

pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The schema that a model declares.
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
pub(crate) fn sync_validation<M: Model>(config: &Value, hook: impl FnOnce(&M, &mut Diagnostics)) -> Diagnostics {
    let config = match model(config) {
        Ok(config) => config,
        Err(error) => return error.into(),
    };
    let call = AssertUnwindSafe(|| {
        let mut diagnostics = Diagnostics::new();
        hook(&config, &mut diagnostics);
        diagnostics
    });
    catch_unwind(call).unwrap_or_else(|panic| panicked(panic.as_ref()).into())
}

/// The typed model of a value.
pub(crate) fn model<M: Model>(value: &Value) -> Result<M, Diagnostic> {
    M::from_value(value, &Path::root()).map_err(unfit)
}

/// Returns the known values of an object.
fn known<M: Model>(value: &Value, basis: Basis) -> Result<Known<M>, Diagnostic> {
    model::<M>(value)?
        .into_known(basis, &Path::root())
        .map_err(|error| Diagnostic { summary: lacking(basis).to_owned(), ..unfit(error) })
}

fn unfit(ValueError { path, problem }: ValueError) -> Diagnostic {
    Diagnostic::error("Invalid value", format!("\"{path}\": {problem}.")).at(path)
}

/// Returns the summary for an object that lacks a value.
fn lacking(basis: Basis) -> &'static str {
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

/// Runs the author's code; its panic becomes an error.
pub(crate) fn caught<'a, T, E: From<Diagnostic> + 'a>(
    work: impl Future<Output = Result<T, E>> + Send + 'a,
) -> Boxed<'a, Result<T, E>> {
    Box::pin(async move {
        let result = AssertUnwindSafe(work).catch_unwind().await;
        result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()).into()))
    })
}

/// Runs the author's code that does not wait; its panic becomes an error.
pub(crate) fn caught_now<T>(work: impl FnOnce() -> Result<T, Diagnostics>) -> Result<T, Diagnostics> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic.as_ref()).into()))
}

pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Diagnostic {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no message");
    let detail = format!(
        "The provider's code stopped unexpectedly: {text}. This is a bug in the provider; what it was doing may be \
         half done."
    );
    Diagnostic::error("Provider bug", detail)
}
