//! From configuration and prior state to a planned value.

use std::collections::BTreeMap;

use super::consistency::fits;
use super::pairing::{pairs, pairs_by_rank};
use crate::schema::{Attribute, Kind, Nesting};
use crate::value::Value;

/// One pass over an object. With `changing`, computed values that nothing keeps become unknown.
pub(crate) fn propose(attributes: &[Attribute], config: &Value, prior: &Value, changing: bool) -> Value {
    let exists = !prior.is_null();
    let planned = attributes.iter().map(|attribute| {
        let (config, prior) = (config.get(&attribute.name), prior.get(&attribute.name));
        (attribute.name.clone(), propose_attribute(attribute, config, prior, Around { exists, changing }))
    });
    Value::Map(planned.collect())
}

/// What happens to the object that an attribute is of.
#[derive(Clone, Copy)]
struct Around {
    /// There is something whose values can be kept, null ones too.
    exists: bool,
    changing: bool,
}

fn propose_attribute(attribute: &Attribute, config: &Value, prior: &Value, around: Around) -> Value {
    if attribute.write_only {
        return Value::Null;
    }
    if attribute.block.is_some() && config.is_null() {
        return attribute.absent();
    }
    if !config.is_null() {
        return propose_set(attribute, config, prior, around.changing);
    }
    if let Some(default) = &attribute.default {
        // A default is as good as configured: the server's spelling of it is not a difference.
        return if is_equal(attribute, default, prior) { prior.clone() } else { default.clone() };
    }
    if !attribute.mode.is_computed() {
        return Value::Null;
    }
    let kept = attribute.keep && around.exists;
    if around.changing && !kept { Value::Unknown } else { prior.clone() }
}

/// The configuration sets it, perhaps to something unknown.
fn propose_set(attribute: &Attribute, config: &Value, prior: &Value, changing: bool) -> Value {
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
                entries.iter().map(|(key, item)| (key.clone(), item_of(nested, item, prior.get(key), changing)));
            Value::Map(items.collect::<BTreeMap<_, _>>())
        }
        (Nesting::List, Value::List(items)) => {
            let olds = elements(prior);
            let items = items.iter().enumerate();
            let planned =
                items.map(|(index, item)| item_of(nested, item, olds.get(index).unwrap_or(&Value::Null), changing));
            Value::List(planned.collect())
        }
        (Nesting::Set, Value::List(items)) => {
            let elements = Elements { nested, exact: &without_equality(nested), is_block: attribute.block.is_some() };
            elements.propose(items, prior, changing)
        }
        (_, other) => other.clone(),
    }
}

fn item_of(nested: &[Attribute], config: &Value, prior: &Value, changing: bool) -> Value {
    match config {
        Value::Map(_) => {
            // An element that is new has nothing to keep, whatever happens around it.
            propose(nested, config, prior, changing || prior.is_null())
        }
        other => other.clone(),
    }
}

/// The declaration of a set's elements.
struct Elements<'a> {
    nested: &'a [Attribute],
    /// The same, with one spelling only.
    exact: &'a [Attribute],
    is_block: bool,
}

impl Elements<'_> {
    /// Each element by the prior one that it is, as far as the configuration tells. Nothing new is the prior set itself,
    /// in its order.
    fn propose(&self, items: &[Value], prior: &Value, changing: bool) -> Value {
        let olds = elements(prior);
        // Those that say most choose first: who says little fits many.
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(said(&items[*index])));
        let exactly = |index: &usize, old: &Value| propose(self.exact, &items[*index], old, false) == *old;
        let spelled = |index: &usize, old: &Value| propose(self.nested, &items[*index], old, false) == *old;
        let partners = pairs_by_rank(&order, olds, &[&exactly, &spelled]);
        // Cores hold each block of a set against the configuration alone, so it must be spelled as there.
        let attributes = if self.is_block { self.exact } else { self.nested };
        let mut planned = vec![Value::Null; items.len()];
        for (index, partner) in order.into_iter().zip(partners) {
            let old = partner.map_or(&Value::Null, |partner| &olds[partner]);
            planned[index] = item_of(attributes, &items[index], old, changing);
        }
        let same =
            planned.len() == olds.len() && pairs(&planned, olds, |one, old| one == old).iter().all(Option::is_some);
        if same && matches!(prior, Value::List(_)) { prior.clone() } else { Value::List(planned) }
    }
}

/// How many values an element sets.
fn said(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::List(items) => items.iter().map(said).sum(),
        Value::Map(entries) => entries.values().map(said).sum(),
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

/// Where the server only spells a value differently than `reference`, the reference's spelling.
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
                &[&|item, old| fits(old, item), &|item, old| fits(old, &spelled(item, old))],
            );
            let items = items.into_iter().zip(partners);
            Value::List(items.map(|(item, old)| old.map_or(item.clone(), |old| spelled(&item, &olds[old]))).collect())
        }
        (_, actual) => actual,
    }
}

/// The value with every write-only attribute null, as it may be stored.
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

/// Changes each object of a nested value, however it is nested.
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
