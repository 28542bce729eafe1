//! The named formats that values must have, with PVE's words for what is wrong.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, OnceLock, PoisonError};

use regex::Regex;
use serde_json::Value;

use super::propstring;
use super::{Format, Property, Schema};
use crate::params::split_list;

static NAMED: OnceLock<HashMap<String, Format>> = OnceLock::new();

/// Reads the formats that PVE's schema only names; ours hold the keys that matter. Done before the first schema is used.
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

/// The keys of the property string behind `property`, if it is one.
pub(crate) fn keys<'a>(schema: &'a Schema, property: &Property) -> Option<&'a Format> {
    match property.format.as_ref()? {
        Value::Number(at) => schema.formats.get(usize::try_from(at.as_u64()?).ok()?),
        Value::String(name) => NAMED.get()?.get(name),
        _ => None,
    }
}

/// Whether the whole of `text` matches a Perl pattern of the schema.
pub(crate) fn pattern_matches(pattern: &str, text: &str) -> bool {
    static COMPILED: OnceLock<Mutex<HashMap<String, Option<Regex>>>> = OnceLock::new();
    let mut compiled = COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let regex = compiled.entry(pattern.to_owned()).or_insert_with(|| {
        let ours = pattern
            .replace("(?^:", "(?:")
            .replace("(?^i:", "(?i:")
            .replace("{,", "{0,")
            .replace("\\0", "\\x00")
            .replace("\\@", "@");
        Regex::new(&format!("^(?:{ours})$")).ok()
    });
    regex.as_ref().is_none_or(|regex| regex.is_match(text))
}

/// Checks a value's format; the error ends with a newline, as PVE's do.
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

fn holds(pattern: &str, text: &str) -> bool {
    pattern_matches(pattern, text)
}

fn must(condition: bool, error: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(error()) }
}

/// Privileges of PVE 9.
const CPU_TYPES: &str = "486|athlon|Broadwell.*|Cascadelake.*|Conroe|Cooperlake.*|core2duo|coreduo|EPYC.*|GraniteRapids.*|Haswell.*|host|Icelake.*|IvyBridge.*|KnightsMill|kvm32|kvm64|max|Nehalem.*|Opteron_G.|Penryn|pentium[23]?|phenom|qemu32|qemu64|SandyBridge.*|SapphireRapids.*|SierraForest.*|Skylake.*|Westmere.*|x86-64-v.*|cortex.*|neoverse.*|a64fx";

