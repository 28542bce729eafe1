//! `POST /nodes/{node}/qemu/{vmid}/clone`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::disks;
use super::drives;
use super::engine::{Call, Engine, Worker};
use super::locks::Mode;
use super::qemu_checks::Applicant;
use super::refusal::{Outcome, Refusal};
use super::state::{Guest, Kind, Volume};

#[derive(Debug, Clone)]
struct Plan {
    source: u32,
    target: u32,
    node: String,
    target_node: String,
    name: Option<String>,
    description: Option<String>,
    pool: Option<String>,
    storage: Option<String>,
    format: Option<String>,
    full: bool,
    /// KiB per second.
    limit: Option<u64>,
}

pub(crate) fn clone(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let number = |name: &str| call.params.number(name).and_then(|n| u32::try_from(n).ok());
    let (source, target) = (call.vmid(), number("newid").unwrap_or(0));
    let Ok(guest) = engine.guest(Kind::Qemu, source, &call.node) else {
        return Err(Refusal::fault(format!(
            "unable to find configuration file for VM {source} on node '{}'",
            call.node
        )));
    };
    super::qemu_create::allocation(engine, &call.caller, target, call.text("pool"))?;
    let target_node = call.text("target").unwrap_or(&call.node).to_owned();
    if !engine.state().nodes.contains_key(&target_node) {
        return Err(Refusal::fault(format!("no such cluster node '{target_node}'")));
    }
    if let Some(storage) = call.text("storage") {
        target_storage(engine, storage, target_node != call.node)?;
    }
    if let Some(lock) = guest.get("lock") {
        return Err(Refusal::fault(format!("VM is locked ({lock})")));
    }
    if let Some(name) = call.text("snapname") {
        return Err(Refusal::fault(format!("snapshot '{name}' does not exist")));
    }
    let full = call.text("full").map_or(!guest.is_template(), |full| full == "1");
    for name in ["storage", "format"] {
        if call.params.has(name) && !full {
            return Err(Refusal::fault(format!("parameter '{name}' not allowed for linked clones")));
        }
    }
    storage_access(engine, &call.caller, &guest, call.text("storage"))?;
    let applicant = Applicant { engine, caller: &call.caller, vmid: target, pool: None };
    applicant.bridges(guest.config.iter().filter(|(key, _)| drives::is_net(key)).map(|(_, value)| value.as_str()))?;
    exists_already(engine, target)?;
    linkable(engine, &guest, full)?;
    let plan = Plan {
        source,
        target,
        node: call.node.clone(),
        target_node,
        name: call.text("name").map(str::to_owned),
        description: call.text("description").map(str::to_owned),
        pool: call.text("pool").map(str::to_owned),
        storage: call.text("storage").map(str::to_owned),
        format: call.text("format").map(str::to_owned),
        full,
        limit: call.params.number("bwlimit").and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0),
    };
    let upid =
        engine.spawn(call, "qmclone", &source.to_string(), move |worker| async move { work(&worker, &plan).await });
    Ok(json!(upid))
}

/// The storage that a request names takes images, and on another node it is there too.
fn target_storage(engine: &Engine, storage: &str, elsewhere: bool) -> Outcome<()> {
    super::disks::usable(engine, storage).map_err(Refusal::fault)?;
    let state = engine.state();
    let Some(found) = state.storages.get(storage) else { return Ok(()) };
    if !found.content.iter().any(|content| content == "images") {
        return Err(Refusal::parameter("storage", format!("storage '{storage}' does not support vm images")));
    }
    if elsewhere && !found.shared {
        return Err(Refusal::fault(format!("can't clone to non-shared storage '{storage}'")));
    }
    Ok(())
}

