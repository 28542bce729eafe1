//! `POST /nodes/{node}/lxc/{vmid}/clone`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::create::unused;
use super::volumes::root_volume;
use crate::engine::Worker;
use crate::engine::{Call, Engine};
use crate::qemu;
use crate::qemu::checks::Applicant;
use crate::refusal::{Outcome, Refusal};
use crate::storage::allocation;
use crate::storage::disks;
use crate::storage::messages;
use crate::world::drives;
use crate::world::guest::{Guest, Kind};
use crate::world::layout::{Feature, Layout};
use crate::world::volumes::storage_of;

pub(crate) async fn clone(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let vmid = call.vmid();
    let target = call.params.number("newid").and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    qemu::create::allocation(engine, &call.caller, target, call.text("pool"))?;
    let elsewhere = target_exists(engine, call)?;
    engine.state().quorum()?;
    let guard = engine.lock_now(Kind::Lxc, vmid).await?;
    let guest = engine.guest(Kind::Lxc, vmid, &call.node)?;
    if let Some(lock) = guest.get("lock") {
        return Err(Refusal::fault(format!("CT is locked ({lock})")));
    }
    let full = call.text("full").map_or(!guest.is_template(), |full| full == "1");
    unused(engine, target)?;
    if call.params.has("storage") && !full {
        return Err(Refusal::fault("parameter 'storage' not allowed for linked clones"));
    }
    if let Some(name) = call.text("snapname") {
        guest.snapshot(name)?;
        return Err(Refusal::fault("not simulated: clones of a container's snapshot"));
    }
    clonable(engine, call, &guest, full, elsewhere.as_deref())?;
    qemu::create::reserve(engine, Kind::Lxc, target, &call.node).map_err(Refusal::fault)?;
    let (hostname, description) =
        (call.text("hostname").map(str::to_owned), call.text("description").map(str::to_owned));
    let (pool, storage) = (call.text("pool").map(str::to_owned), call.text("storage").map(str::to_owned));
    let upid = engine.spawn(call, "vzclone", &vmid.to_string(), move |worker| async move {
        let _guard = guard;
        let engine = worker.engine.clone();
        disks::remove_if_stopped(&worker, target);
        worker.log(format!("creating a clone of container {vmid} with ID {target}"));
        let mut copy = guest.clone();
        for (key, value) in mounts_in_order(&guest) {
            match copy_one(&worker, &guest.node, target, (key, value), full, storage.as_deref()).await {
                Ok(new) => copy.set(key, &new),
                Err(text) => {
                    disks::remove_guest(&engine, target, disks::VolumeScope::Numbered, &messages::quiet).await;
                    return Err(format!("clone failed: {text}"));
                }
            }
        }
        worker.middle().await;
        worker.keep();
        copy.node = elsewhere.unwrap_or(copy.node);
        finish(&engine, target, copy, hostname, description, pool);
        Ok(())
    });
    Ok(json!(upid))
}

/// Returns the mount points of a container, the root file system first.
fn mounts_in_order(guest: &Guest) -> Vec<(&String, &String)> {
    let mut mounts: Vec<(&String, &String)> = guest.config.iter().filter(|(key, _)| drives::is_mount(key)).collect();
    mounts.sort_by_key(|(key, _)| (key.as_str() != "rootfs", key.len(), (*key).clone()));
    mounts
}

/// Copies or links the volume of one mount point and returns the clone's value for it.
async fn copy_one(
    worker: &Worker,
    node: &str,
    target: u32,
    (key, value): (&str, &str),
    full: bool,
    storage: Option<&str>,
) -> Result<String, String> {
    let volid = drives::file(value);
    if full {
        worker.log(format!("create full clone of mountpoint {key} ({volid})"));
        return copy_mount(worker, node, target, value, storage).await;
    }
    worker.log(format!("create linked clone of mount point {key} ({volid})"));
    let linked = allocation::link(&worker.engine, node, &volid, target, None, &|line| worker.log(line)).await;
    linked.map(|made| value.replacen(&volid, &made, 1))
}

