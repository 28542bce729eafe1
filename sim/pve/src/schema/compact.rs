//! Conversion of PVE's published schema to the compact form.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// Path prefixes of calls that the compact form keeps.
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

/// Paths that are kept without the paths below them.
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

/// Keys of a property that decide if a value is accepted.
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

/// Returns the compact form of a full schema (PVE's `apidoc` array of nodes).
#[must_use]
pub fn compact(full: &Value) -> Value {
    let mut table = Table::default();
    let mut routes = Vec::new();
    walk(full, &mut table, &mut routes);
    routes.sort_by_key(|route| {
        (route["path"].as_str().unwrap_or_default().to_owned(), route["method"].as_str().unwrap_or_default().to_owned())
    });
    json!({ "routes": routes, "properties": table.properties, "formats": table.formats, "returns": table.returns })
}

#[derive(Default)]
struct Table {
    properties: Vec<Value>,
    formats: Vec<Value>,
    returns: Vec<Value>,
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

impl Table {
    fn returns(&mut self, full: &Value) -> Option<usize> {
        let shape = shape(full)?;
        let key = format!("r{shape}");
        if let Some(at) = self.seen.get(&key) {
            return Some(*at);
        }
        self.returns.push(shape);
        self.seen.insert(key, self.returns.len() - 1);
        Some(self.returns.len() - 1)
    }
}

/// Returns the declared shape of an answer: types, required fields, enumerations.
fn shape(full: &Value) -> Option<Value> {
    let object = full.as_object()?;
    let mut out = Map::new();
    for key in ["type", "optional", "enum"] {
        if let Some(value) = object.get(key) {
            out.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(items) = object.get("items").and_then(shape) {
        out.insert("items".to_owned(), items);
    }
    if let Some(properties) = object.get("properties").and_then(Value::as_object) {
        let kept = properties.iter().filter_map(|(name, one)| Some((name.clone(), shape(one)?))).collect();
        out.insert("properties".to_owned(), Value::Object(kept));
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

fn walk(node: &Value, table: &mut Table, routes: &mut Vec<Value>) {
    if let Some(list) = node.as_array() {
        list.iter().for_each(|child| walk(child, table, routes));
        return;
    }
    let path = node["path"].as_str().unwrap_or_default();
    if is_kept(path)
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

fn is_kept(path: &str) -> bool {
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
    if let Some(at) = table.returns(&call["returns"]) {
        out.insert("returns".to_owned(), json!(at));
    }
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
