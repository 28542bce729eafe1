//! `POST /nodes/{node}/qemu/{vmid}/clone`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::checks::Applicant;
use super::clone_disks::{self, DiskPlan};
use crate::engine::locks::Mode;
use crate::engine::{Call, Engine, Worker};
use crate::refusal::{Outcome, Refusal};
use crate::storage::disks;
use crate::storage::messages;
use crate::world::drives;
use crate::world::guest::{Guest, Kind};
use crate::world::layout::Feature;

/// A clone that has been checked.
#[derive(Debug, Clone)]
struct Plan {
    source: u32,
    disks: DiskPlan,
    target_node: String,
    name: Option<String>,
    description: Option<String>,
    pool: Option<String>,
}

pub(crate) fn clone(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let number = |name: &str| call.params.number(name).and_then(|n| u32::try_from(n).ok());
    let (source, target) = (call.vmid(), number("newid").unwrap_or(0));
    if engine.guest(Kind::Qemu, source, &call.node).is_err() {
        return Err(Refusal::fault(format!(
            "unable to find configuration file for VM {source} on node '{}'",
            call.node
        )));
    }
    super::create::allocation(engine, &call.caller, target, call.text("pool"))?;
    let elsewhere = call.text("target").filter(|node| *node != call.node && *node != "localhost").map(str::to_owned);
    if let Some(node) = &elsewhere {
        engine.state().node_exists(node)?;
    }
    if let Some(storage) = call.text("storage") {
        target_storage(engine, &call.node, storage, elsewhere.as_deref())?;
    }
    engine.state().quorum()?;
    let guest = engine.guest(Kind::Qemu, source, &call.node)?;
    if let Some(lock) = guest.get("lock") {
        return Err(Refusal::fault(format!("VM is locked ({lock})")));
    }
    let snapshot = call.text("snapname").map(str::to_owned);
    let mut guest = guest;
    let is_template = guest.is_template();
    if let Some(name) = &snapshot {
        guest.config = guest.snapshot(name)?.config.clone();
    }
    let full = call.text("full").map_or(!is_template, |full| full == "1");
    for name in ["storage", "format"] {
        if call.params.has(name) && !full {
            return Err(Refusal::fault(format!("parameter '{name}' not allowed for linked clones")));
        }
    }
    let shared = storage_access(engine, &call.caller, &guest, call.text("storage"))?;
    let applicant = Applicant { engine, caller: &call.caller, vmid: target, pool: None };
    applicant.bridges(guest.config.iter().filter(|(key, _)| drives::is_net(key)).map(|(_, value)| value.as_str()))?;
    if let Some(node) = elsewhere.as_ref().filter(|_| !shared) {
        return Err(Refusal::fault(format!("can't clone VM to node '{node}' (VM uses local storage)")));
    }
    exists_already(engine, &call.node, target)?;
    copyable(engine, &guest, full, snapshot.is_some())?;
    let disks = DiskPlan {
        target,
        node: call.node.clone(),
        snapshot,
        storage: call.text("storage").map(str::to_owned),
        format: call.text("format").map(str::to_owned),
        full,
        limit: call.params.number("bwlimit").and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0),
    };
    let plan = Plan {
        source,
        disks,
        target_node: elsewhere.unwrap_or_else(|| call.node.clone()),
        name: call.text("name").map(str::to_owned),
        description: call.text("description").map(str::to_owned),
        pool: call.text("pool").map(str::to_owned),
    };
    let upid =
        engine.spawn(call, "qmclone", &source.to_string(), move |worker| async move { work(&worker, &plan).await });
    Ok(json!(upid))
}

/// Checks that the requested storage takes images, and that the other node has it if the clone goes there.
fn target_storage(engine: &Engine, node: &str, storage: &str, elsewhere: Option<&str>) -> Outcome<()> {
    let state = engine.state();
    let found = state.usable(node, storage).map_err(Refusal::fault)?;
    if !found.holds("images") {
        return Err(Refusal::parameter("storage", format!("storage '{storage}' does not support vm images")));
    }
    if let Some(elsewhere) = elsewhere {
        state.usable(elsewhere, storage).map_err(Refusal::fault)?;
        if !found.shared {
            return Err(Refusal::fault(format!("can't clone to non-shared storage '{storage}'")));
        }
    }
    Ok(())
}

