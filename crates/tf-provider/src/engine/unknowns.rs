//! Objects as they can be stored.

use crate::plan;
use crate::schema::{Attribute, Kind};
use crate::value::Value;

/// Returns the object as it can be stored: null for unknown values, and empty collections for absent blocks.
pub(crate) fn without_unknowns(attributes: &[Attribute], object: Value) -> Value {
    let Value::Map(mut entries) = object else { return null_for_unknown(object) };
    for attribute in attributes {
        let Some(entry) = entries.get_mut(&attribute.name) else { continue };
        *entry = match (&attribute.kind, std::mem::replace(entry, Value::Null)) {
            (_, Value::Null | Value::Unknown) => attribute.absent(),
            (Kind::Nested(nesting, nested), value) => {
                plan::each_object(*nesting, value, &|object| without_unknowns(nested, object))
            }
            (Kind::Plain(_), value) => null_for_unknown(value),
        };
    }
    Value::Map(entries)
}

/// Replaces unknown values with null, because they cannot be stored.
fn null_for_unknown(value: Value) -> Value {
    match value {
        Value::Unknown => Value::Null,
        Value::List(items) => Value::List(items.into_iter().map(null_for_unknown).collect()),
        Value::Map(entries) => {
            Value::Map(entries.into_iter().map(|(key, item)| (key, null_for_unknown(item))).collect())
        }
        other => other,
    }
}
