//! Checks of a request's parameters against the schema, in PVE's order and words.

use std::collections::BTreeMap;

use super::formats;
use super::pattern::pattern_matches;
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

/// Checks a value against its property. The error is PVE's text.
pub(crate) fn text_fits(schema: &Schema, property: &Property, text: &str, name: &str) -> Result<(), String> {
    let kind = property.kind();
    let right_type = match kind {
        "integer" => is_integer(text),
        "number" => is_number(text),
        "boolean" => matches!(text, "0" | "1"),
        _ => true,
    };
    if !right_type {
        return Err(format!("type check ('{kind}') failed - got '{text}'"));
    }
    formats::check(schema, property, text, name).map_err(|error| format!("invalid format - {error}"))?;
    if let Some(pattern) = &property.pattern
        && !pattern_matches(pattern, text)
    {
        return Err("value does not match the regex pattern".to_owned());
    }
    let length = text.chars().count();
    if let Some(most) = property.max_length
        && length > most
    {
        return Err(format!("value may only be {most} characters long"));
    }
    if let Some(least) = property.min_length
        && length < least
    {
        return Err(format!("value must be at least {least} characters long"));
    }
    if matches!(kind, "integer" | "number")
        && let Ok(number) = text.parse::<f64>()
    {
        if let Some(most) = property.maximum
            && number > most
        {
            return Err(format!("value must have a maximum value of {most}"));
        }
        if let Some(least) = property.minimum
            && number < least
        {
            return Err(format!("value must have a minimum value of {least}"));
        }
    }
    let Some(choices) = &property.choices else { return Ok(()) };
    let words: Vec<String> = choices.iter().map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned)).collect();
    if words.iter().any(|word| word == text) {
        return Ok(());
    }
    Err(format!("value '{text}' does not have a value in the enumeration '{}'", words.join(", ")))
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.') && digits.parse::<f64>().is_ok()
}
