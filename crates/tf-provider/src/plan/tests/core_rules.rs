//! The checks of the cores, written after their package `plans/objchange` (`plan_valid.go`, `compatible.go`), so that
//! the planner is not tested by its own rules.

use crate::plan::pairing::pairs;
use crate::schema::{Attribute, Kind, Nesting};
use crate::value::Value;

type Checked = Result<(), String>;

fn wrong(path: &str, text: &str) -> Checked {
    Err(format!("{path}: {text}"))
}

/// Checks a plan as `AssertPlanValid` does.
pub(super) fn plan_is_valid(attributes: &[Attribute], prior: &Value, config: &Value, planned: &Value) -> Checked {
    object(attributes, prior, config, planned, "")
}

fn object(attributes: &[Attribute], prior: &Value, config: &Value, planned: &Value, path: &str) -> Checked {
    match (config.is_null(), planned.is_null()) {
        (true, true) => return Ok(()),
        (true, false) => return wrong(path, "planned for existence but config wants absence"),
        (false, true) => return wrong(path, "planned for absence but config wants existence"),
        (false, false) => {}
    }
    attributes.iter().try_for_each(|attribute| {
        let name = &attribute.name;
        let (prior, config, planned) = (prior.get(name), config.get(name), planned.get(name));
        let path = format!("{path}.{name}");
        match &attribute.kind {
            Kind::Nested(nesting, nested) if attribute.block.is_some() => {
                block(*nesting, nested, prior, config, planned, &path)
            }
            _ => value(attribute, prior, config, planned, &path),
        }
    })
}

/// Checks a value as `assertPlannedValueValid` and `assertPlannedObjectValid` do.
fn value(attribute: &Attribute, prior: &Value, config: &Value, planned: &Value, path: &str) -> Checked {
    if attribute.write_only {
        return if planned.is_null() { Ok(()) } else { wrong(path, "write-only and not null") };
    }
    let prior_taken = planned == prior && !prior.is_null() && !config.is_null();
    let computed = attribute.mode.is_computed() && config.is_null();
    if planned == config || prior_taken || computed {
        return Ok(());
    }
    let Kind::Nested(nesting, nested) = &attribute.kind else {
        return wrong(path, "planned value does not match config value");
    };
    if planned.is_unknown() || config.is_unknown() {
        return wrong(path, "planned unknown for configured value, or the reverse");
    }
    match (nesting, config, planned) {
        (Nesting::Set, Value::List(configs), Value::List(plans)) if configs.len() == plans.len() => Ok(()),
        (Nesting::Set, ..) => wrong(path, "count in plan disagrees with count in config"),
        (nesting, ..) => objects(*nesting, nested, prior, config, planned, path),
    }
}

/// Checks nested blocks as `assertPlanValid` does.
fn block(
    nesting: Nesting,
    nested: &[Attribute],
    prior: &Value,
    config: &Value,
    planned: &Value,
    path: &str,
) -> Checked {
    if planned == config {
        return Ok(());
    }
    if config.is_unknown() {
        return wrong(path, "changed an unknown dynamic block");
    }
    if planned.is_unknown() {
        return wrong(path, "must not be unknown itself");
    }
    match (nesting, config, planned) {
        (Nesting::List | Nesting::Set | Nesting::Map, _, Value::Null) => wrong(path, "must be empty, not null"),
        (Nesting::Set, Value::List(configs), Value::List(plans)) => {
            let fits = |config: &Value, planned: &Value| object(nested, &Value::Null, config, planned, "").is_ok();
            let all = configs.len() == plans.len() && pairs(configs, plans, fits).iter().all(Option::is_some);
            if all { Ok(()) } else { wrong(path, "set elements do not correspond") }
        }
        _ => objects(nesting, nested, prior, config, planned, path),
    }
}

/// Checks objects: of lists by position, of maps by key.
fn objects(
    nesting: Nesting,
    nested: &[Attribute],
    prior: &Value,
    config: &Value,
    planned: &Value,
    path: &str,
) -> Checked {
    match (nesting, config, planned) {
        (Nesting::List, Value::List(configs), Value::List(plans)) if configs.len() == plans.len() => {
            let olds = if let Value::List(olds) = prior { olds.as_slice() } else { &[] };
            configs.iter().zip(plans).enumerate().try_for_each(|(index, (config, planned))| {
                if planned.is_unknown() && !config.is_unknown() {
                    return wrong(path, "element must not be unknown itself");
                }
                object(nested, olds.get(index).unwrap_or(&Value::Null), config, planned, &format!("{path}[{index}]"))
            })
        }
        (Nesting::Map, Value::Map(configs), Value::Map(plans)) if configs.keys().eq(plans.keys()) => {
            configs.iter().try_for_each(|(key, config)| {
                object(nested, prior.get(key), config, &plans[key], &format!("{path}[{key:?}]"))
            })
        }
        (Nesting::Single | Nesting::Group, ..) => object(nested, prior, config, planned, path),
        _ => wrong(path, "count in plan disagrees with count in config"),
    }
}

/// Compares a result with its plan, and the plan at apply with the first plan, as `AssertObjectCompatible` does.
pub(super) fn is_compatible(attributes: &[Attribute], planned: &Value, actual: &Value) -> Checked {
    attributes.iter().try_for_each(|attribute| {
        let kind = &attribute.kind.value_type();
        let (planned, actual) = (planned.get(&attribute.name), actual.get(&attribute.name));
        if corresponds(kind, planned, actual) { Ok(()) } else { wrong(&attribute.name, "changed") }
    })
}

fn corresponds(declared: &crate::schema::Type, planned: &Value, actual: &Value) -> bool {
    use crate::schema::Type;
    match (declared, planned, actual) {
        (_, Value::Unknown, _) => true,
        (Type::Set(element), Value::List(plans), Value::List(actuals)) => {
            let fits = |planned: &Value, actual: &Value| corresponds(element, planned, actual);
            let each = plans.iter().all(|planned| actuals.iter().any(|actual| fits(planned, actual)));
            let shrinks = !plans.iter().all(Value::is_wholly_known);
            each && (plans.len() == actuals.len() || (shrinks && actuals.len() < plans.len()))
        }
        (Type::List(element), Value::List(plans), Value::List(actuals)) => {
            plans.len() == actuals.len()
                && plans.iter().zip(actuals).all(|(one, other)| corresponds(element, one, other))
        }
        (Type::Map(element), Value::Map(plans), Value::Map(actuals)) => {
            plans.keys().eq(actuals.keys()) && plans.iter().all(|(key, one)| corresponds(element, one, &actuals[key]))
        }
        (Type::Object(declared), Value::Map(_), Value::Map(_)) => {
            declared.iter().all(|(name, declared)| corresponds(declared, planned.get(name), actual.get(name)))
        }
        (_, planned, actual) => planned == actual,
    }
}
