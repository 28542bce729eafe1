//! Snapshots of guests: taking, listing, rolling back, deleting; and the features of a guest's volumes.
//!
//! Source: `snapshot_*` of pve-guest-common, `PVE::API2::Qemu`, `PVE::API2::LXC::Snapshot`. The backend keeps the data
//! of a snapshot as a copy named `<volume>@<snapshot>`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::config;
use crate::engine::locks::Mode;
use crate::engine::{Call, Engine, Worker};
use crate::lxc;
use crate::qemu;
use crate::refusal::{Outcome, Refusal};
use crate::storage::disks;
use crate::world::drives;
use crate::world::guest::{Guest, Kind};
use crate::world::layout::{Feature, Layout};
use crate::world::snapshot::{Snapshot, snapshot_volume_name};
use crate::world::volumes::storage_of;

pub(crate) fn list(engine: &Engine, kind: Kind, call: &Call) -> Outcome<Value> {
    let guest = engine.guest(kind, call.vmid(), &call.node)?;
    let mut rows: Vec<Value> = Vec::new();
    for (name, snapshot) in &guest.snapshots {
        let mut row = json!({ "name": name, "snaptime": snapshot.time, "description": snapshot.description.as_deref().unwrap_or("") });
        if kind == Kind::Qemu {
            row["vmstate"] = json!(0);
        }
        if let Some(parent) = &snapshot.parent {
            row["parent"] = json!(parent);
        }
        rows.push(row);
    }
    let mut current = json!({ "name": "current", "description": "You are here!", "digest": guest.digest(),
                              "running": u8::from(guest.run.is_some()) });
    if let Some(parent) = guest.get("parent") {
        current["parent"] = json!(parent);
    }
    rows.push(current);
    Ok(json!(rows))
}

pub(crate) fn read(engine: &Engine, kind: Kind, call: &Call) -> Outcome<Value> {
    let guest = engine.guest(kind, call.vmid(), &call.node)?;
    let snapshot = guest.snapshot(call.text("snapname").unwrap_or_default())?;
    let typed = |(key, value): (&String, &String)| (key.clone(), config::typed(engine, kind, key, value));
    let mut out: Map<String, Value> = snapshot.config.iter().map(typed).collect();
    out.insert("snaptime".into(), json!(snapshot.time));
    for (key, value) in [("parent", &snapshot.parent), ("description", &snapshot.description)] {
        if let Some(value) = value {
            out.insert(key.into(), json!(value));
        }
    }
    Ok(Value::Object(out))
}

pub(crate) async fn describe(engine: &Arc<Engine>, kind: Kind, call: &Call) -> Outcome<Value> {
    let Some(text) = call.text("description") else { return Ok(Value::Null) };
    let _guard = engine.lock_now(kind, call.vmid()).await?;
    let guest = engine.guest(kind, call.vmid(), &call.node)?;
    guest.unlocked()?;
    let name = call.text("snapname").unwrap_or_default();
    guest.snapshot(name)?;
    engine.with_guest(call.vmid(), |guest| {
        if let Some(snapshot) = guest.snapshots.get_mut(name) {
            snapshot.description = Some(text.to_owned());
        }
    });
    Ok(Value::Null)
}

/// Returns the task type of an operation on snapshots.
fn task(kind: Kind, verb: &str) -> String {
    format!("{}{verb}", if kind == Kind::Qemu { "qm" } else { "vz" })
}

pub(crate) fn take(engine: &Arc<Engine>, kind: Kind, call: &Call) -> Outcome<Value> {
    let (vmid, node) = (call.vmid(), call.node.clone());
    let name = call.text("snapname").unwrap_or_default().to_owned();
    let reserved = match kind {
        Kind::Qemu => name == "current" || name.eq_ignore_ascii_case("pending"),
        Kind::Lxc => name == "current" || name == "vzdump",
    };
    if reserved {
        return Err(Refusal::fault(format!("unable to use snapshot name '{name}' (reserved name)")));
    }
    let guest = engine.guest(kind, vmid, &node);
    if kind == Kind::Qemu && guest?.run.is_some() && call.params.flag("vmstate") {
        return Err(Refusal::fault("not simulated: snapshots with memory"));
    }
    let description = call.text("description").filter(|text| !text.is_empty()).map(str::to_owned);
    let upid = engine.spawn(call, &task(kind, "snapshot"), &vmid.to_string(), move |worker| async move {
        let engine = &worker.engine;
        let _guard = worker.lock(kind, vmid, Mode::Exclusive, 10).await?;
        let guest = engine.guest(kind, vmid, &node).map_err(Refusal::into_text)?;
        if guest.is_template() {
            return Err("you can't take a snapshot if it's a template".to_owned());
        }
        guest.unlocked().map_err(Refusal::into_text)?;
        if guest.snapshots.contains_key(&name) {
            return Err(format!("snapshot name '{name}' already used"));
        }
        let volumes = Guest::disks(&guest.config);
        if !volumes.iter().all(|volid| snapshots_of(engine, volid)) {
            return Err("snapshot feature is not available".to_owned());
        }
        engine.config_is_writable(kind, vmid, &node)?;
        for volid in &volumes {
            copy(engine, volid, &snapshot_volume_name(volid, &name)).await?;
            log_lvm_lines(&worker, volid, &name, "created");
        }
        let time = engine.clock.seconds();
        engine.with_guest(vmid, |guest| {
            let config = remembered(&guest.config);
            let parent = guest.config.insert("parent".to_owned(), name.clone());
            guest.snapshots.insert(name.clone(), Snapshot { config, parent, time, description });
        });
        Ok(())
    });
    Ok(json!(upid))
}

