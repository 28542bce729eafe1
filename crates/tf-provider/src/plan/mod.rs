//! Planning as pure functions: the plan that follows from the declarations, and the check of results against the plan.
//!
//! The rules are those of the core. A configured value is planned unchanged. An attribute that the configuration leaves
//! out is null or, if computed, the default, the prior value, or unknown.

mod consistency;
mod pairing;
mod propose;
mod replace;
#[cfg(test)]
mod tests;

pub(crate) use consistency::{against_config, against_plan, plan_against_config};
pub(crate) use propose::{each_object, keep_equal, propose, without_write_only};
pub(crate) use replace::paths_to_replace;

use crate::schema::{Attribute, Kind, Nesting, Type};
use crate::value::Value;

/// Returns the planned value of an object. `prior` is null if the object does not exist yet.
///
/// If only computed values could differ, nothing changes. Otherwise computed values become unknown, except those
/// declared `keep`.
pub(crate) fn plan(attributes: &[Attribute], config: &Value, prior: &Value) -> Value {
    if prior.is_null() {
        return propose(attributes, config, prior, true);
    }
    let quiet = propose(attributes, config, prior, false);
    if quiet == *prior { quiet } else { propose(attributes, config, prior, true) }
}

/// Applies the changes of the resource's planning hook to the plan. `before` and `after` are the model's values before
/// and after the call. If the hook makes the first change, computed values become unknown as in any other change.
pub(crate) fn overlay(
    attributes: &[Attribute],
    config: &Value,
    prior: &Value,
    planned: Value,
    before: &Value,
    after: &Value,
) -> Value {
    if before == after {
        return planned;
    }
    let first_change = !prior.is_null() && planned == *prior;
    let base = if first_change { propose(attributes, config, prior, true) } else { planned };
    merge(attributes, base, before, after)
}

/// Merges the attributes of an object.
fn merge(attributes: &[Attribute], base: Value, before: &Value, after: &Value) -> Value {
    let Value::Map(mut entries) = base else { return after.clone() };
    for attribute in attributes {
        let Some(entry) = entries.get_mut(&attribute.name) else { continue };
        let old = std::mem::replace(entry, Value::Null);
        *entry = merge_value(&attribute.kind, old, before.get(&attribute.name), after.get(&attribute.name));
    }
    Value::Map(entries)
}

/// Merges a value. Values that the hook did not change keep unknown parts that typed models cannot represent.
fn merge_value(kind: &Kind, base: Value, before: &Value, after: &Value) -> Value {
    if before == after {
        return base;
    }
    let item = |base: Value, before: &Value, after: &Value| match kind {
        Kind::Nested(_, nested) => merge(nested, base, before, after),
        Kind::Plain(Type::List(element) | Type::Map(element)) => {
            merge_value(&Kind::Plain(element.as_ref().clone()), base, before, after)
        }
        Kind::Plain(_) => after.clone(),
    };
    match (kind, base, before, after) {
        (
            Kind::Nested(Nesting::Single | Nesting::Group, nested),
            base @ Value::Map(_),
            before,
            after @ Value::Map(_),
        ) => merge(nested, base, before, after),
        (
            Kind::Nested(Nesting::Map, _) | Kind::Plain(Type::Map(_)),
            Value::Map(mut base),
            Value::Map(before),
            Value::Map(after),
        ) => {
            let merged = after.iter().map(|(key, after)| {
                let value = match (base.remove(key), before.get(key)) {
                    (Some(base), Some(before)) => item(base, before, after),
                    _ => after.clone(),
                };
                (key.clone(), value)
            });
            Value::Map(merged.collect())
        }
        (
            Kind::Nested(Nesting::List, _) | Kind::Plain(Type::List(_)),
            Value::List(base),
            Value::List(before),
            Value::List(after),
        ) if base.len() == after.len() && before.len() == after.len() => {
            let items = base.into_iter().zip(before).zip(after);
            Value::List(items.map(|((base, before), after)| item(base, before, after)).collect())
        }
        (_, _, _, after) => after.clone(),
    }
}
