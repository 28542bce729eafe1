//! `/cluster/resources`: everything, as the last statistics round saw it, trimmed to what the caller may see.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::nodes::FORGOTTEN;
use super::nodes_api;
use crate::pve::engine::{Call, Engine};
use crate::pve::world::state::{Guest, State};

/// `GET /cluster/resources`
pub(crate) fn resources(engine: &Engine, call: &Call) -> Value {
    let wanted = |kind: &str| call.text("type").is_none_or(|wanted| wanted == kind);
    let state = engine.state();
    let caller = &call.caller;
    let mut rows = Vec::new();
    if wanted("pool") {
        let shown = state.pools.keys().filter(|name| state.may(caller, &format!("/pool/{name}"), "Pool.Audit"));
        rows.extend(shown.map(|name| json!({ "id": format!("/pool/{name}"), "pool": name, "type": "pool" })));
    }
    if wanted("vm") {
        guests(engine, &state, caller, &mut rows);
    }
    if wanted("node") {
        rows.extend(nodes_api::rows(engine, &state, caller).into_iter().map(|mut row| {
            row.insert("cgroup-mode".into(), json!(2));
            Value::Object(row)
        }));
    }
    if wanted("storage") {
        storages(engine, &state, caller, &mut rows);
    }
    if wanted("network") && state.may(caller, "/sdn/zones/localnetwork", "SDN.Audit") {
        rows.extend(state.nodes.keys().map(|node| {
            json!({ "id": format!("network/{node}/zone/localnetwork"), "network": "localnetwork", "network-type": "zone", "node": node,
                    "status": "ok", "type": "network" })
        }));
    }
    Value::Array(rows)
}

fn guests(engine: &Engine, state: &State, caller: &str, rows: &mut Vec<Value>) {
    let mut audits: BTreeMap<&str, bool> = BTreeMap::new();
    for (vmid, guest) in &state.guests {
        if !state.may(caller, &format!("/vms/{vmid}"), "VM.Audit") {
            continue;
        }
        let mut row = guest_row(engine, state, *vmid, guest, true);
        if let Some(pool) = state.pool_of(*vmid) {
            let audit = || state.may(caller, &format!("/pool/{pool}"), "Pool.Audit");
            if *audits.entry(pool).or_insert_with(audit) {
                row.insert("pool".into(), json!(pool));
            }
        }
        rows.push(Value::Object(row));
    }
}

/// A guest as the lists know it: what the last statistics round saw, with lock and tags of now where `fresh`.
pub(crate) fn guest_row(engine: &Engine, state: &State, vmid: u32, guest: &Guest, fresh: bool) -> Map<String, Value> {
    let kind = guest.kind.word();
    let away = state.nodes.get(&guest.node).and_then(|node| node.away);
    let known = away.is_none_or(|since| engine.clock.now().saturating_sub(since) <= FORGOTTEN);
    let mut row = guest.seen.clone().filter(|_| known).unwrap_or_else(|| {
        let unknown = json!({ "id": format!("{kind}/{vmid}"), "status": "unknown", "type": kind, "vmid": vmid });
        unknown.as_object().cloned().unwrap_or_default()
    });
    row.insert("node".into(), json!(guest.node));
    for key in ["lock", "tags"] {
        row.remove(key);
        if let Some(value) = guest.get(key).filter(|_| fresh) {
            row.insert(key.to_owned(), json!(value));
        }
    }
    row
}

fn storages(engine: &Engine, state: &State, caller: &str, rows: &mut Vec<Value>) {
    for (name, storage) in &state.storages {
        if storage.disabled || !state.may(caller, &format!("/storage/{name}"), "Datastore.Audit") {
            continue;
        }
        for node in state.nodes.keys().filter(|node| storage.is_on(node)) {
            rows.push(storage_row(engine, state, node, name));
        }
    }
}

/// A storage as a node's statistics show it.
pub(crate) fn storage_row(engine: &Engine, state: &State, node: &str, name: &str) -> Value {
    let Some(storage) = state.storages.get(name) else { return Value::Null };
    let mut row = json!({
        "id": format!("storage/{node}/{name}"), "node": node, "storage": name, "type": "storage", "plugintype": storage.kind,
        "status": "available", "shared": u8::from(storage.shared), "content": storage.content.join(","),
    });
    let away = state.nodes.get(node).and_then(|node| node.away);
    if away.is_some_and(|since| engine.clock.now().saturating_sub(since) > FORGOTTEN) {
        row["status"] = json!("unknown");
        return row;
    }
    let usage = state.usage(node, name);
    row["disk"] = json!(usage.used);
    row["maxdisk"] = json!(usage.total);
    row
}
