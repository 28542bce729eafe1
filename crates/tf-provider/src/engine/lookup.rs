//! Values that are read or opened, but not managed: data sources and ephemeral resources.

use super::unknowns::without_unknowns;
use crate::context::Context;
use crate::diagnostic::Diagnostics;
use crate::erased::{DynDataSource, DynEphemeral, Lease};
use crate::plan;
use crate::schema::Schema;
use crate::value::Value;

/// Reads a data source.
pub(crate) async fn look_up<D>(
    source: &dyn DynDataSource<D>,
    schema: &Schema,
    cx: &Context<D>,
    config: &Value,
) -> Result<Value, Diagnostics> {
    let config = with_defaults(schema, config);
    let result = source.read(cx, &config).await?;
    checked_result(schema, &config, result)
}

/// Opens an ephemeral resource. If the result cannot be used, closes it again.
pub(crate) async fn open<D>(
    resource: &dyn DynEphemeral<D>,
    schema: &Schema,
    cx: &Context<D>,
    config: &Value,
) -> Result<Lease, Diagnostics> {
    let config = with_defaults(schema, config);
    let lease = resource.open(cx, &config).await?;
    match checked_result(schema, &config, lease.value) {
        Ok(value) => Ok(Lease { value, ..lease }),
        Err(mut diagnostics) => {
            if let Err(more) = resource.close(cx, &lease.private).await {
                diagnostics.extend(more);
            }
            Err(diagnostics)
        }
    }
}

/// Returns the object that the author's code completes: the configuration with defaults, and unknown computed values.
fn with_defaults(schema: &Schema, config: &Value) -> Value {
    plan::propose(&schema.attributes, config, &Value::Null, true)
}

/// Checks the result. Values that mean the same as the configured ones keep the spelling of the configuration.
fn checked_result(schema: &Schema, config: &Value, result: Value) -> Result<Value, Diagnostics> {
    let result = plan::keep_equal(&schema.attributes, config, result);
    let different = plan::against_config(&schema.attributes, config, &result);
    if different.has_error() { Err(different) } else { Ok(without_unknowns(&schema.attributes, result)) }
}
