//! The state of the cluster as JSON for the control API, without PVE's API and its privileges.
//!
//! The overview holds no secrets: no passwords, no token secrets, and no `cipassword` of a guest.

use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::guests::status;
use crate::world::guest::{Guest, Kind, Pending};
use crate::world::state::{State, Task};
use crate::world::storages::Storage;

/// Options of guests whose values are secret.
const SECRET_OPTIONS: [&str; 2] = ["cipassword", "password"];

/// Limits of an overview.
#[derive(Debug, Clone)]
pub struct OverviewFilter {
    /// Largest number of entries in each list.
    pub limit: usize,
    /// Text that the VMID, name, node or resource pool of a guest must contain; empty for all guests.
    pub search: String,
}

/// Returns version, nodes, storages, guests and the newest tasks.
pub(crate) fn overview(engine: &Engine, wanted: &OverviewFilter) -> Value {
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

/// Returns a guest with its configuration and console, or `None` if no guest has this VMID.
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

/// Returns a task with its log, or `None` if no task has this UPID.
pub(crate) fn task(engine: &Engine, upid: &str) -> Option<Value> {
    let state = engine.state();
    let task = state.tasks.iter().rev().find(|task| task.upid == upid)?;
    let mut row = task_row(task);
    row["log"] = json!(task.log);
    Some(row)
}

/// Returns the nodes, and the storages with the space that is taken.
pub(crate) fn nodes_and_storages(engine: &Engine) -> Value {
    let state = engine.state();
    json!({ "nodes": nodes(&state), "storages": storages(&state) })
}

/// Returns the names of all nodes.
pub(crate) fn node_names(engine: &Engine) -> Vec<String> {
    engine.state().nodes.keys().cloned().collect()
}

/// Returns the nodes that have a storage, or `None` if there is no such storage.
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
        // A shared storage has one row, because all nodes see the same contents.
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
