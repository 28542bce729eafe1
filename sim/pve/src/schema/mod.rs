//! The simulated part of PVE's API schema, in a compact form.
//!
//! `cargo run -p pxci-sim-pve --example schema -- <api-schema.json> <out>` writes `data/pve-schema-8.json` and
//! `-9.json`. They contain only what decides if a request is accepted and what shape its answer has; equal parts are
//! stored once.

mod compact;
pub(crate) mod formats;
mod pattern;
pub(crate) mod propstring;
mod returns;
pub(crate) mod roles;
pub(crate) mod storage_types;
#[cfg(test)]
mod tests;
pub(crate) mod validate;
mod values;

use std::collections::{BTreeMap, HashMap};

use matchit::Router;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::line::Line;
pub use compact::compact;
pub(crate) use returns::{Shape, violations};
use roles::BuiltInRoles;
use storage_types::StorageTypes;
use values::ValueFormats;

/// One property of a request or of a property string.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Property {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) optional: Option<Value>,
    #[serde(deserialize_with = "lenient_number")]
    pub(crate) minimum: Option<f64>,
    #[serde(deserialize_with = "lenient_number")]
    pub(crate) maximum: Option<f64>,
    pub(crate) min_length: Option<usize>,
    pub(crate) max_length: Option<usize>,
    pub(crate) pattern: Option<String>,
    #[serde(rename = "enum")]
    pub(crate) choices: Option<Vec<Value>>,
    pub(crate) requires: Option<String>,
    pub(crate) alias: Option<String>,
    pub(crate) key_alias: Option<String>,
    #[serde(rename = "default_key")]
    pub(crate) default_key: Option<Value>,
    /// Name of a format, or number of a property-string format.
    pub(crate) format: Option<Value>,
}

/// Reads a number, which the published schema sometimes writes as a string.
fn lenient_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok())))
}

impl Property {
    pub(crate) fn is_optional(&self) -> bool {
        self.optional.as_ref().is_some_and(truthy)
    }

    pub(crate) fn is_default_key(&self) -> bool {
        self.default_key.as_ref().is_some_and(truthy)
    }

    pub(crate) fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("string")
    }
}

fn truthy(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value.as_i64() != Some(0) && value.as_str() != Some("0")
}

/// The keys of a property string.
pub(crate) type Format = BTreeMap<String, Property>;

#[derive(Debug, Deserialize)]
struct CompactRoute {
    path: String,
    method: String,
    #[serde(default)]
    check: Value,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    protected: bool,
    #[serde(default)]
    no_token: bool,
    properties: BTreeMap<String, usize>,
    returns: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Compact {
    routes: Vec<CompactRoute>,
    properties: Vec<Property>,
    formats: Vec<BTreeMap<String, Property>>,
    returns: Vec<Shape>,
}

/// One call of the API.
#[derive(Debug)]
pub(crate) struct Route {
    /// Index in [`Schema::routes`].
    pub(crate) place: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) check: Value,
    pub(crate) user: Option<String>,
    pub(crate) protected: bool,
    pub(crate) no_token: bool,
    pub(crate) properties: BTreeMap<String, Property>,
    /// Declared shape of the answer.
    pub(crate) returns: Option<Shape>,
}

/// The schema of one PVE line.
#[derive(Debug)]
pub struct Schema {
    pub(crate) line: Line,
    routes: Vec<Route>,
    /// Routers by method. A match is an index in `routes`.
    paths: HashMap<String, Router<usize>>,
    pub(crate) formats: Vec<Format>,
    pub(crate) values: ValueFormats,
    pub(crate) roles: BuiltInRoles,
    pub(crate) storage_types: StorageTypes,
}

/// Error for a path and method without a call.
pub(crate) struct NotImplemented;

