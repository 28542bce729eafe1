//! `/cluster/resources`: all resources that the caller may see, with the figures of the last statistics round.

use std::collections::BTreeMap;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use super::nodes_api;
use crate::engine::{Call, Engine};
use crate::refusal::{Outcome, Refusal};
use crate::reply::Reply;
use crate::world::guest::Guest;
use crate::world::nodes::REPORT_LIFETIME;
use crate::world::state::State;

/// One row of the list.
#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a> {
    Guest(GuestRow<'a>),
    Other(Value),
}

/// `GET /cluster/resources`
pub(crate) fn resources(engine: &Engine, call: &Call) -> Outcome<Reply> {
    let wanted = |kind: &str| call.text("type").is_none_or(|wanted| wanted == kind);
    let state = engine.state();
    let caller = &call.caller;
    let mut rows = Vec::new();
    if wanted("pool") {
        let shown = state.pools.keys().filter(|name| state.may(caller, &format!("/pool/{name}"), "Pool.Audit"));
        rows.extend(
            shown.map(|name| Row::Other(json!({ "id": format!("/pool/{name}"), "pool": name, "type": "pool" }))),
        );
    }
    if wanted("vm") {
        guests(engine, &state, caller, &mut rows);
    }
    if wanted("node") {
        rows.extend(nodes_api::rows(engine, &state, caller).into_iter().map(|mut row| {
            row.insert("cgroup-mode".into(), json!(2));
            Row::Other(Value::Object(row))
        }));
    }
    if wanted("storage") {
        storages(engine, &state, caller, &mut rows);
    }
    if wanted("network") && state.may(caller, "/sdn/zones/localnetwork", "SDN.Audit") {
        rows.extend(state.nodes.keys().map(|node| {
            Row::Other(json!({ "id": format!("network/{node}/zone/localnetwork"), "network": "localnetwork",
                    "network-type": "zone", "node": node, "status": "ok", "type": "network" }))
        }));
    }
    let written = to_raw_value(&rows).map_err(|error| Refusal::fault(error.to_string()))?;
    Ok(Reply::RawJson(written))
}

fn guests<'a>(engine: &Engine, state: &'a State, caller: &str, rows: &mut Vec<Row<'a>>) {
    let mut audits: BTreeMap<&str, bool> = BTreeMap::new();
    for (vmid, guest) in &state.guests {
        if !state.may(caller, &format!("/vms/{vmid}"), "VM.Audit") {
            continue;
        }
        let mut row = guest_row(engine, state, *vmid, guest, true);
        row.pool = state.pool_of(*vmid).filter(|pool| {
            let audit = || state.may(caller, &format!("/pool/{pool}"), "Pool.Audit");
            *audits.entry(pool).or_insert_with(audit)
        });
        rows.push(Row::Guest(row));
    }
}

/// A guest as lists show it.
#[derive(Debug)]
pub(crate) struct GuestRow<'a> {
    vmid: u32,
    kind: &'static str,
    node: &'a str,
    /// Figures of the last statistics round that included the guest.
    seen: Option<&'a Map<String, Value>>,
    lock: Option<&'a str>,
    tags: Option<&'a str>,
    pool: Option<&'a str>,
}

/// Returns a guest's row with the figures of the last statistics round, and with the current lock and tags if `fresh`.
pub(crate) fn guest_row<'a>(engine: &Engine, state: &State, vmid: u32, guest: &'a Guest, fresh: bool) -> GuestRow<'a> {
    let away = state.nodes.get(&guest.node).and_then(|node| node.away);
    let known = away.is_none_or(|since| engine.clock.now().saturating_sub(since) <= REPORT_LIFETIME);
    let now = |key: &str| guest.get(key).filter(|_| fresh);
    GuestRow {
        vmid,
        kind: guest.kind.word(),
        node: &guest.node,
        seen: guest.seen.as_ref().filter(|_| known),
        lock: now("lock"),
        tags: now("tags"),
        pool: None,
    }
}

impl Serialize for GuestRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_map(None)?;
        if let Some(seen) = self.seen {
            for (key, value) in seen.iter().filter(|(key, _)| !["node", "lock", "tags", "pool"].contains(&key.as_str()))
            {
                row.serialize_entry(key, value)?;
            }
        } else {
            row.serialize_entry("id", &format_args!("{}/{}", self.kind, self.vmid))?;
            row.serialize_entry("status", "unknown")?;
            row.serialize_entry("type", self.kind)?;
            row.serialize_entry("vmid", &self.vmid)?;
        }
        row.serialize_entry("node", self.node)?;
        for (key, value) in [("lock", self.lock), ("tags", self.tags), ("pool", self.pool)] {
            if let Some(value) = value {
                row.serialize_entry(key, value)?;
            }
        }
        row.end()
    }
}

fn storages(engine: &Engine, state: &State, caller: &str, rows: &mut Vec<Row<'_>>) {
    for (name, storage) in &state.storages {
        if storage.disabled || !state.may(caller, &format!("/storage/{name}"), "Datastore.Audit") {
            continue;
        }
        for node in state.nodes.keys().filter(|node| storage.is_on(node)) {
            rows.push(Row::Other(storage_row(engine, state, node, name)));
        }
    }
}

/// Returns a storage's row as a node's statistics show it.
pub(crate) fn storage_row(engine: &Engine, state: &State, node: &str, name: &str) -> Value {
    let Some(storage) = state.storages.get(name) else { return Value::Null };
    let mut row = json!({
        "id": format!("storage/{node}/{name}"), "node": node, "storage": name, "type": "storage", "plugintype": storage.kind,
        "status": "available", "shared": u8::from(storage.shared), "content": storage.content.join(","),
    });
    let away = state.nodes.get(node).and_then(|node| node.away);
    if away.is_some_and(|since| engine.clock.now().saturating_sub(since) > REPORT_LIFETIME) {
        row["status"] = json!("unknown");
        return row;
    }
    let usage = state.usage(node, name);
    row["disk"] = json!(usage.used);
    row["maxdisk"] = json!(usage.total);
    row
}
