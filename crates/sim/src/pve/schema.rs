//! The part of PVE's own API schema that the simulator answers, in a compact form of our own.
//!
//! `data/pve-schema-9.json` is made by `cargo run -p pxci-sim --example pve_schema -- <api-schema.json> <out>`: only
//! what decides whether a request is accepted, with equal properties and formats kept once.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Path prefixes that the simulator answers; the rest of the real schema is left out.
const KEPT: [&str; 19] = [
    "/version",
    "/cluster/resources",
    "/cluster/nextid",
    "/cluster/status",
    "/cluster/tasks",
    "/cluster/options",
    "/cluster/ha",
    "/cluster/sdn",
    "/access",
    "/pools",
    "/storage",
    "/nodes/{node}/qemu",
    "/nodes/{node}/lxc",
    "/nodes/{node}/storage",
    "/nodes/{node}/tasks",
    "/nodes/{node}/network",
    "/nodes/{node}/status",
    "/nodes/{node}/version",
    "/nodes/{node}/t",
];

/// Single paths that are kept without what stands below them.
const KEPT_EXACT: [&str; 15] = [
    "/cluster/log",
    "/nodes/{node}/capabilities/qemu/cpu",
    "/nodes/{node}/vzdump/defaults",
    "/cluster/backup",
    "/cluster/config/join",
    "/nodes/{node}/firewall/options",
    "/cluster",
    "/nodes",
    "/nodes/{node}",
    "/nodes/{node}/dns",
    "/nodes/{node}/startall",
    "/nodes/{node}/stopall",
    "/nodes/{node}/vncshell",
    "/nodes/{node}/aplinfo",
    "/cluster/config/nodes",
];

/// Keys of a property that decide about a value.
const DECIDING: [&str; 14] = [
    "type",
    "optional",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "enum",
    "requires",
    "alias",
    "keyAlias",
    "default_key",
    "format",
    "items",
];

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
    /// A format's name, or the number of a property-string format.
    pub(crate) format: Option<Value>,
}

/// The real schema has some numbers as strings.
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

/// A property string's format: its keys.
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
}

#[derive(Debug, Deserialize)]
struct Compact {
    routes: Vec<CompactRoute>,
    properties: Vec<Property>,
    formats: Vec<BTreeMap<String, Property>>,
}

/// One call of the API.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) check: Value,
    pub(crate) user: Option<String>,
    pub(crate) protected: bool,
    pub(crate) no_token: bool,
    pub(crate) properties: BTreeMap<String, Property>,
}

/// The schema of one PVE line.
#[derive(Debug)]
pub(crate) struct Schema {
    routes: Vec<(String, Route)>,
    by_shape: HashMap<(String, usize), Vec<usize>>,
    pub(crate) formats: Vec<Format>,
}

/// Why no call was found.
pub(crate) struct NotImplemented;

impl Schema {
    /// The schema of PVE 9.
    pub(crate) fn nine() -> Self {
        let text = include_str!("../../data/pve-schema-9.json");
        let compact: Compact = serde_json::from_str(text).unwrap_or(Compact {
            routes: Vec::new(),
            properties: Vec::new(),
            formats: Vec::new(),
        });
        let properties = compact.properties;
        let mut routes = Vec::new();
        let mut by_shape: HashMap<(String, usize), Vec<usize>> = HashMap::new();
        for route in compact.routes {
            let segments = route.path.split('/').filter(|s| !s.is_empty()).count();
            by_shape.entry((route.method.clone(), segments)).or_default().push(routes.len());
            let named = route
                .properties
                .iter()
                .filter_map(|(name, at)| Some((name.clone(), properties.get(*at)?.clone())))
                .collect();
            let made = Route {
                path: route.path,
                check: route.check,
                user: route.user,
                protected: route.protected,
                no_token: route.no_token,
                properties: named,
            };
            routes.push((route.method, made));
        }
        Self { routes, by_shape, formats: compact.formats }
    }

    /// The call for a method and a path below `/api2/<format>`, with the values of the path's variables.
    pub(crate) fn find(&self, method: &str, path: &str) -> Result<(&Route, BTreeMap<String, String>), NotImplemented> {
        let parts: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        // A volume id holds slashes of its own.
        if let ["nodes", _, "storage", _, "content", _, ..] = parts.as_slice()
            && parts.len() > 6
        {
            let mut cut: Vec<String> = parts[..5].iter().map(|s| (*s).to_owned()).collect();
            cut.push(parts[5..].join("/"));
            return self.find_parts(method, &cut);
        }
        let owned: Vec<String> = parts.iter().map(|s| (*s).to_owned()).collect();
        self.find_parts(method, &owned)
    }

    fn find_parts(&self, method: &str, parts: &[String]) -> Result<(&Route, BTreeMap<String, String>), NotImplemented> {
        let candidates = self.by_shape.get(&(method.to_owned(), parts.len())).ok_or(NotImplemented)?;
        let mut best: Option<(usize, usize, BTreeMap<String, String>)> = None;
        for at in candidates {
            let (_, route) = &self.routes[*at];
            let Some((literal, values)) = matches(&route.path, parts) else { continue };
            if best.as_ref().is_none_or(|(score, ..)| literal > *score) {
                best = Some((literal, *at, values));
            }
        }
        let (_, at, values) = best.ok_or(NotImplemented)?;
        Ok((&self.routes[at].1, values))
    }

