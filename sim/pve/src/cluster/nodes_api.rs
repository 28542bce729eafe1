//! `/nodes` and the calls about one node; `/cluster/status`.

use serde_json::{Map, Value, json};

use crate::engine::{Call, Engine};
use crate::guests;
use crate::line::Line;
use crate::refusal::{Outcome, Refusal};
use crate::world::guest::Kind;
use crate::world::nodes::{Figures, REPORT_LIFETIME};
use crate::world::state::State;

/// Returns the row of each node as lists show it. Figures need `Sys.Audit`. A node that is off keeps the figures that
/// do not change.
pub(crate) fn rows(engine: &Engine, state: &State, caller: &str) -> Vec<Map<String, Value>> {
    let memory = state.memory_in_use();
    let in_use = |name: &str| memory.get(name).copied().unwrap_or_default();
    state.nodes.keys().map(|name| row(engine, state, caller, name, in_use(name))).collect()
}

/// Returns the row of one node. `memory` is the number of bytes that its guests use.
fn row(engine: &Engine, state: &State, caller: &str, name: &str, memory: u64) -> Map<String, Value> {
    let online = state.is_online(name);
    let mut row = Map::new();
    row.insert("id".into(), json!(format!("node/{name}")));
    row.insert("level".into(), json!(""));
    row.insert("node".into(), json!(name));
    row.insert("status".into(), json!(if online { "online" } else { "offline" }));
    row.insert("type".into(), json!("node"));
    let Some(node) = state.nodes.get(name).filter(|_| state.may(caller, &format!("/nodes/{name}"), "Sys.Audit")) else {
        return row;
    };
    // The other nodes drop a node's figures five minutes after its last report.
    let now = engine.clock.now();
    if node.away.is_some_and(|since| now.saturating_sub(since) > REPORT_LIFETIME) {
        row.remove("level");
        return row;
    }
    let figures = Figures::of(node, memory, now);
    row.insert("maxcpu".into(), json!(figures.cores));
    row.insert("maxmem".into(), json!(figures.memory));
    row.insert("maxdisk".into(), json!(figures.disk));
    if online {
        row.insert("cpu".into(), json!(0));
        row.insert("mem".into(), json!(figures.memory_used));
        row.insert("disk".into(), json!(figures.disk_used));
        row.insert("uptime".into(), json!(figures.uptime));
    }
    row
}

pub(crate) fn list(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let rows = rows(engine, &state, &call.caller).into_iter().map(|mut row| {
        row.insert("ssl_fingerprint".into(), json!(engine.fingerprint));
        Value::Object(row)
    });
    json!(rows.collect::<Vec<_>>())
}

/// `GET /cluster/status`. A single node does not show a cluster.
pub(crate) fn cluster_status(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let cluster = state.nodes.len() > 1;
    let mut rows = Vec::new();
    if cluster {
        rows.push(json!({ "id": "cluster", "name": "cluster", "nodes": state.nodes.len(), "quorate": u8::from(state.is_quorate()),
                          "type": "cluster", "version": state.nodes.len() }));
    }
    for (name, node) in &state.nodes {
        let number = if cluster { node.number } else { 0 };
        rows.push(json!({ "id": format!("node/{name}"), "ip": node.address(), "level": "", "local": u8::from(*name == call.node),
                          "name": name, "nodeid": number, "online": u8::from(node.away.is_none()), "type": "node" }));
    }
    json!(rows)
}

/// Returns the index of `/nodes/{node}`.
pub(crate) fn index() -> Value {
    let names = [
        "aplinfo",
        "apt",
        "capabilities",
        "ceph",
        "certificates",
        "config",
        "disks",
        "dns",
        "firewall",
        "hardware",
        "hosts",
        "journal",
        "lxc",
        "migrateall",
        "netstat",
        "network",
        "qemu",
        "query-oci-repo-tags",
        "query-url-metadata",
        "replication",
        "report",
        "rrd",
        "rrddata",
        "scan",
        "sdn",
        "services",
        "spiceshell",
        "startall",
        "status",
        "stopall",
        "storage",
        "subscription",
        "suspendall",
        "syslog",
        "tasks",
        "termproxy",
        "time",
        "version",
        "vncshell",
        "vzdump",
        "wakeonlan",
    ];
    json!(names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>())
}

