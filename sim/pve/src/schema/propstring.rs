//! Property strings: `virtio=BC:24:11:…,bridge=vmbr0`.

use std::collections::BTreeMap;

use super::Format;

/// A parsed property string by key. Aliases are resolved.
pub(crate) type Parsed = BTreeMap<String, String>;

/// Splits a property string without checking values. The error is PVE's text.
pub(crate) fn split(format: &Format, text: &str) -> Result<Parsed, String> {
    let mut out = Parsed::new();
    let default_key = format.iter().find(|(_, property)| property.is_default_key()).map(|(key, _)| key.clone());
    let mut default_used = false;
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        match part.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => insert_pair(format, &mut out, key, value)?,
            Some(_) => return Err("missing key in comma-separated list property\n".to_owned()),
            None => {
                let Some(key) = &default_key else {
                    return Err("value without key, but schema does not define a default key\n".to_owned());
                };
                if default_used || out.contains_key(key) {
                    return Err(format!("duplicate key in comma-separated list property: {key}\n"));
                }
                default_used = true;
                insert_pair(format, &mut out, key, part)?;
            }
        }
    }
    Ok(out)
}

fn insert_pair(format: &Format, out: &mut Parsed, key: &str, value: &str) -> Result<(), String> {
    if out.contains_key(key) {
        return Err(format!("duplicate key in comma-separated list property: {key}\n"));
    }
    let mut target = key.to_owned();
    if let Some(property) = format.get(key)
        && let Some(alias) = &property.alias
    {
        if let Some(key_alias) = &property.key_alias {
            if out.contains_key(key_alias) {
                return Err(format!("key alias '{key_alias}' is already defined\n"));
            }
            out.insert(key_alias.clone(), key.to_owned());
        }
        target = alias.clone();
    }
    let boolean = format.get(&target).is_some_and(|property| property.kind() == "boolean");
    let value = if boolean { boolean_word(value) } else { value };
    out.insert(target, value.to_owned());
    Ok(())
}

fn boolean_word(value: &str) -> &str {
    match value.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => "1",
        "0" | "off" | "no" | "false" => "0",
        _ => value,
    }
}

/// Prints a property string in PVE's order: the key without name first, then the others by name.
pub(crate) fn print(parsed: &Parsed, first: &str, skip: &[&str]) -> String {
    let mut parts = Vec::new();
    if let Some(value) = parsed.get(first) {
        parts.push(value.clone());
    }
    for (key, value) in parsed {
        if key != first && !skip.contains(&key.as_str()) {
            parts.push(format!("{key}={value}"));
        }
    }
    parts.join(",")
}
