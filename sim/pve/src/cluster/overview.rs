//! What a person sees of the cluster from above, as JSON: for the control API, beside PVE's own API and its privileges.
//!
//! Nothing secret is in it: no password, no token's secret, and of a configuration not its `cipassword`.

use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::guests::status;
use crate::world::state::{Guest, Kind, Pending, State, Task};
use crate::world::storages::Storage;

/// Options of guests whose values are nobody's business.
const SECRET_OPTIONS: [&str; 2] = ["cipassword", "password"];

/// The part of the lists that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Largest number of entries of each list.
    pub limit: usize,
    /// Text that the number, name, node or pool of a guest must contain; empty for all guests.
    pub search: String,
}

/// Everything: version, nodes, storages, guests, the newest tasks.
pub(crate) fn overview(engine: &Engine, wanted: &Wanted) -> Value {
    let state = engine.state();
    let needle = wanted.search.to_lowercase();
    let found: Vec<u32> = state.guests.keys().copied().filter(|vmid| fits(&state, *vmid, &needle)).collect();
    let guests: Vec<Value> = found.iter().take(wanted.limit).map(|vmid| guest_row(engine, &state, *vmid)).collect();
    let tasks: Vec<Value> = state.tasks.iter().rev().take(wanted.limit).map(task_row).collect();
    json!({
        "version": state.version,
        "now": engine.clock.seconds(),
        "seed": engine.faults.seed(),
        "nodes": nodes(&state),
        "storages": storages(&state),
        "guests": { "total": found.len(), "items": guests },
        "tasks": { "total": state.tasks.len(), "items": tasks },
    })
}

/// One guest with its configuration and console; `None` where there is none of this number.
pub(crate) fn guest(engine: &Engine, vmid: u32) -> Option<Value> {
    let state = engine.state();
    let mut row = guest_row(engine, &state, vmid);
    let guest = state.guests.get(&vmid)?;
    row["config"] = guest.config.iter().map(|(key, value)| (key.clone(), shown(key, value))).collect();
    let pending = guest.pending.iter().map(|(key, change)| match change {
        Pending::Set(value) => (key.clone(), shown(key, value)),
        Pending::Delete(_) => (key.clone(), Value::Null),
    });
    row["pending"] = Value::Object(pending.collect());
    drop(state);
    row["console"] = json!(engine.backend.console(vmid));
    Some(row)
}

/// One task with its log; `None` where there is none of this UPID.
pub(crate) fn task(engine: &Engine, upid: &str) -> Option<Value> {
    let state = engine.state();
    let task = state.tasks.iter().rev().find(|task| task.upid == upid)?;
    let mut row = task_row(task);
    row["log"] = json!(task.log);
    Some(row)
}

/// The nodes, and the storages with how full they are.
pub(crate) fn nodes_and_storages(engine: &Engine) -> Value {
    let state = engine.state();
    json!({ "nodes": nodes(&state), "storages": storages(&state) })
}

/// Names of all nodes.
pub(crate) fn node_names(engine: &Engine) -> Vec<String> {
    engine.state().nodes.keys().cloned().collect()
}

/// The nodes that a storage is on; `None` where there is no such storage.
pub(crate) fn nodes_of(engine: &Engine, storage: &str) -> Option<Vec<String>> {
    let state = engine.state();
    let found = state.storages.get(storage)?;
    Some(state.nodes.keys().filter(|node| found.is_on(node)).cloned().collect())
}

fn shown(key: &str, value: &str) -> Value {
    if SECRET_OPTIONS.contains(&key) { json!("**********") } else { json!(value) }
}

fn fits(state: &State, vmid: u32, needle: &str) -> bool {
    let Some(guest) = state.guests.get(&vmid) else { return false };
    let has = |text: &str| text.to_lowercase().contains(needle);
    needle.is_empty()
        || has(&vmid.to_string())
        || has(&status::name(guest, vmid))
        || has(&guest.node)
        || state.pool_of(vmid).is_some_and(has)
}

fn nodes(state: &State) -> Value {
    let row = |(name, node): (&String, &crate::world::nodes::Node)| {
        let here = || state.guests.values().filter(|guest| guest.node == *name);
        json!({
            "node": name,
            "online": node.away.is_none(),
            "cores": node.cores,
            "memory": node.memory,
            "guests": here().count(),
            "running": here().filter(|guest| guest.run.is_some()).count(),
        })
    };
    state.nodes.iter().map(row).collect()
}

fn storages(state: &State) -> Value {
    let row = |(name, storage): (&String, &Storage)| {
        let volumes = || state.volumes_anywhere(name);
        let on = state.nodes.keys().filter(|node| storage.is_on(node));
        // All nodes see the same of a shared one.
        let on = on.take(if storage.shared { 1 } else { usize::MAX });
        let place = |node: &String| {
            let usage = state.usage(node, name);
            json!({ "node": node, "total": usage.total, "free": usage.free() })
        };
        json!({
            "storage": name,
            "type": storage.kind,
            "content": storage.content,
            "shared": storage.shared,
            "enabled": !storage.disabled,
            "volumes": volumes().count(),
            "places": on.map(place).collect::<Vec<Value>>(),
        })
    };
    state.storages.iter().map(row).collect()
}

fn power(guest: &Guest) -> &'static str {
    match &guest.run {
        None => "stopped",
        Some(run) if run.paused => "paused",
        Some(_) => "running",
    }
}

fn guest_row(engine: &Engine, state: &State, vmid: u32) -> Value {
    let Some(guest) = state.guests.get(&vmid) else { return Value::Null };
    let node_cores = state.nodes.get(&guest.node).map_or(1, |node| node.cores);
    let run = guest.run.as_ref();
    let mut row = Map::new();
    let fields = [
        ("vmid", json!(vmid)),
        ("type", json!(guest.kind.word())),
        ("name", json!(status::name(guest, vmid))),
        ("node", json!(guest.node)),
        ("status", json!(power(guest))),
        ("template", json!(guest.is_template())),
        ("pool", json!(state.pool_of(vmid))),
        ("tags", json!(guest.get("tags"))),
        ("lock", json!(guest.get("lock"))),
        ("cores", json!(status::cores(guest, node_cores))),
        ("memory", json!(status::memory(guest))),
        ("uptime", json!(run.map(|run| engine.clock.now().saturating_sub(run.since).as_secs()))),
        ("agent", json!(guest.kind == Kind::Qemu && run.is_some_and(|run| run.agent))),
        ("console", json!(engine.backend.console(vmid).last())),
    ];
    row.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(row)
}

fn task_row(task: &Task) -> Value {
    let (end, status) = match &task.end {
        Some((end, status)) => (Some(*end), Some(status)),
        None => (None, None),
    };
    json!({
        "upid": task.upid,
        "node": task.node,
        "type": task.kind,
        "id": task.id,
        "user": task.user,
        "start": task.start,
        "end": end,
        "status": status,
        "waited": task.waited.as_secs_f64(),
    })
}
