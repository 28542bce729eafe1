//! Containers: resizing, moving volumes, templates, clones, destroying.

use std::sync::Arc;

use serde_json::{Value, json};

use super::allocation;
use super::disks;
use super::drives;
use super::engine::{Call, Engine};
use super::layout::{Feature, Layout};
use super::locks::Mode;
use super::refusal::{Outcome, Refusal};
use super::state::{Guest, Kind};
use super::volumes::storage_of;

/// A volume that is to grow, as it was found.
struct Growth {
    value: String,
    volid: String,
    format: String,
    old: u64,
    new: u64,
}

pub(crate) fn resize(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    growth(engine, call)?;
    let asked = call.clone();
    let upid = engine.spawn(call, "resize", &call.vmid().to_string(), move |worker| async move {
        let (engine, vmid) = (&worker.engine, asked.vmid());
        let _guard = worker.lock(Kind::Lxc, vmid, Mode::Exclusive, 10).await?;
        // The same again: it may have changed in between.
        let found = growth(engine, &asked).map_err(Refusal::into_text)?;
        let path = engine.state().path_of(&found.volid);
        let running = engine.with_guest(vmid, |guest| guest.run.is_some()) == Some(true);
        if engine.state().layout(storage_of(&found.volid)) == Layout::Files {
            worker.log("Image resized.");
        }
        engine.state().change_volume(&asked.node, &found.volid, |volume| volume.size = found.new);
        let (old, new) = (drives::print_size(found.old), drives::print_size(found.new));
        let printed = found.value.replace(&format!("size={old}"), &format!("size={new}"));
        let disk = asked.text("disk").unwrap_or_default();
        engine.with_guest(vmid, |guest| guest.set(disk, &printed));
        if found.format == "raw" && !running {
            file_system_grows(&path, found.old >> 10, found.new >> 10).for_each(|line| worker.log(line));
        }
        Ok(())
    });
    Ok(json!(upid))
}

