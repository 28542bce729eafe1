//! `/storage` and `/nodes/{node}/storage`: storage definitions, and the space of each storage.

use serde_json::{Map, Value, json};

use crate::engine::{Call, Engine};
use crate::params::split_list;
use crate::refusal::{Outcome, Refusal};
use crate::world::state::State;
use crate::world::storages::Storage;

const EITHER: [&str; 2] = ["Datastore.Audit", "Datastore.AllocateSpace"];

fn definition(state: &State, name: &str) -> Option<Map<String, Value>> {
    let mut row = state.storages.get(name)?.shown(name);
    row.insert("digest".into(), json!(state.storages_digest()));
    Some(row)
}

pub(crate) fn definitions(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let seen = |name: &str| state.may_any(&call.caller, &format!("/storage/{name}"), &EITHER);
    let rows: Vec<Value> = state
        .storages
        .iter()
        .filter(|(name, storage)| seen(name) && call.text("type").is_none_or(|kind| kind == storage.kind))
        .filter_map(|(name, _)| definition(&state, name).map(Value::Object))
        .collect();
    json!(rows)
}

pub(crate) fn one_definition(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("storage").unwrap_or_default();
    let found = definition(&engine.state(), name);
    found.map(Value::Object).ok_or_else(|| Refusal::fault(format!("storage '{name}' does not exist")))
}

/// Returns a node's row of a storage. A storage that the node cannot use has no figures.
fn figures(state: &State, node: &str, name: &str, storage: &Storage) -> Map<String, Value> {
    let active = !storage.disabled && storage.is_on(node);
    let usage = state.usage(node, name);
    let (total, used, avail) = if active { (usage.total, usage.used, usage.free()) } else { (0, 0, 0) };
    let row = json!({
        "active": u8::from(active), "enabled": u8::from(active), "shared": u8::from(storage.shared), "content": storage.content.join(","),
        "type": storage.kind, "total": total, "used": used, "avail": avail,
    });
    row.as_object().cloned().unwrap_or_default()
}

pub(crate) fn on_node(engine: &Engine, call: &Call) -> Outcome<Value> {
    let state = engine.state();
    let wanted = split_list(call.text("content").unwrap_or_default());
    // The possible targets of a clone are shared storages that both nodes have.
    let target = call.text("target").filter(|node| *node != call.node && *node != "localhost");
    let mut rows = Vec::new();
    for (name, storage) in &state.storages {
        if !state.may_any(&call.caller, &format!("/storage/{name}"), &EITHER)
            || call.text("storage").is_some_and(|only| only != name)
        {
            continue;
        }
        let usable = !storage.disabled && storage.is_on(&call.node);
        let holds = wanted.is_empty() || (usable && wanted.iter().any(|content| storage.holds(content)));
        let reaches = target.is_none_or(|node| storage.shared && storage.is_on(&call.node) && storage.is_on(node));
        if !holds || !reaches || (call.params.flag("enabled") && storage.disabled) {
            continue;
        }
        let mut row = figures(&state, &call.node, name, storage);
        row.insert("storage".into(), json!(name));
        if usable {
            row.insert("used_fraction".into(), json!(share(state.usage(&call.node, name))));
        }
        if call.params.flag("format") && usable {
            let (formats, default) = storage.layout().formats(&storage.kind);
            let valid: Map<String, Value> = formats.iter().map(|format| ((*format).to_owned(), json!(1))).collect();
            row.insert("format".into(), json!([valid, default]));
            row.insert("formats".into(), json!({ "default": default, "supported": formats }));
        }
        rows.push(Value::Object(row));
    }
    Ok(json!(rows))
}

fn share(usage: crate::world::storages::Usage) -> f64 {
    usage.used as f64 / usage.total.max(1) as f64
}

pub(crate) fn status(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("storage").unwrap_or_default();
    let state = engine.state();
    let Some(storage) = state.storages.get(name) else { return Err(Refusal::parameter("storage", "No such storage.")) };
    Ok(Value::Object(figures(&state, &call.node, name, storage)))
}
