//! Checks of values against their properties and formats, with PVE's error texts. The parts of a property string are
//! values too.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use serde_json::Value;

use super::pattern::pattern_matches;
use super::propstring;
use super::{Format, Property, Schema};
use crate::params::split_list;

static NAMED: OnceLock<HashMap<String, Format>> = OnceLock::new();

/// Reads the property-string formats that PVE's schema names but does not define. They contain the keys that the
/// simulator uses. Must run before the first schema is used.
///
/// # Errors
/// When the checked-in data cannot be read.
pub(crate) fn load() -> Result<(), serde_json::Error> {
    if NAMED.get().is_none() {
        let all = serde_json::from_str(include_str!("../../data/pve-formats.json"))?;
        let _ = NAMED.set(all);
    }
    Ok(())
}

/// Returns the keys of the property string behind `property`, if it is one.
pub(crate) fn keys<'a>(schema: &'a Schema, property: &Property) -> Option<&'a Format> {
    match property.format.as_ref()? {
        Value::Number(at) => schema.formats.get(usize::try_from(at.as_u64()?).ok()?),
        Value::String(name) => NAMED.get()?.get(name),
        _ => None,
    }
}

/// Checks a value against its property. The error is PVE's text.
pub(super) fn text_fits(schema: &Schema, property: &Property, text: &str, name: &str) -> Result<(), String> {
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
    check(schema, property, text, name).map_err(|error| format!("invalid format - {error}"))?;
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

/// Checks a value's format. The error ends with a newline, as PVE's do.
fn check(schema: &Schema, property: &Property, text: &str, name: &str) -> Result<(), String> {
    if let Some(format) = keys(schema, property) {
        return property_string(schema, format, text, name);
    }
    let Some(Value::String(format)) = &property.format else { return Ok(()) };
    if let Some(single) = format.strip_suffix("-list")
        && format != "pve-storage-content-list"
    {
        return split_list(text).iter().try_for_each(|part| scalar(schema, single, part));
    }
    if format == "pve-storage-content-list" {
        return split_list(text).iter().try_for_each(|part| scalar(schema, "pve-storage-content", part));
    }
    scalar(schema, format, text)
}

/// Checks the parts of a property string. The error is the text after `invalid format - `.
fn property_string(schema: &Schema, format: &Format, text: &str, path: &str) -> Result<(), String> {
    let parsed = propstring::split(format, text)?;
    let mut errors: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in &parsed {
        let Some(property) = format.get(key) else {
            errors.insert(
                key.clone(),
                "property is not defined in schema and the schema does not allow additional properties".to_owned(),
            );
            continue;
        };
        if let Err(error) = text_fits(schema, property, value, key) {
            errors.insert(key.clone(), error);
        }
        if let Some(other) = property.requires.as_deref()
            && !parsed.contains_key(other)
        {
            errors.insert(other.to_owned(), format!("missing property required by '{path}.{key}'"));
        }
    }
    for (key, property) in format {
        if property.alias.is_none() && !property.is_optional() && !parsed.contains_key(key) {
            errors.insert(key.clone(), "property is missing and it is not optional".to_owned());
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let lines: String = errors.iter().map(|(key, error)| format!("{path}.{key}: {error}\n")).collect();
    Err(format!("format error\n{lines}"))
}

fn must(condition: bool, error: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(error()) }
}

/// Checks a boot order such as `order=scsi0;net0`.
fn boot_order(schema: &Schema, order: &str) -> Result<(), String> {
    if order.is_empty() {
        return Err("missing key in comma-separated list property\n".to_owned());
    }
    split_list(order)
        .iter()
        .try_for_each(|device| scalar(schema, "pve-qm-bootdev", device))
        .map_err(|error| format!("format error\nboot.order: invalid format - {error}\n"))
}

fn scalar(schema: &Schema, format: &str, text: &str) -> Result<(), String> {
    if let Some(order) = text.strip_prefix("order=").filter(|_| format == "pve-qm-boot") {
        return boot_order(schema, order);
    }
    if let Some(known) = schema.values.get(format) {
        return known.check(text);
    }
    match format {
        "pve-priv" => must(schema.roles.has_privilege(text), || format!("invalid privilege '{text}'\n")),
        "pve-lxc-mp-string" => must(!text.contains(".."), || format!("{text} contains illegal character sequences\n")),
        "address" => must(text.parse::<IpAddr>().is_ok() || is_dns_name(schema, text), || {
            format!("value does not look like a valid address: {text}\n")
        }),
        "ipv4" => must(text.parse::<Ipv4Addr>().is_ok(), || "value does not look like a valid IPv4 address\n".into()),
        "ipv6" => must(text.parse::<Ipv6Addr>().is_ok(), || "value does not look like a valid IPv6 address\n".into()),
        "CIDR" => must(cidr4(text) || cidr6(text), || "value does not look like a valid CIDR network\n".into()),
        "pve-ipv4-config" => must(matches!(text, "dhcp" | "manual") || cidr4(text), || {
            "value does not look like a valid ipv4 network configuration\n".into()
        }),
        "pve-ipv6-config" => must(matches!(text, "auto" | "dhcp" | "manual") || cidr6(text), || {
            "value does not look like a valid ipv6 network configuration\n".into()
        }),
        "pve-hotplug-features" => must(
            split_list(text)
                .iter()
                .all(|f| matches!(f.as_str(), "0" | "1" | "network" | "disk" | "cpu" | "memory" | "usb" | "cloudinit")),
            || "unable to parse hotplug option\n".into(),
        ),
        "pve-vm-cpu-conf" => cpu(schema, text),
        "email-opt" => {
            must(text.is_empty() || text.contains('@'), || "value does not look like a valid email address\n".into())
        }
        _ => Ok(()),
    }
}

fn cpu(schema: &Schema, text: &str) -> Result<(), String> {
    let kind = text
        .split(',')
        .find_map(|part| part.strip_prefix("cputype=").or_else(|| (!part.contains('=')).then_some(part)));
    let Some(kind) = kind else { return Ok(()) };
    if let Some(custom) = kind.strip_prefix("custom-") {
        return Err(format!("Custom cputype '{custom}' not found\n"));
    }
    scalar(schema, "pve-cpu-model", kind)
}

fn is_dns_name(schema: &Schema, text: &str) -> bool {
    schema.values.get("dns-name").is_some_and(|format| format.allows(text))
}

fn cidr4(text: &str) -> bool {
    let Some((address, mask)) = text.split_once('/') else { return false };
    address.parse::<Ipv4Addr>().is_ok() && mask.parse::<u8>().is_ok_and(|m| m <= 32)
}

fn cidr6(text: &str) -> bool {
    let Some((address, mask)) = text.split_once('/') else { return false };
    address.parse::<Ipv6Addr>().is_ok() && mask.parse::<u8>().is_ok_and(|m| m <= 128)
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.') && digits.parse::<f64>().is_ok()
}