/// Returns true if the storage of a volume can take snapshots of it.
fn snapshots_of(engine: &Engine, volid: &str) -> bool {
    let state = engine.state();
    let Ok(named) = state.named(volid) else { return false };
    match state.layout(storage_of(volid)) {
        Layout::Files | Layout::Lvm => named.format == "qcow2" && !named.is_base,
        Layout::LvmThin | Layout::Zfs | Layout::Rbd => !named.is_base,
    }
}

async fn copy(engine: &Engine, from: &str, to: &str) -> Result<(), String> {
    engine.backend.disk_clone(from, to, false).await.map_err(|error| error.to_string())
}

/// Logs the lines that LVM prints for each volume. Other storage types print nothing.
fn log_lvm_lines(worker: &Worker, volid: &str, snapshot: &str, what: &str) {
    if worker.engine.state().layout(storage_of(volid)) != Layout::LvmThin {
        return;
    }
    let own = volid.rsplit(['/', ':']).next().unwrap_or_default();
    worker.log(format!("  Logical volume \"snap_{own}_{snapshot}\" {what}."));
}

/// Returns the part of a configuration that a snapshot stores.
fn remembered(config: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let left_out = |key: &str| matches!(key, "lock" | "description" | "parent") || drives::is_unused(key);
    config.iter().filter(|(key, _)| !left_out(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(crate) fn roll_back(engine: &Arc<Engine>, kind: Kind, call: &Call) -> Outcome<Value> {
    let (vmid, node) = (call.vmid(), call.node.clone());
    let name = call.text("snapname").unwrap_or_default().to_owned();
    let start = call.params.flag("start");
    if start && kind == Kind::Qemu {
        engine.state().require(&call.caller, &format!("/vms/{vmid}"), &["VM.PowerMgmt"])?;
    }
    let starter = call.clone();
    let upid = engine.spawn(call, &task(kind, "rollback"), &vmid.to_string(), move |worker| async move {
        let engine = &worker.engine;
        let guard = worker.lock(kind, vmid, Mode::Exclusive, 10).await?;
        let guest = engine.guest(kind, vmid, &node).map_err(Refusal::into_text)?;
        if guest.is_template() {
            return Err("you can't rollback if vm is a template".to_owned());
        }
        let snapshot = guest.snapshot(&name).map_err(Refusal::into_text)?.clone();
        let volumes = Guest::disks(&snapshot.config);
        for volid in &volumes {
            newest(engine, &guest, &snapshot, volid, &name)?;
        }
        guest.unlocked().map_err(Refusal::into_text)?;
        match kind {
            Kind::Qemu => qemu::power::cut_power(engine, vmid).await,
            Kind::Lxc if guest.run.is_some() => lxc::power::stop_now(engine, vmid).await,
            Kind::Lxc => {}
        }
        for volid in &volumes {
            copy(engine, &snapshot_volume_name(volid, &name), volid).await?;
        }
        engine.with_guest(vmid, |guest| {
            let before = std::mem::replace(&mut guest.config, snapshot.config.clone());
            guest.pending.clear();
            for (key, value) in before.iter().filter(|(key, _)| drives::is_unused(key) || *key == "description") {
                guest.config.insert(key.clone(), value.clone());
            }
            for volid in Guest::disks(&before).iter().filter(|volid| !volumes.contains(volid)) {
                disks::keep_unused(guest, volid);
            }
            guest.config.insert("parent".to_owned(), name.clone());
        });
        drop(guard);
        if start {
            let started = match kind {
                Kind::Qemu => qemu::power::start(engine, &starter),
                Kind::Lxc => lxc::power::power(engine, &starter, "start"),
            };
            started.map_err(Refusal::into_text)?;
        }
        Ok(())
    });
    Ok(json!(upid))
}

/// Checks that the snapshot is the newest one, because ZFS rolls back to the newest snapshot only.
fn newest(engine: &Engine, guest: &Guest, snapshot: &Snapshot, volid: &str, name: &str) -> Result<(), String> {
    let later = |(other, found): (&String, &Snapshot)| {
        other != name && found.time >= snapshot.time && found.parent.is_some() && descends(guest, other, name)
    };
    let zfs = engine.state().layout(storage_of(volid)) == Layout::Zfs;
    if zfs && guest.snapshots.iter().any(later) {
        return Err(format!("can't rollback, '{name}' is not most recent snapshot on '{volid}'"));
    }
    Ok(())
}

/// Returns true if snapshot `from` was taken after snapshot `of` in the same line.
fn descends(guest: &Guest, from: &str, of: &str) -> bool {
    let mut at = Some(from.to_owned());
    for _ in 0..guest.snapshots.len() {
        at = at.and_then(|name| guest.snapshots.get(&name)?.parent.clone());
        if at.as_deref() == Some(of) {
            return true;
        }
    }
    false
}

pub(crate) fn delete(engine: &Arc<Engine>, kind: Kind, call: &Call) -> Outcome<Value> {
    let (vmid, node) = (call.vmid(), call.node.clone());
    let name = call.text("snapname").unwrap_or_default().to_owned();
    let upid = engine.spawn(call, &task(kind, "delsnapshot"), &vmid.to_string(), move |worker| async move {
        let engine = &worker.engine;
        let _guard = worker.lock(kind, vmid, Mode::Exclusive, 10).await?;
        let guest = engine.guest(kind, vmid, &node).map_err(Refusal::into_text)?;
        let snapshot = guest.snapshot(&name).map_err(Refusal::into_text)?.clone();
        guest.unlocked().map_err(Refusal::into_text)?;
        if guest.is_template() {
            return Err("you can't delete a snapshot if vm is a template".to_owned());
        }
        engine.config_is_writable(kind, vmid, &node)?;
        for volid in &Guest::disks(&snapshot.config) {
            engine.backend.disk_delete(&snapshot_volume_name(volid, &name)).await.map_err(|error| error.to_string())?;
            log_lvm_lines(&worker, volid, &name, "successfully removed");
        }
        engine.with_guest(vmid, |guest| {
            guest.snapshots.remove(&name);
            let heir = |parent: &Option<String>| {
                if parent.as_deref() == Some(&name) { snapshot.parent.clone() } else { parent.clone() }
            };
            for other in guest.snapshots.values_mut() {
                other.parent = heir(&other.parent);
            }
            match heir(&guest.config.remove("parent")) {
                Some(parent) => guest.config.insert("parent".to_owned(), parent),
                None => None,
            };
        });
        Ok(())
    });
    Ok(json!(upid))
}

/// `GET …/feature`: returns true if all volumes have a feature, and the nodes on which the guest could be.
pub(crate) fn feature(engine: &Engine, kind: Kind, call: &Call) -> Outcome<Value> {
    let guest = engine.guest(kind, call.vmid(), &call.node)?;
    let name = call.text("snapname").filter(|name| !name.is_empty());
    let config = match name {
        Some(name) => &guest.snapshot(name)?.config,
        None => &guest.config,
    };
    let volumes = Guest::disks(config);
    let has = match call.text("feature").unwrap_or_default() {
        "snapshot" => volumes.iter().all(|volid| snapshots_of(engine, volid)),
        wanted => {
            let feature = if wanted == "clone" { Feature::Clone } else { Feature::Copy };
            volumes.iter().all(|volid| engine.state().can(feature, volid, name.is_some()))
        }
    };
    if kind == Kind::Lxc {
        return Ok(json!({ "hasFeature": u8::from(has) }));
    }
    let state = engine.state();
    let reaches = |node: &str| {
        volumes.iter().all(|volid| {
            let storage = storage_of(volid);
            state.usable(node, storage).is_ok_and(|found| found.shared || node == call.node)
        })
    };
    let nodes: Vec<&String> = state.nodes.keys().filter(|node| reaches(node)).collect();
    Ok(json!({ "hasFeature": u8::from(has), "nodes": nodes }))
}
