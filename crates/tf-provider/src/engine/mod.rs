//! One type's calls, on values: planning, the author's hooks, the checks after them. Knows no protocol.

mod call;
mod identity;
mod lookup;

use std::time::Instant;

use crate::cx::{Cx, PlanCx};
use crate::diagnostic::Diagnostics;
use crate::erased::DynResource;
use crate::path::Path;
use crate::plan;
use crate::resource::Failure;
use crate::schema::{Attribute, Kind, Mode, Nesting, Schema};
use crate::timeouts::{Defaults, Operation, parse};
use crate::value::Value;
pub(crate) use call::call;
pub(crate) use lookup::{look_up, open};

/// What planning came to.
pub(crate) struct Planned {
    pub(crate) value: Value,
    pub(crate) replace: Vec<Path>,
    pub(crate) diagnostics: Diagnostics,
}

/// What exists after an apply, and what was said about it.
pub(crate) struct Applied {
    pub(crate) state: Value,
    pub(crate) diagnostics: Diagnostics,
}

/// Plans a create or update.
pub(crate) async fn plan<D>(
    resource: &dyn DynResource<D>,
    schema: &Schema,
    cx: &PlanCx<D>,
    config: &Value,
    prior: &Value,
) -> Planned {
    let attributes = &schema.attributes;
    let planned = plan::plan(attributes, config, prior);
    let hooked = match resource.plan(cx, config, prior, &planned).await {
        Ok(hooked) => hooked,
        Err(diagnostics) => return Planned { value: planned, replace: Vec::new(), diagnostics },
    };
    let value = plan::overlay(attributes, config, prior, planned, &hooked.before, &hooked.after);
    let mut diagnostics = plan::plan_against_config(attributes, config, prior, &value);
    let mut replace = Vec::new();
    if !prior.is_null() {
        replace = plan::replaced(attributes, prior, &value);
        replace.extend(hooked.replace);
    }
    if replace.is_empty() {
        diagnostics.extend(identity::planned(attributes, prior, &value));
    }
    Planned { value, replace, diagnostics }
}

/// Creates, updates or deletes, by which of `prior` and `planned` is null.
pub(crate) async fn apply<D>(
    resource: &dyn DynResource<D>,
    schema: &Schema,
    cx: &Cx<D>,
    config: &Value,
    prior: Value,
    planned: &Value,
) -> Applied {
    if planned.is_null() {
        return delete(resource, schema, cx, prior).await;
    }
    let attributes = &schema.attributes;
    let given = with_write_only(attributes, planned.clone(), config);
    let result =
        if prior.is_null() { resource.create(cx, &given).await } else { resource.update(cx, &prior, &given).await };
    match result {
        Ok(state) => {
            let state = plan::keep_equal(attributes, planned, plan::without_write_only(attributes, state));
            let different = plan::against_plan(attributes, planned, &state);
            let diagnostics = identity::kept_by_update(attributes, &prior, &state, different);
            let state = if diagnostics.has_error() { settled(attributes, state) } else { state };
            Applied { state, diagnostics }
        }
        Err(failure) => failed(attributes, failure, prior),
    }
}

async fn delete<D>(resource: &dyn DynResource<D>, schema: &Schema, cx: &Cx<D>, prior: Value) -> Applied {
    match resource.delete(cx, &prior).await {
        Ok(()) => Applied { state: Value::Null, diagnostics: Diagnostics::new() },
        Err(failure) => {
            let attributes = &schema.attributes;
            let partial = failure.partial.map(|left| with_gaps(attributes, left, &prior));
            failed(attributes, Failure { partial, ..failure }, prior)
        }
    }
}

/// Takes out the values that stood for attributes which the state lacks: see `known::Absent`.
fn with_gaps(attributes: &[Attribute], left: Value, prior: &Value) -> Value {
    let Value::Map(mut entries) = left else { return left };
    for attribute in attributes.iter().filter(|attribute| attribute.mode != Mode::Computed) {
        if prior.get(&attribute.name).is_null() {
            entries.insert(attribute.name.clone(), Value::Null);
        }
    }
    Value::Map(entries)
}

