//! Checks of values against named formats, with PVE's error texts.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use serde_json::Value;

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

/// Checks a value's format. The error ends with a newline, as PVE's do.
pub(crate) fn check(schema: &Schema, property: &Property, text: &str, name: &str) -> Result<(), String> {
    if let Some(format) = keys(schema, property) {
        return propstring::parse(schema, format, text, name).map(|_| ());
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