/// Everything that is looked at before a volume grows, in PVE's order.
fn growth(engine: &Engine, call: &Call) -> Outcome<Growth> {
    let vmid = call.vmid();
    let (disk, size) = (call.text("disk").unwrap_or_default(), call.text("size").unwrap_or_default());
    let guest = engine.guest(Kind::Lxc, vmid, &call.node)?;
    guest.unlocked()?;
    if call.text("digest").is_some_and(|digest| digest != guest.digest()) {
        return Err(Refusal::fault("detected modified configuration - file changed by other user? Try again."));
    }
    let Some(value) = guest.get(disk).map(str::to_owned) else {
        let text = "property is missing and it is not optional".to_owned();
        let mut refusal = Refusal::fault("format error");
        refusal.errors = [("mp".to_owned(), text.clone()), ("volume".to_owned(), text)].into();
        return Err(refusal);
    };
    let volid = drives::file(&value);
    let storage = storage_of(&volid);
    let state = engine.state();
    let named = state.named(&volid)?;
    if let Some(owner) = named.owner.filter(|owner| *owner != vmid) {
        return Err(Refusal::fault(format!(
            "can't resize mount point owned by another container ({owner}) at /usr/share/perl5/PVE/API2/LXC.pm line 2386."
        )));
    }
    state.require(&call.caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    state.usable(&call.node, storage).map_err(Refusal::fault)?;
    let old = state.volume(&call.node, &volid).map_or(0, |volume| volume.size);
    let new = match size.strip_prefix('+') {
        Some(more) => old + drives::parse_size(more).unwrap_or(0),
        None => drives::parse_size(size).unwrap_or(0),
    };
    if new < old {
        return Err(Refusal::fault("unable to shrink disk size"));
    }
    if new == old {
        return Err(Refusal::fault("disk is already at specified size"));
    }
    Ok(Growth { value, volid, format: named.format, old, new })
}

/// What e2fsck and resize2fs say; sizes in KiB.
fn file_system_grows(path: &str, before: u64, after: u64) -> impl Iterator<Item = String> {
    [
        "e2fsck 1.47.2 (1-Jan-2025)".to_owned(),
        "Pass 1: Checking inodes, blocks, and sizes".to_owned(),
        "Pass 2: Checking directory structure".to_owned(),
        "Pass 3: Checking directory connectivity".to_owned(),
        "Pass 4: Checking reference counts".to_owned(),
        "Pass 5: Checking group summary information".to_owned(),
        format!("{path}: 12/{} files (0.0% non-contiguous), {}/{before} blocks", before / 4, before / 6),
        "resize2fs 1.47.2 (1-Jan-2025)".to_owned(),
        format!("Resizing the filesystem on {path} to {after} (1k) blocks."),
        format!("The filesystem on {path} is now {after} (1k) blocks long."),
        String::new(),
    ]
    .into_iter()
}

/// Re-assigns a mount point's volume to another container.
pub(crate) fn move_volume(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let vmid = call.vmid();
    let volume = call.text("volume").unwrap_or_default().to_owned();
    let target = call.params.number("target-vmid").and_then(|n| u32::try_from(n).ok());
    let Some(target) = target else {
        if call.params.has("storage") {
            return Err(Refusal::fault("moving to another storage is not simulated"));
        }
        let text = "both 'storage' and 'target-vmid' missing, either needs to be set".to_owned();
        return Err(Refusal::parameters(
            [("storage".to_owned(), text.clone()), ("target-vmid".to_owned(), text)].into(),
        ));
    };
    engine.state().require(&call.caller, &format!("/vms/{target}"), &["VM.Config.Disk"])?;
    let key = call.text("target-volume").unwrap_or(&volume).to_owned();
    if volume == "rootfs" || key == "rootfs" {
        return Err(Refusal::fault("Cannot move to/from 'rootfs'"));
    }
    let source = engine.guest(Kind::Lxc, vmid, &call.node)?;
    let target_guest = {
        let state = engine.state();
        match state.guests.get(&target) {
            None => return Err(Refusal::fault(format!("could not find CT {target}"))),
            Some(guest) => guest.clone(),
        }
    };
    if target_guest.kind != Kind::Lxc {
        return Err(Refusal::fault(super::engine::missing(Kind::Lxc, target, &call.node)));
    }
    let Some(value) = source.get(&volume).map(str::to_owned) else {
        return Err(Refusal::fault(format!("volume '{volume}' for container '{vmid}' does not exist")));
    };
    if target_guest.get(&key).is_some() {
        return Err(Refusal::fault(format!("Target volume key '{key}' is already in use for container '{target}'")));
    }
    for (guest, _) in [(&source, vmid), (&target_guest, target)] {
        if let Some(lock) = guest.get("lock") {
            return Err(Refusal::fault(format!("CT is locked ({lock})")));
        }
    }
    if source.run.is_some() {
        return Err(Refusal::fault(
            "Cannot move in-use volume while the source CT is running - detach or shutdown first",
        ));
    }
    let id = format!("{vmid}-{volume}>{target}-{key}");
    let node = call.node.clone();
    let upid = engine.spawn(call, "move_volume", &id, move |worker| async move {
        let engine = &worker.engine;
        let _first = worker.lock(Kind::Lxc, vmid, Mode::Exclusive, 10).await?;
        let _second = worker.lock(Kind::Lxc, target, Mode::Exclusive, 10).await?;
        worker.log(format!("moving volume '{volume}' from container '{vmid}' to '{target}'"));
        let volid = drives::file(&value);
        let storage = volid.split(':').next().unwrap_or_default();
        let renamed = engine.state().free_disk(&node, storage, target, "raw");
        worker.log(format!("removing volume '{volume}' from container '{vmid}' config"));
        engine.backend.disk_rename(&volid, &renamed).await.map_err(|error| error.to_string())?;
        {
            let mut state = engine.state();
            state.rename_volume(&node, &volid, &renamed);
            state.change_volume(&node, &renamed, |volume| volume.vmid = Some(target));
        }
        let value = value.replacen(&volid, &renamed, 1);
        engine.with_guest(vmid, |guest| guest.config.remove(&volume));
        let running = engine.with_guest(target, |guest| {
            guest.set(&key, &value);
            guest.run.is_some()
        });
        if running == Some(true) {
            worker.warn(&format!("unable to hotplug {key}: failed to change apparmor profile: Invalid argument"));
        }
        worker.log(format!("target container '{target}' updated with '{key}'"));
        Ok(())
    });
    Ok(json!(upid))
}

pub(crate) fn template(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let vmid = call.vmid();
    let guest = engine.guest(Kind::Lxc, vmid, &call.node)?;
    if let Some(lock) = guest.get("lock") {
        return Err(Refusal::fault(format!("CT is locked ({lock})")));
    }
    if !guest.snapshots.is_empty() {
        return Err(Refusal::fault("unable to create template, because CT contains snapshots"));
    }
    if guest.is_template() {
        return Err(Refusal::fault("you can't convert a template to a template"));
    }
    if guest.run.is_some() {
        return Err(Refusal::fault("you can't convert a CT to template if the CT is running"));
    }
    engine.spawn(call, "vztemplate", &vmid.to_string(), move |worker| async move {
        let engine = &worker.engine;
        engine.wait(std::time::Duration::from_millis(100)).await;
        let mounts = || guest.config.iter().filter(|(key, _)| drives::is_mount(key));
        for (_, value) in mounts() {
            let volid = drives::file(value);
            if !engine.state().can(Feature::Template, &volid, false) {
                return Err(format!("Template feature is not available for '{volid}'"));
            }
        }
        engine.with_guest(vmid, |guest| guest.set("template", "1"));
        for (key, value) in mounts() {
            let base = super::qemu_life::into_base(&worker, &guest.node, value).await?;
            engine.with_guest(vmid, |guest| guest.set(key, &base));
        }
        Ok(())
    });
    Ok(Value::Null)
}

pub(crate) async fn clone(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let vmid = call.vmid();
    let target = call.params.number("newid").and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    super::qemu_create::allocation(engine, &call.caller, target, call.text("pool"))?;
    let elsewhere = target_exists(engine, call)?;
    engine.state().quorum()?;
    let guard = engine.lock_now(Kind::Lxc, vmid).await?;
    let guest = engine.guest(Kind::Lxc, vmid, &call.node)?;
    if let Some(lock) = guest.get("lock") {
        return Err(Refusal::fault(format!("CT is locked ({lock})")));
    }
    let full = call.text("full").map_or(!guest.is_template(), |full| full == "1");
    super::lxc::unused(engine, target)?;
    if call.params.has("storage") && !full {
        return Err(Refusal::fault("parameter 'storage' not allowed for linked clones"));
    }
    if let Some(name) = call.text("snapname") {
        guest.snapshot(name)?;
        return Err(Refusal::fault("not simulated: clones of a container's snapshot"));
    }
    clonable(engine, call, &guest, full, elsewhere.as_deref())?;
    super::qemu_create::reserve(engine, Kind::Lxc, target, &call.node).map_err(Refusal::fault)?;
    let (hostname, description) =
        (call.text("hostname").map(str::to_owned), call.text("description").map(str::to_owned));
    let (pool, storage) = (call.text("pool").map(str::to_owned), call.text("storage").map(str::to_owned));
    let upid = engine.spawn(call, "vzclone", &vmid.to_string(), move |worker| async move {
        let _guard = guard;
        let engine = worker.engine.clone();
        worker.half_made(Some(target));
        worker.log(format!("creating a clone of container {vmid} with ID {target}"));
        let mut copy = guest.clone();
        let mut mounts: Vec<(&String, &String)> =
            guest.config.iter().filter(|(key, _)| drives::is_mount(key)).collect();
        mounts.sort_by_key(|(key, _)| (key.as_str() != "rootfs", key.len(), (*key).clone()));
        for (key, value) in mounts {
            let volid = drives::file(value);
            let copied = if full {
                worker.log(format!("create full clone of mountpoint {key} ({volid})"));
                copy_mount(&worker, &guest.node, target, value, storage.as_deref()).await
            } else {
                worker.log(format!("create linked clone of mount point {key} ({volid})"));
                let linked =
                    allocation::link(&engine, &guest.node, &volid, target, None, &|line| worker.log(line)).await;
                linked.map(|made| value.replacen(&volid, &made, 1))
            };
            match copied {
                Ok(new) => copy.set(key, &new),
                Err(text) => {
                    disks::forget_guest(&engine, target, disks::Reach::Numbered, &disks::quiet).await;
                    return Err(format!("clone failed: {text}"));
                }
            }
        }
        worker.half_made(None);
        copy.node = elsewhere.unwrap_or(copy.node);
        finish(&engine, target, copy, hostname, description, pool);
        Ok(())
    });
    Ok(json!(upid))
}

/// The node and the storage that a clone is to go to.
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

/// Each option in its turn: volumes that can be copied to a storage that may be used, cards on bridges that may be used.
fn clonable(engine: &Engine, call: &Call, guest: &Guest, full: bool, elsewhere: Option<&str>) -> Outcome<()> {
    let mut shared = true;
    for (key, value) in &guest.config {
        if drives::is_net(key) {
            let applicant =
                super::qemu_checks::Applicant { engine, caller: &call.caller, vmid: call.vmid(), pool: None };
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

/// A container cannot be backed by a qcow2, which is what a directory makes of a linked clone.
fn linkable(engine: &Engine, volid: &str) -> bool {
    let state = engine.state();
    state.layout(storage_of(volid)) != Layout::Files && state.can(Feature::Clone, volid, false)
}

async fn copy_mount(
    worker: &super::engine::Worker,
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
    let to = super::lxc::root_volume(engine, node, &storage, target, size, &print)?;
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

pub(crate) fn destroy(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let vmid = call.vmid();
    let (force, purge) = (call.params.flag("force"), call.params.flag("purge"));
    let guest = engine.guest(Kind::Lxc, vmid, &call.node)?;
    if guest.get("protection") == Some("1") {
        return Err(Refusal::fault(format!("can't remove CT {vmid} - protection mode enabled")));
    }
    if let Some(lock) = guest.get("lock") {
        return Err(Refusal::fault(format!("CT is locked ({lock})")));
    }
    if guest.managed_by_ha && !purge {
        return Err(Refusal::fault(format!(
            "unable to remove CT {vmid} - used in HA resources and purge parameter not set."
        )));
    }
    if guest.run.is_some() && !force {
        return Err(Refusal::fault(format!("unable to destroy CT {vmid} - container is running")));
    }
    let (node, reach) = (call.node.clone(), disks::Reach::of(call));
    let upid = engine.spawn(call, "vzdestroy", &vmid.to_string(), move |worker| async move {
        let engine = &worker.engine;
        let _guard = worker.lock(Kind::Lxc, vmid, Mode::Exclusive, 10).await?;
        let running = engine.with_guest(vmid, |guest| guest.run.is_some()) == Some(true);
        if running {
            worker.log(format!("forced to stop CT {vmid} before destroying!"));
            engine.consoles.drop_shell(vmid);
            engine.backend.container_stop(vmid).await;
        }
        let guest = engine.guest(Kind::Lxc, vmid, &node).map_err(Refusal::into_text)?;
        for volid in guest.volumes() {
            if engine.state().volume(&node, &volid).is_some_and(|volume| volume.vmid == Some(vmid)) {
                disks::free(engine, &node, &volid, &|line| worker.log(line)).await?;
            }
        }
        disks::forget_guest(engine, vmid, reach, &|line| worker.log(line)).await;
        if purge {
            worker.log(format!("purging CT {vmid} from related configurations.."));
        }
        Ok(())
    });
    Ok(json!(upid))
}
