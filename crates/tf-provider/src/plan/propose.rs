//! Computes the planned value from configuration and prior state.

use std::collections::BTreeMap;

use super::consistency::matches_plan;
use super::pairing::{pairs, pairs_by_rank};
use crate::schema::{Attribute, Kind, Nesting};
use crate::value::Value;

/// Plans an object. With `changing`, computed values that are not declared `keep` become unknown.
pub(crate) fn propose(attributes: &[Attribute], config: &Value, prior: &Value, changing: bool) -> Value {
    let exists = !prior.is_null();
    let planned = attributes.iter().map(|attribute| {
        let (config, prior) = (config.get(&attribute.name), prior.get(&attribute.name));
        (attribute.name.clone(), propose_attribute(attribute, config, prior, ObjectState { exists, changing }))
    });
    Value::Map(planned.collect())
}

/// The state of the object that an attribute belongs to.
#[derive(Clone, Copy)]
struct ObjectState {
    /// True if the object exists, so that its values can be kept, including null.
    exists: bool,
    changing: bool,
}

fn propose_attribute(attribute: &Attribute, config: &Value, prior: &Value, object: ObjectState) -> Value {
    if attribute.write_only {
        return Value::Null;
    }
    if attribute.block.is_some() && config.is_null() {
        return attribute.absent();
    }
    if !config.is_null() {
        return propose_configured(attribute, config, prior, object.changing);
    }
    if let Some(default) = &attribute.default {
        // A default counts as configured: the server's spelling of it is not a difference.
        return if is_equal(attribute, default, prior) { prior.clone() } else { default.clone() };
    }
    if !attribute.mode.is_computed() {
        return Value::Null;
    }
    let kept = attribute.keep && object.exists;
    if object.changing && !kept { Value::Unknown } else { prior.clone() }
}

/// Plans an attribute that the configuration sets, possibly to an unknown value.
fn propose_configured(attribute: &Attribute, config: &Value, prior: &Value, changing: bool) -> Value {
    if is_equal(attribute, config, prior) {
        return prior.clone();
    }
    let Kind::Nested(nesting, nested) = &attribute.kind else {
        return config.clone();
    };
    match (nesting, config) {
        (_, Value::Unknown) => Value::Unknown,
        (Nesting::Single | Nesting::Group, config) => propose(nested, config, prior, changing),
        (Nesting::Map, Value::Map(entries)) => {
            let items =
                entries.iter().map(|(key, item)| (key.clone(), propose_item(nested, item, prior.get(key), changing)));
            Value::Map(items.collect::<BTreeMap<_, _>>())
        }
        (Nesting::List, Value::List(items)) => {
            let olds = elements(prior);
            let items = items.iter().enumerate();
            let planned = items
                .map(|(index, item)| propose_item(nested, item, olds.get(index).unwrap_or(&Value::Null), changing));
            Value::List(planned.collect())
        }
        (Nesting::Set, Value::List(items)) => {
            let elements = Elements { nested, exact: &without_equality(nested), is_block: attribute.block.is_some() };
            elements.propose(items, prior, changing)
        }
        (_, other) => other.clone(),
    }
}

fn propose_item(nested: &[Attribute], config: &Value, prior: &Value, changing: bool) -> Value {
    match config {
        Value::Map(_) => {
            // A new element has no values to keep, even if the object around it does not change.
            propose(nested, config, prior, changing || prior.is_null())
        }
        other => other.clone(),
    }
}

/// The declaration of a set's elements.
struct Elements<'a> {
    nested: &'a [Attribute],
    /// The same attributes without comparisons of spelling.
    exact: &'a [Attribute],
    is_block: bool,
}

impl Elements<'_> {
    /// Plans each element from the prior element that it matches. If nothing changes, returns the prior set in its
    /// order.
    fn propose(&self, items: &[Value], prior: &Value, changing: bool) -> Value {
        let olds = elements(prior);
        // Elements with the most values choose first, because elements with few values match many.
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(count_values(&items[*index])));
        let exactly = |index: &usize, old: &Value| propose(self.exact, &items[*index], old, false) == *old;
        let spelled = |index: &usize, old: &Value| propose(self.nested, &items[*index], old, false) == *old;
        let partners = pairs_by_rank(&order, olds, &[&exactly, &spelled]);
        // Cores compare each block of a set with the configuration only, so it must have the same spelling.
        let attributes = if self.is_block { self.exact } else { self.nested };
        let mut planned = vec![Value::Null; items.len()];
        for (index, partner) in order.into_iter().zip(partners) {
            let old = partner.map_or(&Value::Null, |partner| &olds[partner]);
            planned[index] = propose_item(attributes, &items[index], old, changing);
        }
        let same =
            planned.len() == olds.len() && pairs(&planned, olds, |one, old| one == old).iter().all(Option::is_some);
        if same && matches!(prior, Value::List(_)) { prior.clone() } else { Value::List(planned) }
    }
}

