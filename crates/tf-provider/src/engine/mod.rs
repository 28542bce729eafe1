//! Runs the calls of a type on values: planning, the author's hooks, and the checks after them. Independent of the
//! protocol.

mod call;
mod identity;
mod lookup;
mod unknowns;

use std::time::Instant;

use crate::context::{Context, PlanContext};
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
pub(crate) use unknowns::without_unknowns;

/// Result of planning.
pub(crate) struct Planned {
    pub(crate) value: Value,
    pub(crate) replace: Vec<Path>,
    pub(crate) diagnostics: Diagnostics,
}

/// Result of an apply: the object that exists now, and the diagnostics.
pub(crate) struct Applied {
    pub(crate) state: Value,
    pub(crate) diagnostics: Diagnostics,
}

/// Plans a create or update.
pub(crate) async fn plan<D>(
    resource: &dyn DynResource<D>,
    schema: &Schema,
    cx: &PlanContext<D>,
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
        replace = plan::paths_to_replace(attributes, prior, &value);
        replace.extend(hooked.replace);
    }
    if replace.is_empty() {
        diagnostics.extend(identity::check_plan(attributes, prior, &value));
    }
    Planned { value, replace, diagnostics }
}

/// Creates, updates or deletes, depending on which of `prior` and `planned` is null.
pub(crate) async fn apply<D>(
    resource: &dyn DynResource<D>,
    schema: &Schema,
    cx: &Context<D>,
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
            let diagnostics = identity::check_update(attributes, &prior, &state, different);
            let state = if diagnostics.has_error() { without_unknowns(attributes, state) } else { state };
            Applied { state, diagnostics }
        }
        Err(failure) => after_failure(attributes, failure, prior),
    }
}

async fn delete<D>(resource: &dyn DynResource<D>, schema: &Schema, cx: &Context<D>, prior: Value) -> Applied {
    match resource.delete(cx, &prior).await {
        Ok(()) => Applied { state: Value::Null, diagnostics: Diagnostics::new() },
        Err(failure) => {
            let attributes = &schema.attributes;
            let partial = failure.partial.map(|left| without_placeholders(attributes, left, &prior));
            after_failure(attributes, Failure { partial, ..failure }, prior)
        }
    }
}

/// Replaces the placeholders of attributes that the state lacks (`known::Absent`) with null.
fn without_placeholders(attributes: &[Attribute], left: Value, prior: &Value) -> Value {
    let Value::Map(mut entries) = left else { return left };
    for attribute in attributes.iter().filter(|attribute| attribute.mode != Mode::Computed) {
        if prior.get(&attribute.name).is_null() {
            entries.insert(attribute.name.clone(), Value::Null);
        }
    }
    Value::Map(entries)
}

fn after_failure(attributes: &[Attribute], failure: Failure<Value>, prior: Value) -> Applied {
    let state = failure
        .partial
        .map_or(prior, |exists| without_unknowns(attributes, plan::without_write_only(attributes, exists)));
    Applied { state, diagnostics: failure.diagnostics }
}

/// Reads the object; null if it no longer exists. `identity` is the identity that the core stores, or null.
pub(crate) async fn read<D>(
    resource: &dyn DynResource<D>,
    schema: &Schema,
    cx: &Context<D>,
    state: &Value,
    identity: &Value,
) -> Result<Value, Diagnostics> {
    let attributes = &schema.attributes;
    match resource.read(cx, state).await? {
        None => Ok(Value::Null),
        Some(found) => {
            let found = plan::without_write_only(attributes, without_unknowns(attributes, found));
            let found = plan::keep_equal(attributes, state, found);
            let before = if identity.is_null() { state } else { identity };
            match identity::check_read(attributes, before, &found) {
                Some(changed) => Err(changed.into()),
                None => Ok(found),
            }
        }
    }
}

/// Returns the plan with the write-only values of the configuration.
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

/// Returns the deadline of an operation, from the object's `timeouts` attribute or the declared default.
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
