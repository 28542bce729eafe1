//! Conversions between typed models and values.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::panics::panic_diagnostic;
use crate::basis::Basis;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::element::{Known, Model};
use crate::path::Path;
use crate::schema::Schema;
use crate::value::Value;

/// Wraps an author's type to implement the object-safe trait.
pub(crate) struct Erased<R>(pub(crate) R);

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
    M::from_value(value, &Path::root()).map_err(Into::into)
}

/// Returns the known values of an object.
pub(super) fn known<M: Model>(value: &Value, basis: Basis) -> Result<Known<M>, Diagnostic> {
    model::<M>(value)?
        .into_known(basis, &Path::root())
        .map_err(|error| Diagnostic { summary: missing_value_summary(basis).to_owned(), ..error.into() })
}

/// Returns the summary for an object that lacks a value.
pub(super) fn missing_value_summary(basis: Basis) -> &'static str {
    match basis {
        Basis::Plan => "Missing value",
        Basis::Prior | Basis::Last => "Incomplete state",
    }
}

pub(super) fn to_value<M: Model>(model: M) -> Value {
    model.to_value()
}

pub(super) fn known_to_value<M: Model>(known: Known<M>) -> Value {
    M::from_known(known).to_value()
}
