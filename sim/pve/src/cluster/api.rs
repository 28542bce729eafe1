//! Calls about the cluster as a whole.

use serde_json::{Value, json};

use crate::engine::{Call, Engine};
use crate::refusal::{Body, Outcome, Refusal};
use crate::world::guest::Guest;

pub(crate) fn subdirs(names: &[&str]) -> Value {
    json!(names.iter().map(|name| json!({ "subdir": name })).collect::<Vec<_>>())
}

/// `GET /cluster/log`: the first line of a log that nothing writes to.
pub(crate) fn log(engine: &Engine, call: &Call) -> Value {
    let node = &call.node;
    json!([{ "id": format!("1:{node}"), "msg": "starting cluster log", "node": node, "pid": 900, "pri": 6, "tag": "cluster",
             "time": engine.clock.seconds(), "uid": "1", "user": "root" }])
}

/// Returns the processor models that a VM can have.
pub(crate) fn processor_types() -> Value {
    let intel = ["Cascadelake-Server", "Haswell", "Icelake-Server", "Skylake-Server"];
    let plain = ["host", "kvm64", "max", "qemu32", "qemu64", "x86-64-v2-AES", "x86-64-v3", "x86-64-v4"];
    let rows = intel.iter().map(|name| (name, "GenuineIntel")).chain(plain.iter().map(|name| (name, "default")));
    json!(rows.map(|(name, vendor)| json!({ "custom": 0, "name": name, "vendor": vendor })).collect::<Vec<_>>())
}

/// Returns the defaults of backup jobs.
pub(crate) fn backup_defaults() -> Value {
    json!({
        "all": 0, "bwlimit": 0, "compress": "0", "dumpdir": "/var/lib/vz/dump", "fleecing": { "enabled": 0 }, "ionice": 7, "lockwait": 180,
        "mailnotification": "always", "mode": "snapshot", "notification-mode": "auto",
        "performance": { "max-workers": 16, "pbs-entries-max": 1_048_576 }, "pigz": 0, "prune-backups": "keep-all=1", "quiet": 0,
        "remove": 1, "stdexcludes": 1, "stop": 0, "stopwait": 10, "storage": "local", "zstd": 1,
    })
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

/// `/cluster/ha/resources`: the guests that high availability manages.
pub(crate) fn ha_resources(engine: &Engine, call: &Call, verb: &str) -> Outcome<Value> {
    let mut state = engine.state();
    let row = |vmid: u32, guest: &Guest| {
        let kind = guest.kind.name().to_lowercase();
        json!({ "digest": "0".repeat(40), "sid": format!("{kind}:{vmid}"), "type": kind })
    };
    if verb == "list" {
        let managed = state.guests.iter().filter(|(_, guest)| guest.managed_by_ha);
        return Ok(json!(managed.map(|(vmid, guest)| row(*vmid, guest)).collect::<Vec<_>>()));
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
    if verb == "get" {
        return Ok(row(vmid, guest));
    }
    guest.managed_by_ha = verb == "add";
    Ok(Value::Null)
}

pub(crate) fn not_implemented(method: &str, path: &str) -> Refusal {
    Refusal::new(501, format!("Method '{method} {path}' not implemented"), Body::BareMessage)
}
