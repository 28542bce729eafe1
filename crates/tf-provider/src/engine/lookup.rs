//! Values that are fetched rather than kept: data sources and ephemeral resources.

use crate::cx::Cx;
use crate::diagnostic::Diagnostics;
use crate::erased::{DynDataSource, DynEphemeral, Lease};
use crate::plan;
use crate::schema::Schema;
use crate::value::Value;

/// Reads a data source.
pub(crate) async fn look_up<D>(
    source: &dyn DynDataSource<D>,
    schema: &Schema,
    cx: &Cx<D>,
    config: &Value,
) -> Result<Value, Diagnostics> {
    let wanted = wanted(schema, config);
    let result = source.read(cx, &wanted).await?;
    fetched(schema, &wanted, result)
}

/// Opens an ephemeral resource. One whose result cannot be used is closed again.
pub(crate) async fn open<D>(
    resource: &dyn DynEphemeral<D>,
    schema: &Schema,
    cx: &Cx<D>,
    config: &Value,
) -> Result<Lease, Diagnostics> {
    let wanted = wanted(schema, config);
    let lease = resource.open(cx, &wanted).await?;
    match fetched(schema, &wanted, lease.value) {
        Ok(value) => Ok(Lease { value, ..lease }),
        Err(mut diagnostics) => {
            if let Err(more) = resource.close(cx, &lease.private).await {
                diagnostics.extend(more);
            }
            Err(diagnostics)
        }
    }
}
/// What the author's code shall fill: the configuration with its defaults, everything computed unknown.
fn wanted(schema: &Schema, config: &Value) -> Value {
    plan::propose(&schema.attributes, config, &Value::Null, true)
}

/// What came of `wanted`, in the configuration's spelling where that means the same.
fn fetched(schema: &Schema, wanted: &Value, result: Value) -> Result<Value, Diagnostics> {
    let result = plan::keep_equal(&schema.attributes, wanted, result);
    let different = plan::against_config(&schema.attributes, wanted, &result);
    if different.has_error() { Err(different) } else { Ok(super::settled(&schema.attributes, result)) }
}