    /// The property of the configuration option `name` (`net3` → that of `net[n]`) of a call.
    pub(crate) fn option<'a>(&'a self, guest: &str, name: &str) -> Option<&'a Property> {
        let path = format!("/nodes/{{node}}/{guest}/{{vmid}}/config");
        let (_, route) = self.routes.iter().find(|(method, route)| method == "PUT" && route.path == path)?;
        lookup(&route.properties, guest, name)
    }
}

fn matches(template: &str, parts: &[String]) -> Option<(usize, BTreeMap<String, String>)> {
    let mut literal = 0;
    let mut values = BTreeMap::new();
    for (want, have) in template.split('/').filter(|s| !s.is_empty()).zip(parts) {
        if let Some(name) = want.strip_prefix('{').and_then(|w| w.strip_suffix('}')) {
            values.insert(name.to_owned(), have.clone());
        } else if want == have {
            literal += 1;
        } else {
            return None;
        }
    }
    Some((literal, values))
}

/// How many of each numbered option there are (the schema does not say).
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

/// The property called `name`, numbered ones included.
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

/// The compact form of a full schema (PVE's `apidoc` array of nodes).
#[must_use]
pub fn compact(full: &Value) -> Value {
    let mut table = Table::default();
    let mut routes = Vec::new();
    walk(full, &mut table, &mut routes);
    routes.sort_by_key(|route| {
        (route["path"].as_str().unwrap_or_default().to_owned(), route["method"].as_str().unwrap_or_default().to_owned())
    });
    json!({ "routes": routes, "properties": table.properties, "formats": table.formats })
}

#[derive(Default)]
struct Table {
    properties: Vec<Value>,
    formats: Vec<Value>,
    seen: HashMap<String, usize>,
}

impl Table {
    fn property(&mut self, full: &Value) -> usize {
        let reduced = self.reduce(full);
        let key = format!("p{reduced}");
        if let Some(at) = self.seen.get(&key) {
            return *at;
        }
        self.properties.push(reduced);
        self.seen.insert(key, self.properties.len() - 1);
        self.properties.len() - 1
    }

    fn reduce(&mut self, full: &Value) -> Value {
        let mut out = Map::new();
        let Some(object) = full.as_object() else { return Value::Object(out) };
        for key in DECIDING {
            let Some(value) = object.get(key) else { continue };
            let value = match (key, value) {
                ("format", Value::Object(keys)) => json!(self.format(keys)),
                ("items", _) | ("pattern", Value::Object(_)) => continue,
                _ => value.clone(),
            };
            out.insert(key.to_owned(), value);
        }
        Value::Object(out)
    }

    fn format(&mut self, keys: &Map<String, Value>) -> usize {
        let reduced: Map<String, Value> =
            keys.iter().map(|(name, property)| (name.clone(), self.reduce(property))).collect();
        let key = format!("f{}", Value::Object(reduced.clone()));
        if let Some(at) = self.seen.get(&key) {
            return *at;
        }
        self.formats.push(Value::Object(reduced));
        self.seen.insert(key, self.formats.len() - 1);
        self.formats.len() - 1
    }
}

fn walk(node: &Value, table: &mut Table, routes: &mut Vec<Value>) {
    if let Some(list) = node.as_array() {
        list.iter().for_each(|child| walk(child, table, routes));
        return;
    }
    let path = node["path"].as_str().unwrap_or_default();
    if kept(path)
        && let Some(info) = node["info"].as_object()
    {
        for (method, call) in info {
            routes.push(route(path, method, call, table));
        }
    }
    if let Some(children) = node.get("children") {
        walk(children, table, routes);
    }
}

fn kept(path: &str) -> bool {
    KEPT_EXACT.contains(&path) || KEPT.iter().any(|prefix| path.starts_with(prefix))
}

fn route(path: &str, method: &str, call: &Value, table: &mut Table) -> Value {
    let mut named = Map::new();
    if let Some(properties) = call["parameters"]["properties"].as_object() {
        for (name, property) in properties {
            named.insert(name.clone(), json!(table.property(property)));
        }
    }
    let mut out = Map::new();
    out.insert("path".to_owned(), json!(path));
    out.insert("method".to_owned(), json!(method));
    out.insert("properties".to_owned(), Value::Object(named));
    let permissions = &call["permissions"];
    if !permissions["check"].is_null() {
        out.insert("check".to_owned(), permissions["check"].clone());
    }
    if let Some(user) = permissions["user"].as_str() {
        out.insert("user".to_owned(), json!(user));
    }
    for (key, flag) in [("protected", call["protected"] == 1), ("no_token", call["allowtoken"] == 0)] {
        if flag {
            out.insert(key.to_owned(), json!(true));
        }
    }
    Value::Object(out)
}
