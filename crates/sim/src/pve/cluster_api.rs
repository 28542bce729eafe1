//! Cluster, node and pool calls.

use serde_json::{Map, Value, json};

use super::engine::{Call, Engine};
use super::refusal::{Body, Outcome, Refusal};
use super::state::{Kind, State};
use super::status;

pub(crate) fn subdirs(names: &[&str]) -> Value {
    json!(names.iter().map(|name| json!({ "subdir": name })).collect::<Vec<_>>())
}

/// `GET /cluster/resources`
pub(crate) fn resources(engine: &Engine, call: &Call) -> Value {
    let wanted = call.text("type");
    let state = engine.state();
    let caller = &call.caller;
    let mut rows = Vec::new();
    if matches!(wanted, None | Some("pool")) {
        for name in state.pools.keys() {
            if state.may(caller, &format!("/pool/{name}"), "Pool.Audit") {
                rows.push(json!({ "id": format!("/pool/{name}"), "pool": name, "type": "pool" }));
            }
        }
    }
    if matches!(wanted, None | Some("vm")) {
        for vmid in state.guests.keys() {
            if state.may(caller, &format!("/vms/{vmid}"), "VM.Audit") {
                let mut row = guest_row(&state, *vmid, true);
                let pool = row["pool"].as_str().map(str::to_owned);
                if let (Some(pool), Some(row)) = (pool, row.as_object_mut())
                    && !state.may(caller, &format!("/pool/{pool}"), "Pool.Audit")
                {
                    row.remove("pool");
                }
                rows.push(row);
            }
        }
    }
    if matches!(wanted, None | Some("node")) {
        rows.extend(state.nodes.keys().map(|name| node_resource(engine, &state, caller, name)));
    }
    if matches!(wanted, None | Some("storage")) {
        rows.extend(storage_rows(&state, caller));
    }
    let may_use = state.may(caller, "/sdn/zones/localnetwork", "SDN.Audit");
    if matches!(wanted, None | Some("network")) && may_use {
        rows.extend(state.nodes.keys().map(|node| {
            json!({ "id": format!("network/{node}/zone/localnetwork"), "network": "localnetwork", "network-type": "zone", "node": node,
                    "status": "ok", "type": "network" })
        }));
    }
    json!(rows)
}

/// `GET /cluster/log`: the first line of a log that nobody writes to.
pub(crate) fn log(engine: &Engine, call: &Call) -> Value {
    let node = &call.node;
    json!([{ "id": format!("1:{node}"), "msg": "starting cluster log", "node": node, "pid": 900, "pri": 6, "tag": "cluster",
             "time": engine.clock.seconds(), "uid": "1", "user": "root" }])
}

/// Processor types that a VM may name.
pub(crate) fn processor_types() -> Value {
    let intel = ["Cascadelake-Server", "Haswell", "Icelake-Server", "Skylake-Server"];
    let plain = ["host", "kvm64", "max", "qemu32", "qemu64", "x86-64-v2-AES", "x86-64-v3", "x86-64-v4"];
    let rows = intel.iter().map(|name| (name, "GenuineIntel")).chain(plain.iter().map(|name| (name, "default")));
    json!(rows.map(|(name, vendor)| json!({ "custom": 0, "name": name, "vendor": vendor })).collect::<Vec<_>>())
}

/// Defaults of backup jobs.
pub(crate) fn backup_defaults() -> Value {
    json!({
        "all": 0, "bwlimit": 0, "compress": "0", "dumpdir": "/var/lib/vz/dump", "fleecing": { "enabled": 0 }, "ionice": 7, "lockwait": 180,
        "mailnotification": "always", "mode": "snapshot", "notification-mode": "auto",
        "performance": { "max-workers": 16, "pbs-entries-max": 1_048_576 }, "pigz": 0, "prune-backups": "keep-all=1", "quiet": 0,
        "remove": 1, "stdexcludes": 1, "stop": 0, "stopwait": 10, "storage": "local", "zstd": 1,
    })
}

