//! Checks of a request's parameters against the schema, in PVE's order and words.

use std::collections::BTreeMap;

use super::formats::text_fits;
use super::{Property, Route, Schema, lookup};
use crate::params::{Param, Params};
use crate::refusal::{Outcome, Refusal};

type Errors = BTreeMap<String, String>;

/// Checks all parameters. The refusal names the error of each.
pub(crate) fn check(schema: &Schema, route: &Route, params: &mut Params) -> Outcome<()> {
    let guest = if route.path.contains("/lxc") { "lxc" } else { "qemu" };
    let mut errors = Errors::new();
    let names: Vec<String> = params.0.keys().cloned().collect();
    for name in &names {
        let Some(property) = lookup(&route.properties, guest, name) else {
            errors.insert(
                name.clone(),
                "property is not defined in schema and the schema does not allow additional properties".to_owned(),
            );
            continue;
        };
        let Some(value) = params.0.get_mut(name) else { continue };
        shape(property, value);
        if let Err(text) = value_fits(schema, property, value, name) {
            errors.insert(name.clone(), text);
            continue;
        }
        if let Some(other) = property.requires.as_deref()
            && !names.iter().any(|n| n == other)
        {
            errors.insert(other.to_owned(), format!("missing property required by '{name}'"));
        }
    }
    for (name, property) in &route.properties {
        if !property.is_optional() && !name.contains('[') && !names.contains(name) {
            errors.insert(name.clone(), "property is missing and it is not optional".to_owned());
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Refusal::parameters(errors)) }
}

/// Turns lists into text where the schema declares text, and the reverse.
fn shape(property: &Property, value: &mut Param) {
    let listed = property.format.as_ref().and_then(|f| f.as_str()).is_some_and(|f| f.ends_with("-list"));
    match value {
        Param::List(all) if listed => *value = Param::Text(all.join("\0")),
        Param::Text(text) if property.kind() == "array" => *value = Param::List(vec![text.clone()]),
        _ => {}
    }
}

fn value_fits(schema: &Schema, property: &Property, value: &Param, name: &str) -> Result<(), String> {
    match value {
        Param::Undefined => Ok(()),
        Param::Text(text) => text_fits(schema, property, text, name),
        Param::List(_) if property.kind() == "array" => Ok(()),
        Param::List(_) => Err(format!("type check ('{}') failed - got ARRAY", property.kind())),
        Param::Odd(kind) => Err(format!("type check ('{}') failed - got {kind}", property.kind())),
    }
}