/// Checks the privilege for space on the requested storage or the storages of the VM's disks. Returns true if all
/// volumes, including CD-ROM images, are on shared storages.
fn storage_access(engine: &Engine, caller: &str, guest: &Guest, wanted: Option<&str>) -> Outcome<bool> {
    let mut shared = true;
    for (_, value) in guest.config.iter().filter(|(key, _)| drives::is_drive(key)) {
        let file = drives::file(value);
        let state = engine.state();
        let Some((storage, _)) = file.split_once(':') else {
            if file == "cdrom" {
                state.require(caller, "/", &["Sys.Console"])?;
            }
            continue;
        };
        let Some(found) = state.storages.get(storage) else {
            return Err(Refusal::fault(format!("storage '{storage}' does not exist")));
        };
        shared = shared && found.shared;
        if !drives::is_cdrom(value) {
            let storage = wanted.unwrap_or(storage);
            state.require(caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
        }
    }
    Ok(shared)
}

/// Refuses a VMID of a VM on the same node. Other guests with the VMID are found later, in the task.
fn exists_already(engine: &Engine, node: &str, target: u32) -> Outcome<()> {
    match engine.state().guests.get(&target) {
        Some(guest) if guest.kind == Kind::Qemu && guest.node == node => {
            Err(Refusal::fault(format!("unable to create VM {target}: config file already exists")))
        }
        _ => Ok(()),
    }
}

/// Checks that every disk can be cloned in the requested way.
fn copyable(engine: &Engine, guest: &Guest, full: bool, snapshot: bool) -> Outcome<()> {
    let state = engine.state();
    let disk = |value: &str| drives::is_cloudinit(value) || !drives::is_cdrom(value);
    for (key, value) in guest.config.iter().filter(|(key, value)| drives::is_drive(key) && disk(value)) {
        let volid = drives::file(value);
        let (feature, word) = if full || drives::is_cloudinit(value) || key == "tpmstate0" {
            (Feature::Copy, "Full")
        } else {
            (Feature::Clone, "Linked")
        };
        if !state.can(feature, &volid, snapshot) {
            let of = if snapshot { " a snapshot of" } else { "" };
            return Err(Refusal::fault(format!("{word} clone feature is not supported for{of} '{volid}' ({key})")));
        }
    }
    Ok(())
}

async fn work(worker: &Worker, plan: &Plan) -> Result<(), String> {
    let engine = &worker.engine;
    let target = plan.disks.target;
    let running = engine.with_guest(plan.source, |guest| guest.run.is_some()) == Some(true);
    let mode = if running { Mode::Exclusive } else { Mode::Shared };
    let _source_lock = worker.lock(Kind::Qemu, plan.source, mode, 1).await?;
    let _target_lock = worker.lock(Kind::Qemu, target, Mode::Exclusive, 1).await?;
    exists_already(engine, &plan.disks.node, target).map_err(Refusal::into_text)?;
    worker.log(format!("creating a clone of VM {} with ID {target}", plan.source));
    let mut source = engine.guest(Kind::Qemu, plan.source, &plan.disks.node).map_err(Refusal::into_text)?;
    if let Some(name) = &plan.disks.snapshot {
        source.config = source.snapshot(name).map_err(Refusal::into_text)?.config.clone();
    }
    if !occupy(engine, plan) {
        return Err(format!(
            "close (rename) atomic file '/etc/pve/nodes/{}/qemu-server/{target}.conf' failed: File exists",
            plan.disks.node
        ));
    }
    disks::remove_if_stopped(worker, target);
    let drives = match clone_disks::copy_drives(worker, &plan.disks, &source).await {
        Ok(drives) => drives,
        Err(text) => {
            disks::remove_guest(engine, target, disks::VolumeScope::Numbered, &messages::quiet).await;
            return Err(format!("clone failed: {text}"));
        }
    };
    worker.middle().await;
    worker.keep();
    finish(engine, plan, &source, drives);
    Ok(())
}

/// Takes the VMID for the clone. Until the task ends, the clone is on its source's node, even if another node is its
/// target.
fn occupy(engine: &Engine, plan: &Plan) -> bool {
    let mut state = engine.state();
    if state.guests.contains_key(&plan.disks.target) {
        return false;
    }
    let mut guest = Guest::new(Kind::Qemu, &plan.disks.node);
    guest.config.insert("description".into(), " qmclone temporary file".into());
    guest.set("lock", "clone");
    state.guests.insert(plan.disks.target, guest);
    drop(state);
    let name = plan.name.as_deref().unwrap_or("-");
    engine.timeline.note(engine.clock.now(), "cloned", &format!("{} {} {name}", plan.disks.target, plan.source));
    true
}

fn finish(engine: &Engine, plan: &Plan, source: &Guest, drives: BTreeMap<String, String>) {
    let mut state = engine.state();
    let (smbios, generation) = (state.uuid(), state.uuid());
    let macs: BTreeMap<String, String> =
        source.config.keys().filter(|key| drives::is_net(key)).map(|key| (key.clone(), state.mac())).collect();
    if let Some(pool) = plan.pool.as_ref().and_then(|pool| state.pools.get_mut(pool)) {
        pool.guests.insert(plan.disks.target);
    }
    let Some(guest) = state.guests.get_mut(&plan.disks.target) else { return };
    guest.config.clear();
    guest.node.clone_from(&plan.target_node);
    for (key, value) in &source.config {
        if matches!(key.as_str(), "template" | "lock" | "parent" | "protection" | "vmstate") || drives::is_unused(key) {
            continue;
        }
        let value = match key.as_str() {
            "smbios1" => with_uuid(value, &smbios),
            "vmgenid" => generation.clone(),
            key if drives::is_net(key) => with_mac(value, macs.get(key).map_or("", String::as_str)),
            key if drives::is_drive(key) => drives.get(key).cloned().unwrap_or_default(),
            _ => value.clone(),
        };
        guest.set(key, &value);
    }
    let fallback = format!("Copy-of-VM-{}", source.get("name").map_or_else(|| plan.source.to_string(), str::to_owned));
    guest.set("name", plan.name.as_deref().unwrap_or(&fallback));
    if let Some(text) = &plan.description {
        guest.set("description", text);
    }
}

fn with_uuid(value: &str, uuid: &str) -> String {
    let kept: Vec<&str> = value.split(',').filter(|part| !part.starts_with("uuid=")).collect();
    let mut parts = vec![format!("uuid={uuid}")];
    parts.extend(kept.into_iter().map(str::to_owned));
    parts.sort_by_key(|part| !part.starts_with("uuid="));
    parts.join(",")
}

fn with_mac(value: &str, mac: &str) -> String {
    match value.split_once('=') {
        Some((model, rest)) => match rest.split_once(',') {
            Some((_, others)) => format!("{model}={mac},{others}"),
            None => format!("{model}={mac}"),
        },
        None => value.to_owned(),
    }
}