/// What a node's own path lists.
pub(crate) fn node_index() -> Value {
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

/// A guest as the lists know it: what the last statistics round saw, with lock, pool and tags of now.
pub(crate) fn guest_row(state: &State, vmid: u32, with_pool: bool) -> Value {
    let Some(guest) = state.guests.get(&vmid) else { return Value::Null };
    let kind = guest.kind.word();
    let mut row = guest.seen.clone().unwrap_or_else(|| {
        let fresh = json!({ "id": format!("{kind}/{vmid}"), "node": guest.node, "status": "unknown", "type": kind, "vmid": vmid });
        fresh.as_object().cloned().unwrap_or_default()
    });
    for key in ["lock", "tags"] {
        row.remove(key);
        if with_pool && let Some(value) = guest.get(key) {
            row.insert(key.to_owned(), json!(value));
        }
    }
    if with_pool && let Some(pool) = state.pool_of(vmid) {
        row.insert("pool".into(), json!(pool));
    }
    Value::Object(row)
}

fn node_resource(engine: &Engine, state: &State, caller: &str, name: &str) -> Value {
    let mut row = json!({ "cgroup-mode": 2, "id": format!("node/{name}"), "level": "", "node": name, "status": "online", "type": "node" });
    if state.may(caller, &format!("/nodes/{name}"), "Sys.Audit")
        && let Some(node) = state.nodes.get(name)
    {
        let used = state
            .guests
            .values()
            .filter(|g| g.node == name)
            .filter_map(|g| g.run.as_ref())
            .map(|run| run.memory)
            .sum::<u64>();
        row["cpu"] = json!(0);
        row["maxcpu"] = json!(node.cores);
        row["mem"] = json!(used + (1 << 30));
        row["maxmem"] = json!(node.memory);
        row["disk"] = json!(8_u64 << 30);
        row["maxdisk"] = json!(100_u64 << 30);
        row["uptime"] = json!(1000 + engine.clock.now().as_secs());
    }
    row
}

fn storage_rows(state: &State, caller: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    for (name, storage) in &state.storages {
        if storage.disabled || !state.may(caller, &format!("/storage/{name}"), "Datastore.Audit") {
            continue;
        }
        for node in state.nodes.keys() {
            rows.push(json!({
                "id": format!("storage/{node}/{name}"), "node": node, "storage": name, "type": "storage", "plugintype": storage.kind,
                "status": "available", "shared": u8::from(storage.shared), "content": storage.content.join(","),
                "disk": 8_u64 << 30, "maxdisk": 100_u64 << 30,
            }));
        }
    }
    rows
}

pub(crate) fn next_id(engine: &Engine, call: &Call) -> Outcome<Value> {
    let state = engine.state();
    if let Some(vmid) = call.params.number("vmid").and_then(|n| u32::try_from(n).ok()) {
        return match state.guests.get(&vmid) {
            Some(_) => Err(Refusal::parameter("vmid", format!("VM {vmid} already exists"))),
            None => Ok(json!(vmid.to_string())),
        };
    }
    let (lower, upper) = super::datacenter::next_id_range(&state);
    let free = (lower..upper).find(|vmid| !state.guests.contains_key(vmid));
    match free {
        Some(vmid) => Ok(json!(vmid.to_string())),
        None => Err(Refusal::fault(format!("unable to get any free VMID in range [{lower}, {upper}]"))),
    }
}

pub(crate) fn cluster_status(engine: &Engine) -> Value {
    let state = engine.state();
    let rows: Vec<Value> = state
        .nodes
        .keys()
        .enumerate()
        .map(|(at, name)| {
            json!({ "id": format!("node/{name}"), "ip": format!("10.78.0.{}", at + 1), "level": "", "local": u8::from(at == 0), "name": name,
                    "nodeid": at, "online": 1, "type": "node" })
        })
        .collect();
    json!(rows)
}

pub(crate) fn nodes(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let rows: Vec<Value> = state
        .nodes
        .iter()
        .map(|(name, node)| {
            let mut row = json!({ "id": format!("node/{name}"), "level": "", "node": name, "ssl_fingerprint": engine.fingerprint,
                                  "status": "online", "type": "node" });
            if state.may(&call.caller, &format!("/nodes/{name}"), "Sys.Audit") {
                row["cpu"] = json!(0);
                row["maxcpu"] = json!(node.cores);
                row["mem"] = json!(1_u64 << 30);
                row["maxmem"] = json!(node.memory);
                row["disk"] = json!(8_u64 << 30);
                row["maxdisk"] = json!(100_u64 << 30);
                row["uptime"] = json!(1000 + engine.clock.now().as_secs());
            }
            row
        })
        .collect();
    json!(rows)
}

pub(crate) fn node_status(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let cores = state.nodes.get(&call.node).map_or(1, |node| node.cores);
    let memory = state.nodes.get(&call.node).map_or(0, |node| node.memory);
    json!({
        "boot-info": { "mode": "efi" }, "cpu": 0, "cpuinfo": { "cpus": cores, "cores": cores, "sockets": 1, "model": "simulated" },
        "current-kernel": { "machine": "x86_64", "sysname": "Linux", "release": "6.17.0-1-pve", "version": "#1 SMP" }, "idle": 0,
        "ksm": { "shared": 0 }, "kversion": "Linux 6.17.0-1-pve", "loadavg": ["0.00", "0.00", "0.00"],
        "memory": { "free": memory - (1 << 30), "used": 1_u64 << 30, "total": memory, "available": memory - (1 << 30) },
        "pveversion": "pve-manager/9.2.11/14a22df35955d97d", "rootfs": { "free": 1, "used": 1, "total": 2, "avail": 1 },
        "swap": { "free": 0, "used": 0, "total": 0 }, "uptime": 1000 + engine.clock.now().as_secs(), "wait": 0,
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
        .map(|(vmid, _)| Value::Object(status::node_row(&state, *vmid, now, full)))
        .collect();
    json!(rows)
}

/// High availability: which guests are managed.
pub(crate) fn ha_resources(engine: &Engine, call: &Call, verb: &str) -> Outcome<Value> {
    let mut state = engine.state();
    if verb == "list" {
        let rows: Vec<Value> = state
            .guests
            .iter()
            .filter(|(_, guest)| guest.managed_by_ha)
            .map(|(vmid, guest)| {
                let kind = guest.kind.name().to_lowercase();
                json!({ "digest": "0".repeat(40), "sid": format!("{kind}:{vmid}"), "type": kind })
            })
            .collect();
        return Ok(json!(rows));
    }
    let sid = call.text("sid").unwrap_or_default().to_owned();
    let vmid: u32 = sid.rsplit(':').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let Some(guest) = state.guests.get_mut(&vmid) else {
        let text = if verb == "add" {
            format!("resource '{sid}' does not exist in cluster")
        } else {
            format!("no such resource '{sid}'")
        };
        return Err(Refusal::fault(text));
    };
    if verb != "add" && !guest.managed_by_ha {
        return Err(Refusal::fault(format!("no such resource '{sid}'")));
    }
    guest.managed_by_ha = verb == "add" || verb == "get";
    Ok(Value::Null)
}

pub(crate) fn not_implemented(method: &str, path: &str) -> Refusal {
    Refusal::new(501, format!("Method '{method} {path}' not implemented"), Body::BareMessage)
}