fn failed(attributes: &[Attribute], failure: Failure<Value>, prior: Value) -> Applied {
    let state =
        failure.partial.map_or(prior, |exists| settled(attributes, plan::without_write_only(attributes, exists)));
    Applied { state, diagnostics: failure.diagnostics }
}

/// Looks at the object; null if it is gone. `identity` is what the core remembers of it, or null.
pub(crate) async fn read<D>(
    resource: &dyn DynResource<D>,
    schema: &Schema,
    cx: &Cx<D>,
    state: &Value,
    identity: &Value,
) -> Result<Value, Diagnostics> {
    let attributes = &schema.attributes;
    match resource.read(cx, state).await? {
        None => Ok(Value::Null),
        Some(found) => {
            let found = plan::without_write_only(attributes, settled(attributes, found));
            let found = plan::keep_equal(attributes, state, found);
            let before = if identity.is_null() { state } else { identity };
            match identity::kept(attributes, before, &found) {
                Some(changed) => Err(changed.into()),
                None => Ok(found),
            }
        }
    }
}

/// The object as it can be stored: nothing is unknown, and where blocks could be there are none rather than null.
pub(crate) fn settled(attributes: &[Attribute], object: Value) -> Value {
    let Value::Map(mut entries) = object else { return known(object) };
    for attribute in attributes {
        let Some(entry) = entries.get_mut(&attribute.name) else { continue };
        *entry = match (&attribute.kind, std::mem::replace(entry, Value::Null)) {
            (_, Value::Null | Value::Unknown) => attribute.absent(),
            (Kind::Nested(nesting, nested), value) => {
                plan::each_object(*nesting, value, &|object| settled(nested, object))
            }
            (Kind::Plain(_), value) => known(value),
        };
    }
    Value::Map(entries)
}

/// Unknown values cannot be stored.
fn known(value: Value) -> Value {
    match value {
        Value::Unknown => Value::Null,
        Value::List(items) => Value::List(items.into_iter().map(known).collect()),
        Value::Map(entries) => Value::Map(entries.into_iter().map(|(key, item)| (key, known(item))).collect()),
        other => other,
    }
}

/// The plan with the write-only values that only the configuration has.
fn with_write_only(attributes: &[Attribute], planned: Value, config: &Value) -> Value {
    let Value::Map(mut entries) = planned else { return planned };
    for attribute in attributes {
        let Some(entry) = entries.get_mut(&attribute.name) else { continue };
        let config = config.get(&attribute.name);
        if attribute.write_only {
            *entry = config.clone();
            continue;
        }
        let Kind::Nested(nesting, nested) = &attribute.kind else { continue };
        let taken = std::mem::replace(entry, Value::Null);
        *entry = with_write_only_nested(*nesting, nested, taken, config);
    }
    Value::Map(entries)
}

fn with_write_only_nested(nesting: Nesting, nested: &[Attribute], planned: Value, config: &Value) -> Value {
    match (nesting, planned, config) {
        (Nesting::Single | Nesting::Group, planned, config) => with_write_only(nested, planned, config),
        (Nesting::Map, Value::Map(entries), config) => {
            let entries = entries.into_iter().map(|(key, item)| {
                let item = with_write_only(nested, item, config.get(&key));
                (key, item)
            });
            Value::Map(entries.collect())
        }
        (Nesting::List, Value::List(items), Value::List(configs)) if items.len() == configs.len() => {
            let items = items.into_iter().zip(configs);
            Value::List(items.map(|(item, config)| with_write_only(nested, item, config)).collect())
        }
        // Cores do not allow write-only values inside sets.
        (_, planned, _) => planned,
    }
}

/// When an operation must be done, by the object's `timeouts` attribute or the declared default.
pub(crate) fn deadline(defaults: &Defaults, object: &Value, operation: Operation) -> Option<Instant> {
    let name = match operation {
        Operation::Create => "create",
        Operation::Read => "read",
        Operation::Update => "update",
        Operation::Delete => "delete",
    };
    let default = defaults.of(operation)?;
    let text = match object.get("timeouts").get(name) {
        Value::String(text) => text.as_str(),
        _ => default,
    };
    let limit = parse(text).or_else(|_| parse(default)).ok()?;
    Instant::now().checked_add(limit)
}
