//! Conversion to templates, resizing and removal of VMs.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::engine::locks::Mode;
use crate::engine::{Call, Engine, Worker};
use crate::refusal::{Outcome, Refusal};
use crate::schema;
use crate::storage::disks;
use crate::world::drives;
use crate::world::guest::{Guest, Kind};
use crate::world::layout::{Feature, Layout};

pub(crate) async fn template(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let vmid = call.vmid();
    let disk = call.text("disk").map(str::to_owned);
    engine.guest(Kind::Qemu, vmid, &call.node)?.unlocked()?;
    let guard = engine.lock_now(Kind::Qemu, vmid).await?;
    let guest = engine.guest(Kind::Qemu, vmid, &call.node)?;
    guest.unlocked()?;
    if !guest.snapshots.is_empty() {
        return Err(Refusal::fault("unable to create template, because VM contains snapshots"));
    }
    if guest.is_template() && disk.is_none() {
        return Err(Refusal::fault("you can't convert a template to a template"));
    }
    if guest.run.is_some() {
        return Err(Refusal::fault("you can't convert a VM to template if VM is running"));
    }
    let upid = engine.spawn(call, "qmtemplate", &vmid.to_string(), move |worker| async move {
        let _guard = guard;
        let engine = &worker.engine;
        engine.config_is_writable(Kind::Qemu, vmid, &guest.node)?;
        engine.with_guest(vmid, |guest| guest.set("template", "1"));
        for (key, value) in guest.config.iter().filter(|(key, value)| drives::is_drive(key) && !drives::is_cdrom(value))
        {
            // A volume that cannot become a base image stays as it is.
            let able = engine.state().can(Feature::Template, &drives::file(value), false);
            if !able || disk.as_ref().is_some_and(|only| only != key) {
                continue;
            }
            let base = into_base(&worker, &guest.node, value).await?;
            engine.with_guest(vmid, |guest| guest.set(key, &base));
        }
        Ok(())
    });
    Ok(json!(upid))
}

/// Renames a drive's volume to `base-…`, unless it is a base image already.
pub(crate) async fn into_base(worker: &Worker, node: &str, value: &str) -> Result<String, String> {
    let engine = &worker.engine;
    let volid = drives::file(value);
    let (storage, name) = volid.split_once(':').unwrap_or(("", &volid));
    let (layout, vg) = {
        let state = engine.state();
        let found = state.usable(node, storage)?;
        let vg = found.extra.get("vgname").and_then(Value::as_str).unwrap_or_default().to_owned();
        (found.layout(), vg)
    };
    let Some(base) = layout.base_name(name) else { return Ok(value.to_owned()) };
    let renamed = format!("{storage}:{base}");
    engine.backend.disk_rename(&volid, &renamed).await.map_err(|error| error.to_string())?;
    engine.state().rename_volume(node, &volid, &renamed);
    if layout == Layout::LvmThin {
        worker.log(format!("  Renamed \"{name}\" to \"{base}\" in volume group \"{vg}\""));
        worker.log(format!("  Logical volume {vg}/{base} changed."));
    }
    Ok(value.replacen(&volid, &renamed, 1))
}

pub(crate) fn resize(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    call.root_only(&["skiplock"])?;
    let (vmid, node, caller) = (call.vmid(), call.node.clone(), call.caller.clone());
    let (disk, size) =
        (call.text("disk").unwrap_or_default().to_owned(), call.text("size").unwrap_or_default().to_owned());
    let digest = call.text("digest").map(str::to_owned);
    let upid = engine.spawn(call, "resize", &vmid.to_string(), move |worker| async move {
        let engine = &worker.engine;
        engine.guest(Kind::Qemu, vmid, &node).map_err(Refusal::into_text)?;
        let _guard = worker.lock(Kind::Qemu, vmid, Mode::Exclusive, 10).await?;
        let guest = engine.guest(Kind::Qemu, vmid, &node).map_err(Refusal::into_text)?;
        if digest.is_some_and(|digest| digest != guest.digest()) {
            return Err("checksum mismatch (file change by other user?)".to_owned());
        }
        if let Some(lock) = guest.get("lock") {
            return Err(format!("VM is locked ({lock})"));
        }
        let Some(value) = guest.get(&disk) else { return Err(format!("disk '{disk}' does not exist")) };
        if drives::is_cdrom(value) {
            return Err("you can't resize a cdrom".to_owned());
        }
        grow(&worker, &caller, &guest, vmid, &disk, value, &size)
    });
    Ok(json!(upid))
}