/// Checks the node and the storage that the clone goes to. Returns the node if it is not the source's.
fn target_exists(engine: &Engine, call: &Call) -> Outcome<Option<String>> {
    let elsewhere = call.text("target").filter(|node| *node != call.node && *node != "localhost").map(str::to_owned);
    let state = engine.state();
    if let Some(node) = &elsewhere {
        state.node_exists(node)?;
    }
    let Some(storage) = call.text("storage") else { return Ok(elsewhere) };
    let found = state.usable(&call.node, storage).map_err(Refusal::fault)?;
    if let Some(node) = &elsewhere {
        state.usable(node, storage).map_err(Refusal::fault)?;
        if !found.shared {
            return Err(Refusal::fault(format!("can't clone to non-shared storage '{storage}'")));
        }
    }
    Ok(elsewhere)
}

/// Checks each option: its volume can be copied and the caller may use the target storage, or its card's bridge may be
/// used.
fn clonable(engine: &Engine, call: &Call, guest: &Guest, full: bool, elsewhere: Option<&str>) -> Outcome<()> {
    let mut shared = true;
    for (key, value) in &guest.config {
        if drives::is_net(key) {
            let applicant = Applicant { engine, caller: &call.caller, vmid: call.vmid(), pool: None };
            applicant.bridges(std::iter::once(value.as_str()))?;
        }
        if !drives::is_mount(key) {
            continue;
        }
        let volume = drives::file(value);
        let Some((own, _)) = volume.split_once(':') else {
            let kind = if volume.starts_with("/dev/") { "device" } else { "bind" };
            return Err(Refusal::fault(format!("unable to clone mountpoint '{key}' (type {kind})")));
        };
        let storage = call.text("storage").unwrap_or(own);
        {
            let state = engine.state();
            let Some(found) = state.storages.get(storage) else {
                return Err(Refusal::fault(format!("storage '{storage}' does not exist")));
            };
            shared = shared && found.shared;
            state.require(&call.caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
        }
        if full && guest.run.is_some() {
            return Err(Refusal::fault("Full clone of a running container is only possible from a snapshot"));
        }
        if !full && !linkable(engine, &volume) {
            return Err(Refusal::fault(format!("Linked clone feature for '{volume}' is not available")));
        }
    }
    match elsewhere {
        Some(node) if !shared => {
            Err(Refusal::fault(format!("can't clone CT to node '{node}' (CT uses local storage)")))
        }
        _ => Ok(()),
    }
}

/// Returns true if a container's volume can be cloned as a linked clone. A directory would make a qcow2 image, which a
/// container cannot use.
fn linkable(engine: &Engine, volid: &str) -> bool {
    let state = engine.state();
    state.layout(storage_of(volid)) != Layout::Files && state.can(Feature::Clone, volid, false)
}

async fn copy_mount(
    worker: &Worker,
    node: &str,
    target: u32,
    value: &str,
    storage: Option<&str>,
) -> Result<String, String> {
    let engine = &worker.engine;
    let print = |line: String| worker.log(line);
    let from = drives::file(value);
    let storage = storage.unwrap_or_else(|| storage_of(&from)).to_owned();
    let size = engine.state().volume(node, &from).map_or(0, |volume| volume.size);
    let to = root_volume(engine, node, &storage, target, size, &print)?;
    allocation::copied(engine, node, &from, &to, &print)?;
    engine.backend.disk_clone(&from, &to, false).await.map_err(|error| error.to_string())?;
    Ok(value.replacen(&from, &to, 1))
}

fn finish(
    engine: &Engine,
    target: u32,
    copy: Guest,
    hostname: Option<String>,
    description: Option<String>,
    pool: Option<String>,
) {
    let mut state = engine.state();
    let mac = state.mac();
    if let Some(pool) = pool.and_then(|pool| state.pools.get_mut(&pool)) {
        pool.guests.insert(target);
    }
    let Some(guest) = state.guests.get_mut(&target) else { return };
    guest.config.clear();
    guest.node.clone_from(&copy.node);
    for (key, value) in &copy.config {
        if matches!(key.as_str(), "template" | "lock" | "protection") || drives::is_unused(key) {
            continue;
        }
        let value = match drives::parse(value).get("hwaddr") {
            Some(old) if drives::is_net(key) => value.replace(old.as_str(), &mac),
            _ => value.clone(),
        };
        guest.set(key, &value);
    }
    if let Some(hostname) = hostname {
        guest.set("hostname", &hostname);
    }
    if let Some(description) = description {
        guest.set("description", &description);
    }
}