fn scalar(schema: &Schema, format: &str, text: &str) -> Result<(), String> {
    match format {
        "pve-vmid" => must(holds("[1-9][0-9]{2,8}", text), || "value does not look like a valid VM ID\n".into()),
        "pve-node" => must(holds("[a-zA-Z0-9](?:[a-zA-Z0-9\\-]*[a-zA-Z0-9])?", text), || {
            "value does not look like a valid node name\n".into()
        }),
        "dns-name" => must(is_dns_name(text), || "value does not look like a valid DNS name\n".into()),
        "pve-storage-id" => must(holds("[A-Za-z][A-Za-z0-9\\-_.]*[A-Za-z0-9]", text), || {
            format!("storage ID '{text}' contains illegal characters\n")
        }),
        "pve-tag" => must(holds("[A-Za-z0-9_][A-Za-z0-9_\\-+.]*", text), || "invalid characters in tag\n".into()),
        "pve-configid" => {
            must(holds("[A-Za-z][A-Za-z0-9_\\-]+", text), || format!("invalid configuration ID '{text}'\n"))
        }
        "pve-poolid" => must(holds("[A-Za-z0-9.\\-_]+(?:/[A-Za-z0-9.\\-_]+){0,2}", text), || {
            format!("value '{text}' does not look like a valid pool name\n")
        }),
        "pve-groupid" => {
            must(holds("[A-Za-z0-9.\\-_]+", text), || format!("group name '{text}' contains invalid characters\n"))
        }
        "pve-roleid" => {
            must(holds("[A-Za-z0-9.\\-_]+", text), || format!("role name '{text}' contains invalid characters\n"))
        }
        "pve-userid" => must(holds("[^\\s:/]+@[A-Za-z][A-Za-z0-9.\\-_]+", text), || {
            format!("value '{text}' does not look like a valid user name\n")
        }),
        "pve-realm" => {
            must(holds("[A-Za-z][A-Za-z0-9.\\-_]+", text), || "value does not look like a valid realm\n".into())
        }
        "pve-tokenid" => must(holds("[^\\s:/]+@[A-Za-z][A-Za-z0-9.\\-_]+![A-Za-z][A-Za-z0-9.\\-_]+", text), || {
            format!("value '{text}' does not look like a valid token ID\n")
        }),
        "pve-priv" => must(schema.line.has_privilege(text), || format!("invalid privilege '{text}'\n")),
        "pve-volume-id" => volume(text),
        "pve-volume-id-or-qm-path" => {
            if matches!(text, "none" | "cdrom") || text.starts_with('/') {
                Ok(())
            } else {
                volume(text)
            }
        }
        "pve-volume-id-or-absolute-path" => {
            if text.starts_with('/') {
                Ok(())
            } else {
                volume(text)
            }
        }
        "pve-lxc-mp-string" => must(!text.contains(".."), || format!("{text} contains illegal character sequences\n")),
        "mac-addr" => must(is_unicast_mac(text), || "value does not look like a valid unicast MAC address\n".into()),
        "pve-bridge-id" => must(holds("[-_.\\w\\d]+", text), || format!("value '{text}' is not a valid bridge\n")),
        "address" => must(text.parse::<IpAddr>().is_ok() || is_dns_name(text), || {
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
        "urlencoded" => must(holds("[-%a-zA-Z0-9_.!~*'()]*", text), || format!("invalid urlencoded string: {text}\n")),
        "disk-size" => {
            must(holds("\\d+(?:\\.\\d+)?[KMGT]?", text), || "value does not look like a valid disk size: \n".into())
        }
        "pve-storage-content" => must(
            matches!(text, "images" | "rootdir" | "vztmpl" | "iso" | "backup" | "snippets" | "import" | "none"),
            || format!("invalid content type '{text}'\n"),
        ),
        "pve-task-status-type" => {
            must(matches!(text, "ok" | "error" | "warning" | "unknown"), || format!("invalid status '{text}'\n"))
        }
        "pve-startup-order" => {
            must(holds("(?:(?:order=)?\\d+|up=\\d+|down=\\d+)(?:,(?:order=\\d+|up=\\d+|down=\\d+))*", text), || {
                "unable to parse startup options\n".into()
            })
        }
        "pve-hotplug-features" => must(
            split_list(text)
                .iter()
                .all(|f| matches!(f.as_str(), "0" | "1" | "network" | "disk" | "cpu" | "memory" | "usb" | "cloudinit")),
            || "unable to parse hotplug option\n".into(),
        ),
        "pve-vm-cpu-conf" => cpu(text),
        "pve-qm-boot" => must(holds("[acdn]{1,4}|(?:legacy=[acdn]{1,4}|order=[a-z0-9;]*)(?:,.*)?|\\s*", text), || {
            "format error\nboot.legacy: value does not match the regex pattern\n".into()
        }),
        "email-opt" => {
            must(text.is_empty() || text.contains('@'), || "value does not look like a valid email address\n".into())
        }
        _ => Ok(()),
    }
}

fn cpu(text: &str) -> Result<(), String> {
    let kind = text
        .split(',')
        .find_map(|part| part.strip_prefix("cputype=").or_else(|| (!part.contains('=')).then_some(part)));
    let Some(kind) = kind else { return Ok(()) };
    if let Some(custom) = kind.strip_prefix("custom-") {
        return Err(format!("Custom cputype '{custom}' not found\n"));
    }
    must(holds(CPU_TYPES, kind), || format!("Built-in cputype '{kind}' is not defined (missing 'custom-' prefix?)\n"))
}

fn volume(text: &str) -> Result<(), String> {
    must(holds("[A-Za-z][A-Za-z0-9\\-_.]*[A-Za-z0-9]:.+", text), || format!("unable to parse volume ID '{text}'\n"))
}

fn is_dns_name(text: &str) -> bool {
    holds("(?:[a-zA-Z0-9](?:[a-zA-Z0-9\\-]*[a-zA-Z0-9])?)(?:\\.(?:[a-zA-Z0-9](?:[a-zA-Z0-9\\-]*[a-zA-Z0-9])?))*", text)
}

fn is_unicast_mac(text: &str) -> bool {
    holds("[0-9A-Fa-f][02468ACEace](?::[0-9A-Fa-f]{2}){5}", text)
}

fn cidr4(text: &str) -> bool {
    let Some((address, mask)) = text.split_once('/') else { return false };
    address.parse::<Ipv4Addr>().is_ok() && mask.parse::<u8>().is_ok_and(|m| m <= 32)
}

fn cidr6(text: &str) -> bool {
    let Some((address, mask)) = text.split_once('/') else { return false };
    address.parse::<Ipv6Addr>().is_ok() && mask.parse::<u8>().is_ok_and(|m| m <= 128)
}