/// Returns the number of values that an element sets.
fn count_values(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::List(items) => items.iter().map(count_values).sum(),
        Value::Map(entries) => entries.values().map(count_values).sum(),
        _ => 1,
    }
}

fn without_equality(attributes: &[Attribute]) -> Vec<Attribute> {
    let exact = |attribute: &Attribute| {
        let kind = match &attribute.kind {
            Kind::Nested(nesting, nested) => Kind::Nested(*nesting, without_equality(nested)),
            plain => plain.clone(),
        };
        Attribute { kind, equality: None, ..attribute.clone() }
    };
    attributes.iter().map(exact).collect()
}

fn elements(list: &Value) -> &[Value] {
    match list {
        Value::List(items) => items,
        _ => &[],
    }
}

fn is_equal(attribute: &Attribute, one: &Value, prior: &Value) -> bool {
    if prior.is_null() || !one.is_wholly_known() || !prior.is_wholly_known() {
        return false;
    }
    attribute.equality.as_ref().is_some_and(|equal| equal(one, prior))
}

/// Replaces values that only differ from `reference` in the server's spelling with those of `reference`.
pub(crate) fn keep_equal(attributes: &[Attribute], reference: &Value, actual: Value) -> Value {
    let Value::Map(mut entries) = actual else { return actual };
    for attribute in attributes {
        let old = reference.get(&attribute.name);
        let Some(new) = entries.get_mut(&attribute.name) else { continue };
        if is_equal(attribute, new, old) {
            *new = old.clone();
            continue;
        }
        if let Kind::Nested(nesting, nested) = &attribute.kind {
            let taken = std::mem::replace(new, Value::Null);
            *new = keep_equal_nested(*nesting, nested, old, taken);
        }
    }
    Value::Map(entries)
}

fn keep_equal_nested(nesting: Nesting, nested: &[Attribute], reference: &Value, actual: Value) -> Value {
    match (nesting, actual) {
        (Nesting::Single | Nesting::Group, actual) => keep_equal(nested, reference, actual),
        (Nesting::Map, Value::Map(entries)) => {
            let items = entries.into_iter().map(|(key, item)| {
                let item = keep_equal(nested, reference.get(&key), item);
                (key, item)
            });
            Value::Map(items.collect())
        }
        (Nesting::List, Value::List(items)) => {
            let olds = elements(reference);
            let items = items.into_iter().enumerate();
            let kept = items.map(|(index, item)| keep_equal(nested, olds.get(index).unwrap_or(&Value::Null), item));
            Value::List(kept.collect())
        }
        (Nesting::Set, Value::List(items)) => {
            let olds = elements(reference);
            let spelled = |item: &Value, old: &Value| keep_equal(nested, old, item.clone());
            let partners = pairs_by_rank(
                &items,
                olds,
                &[&|item, old| matches_plan(old, item), &|item, old| matches_plan(old, &spelled(item, old))],
            );
            let items = items.into_iter().zip(partners);
            Value::List(items.map(|(item, old)| old.map_or(item.clone(), |old| spelled(&item, &olds[old]))).collect())
        }
        (_, actual) => actual,
    }
}

/// Returns the value as it may be stored, with null for write-only attributes.
pub(crate) fn without_write_only(attributes: &[Attribute], value: Value) -> Value {
    let Value::Map(mut entries) = value else { return value };
    for attribute in attributes {
        let Some(entry) = entries.get_mut(&attribute.name) else { continue };
        if attribute.write_only {
            *entry = Value::Null;
        } else if let Kind::Nested(nesting, nested) = &attribute.kind {
            let taken = std::mem::replace(entry, Value::Null);
            *entry = each_object(*nesting, taken, &|object| without_write_only(nested, object));
        }
    }
    Value::Map(entries)
}

/// Changes each object of a nested value.
pub(crate) fn each_object(nesting: Nesting, value: Value, change: &dyn Fn(Value) -> Value) -> Value {
    match (nesting, value) {
        (Nesting::Single | Nesting::Group, value) => change(value),
        (Nesting::Map, Value::Map(entries)) => {
            Value::Map(entries.into_iter().map(|(key, item)| (key, change(item))).collect())
        }
        (_, Value::List(items)) => Value::List(items.into_iter().map(change).collect()),
        (_, other) => other,
    }
}
