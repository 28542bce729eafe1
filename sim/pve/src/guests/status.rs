//! A guest's figures in lists and in `status/current`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::world::guest::{Guest, Kind};
use crate::world::layout::Layout;
use crate::world::state::State;
use crate::world::volumes::storage_of;
use crate::world::{drives, ext4};

/// Returns the configured memory in bytes.
pub(crate) fn memory(guest: &Guest) -> u64 {
    let text = guest.get("memory").unwrap_or("512");
    let number = text.trim_start_matches("current=").split(',').next().unwrap_or("512");
    number.parse::<u64>().unwrap_or(512) << 20
}

pub(crate) fn cores(guest: &Guest, node_cores: u32) -> u64 {
    let number = |key: &str| guest.get(key).and_then(|v| v.parse::<u64>().ok());
    match guest.kind {
        Kind::Qemu => number("sockets").unwrap_or(1) * number("cores").unwrap_or(1),
        Kind::Lxc => number("cores").unwrap_or(u64::from(node_cores)),
    }
}

/// Returns the size of the boot disk in bytes. For a running container this is the size of the file system on it.
fn boot_disk_size(state: &State, guest: &Guest) -> u64 {
    if guest.kind == Kind::Lxc {
        let rootfs = guest.get("rootfs").unwrap_or_default();
        let size = drives::size_of(rootfs).unwrap_or(0);
        let volid = drives::file(rootfs);
        // On other storages a container has a device with a file system; on ZFS it has a dataset of its own.
        let is_mounted = guest.run.is_some() && state.layout(storage_of(&volid)) != Layout::Zfs;
        return if is_mounted { ext4::capacity(size) } else { size };
    }
    let order = drives::boot_order(guest.get("boot"));
    let disk = order
        .iter()
        .find(|name| drives::is_drive(name) && guest.get(name).is_some_and(|value| !drives::is_cdrom(value)));
    disk.and_then(|name| guest.get(name)).and_then(drives::size_of).unwrap_or(0)
}

pub(crate) fn name(guest: &Guest, vmid: u32) -> String {
    match guest.kind {
        Kind::Qemu => guest.get("name").map_or_else(|| format!("VM {vmid}"), str::to_owned),
        Kind::Lxc => guest.get("hostname").map_or_else(|| format!("CT{vmid}"), str::to_owned),
    }
}

/// Returns the row of `/cluster/resources` without the fields that are read fresh (lock, pool, tags of new guests).
pub(crate) fn list_row(state: &State, vmid: u32, now: Duration) -> Option<Map<String, Value>> {
    let guest = state.guests.get(&vmid)?;
    let node_cores = state.nodes.get(&guest.node).map_or(1, |n| n.cores);
    let mut row = numbers(state, guest, vmid, node_cores, now);
    let max = row.remove("cpus").unwrap_or(json!(1));
    row.insert("maxcpu".into(), max);
    row.insert("diskread".into(), json!(0));
    row.insert("diskwrite".into(), json!(0));
    row.insert("template".into(), json!(u8::from(guest.is_template())));
    row.insert("id".into(), json!(format!("{}/{vmid}", guest.kind.word())));
    row.insert("node".into(), json!(guest.node));
    row.insert("type".into(), json!(guest.kind.word()));
    Some(row)
}

fn numbers(state: &State, guest: &Guest, vmid: u32, node_cores: u32, now: Duration) -> Map<String, Value> {
    let mut row = Map::new();
    let running = guest.run.as_ref();
    for key in ["cpu", "disk", "mem", "memhost", "netin", "netout"] {
        row.insert(key.into(), json!(0));
    }
    let uptime = running.map_or(0, |run| now.saturating_sub(run.since).as_secs());
    row.insert("uptime".into(), json!(uptime));
    row.insert("cpus".into(), json!(running.map_or_else(|| cores(guest, node_cores), |run| run.cores)));
    row.insert("maxmem".into(), json!(running.map_or_else(|| memory(guest), |run| run.memory)));
    row.insert("maxdisk".into(), json!(boot_disk_size(state, guest)));
    row.insert("name".into(), json!(name(guest, vmid)));
    row.insert("vmid".into(), json!(vmid));
    row.insert("status".into(), json!(if running.is_some() { "running" } else { "stopped" }));
    for key in ["tags", "lock"] {
        if let Some(value) = guest.get(key) {
            row.insert(key.into(), json!(value));
        }
    }
    row
}

