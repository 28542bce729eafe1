//! Planning as pure functions: what the declarations say a change will lead to, and whether what came of it fits.
//!
//! The rules are the core's own: a value that the configuration sets is planned unchanged; what it leaves out is null,
//! or for computed attributes the default, the prior value, or unknown.

mod consistency;
mod propose;
mod replace;
#[cfg(test)]
mod tests;

pub(crate) use consistency::{against_plan, plan_against_config};
pub(crate) use propose::{keep_equal, propose, without_write_only};
pub(crate) use replace::replaced;

use crate::schema::Attribute;
use crate::value::Value;

/// The planned value of an object. `prior` is null when there is nothing yet.
///
/// As long as nothing but computed values could differ, everything stays; else computed values become unknown, except
/// those declared `keep`.
pub(crate) fn plan(attributes: &[Attribute], config: &Value, prior: &Value) -> Value {
    if prior.is_null() {
        return propose(attributes, config, prior, true);
    }
    let quiet = propose(attributes, config, prior, false);
    if quiet == *prior { quiet } else { propose(attributes, config, prior, true) }
}

/// Lays what the resource's own hook changed over the plan: `before` and `after` are its model's values around the
/// call. If the hook made the first change, computed values become unknown as in any other change.
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
    merge(base, before, after)
}

fn merge(base: Value, before: &Value, after: &Value) -> Value {
    match (base, before, after) {
        (base, before, after) if before == after => base,
        (Value::Map(mut entries), Value::Map(_), Value::Map(changed)) => {
            for (name, after) in changed {
                let old = entries.remove(name).unwrap_or(Value::Null);
                entries.insert(name.clone(), merge(old, before.get(name), after));
            }
            // A hook may take entries out of a map; attributes of objects are always all there.
            if let Value::Map(before) = before {
                entries.retain(|name, _| changed.contains_key(name) || !before.contains_key(name));
            }
            Value::Map(entries)
        }
        (_, _, after) => after.clone(),
    }
}