fn grow(
    worker: &Worker,
    caller: &str,
    guest: &Guest,
    vmid: u32,
    disk: &str,
    value: &str,
    size: &str,
) -> Result<(), String> {
    let engine = &worker.engine;
    let volid = drives::file(value);
    let storage = volid.split(':').next().unwrap_or_default();
    engine
        .state()
        .require(caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])
        .map_err(Refusal::into_text)?;
    let Some(volume) = engine.state().volume(&guest.node, &volid).cloned() else {
        return Err(format!("volume '{volid}' does not exist"));
    };
    let new = match size.strip_prefix('+') {
        Some(more) => volume.size + drives::parse_size(more).unwrap_or(0),
        None => drives::parse_size(size).unwrap_or(0),
    };
    if new < volume.size {
        return Err("shrinking disks is not supported".to_owned());
    }
    let layout = engine.state().layout(storage);
    let named = engine.state().named(&volid).map_err(Refusal::into_text)?;
    let files = layout == Layout::Files;
    if files && new > volume.size && named.is_base {
        let path = engine.state().path_of(&volid);
        worker.log(format!("qemu-img: Could not open '{path}': Could not open '{path}': Operation not permitted"));
        let preallocation = if volume.format == "qcow2" { "metadata" } else { "off" };
        return Err(format!(
            "command '/usr/bin/qemu-img resize '--preallocation={preallocation}' -f {} {path} {new}' failed: exit code 1",
            volume.format
        ));
    }
    let running = engine.with_guest(vmid, |guest| guest.run.is_some()) == Some(true);
    if files && new > volume.size && !running {
        worker.log("Image resized.");
    }
    engine.state().change_volume(&guest.node, &volid, |stored| stored.size = new);
    let mut drive = drives::parse(value);
    drive.insert("size".into(), drives::print_size(new));
    let printed = schema::propstring::print(&drive, "file", &[]);
    engine.with_guest(vmid, |guest| guest.set(disk, &printed));
    Ok(())
}

pub(crate) fn destroy(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    call.root_only(&["skiplock"])?;
    let (vmid, node) = (call.vmid(), call.node.clone());
    let purge = call.params.flag("purge");
    let reach = disks::VolumeScope::of(call);
    let guest = engine.guest(Kind::Qemu, vmid, &node)?;
    if guest.get("protection") == Some("1") {
        return Err(Refusal::fault(format!("can't remove VM {vmid} - protection mode enabled")));
    }
    if guest.managed_by_ha && !purge {
        return Err(Refusal::fault(format!(
            "unable to remove VM {vmid} - used in HA resources and purge parameter not set."
        )));
    }
    if guest.run.is_some() {
        return Err(Refusal::fault(format!("VM {vmid} is running - destroy failed")));
    }
    let upid = engine.spawn(call, "qmdestroy", &vmid.to_string(), move |worker| async move {
        let engine = &worker.engine;
        let _guard = worker.lock(Kind::Qemu, vmid, Mode::Exclusive, 10).await?;
        let guest = engine.guest(Kind::Qemu, vmid, &node).map_err(Refusal::into_text)?;
        if let Some(lock) = guest.get("lock").filter(|_| !super::suspend::is_suspended(&guest)) {
            return Err(format!("VM is locked ({lock})"));
        }
        bases_are_free(engine, &guest)?;
        disks::remove_guest(engine, vmid, reach, &|line| worker.log(line)).await;
        if purge {
            worker.log(format!("purging VM {vmid} from related configurations.."));
        }
        Ok(())
    });
    Ok(json!(upid))
}

/// Returns the obstacles to moving a VM to another node.
pub(crate) fn migration(engine: &Engine, call: &Call) -> Outcome<Value> {
    let guest = engine.guest(Kind::Qemu, call.vmid(), &call.node)?;
    let state = engine.state();
    let mut disks = Vec::new();
    for (key, value) in guest.config.iter().filter(|(key, _)| drives::is_drive(key)) {
        let volid = drives::file(value);
        let Some(volume) = state.volume(&guest.node, &volid) else { continue };
        let shared =
            volid.split(':').next().and_then(|name| state.storages.get(name)).is_some_and(|storage| storage.shared);
        if !shared {
            disks.push(json!({
                "cdrom": u8::from(drives::is_cdrom(value)), "drivename": key, "is_attached": 1, "is_cloudinit": u8::from(drives::is_cloudinit(value)),
                "is_tpmstate": 0, "is_unused": 0, "is_vmstate": 0, "replicate": 1, "shared": 0, "size": volume.size, "volid": volid,
            }));
        }
    }
    Ok(json!({
        "allowed_nodes": [], "has-dbus-vmstate": 1, "local_disks": disks, "local_resources": [], "mapped-resource-info": {},
        "mapped-resources": [], "not_allowed_nodes": {}, "running": u8::from(guest.run.is_some()),
    }))
}

/// Refuses to destroy a template whose disks have linked clones, on storages that can detect this.
fn bases_are_free(engine: &Engine, guest: &Guest) -> Result<(), String> {
    if !guest.is_template() {
        return Ok(());
    }
    let state = engine.state();
    match guest.volumes().iter().find(|volid| state.is_in_use(&guest.node, volid)) {
        Some(volid) => Err(format!("base volume '{volid}' is still in use by linked cloned")),
        None => Ok(()),
    }
}