fn storage_access(engine: &Engine, caller: &str, guest: &Guest, wanted: Option<&str>) -> Outcome<()> {
    for (key, value) in guest.config.iter().filter(|(key, _)| drives::is_drive(key)) {
        let file = drives::file(value);
        let Some((storage, _)) = file.split_once(':') else { continue };
        if drives::is_cdrom(value) && !drives::is_cloudinit(value) {
            continue;
        }
        tracing::trace!(key, "checks the storage of a clone's drive");
        let storage = wanted.unwrap_or(storage);
        let state = engine.state();
        state.require(caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
        match state.storages.get(storage) {
            None => return Err(Refusal::fault(format!("storage '{storage}' does not exist"))),
            Some(found) if found.disabled => return Err(Refusal::fault(format!("storage '{storage}' is disabled"))),
            Some(found) if !found.content.iter().any(|content| content == "images") => {
                return Err(Refusal::parameter("storage", format!("storage '{storage}' does not support vm images")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// A container's number is found out later, in the task.
fn exists_already(engine: &Engine, target: u32) -> Outcome<()> {
    match engine.state().guests.get(&target) {
        Some(guest) if guest.kind == Kind::Qemu => {
            Err(Refusal::fault(format!("unable to create VM {target}: config file already exists")))
        }
        _ => Ok(()),
    }
}

fn linkable(engine: &Engine, guest: &Guest, full: bool) -> Outcome<()> {
    if full {
        return Ok(());
    }
    for (key, value) in guest.config.iter().filter(|(key, value)| drives::is_drive(key) && !drives::is_cdrom(value)) {
        let volid = drives::file(value);
        let based = engine.state().volumes.contains_key(&volid) && volid.contains("/base-") && !volid.contains("/vm-");
        if !based {
            return Err(Refusal::fault(format!("Linked clone feature is not supported for '{volid}' ({key})")));
        }
    }
    Ok(())
}

async fn work(worker: &Worker, plan: &Plan) -> Result<(), String> {
    let engine = &worker.engine;
    let target = plan.target;
    let _target_lock = worker.lock(Kind::Qemu, target, Mode::Exclusive, 1).await?;
    if engine.state().guests.get(&target).is_some_and(|guest| guest.kind == Kind::Qemu) {
        return Err(format!("unable to create VM {target}: config file already exists"));
    }
    let _source_lock = worker.lock(Kind::Qemu, plan.source, Mode::Shared, 1).await?;
    worker.log(format!("creating a clone of VM {} with ID {target}", plan.source));
    let source = engine.guest(Kind::Qemu, plan.source, &plan.node).map_err(Refusal::into_text)?;
    if !occupy(engine, plan) {
        return Err(format!(
            "close (rename) atomic file '/etc/pve/nodes/{}/qemu-server/{target}.conf' failed: File exists",
            plan.target_node
        ));
    }
    worker.half_made(Some(target));
    let drives = match copy_drives(worker, plan, &source).await {
        Ok(drives) => drives,
        Err(text) => {
            disks::forget_guest(engine, target).await;
            return Err(format!("clone failed: {text}"));
        }
    };
    worker.half_made(None);
    finish(engine, plan, &source, drives);
    Ok(())
}

fn occupy(engine: &Engine, plan: &Plan) -> bool {
    let mut state = engine.state();
    if state.guests.contains_key(&plan.target) {
        return false;
    }
    let mut guest = Guest::new(Kind::Qemu, &plan.target_node);
    guest.config.insert("description".into(), " qmclone temporary file".into());
    guest.set("lock", "clone");
    state.guests.insert(plan.target, guest);
    if let Some(pool) = plan.pool.as_ref().and_then(|pool| state.pools.get_mut(pool)) {
        pool.guests.insert(plan.target);
    }
    drop(state);
    let name = plan.name.as_deref().unwrap_or("-");
    engine.timeline.note(engine.clock.now(), "cloned", &format!("{} {} {name}", plan.target, plan.source));
    true
}

async fn copy_drives(worker: &Worker, plan: &Plan, source: &Guest) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    for (key, value) in source.config.iter().filter(|(key, _)| drives::is_drive(key)) {
        let copy = if drives::is_cloudinit(value) {
            cloudinit(worker, plan, key, value)
        } else if drives::is_cdrom(value) {
            value.clone()
        } else if plan.full {
            full(worker, plan, key, value).await?
        } else {
            linked(worker, plan, key, value).await?
        };
        out.insert(key.clone(), copy);
    }
    Ok(out)
}

fn cloudinit(worker: &Worker, plan: &Plan, key: &str, value: &str) -> String {
    let engine = &worker.engine;
    let print = |line: String| worker.log(line);
    let from = drives::file(value);
    let storage = plan.storage.clone().unwrap_or_else(|| from.split(':').next().unwrap_or_default().to_owned());
    let format = from.rsplit('.').next().unwrap_or("qcow2").to_owned();
    let volid = format!("{storage}:{0}/vm-{0}-cloudinit.{format}", plan.target);
    worker.log(format!("create full clone of drive {key} ({from})"));
    disks::formatting(engine, &volid, &format, 4 << 20, &print);
    disks::put(engine, &volid, "images", &format, 4 << 20, Some(plan.target));
    worker.log(format!("allocated target volume '{volid}'"));
    let mut drive = drives::parse(value);
    drive.insert("file".into(), volid);
    drive.insert("size".into(), "4M".into());
    super::propstring::print(&drive, "file", &[])
}

async fn full(worker: &Worker, plan: &Plan, key: &str, value: &str) -> Result<String, String> {
    let engine = &worker.engine;
    let print = |line: String| worker.log(line);
    let from = drives::file(value);
    let Some(volume) = engine.state().volumes.get(&from).cloned() else {
        return Err(format!("volume '{from}' does not exist"));
    };
    let storage = plan.storage.clone().unwrap_or_else(|| from.split(':').next().unwrap_or_default().to_owned());
    let format = plan.format.clone().unwrap_or_else(|| volume.format.clone());
    worker.log(format!("create full clone of drive {key} ({from})"));
    let volid = engine.state().free_disk(&storage, plan.target, &format);
    disks::formatting(engine, &volid, &format, volume.size, &print);
    disks::put(engine, &volid, "images", &format, volume.size, Some(plan.target));
    worker.log(format!("allocated target volume '{volid}'"));
    engine.backend.disk_clone(&from, &volid, false).await.map_err(|error| error.to_string())?;
    copy_slowly(worker, plan, &from, &volid, &volume, &format).await;
    let mut drive = drives::parse(value);
    drive.insert("file".into(), volid);
    drive.insert("size".into(), drives::print_size(volume.size));
    Ok(super::propstring::print(&drive, "file", &[]))
}

/// Time passes by the bandwidth limit, one line per step.
async fn copy_slowly(worker: &Worker, plan: &Plan, from: &str, to: &str, volume: &Volume, format: &str) {
    let engine = &worker.engine;
    let seconds = plan.limit.map_or(0, |limit| (volume.filled << 10) / limit);
    if let Some(limit) = plan.limit {
        let from = engine.state().path_of(from);
        let to = engine.state().path_of(to);
        worker.set_interrupt_text(format!(
            "clone failed: copy failed: command '/usr/bin/qemu-img convert -p -n -r {limit}K -f {} -O {format} {from} zeroinit:{to}' failed: interrupted by signal",
            volume.format
        ));
    }
    if seconds == 0 {
        disks::transferred(volume.size, 100, &|line| worker.log(line));
        return;
    }
    let steps = 90;
    for at in 0..=steps {
        let text = format!(
            "transferred {} of {} ({})",
            disks::human(volume.size / steps * at),
            disks::human(volume.size),
            percent(at, steps)
        );
        worker.log(text);
        engine.wait(Duration::from_millis(seconds * 1000 / steps)).await;
    }
    worker.set_interrupt_text("received interrupt".to_owned());
}

#[allow(clippy::cast_precision_loss)]
fn percent(at: u64, of: u64) -> String {
    format!("{:.2}%", at as f64 * 100.0 / of as f64)
}

async fn linked(worker: &Worker, plan: &Plan, key: &str, value: &str) -> Result<String, String> {
    let engine = &worker.engine;
    let base = drives::file(value);
    let (storage, name) = base.split_once(':').unwrap_or(("", ""));
    let Some(volume) = engine.state().volumes.get(&base).cloned() else {
        return Err(format!("volume '{base}' does not exist"));
    };
    let target = plan.target;
    let plain = engine.state().free_disk(storage, target, "qcow2");
    let file = plain.rsplit('/').next().unwrap_or_default().to_owned();
    let volid = format!("{storage}:{name}/{target}/{file}");
    worker.log(format!("create linked clone of drive {key} ({base})"));
    worker.log(format!("clone {name}: images, {file}, {target} to {file} (base=../{name})"));
    let path = engine.state().path_of(&plain);
    let preallocation = if volume.format == "raw" { "off" } else { "metadata" };
    worker.log(format!(
        "Formatting '{path}', fmt=qcow2 cluster_size=131072 extended_l2=on preallocation={preallocation} compression_type=zlib size={} backing_file=../{name} backing_fmt={} lazy_refcounts=off refcount_bits=16",
        volume.size, volume.format
    ));
    disks::put(engine, &volid, "images", "qcow2", volume.size, Some(target));
    if let Some(made) = engine.state().volumes.get_mut(&volid) {
        made.parent = Some(base.clone());
    }
    engine.backend.disk_clone(&base, &volid, true).await.map_err(|error| error.to_string())?;
    let mut drive = drives::parse(value);
    drive.insert("file".into(), volid);
    drive.insert("size".into(), drives::print_size(volume.size));
    Ok(super::propstring::print(&drive, "file", &[]))
}

fn finish(engine: &Engine, plan: &Plan, source: &Guest, drives: BTreeMap<String, String>) {
    let mut state = engine.state();
    let (smbios, generation) = (state.uuid(), state.uuid());
    let macs: BTreeMap<String, String> =
        source.config.keys().filter(|key| drives::is_net(key)).map(|key| (key.clone(), state.mac())).collect();
    let Some(guest) = state.guests.get_mut(&plan.target) else { return };
    guest.config.clear();
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
