//! Changes of `/storage`: adding, changing and removing storage definitions.
//!
//! Source: `PVE::API2::Storage::Config`, `check_config` of pve-common's section configurations, and each plugin's `options`.

use serde_json::{Map, Value, json};

use crate::engine::{Call, Engine};
use crate::params::split_list;
use crate::refusal::{Outcome, Refusal};
use crate::schema::storage_types::{StorageType, StorageTypes};
use crate::world::state::State;
use crate::world::storages::Storage;

impl State {
    /// Returns the digest that guards changes of the definitions.
    pub(crate) fn storages_digest(&self) -> String {
        let all: Map<String, Value> =
            self.storages.iter().map(|(name, storage)| (name.clone(), Value::Object(storage.shown(name)))).collect();
        let text = Value::Object(all).to_string();
        hex::encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
    }
}

/// Checks the options of a request against those of the storage type.
fn checked(types: &StorageTypes, call: &Call, kind: &str, create: bool) -> Outcome<Map<String, Value>> {
    let Some(known) = types.get(kind) else {
        return Err(Refusal::fault(format!("not simulated: storages of type {kind}")));
    };
    let mut checked = Map::new();
    for name in
        call.params.0.keys().filter(|name| !matches!(name.as_str(), "storage" | "type" | "digest" | "delete" | "node"))
    {
        let Some(value) = call.text(name) else { continue };
        if !types.takes(known, name) {
            return Err(Refusal::fault(format!("unexpected property '{name}'")));
        }
        if !create && (known.is_fixed(name) || known.is_set_once(name)) {
            return Err(Refusal::fault(format!("can't change value of fixed parameter '{name}'")));
        }
        if name == "content" {
            checked.insert(name.clone(), json!(content(known, value)?));
            continue;
        }
        let number = matches!(value, "0" | "1").then(|| value.parse::<u8>().ok()).flatten();
        checked.insert(name.clone(), number.map_or_else(|| json!(value), |number| json!(number)));
    }
    if create && let Some(missing) = known.fixed.iter().find(|name| !checked.contains_key(*name)) {
        return Err(Refusal::fault(format!("missing value for required option '{missing}'")));
    }
    if create && !checked.contains_key("content") {
        checked.insert("content".to_owned(), json!(known.default.join(",")));
    }
    Ok(checked)
}

/// Keeps the content types that the storage type can hold and ignores others.
fn content(known: &StorageType, wanted: &str) -> Outcome<String> {
    let held: Vec<String> = split_list(wanted).into_iter().filter(|content| known.holds(content)).collect();
    if held.iter().any(|content| content == "none") && held.len() > 1 {
        return Err(Refusal::fault("unable to combine 'none' with other content types"));
    }
    if held.is_empty() && !known.holds("none") {
        return Err(Refusal::fault("storage does not support content type 'none'"));
    }
    Ok(held.join(","))
}

fn failed(verb: &str, text: impl std::fmt::Display) -> Refusal {
    Refusal::fault(format!("{verb} storage failed: {text}"))
}

pub(crate) fn create(engine: &Engine, call: &Call) -> Outcome<Value> {
    let (name, kind) = (call.text("storage").unwrap_or_default(), call.text("type").unwrap_or_default());
    let mut definition = checked(&engine.schema.storage_types, call, kind, true)?;
    if definition.get("path").and_then(Value::as_str).is_some_and(|path| !is_path(path)) && kind == "dir" {
        let path = definition.get("path").and_then(Value::as_str).unwrap_or_default();
        return Err(Refusal::fault(format!("illegal path for directory storage: {path}")));
    }
    definition.insert("type".to_owned(), json!(kind));
    let mut state = engine.state();
    if state.storages.contains_key(name) {
        return Err(failed("create", format!("storage ID '{name}' already defined")));
    }
    state.storages.insert(name.to_owned(), Storage::defined(&definition));
    Ok(json!({ "storage": name, "type": kind }))
}

fn is_path(path: &str) -> bool {
    path.len() > 1 && path.starts_with('/') && path.chars().all(|c| c.is_ascii_alphanumeric() || "-/_.@".contains(c))
}

pub(crate) fn update(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("storage").unwrap_or_default();
    let mut state = engine.state();
    let digest = state.storages_digest();
    if call.text("digest").is_some_and(|sent| sent != digest) {
        return Err(failed("update", "detected modified configuration - file changed by other user? Try again."));
    }
    let types = &engine.schema.storage_types;
    let Some(found) = state.storages.get(name).cloned() else {
        return Err(failed("update", format!("storage '{name}' does not exist")));
    };
    let changes = checked(types, call, &found.kind, false).map_err(|refusal| failed("update", refusal.reason))?;
    let known = types.get(&found.kind);
    let mut definition = found.shown(name);
    for key in split_list(call.text("delete").unwrap_or_default()) {
        let text = match known {
            Some(known) if !types.takes(known, &key) => format!("no such option '{key}'"),
            Some(known) if known.is_fixed(&key) => format!("unable to delete required option '{key}'"),
            Some(known) if known.is_set_once(&key) => format!("unable to delete fixed option '{key}'"),
            _ if changes.contains_key(&key) => format!("cannot set and delete property '{key}' at the same time!"),
            _ => {
                definition.remove(&key);
                continue;
            }
        };
        return Err(failed("update", text));
    }
    definition.extend(changes);
    let changed = Storage { size: found.size, other_bytes: found.other_bytes, ..Storage::defined(&definition) };
    state.storages.insert(name.to_owned(), changed);
    Ok(json!({ "storage": name, "type": found.kind }))
}

/// Removes a definition. The data on the storage stays.
pub(crate) fn delete(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("storage").unwrap_or_default();
    let mut state = engine.state();
    if state.storages.remove(name).is_none() {
        return Err(failed("delete", format!("storage '{name}' does not exist")));
    }
    state.acl.remove(&format!("/storage/{name}"));
    for pool in state.pools.values_mut() {
        pool.storages.remove(name);
    }
    Ok(Value::Null)
}