/// Returns the row of `GET /nodes/{node}/qemu` or `/lxc`.
pub(crate) fn node_row(state: &State, vmid: u32, now: Duration, full: bool) -> Map<String, Value> {
    let Some(guest) = state.guests.get(&vmid) else { return Map::new() };
    let node_cores = state.nodes.get(&guest.node).map_or(1, |n| n.cores);
    let mut row = numbers(state, guest, vmid, node_cores, now);
    match guest.kind {
        Kind::Qemu => qemu_extras(guest, full, &mut row),
        Kind::Lxc => lxc_extras(guest, vmid, &mut row),
    }
    row
}

fn qemu_extras(guest: &Guest, full: bool, row: &mut Map<String, Value>) {
    if guest.is_template() {
        row.insert("template".into(), json!(1));
    }
    if guest.config.keys().any(|key| key.starts_with("serial")) {
        row.insert("serial".into(), json!(1));
    }
    let paused = guest.run.as_ref().is_some_and(|run| run.paused);
    if full {
        let word = match (&guest.run, paused) {
            (None, _) => "stopped",
            (_, true) => "paused",
            _ => "running",
        };
        row.insert("qmpstatus".into(), json!(word));
    }
    if let Some(run) = &guest.run {
        row.insert("pid".into(), json!(run.pid));
        pressures(row, &|| json!(0));
    }
}

fn pressures(row: &mut Map<String, Value>, zero: &dyn Fn() -> Value) {
    for what in ["cpu", "io", "memory"] {
        for how in ["some", "full"] {
            row.insert(format!("pressure{what}{how}"), zero());
        }
    }
}

fn lxc_extras(guest: &Guest, vmid: u32, row: &mut Map<String, Value>) {
    row.remove("memhost");
    row.insert("vmid".into(), json!(vmid));
    row.insert("type".into(), json!("lxc"));
    row.insert("diskread".into(), json!(0));
    row.insert("diskwrite".into(), json!(0));
    row.insert("swap".into(), json!(0));
    let swap = guest.get("swap").and_then(|v| v.parse::<u64>().ok()).unwrap_or(0) << 20;
    row.insert("maxswap".into(), json!(swap));
    if guest.is_template() {
        row.insert("template".into(), json!(1));
    }
    if let Some(run) = &guest.run {
        row.insert("pid".into(), json!(run.pid));
        pressures(row, &|| json!("0.00"));
    }
}

/// `GET …/status/current`.
pub(crate) fn current(state: &State, vmid: u32, now: Duration) -> Value {
    let mut row = node_row(state, vmid, now, true);
    let Some(guest) = state.guests.get(&vmid) else { return Value::Null };
    let ha = if guest.managed_by_ha { json!({ "managed": 1, "state": null }) } else { json!({ "managed": 0 }) };
    row.insert("ha".into(), ha);
    if guest.kind == Kind::Lxc {
        return Value::Object(row);
    }
    if drives::agent_enabled(guest.get("agent")) {
        row.insert("agent".into(), json!(1));
    }
    if guest.get("vga").is_some() {
        row.insert("clipboard".into(), Value::Null);
    }
    let cards: Vec<&String> = guest.config.keys().filter(|key| drives::is_net(key)).collect();
    if guest.run.is_some() && !cards.is_empty() {
        let mut nics = Map::new();
        for card in cards {
            nics.insert(format!("tap{vmid}i{}", card.trim_start_matches("net")), json!({ "netin": 0, "netout": 0 }));
        }
        row.insert("nics".into(), Value::Object(nics));
    }
    Value::Object(row)
}