/// `GET /nodes/{node}/status`: the figures of the lists with more detail.
pub(crate) fn status(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let Some(node) = state.nodes.get(&call.node) else { return Value::Null };
    let in_use = state.memory_in_use().get(call.node.as_str()).copied().unwrap_or_default();
    let Figures { cores, memory, memory_used, disk, disk_used, uptime } = Figures::of(node, in_use, engine.clock.now());
    let (memory_free, disk_free) = (memory.saturating_sub(memory_used), disk.saturating_sub(disk_used));
    let kernel = match state.line {
        Line::Eight => "6.8.12-9-pve",
        Line::Nine => "6.17.0-1-pve",
    };
    let version = |key: &str| state.version[key].as_str().unwrap_or_default();
    json!({
        "boot-info": { "mode": "efi" }, "cpu": 0, "cpuinfo": { "cpus": cores, "cores": cores, "sockets": 1, "model": "simulated" },
        "current-kernel": { "machine": "x86_64", "sysname": "Linux", "release": kernel, "version": "#1 SMP" }, "idle": 0,
        "ksm": { "shared": 0 }, "kversion": format!("Linux {kernel}"), "loadavg": ["0.00", "0.00", "0.00"],
        "memory": { "free": memory_free, "used": memory_used, "total": memory, "available": memory_free },
        "pveversion": format!("pve-manager/{}/{}", version("version"), version("repoid")),
        "rootfs": { "free": disk_free, "used": disk_used, "total": disk, "avail": disk_free },
        "swap": { "free": 0, "used": 0, "total": 0 }, "uptime": uptime, "wait": 0,
    })
}

pub(crate) fn networks(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let Some(node) = state.nodes.get(&call.node) else { return json!([]) };
    let wanted = call.text("type");
    let rows: Vec<&Map<String, Value>> = node
        .networks
        .iter()
        .filter(|network| {
            let kind = network.get("type").and_then(Value::as_str).unwrap_or_default();
            let fits = match wanted {
                None => true,
                Some("any_bridge" | "any_local_bridge" | "include_sdn") => kind == "bridge",
                Some(wanted) => kind == wanted,
            };
            let name = network.get("iface").and_then(Value::as_str).unwrap_or_default();
            fits && (kind != "bridge"
                || state.may_any(&call.caller, &format!("/sdn/zones/localnetwork/{name}"), &["SDN.Audit", "SDN.Use"]))
        })
        .collect();
    json!(rows)
}

pub(crate) fn network(engine: &Engine, call: &Call) -> Outcome<Value> {
    let state = engine.state();
    let wanted = call.text("iface").unwrap_or_default();
    let found = state
        .nodes
        .get(&call.node)
        .and_then(|node| node.networks.iter().find(|n| n.get("iface").and_then(Value::as_str) == Some(wanted)));
    let Some(found) = found else { return Err(Refusal::parameter("iface", "interface does not exist")) };
    let mut out = found.clone();
    out.remove("iface");
    Ok(Value::Object(out))
}

/// `GET /nodes/{node}/qemu` and `/lxc`
pub(crate) fn guests(engine: &Engine, kind: Kind, call: &Call) -> Value {
    let state = engine.state();
    let now = engine.clock.now();
    let full = call.params.flag("full");
    let rows: Vec<Value> = state
        .guests
        .iter()
        .filter(|(vmid, guest)| {
            guest.kind == kind
                && guest.node == call.node
                && state.may(&call.caller, &format!("/vms/{vmid}"), "VM.Audit")
        })
        .map(|(vmid, _)| Value::Object(guests::status::node_row(&state, *vmid, now, full)))
        .collect();
    json!(rows)
}