impl Schema {
    /// Reads the schema of a line.
    ///
    /// # Errors
    /// When the checked-in data cannot be read.
    pub fn of(line: Line) -> Result<Self, serde_json::Error> {
        let text = match line {
            Line::Eight => include_str!("../../data/pve-schema-8.json"),
            Line::Nine => include_str!("../../data/pve-schema-9.json"),
        };
        formats::load()?;
        let compact: Compact = serde_json::from_str(text)?;
        let properties = compact.properties;
        let mut routes = Vec::new();
        let mut paths: HashMap<String, Router<usize>> = HashMap::new();
        for route in compact.routes {
            // A volume id can contain slashes.
            let path = route.path.replace("/content/{volume}", "/content/{*volume}");
            let place = routes.len();
            paths.entry(route.method.clone()).or_default().insert(path, place).map_err(serde_json::Error::custom)?;
            let named = route
                .properties
                .iter()
                .filter_map(|(name, at)| Some((name.clone(), properties.get(*at)?.clone())))
                .collect();
            let made = Route {
                place,
                method: route.method,
                path: route.path,
                check: route.check,
                user: route.user,
                protected: route.protected,
                no_token: route.no_token,
                properties: named,
                returns: route.returns.and_then(|at| compact.returns.get(at).cloned()),
            };
            routes.push(made);
        }
        Ok(Self {
            line,
            routes,
            paths,
            formats: compact.formats,
            values: values::load()?,
            roles: BuiltInRoles::of(line)?,
            storage_types: StorageTypes::load()?,
        })
    }

    /// Returns all calls. The position of each is its index here.
    pub(crate) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Returns the fields of a call's answer that the schema does not declare, each as `METHOD /path $.field: reason`. An
    /// unknown call declares nothing that could be compared.
    #[must_use]
    pub fn undeclared(&self, method: &str, path: &str, data: &Value) -> Vec<String> {
        let Ok((route, _)) = self.find(method, path) else { return Vec::new() };
        let Some(shape) = &route.returns else { return Vec::new() };
        violations(shape, data).into_iter().map(|reason| format!("{method} {} {reason}", route.path)).collect()
    }

    /// Finds the call for a method and a path below `/api2/<format>`. Also returns the values of the path's variables.
    pub(crate) fn find(&self, method: &str, path: &str) -> Result<(&Route, BTreeMap<String, String>), NotImplemented> {
        let path = path.split('/').filter(|part| !part.is_empty()).fold(String::new(), |path, part| path + "/" + part);
        let found = self.paths.get(method).and_then(|paths| paths.at(&path).ok()).ok_or(NotImplemented)?;
        let values = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok((self.routes.get(*found.value).ok_or(NotImplemented)?, values.collect()))
    }

    /// Returns the property of a configuration option (for `net3` that of `net[n]`).
    pub(crate) fn option<'a>(&'a self, guest: &str, name: &str) -> Option<&'a Property> {
        let path = format!("/nodes/-/{guest}/-/config");
        let found = self.paths.get("PUT")?.at(&path).ok()?;
        lookup(&self.routes.get(*found.value)?.properties, guest, name)
    }
}

/// Number of each numbered option, which the schema does not contain.
const NUMBERED: [(&str, &str, u32); 18] = [
    ("qemu", "net", 32),
    ("qemu", "scsi", 31),
    ("qemu", "ide", 4),
    ("qemu", "sata", 6),
    ("qemu", "virtio", 16),
    ("qemu", "unused", 256),
    ("qemu", "serial", 4),
    ("qemu", "parallel", 3),
    ("qemu", "usb", 14),
    ("qemu", "hostpci", 16),
    ("qemu", "ipconfig", 32),
    ("qemu", "numa", 8),
    ("qemu", "virtiofs", 10),
    ("lxc", "net", 32),
    ("lxc", "mp", 256),
    ("lxc", "unused", 256),
    ("lxc", "dev", 256),
    ("any", "link", 8),
];

/// Returns the property with this name, including numbered ones.
pub(crate) fn lookup<'a>(properties: &'a BTreeMap<String, Property>, guest: &str, name: &str) -> Option<&'a Property> {
    if name.contains('[') {
        return None;
    }
    if let Some(found) = properties.get(name) {
        return Some(found);
    }
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let stem = &name[..name.len() - digits.len()];
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    let number: u32 = digits.parse().ok()?;
    let (.., limit) = NUMBERED.iter().find(|(kind, known, _)| (*kind == guest || *kind == "any") && *known == stem)?;
    if number >= *limit {
        return None;
    }
    properties.get(&format!("{stem}[n]"))
}
