//! `POST /nodes/{node}/lxc/{vmid}/move_volume`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::engine;
use crate::engine::locks::Mode;
use crate::engine::{Call, Engine};
use crate::refusal::{Outcome, Refusal};
use crate::world::drives;
use crate::world::guest::{Guest, Kind};

/// Reassigns a mount point's volume to another container.
pub(crate) fn move_volume(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let vmid = call.vmid();
    let volume = call.text("volume").unwrap_or_default().to_owned();
    let target = call.params.number("target-vmid").and_then(|n| u32::try_from(n).ok());
    let Some(target) = target else {
        if call.params.has("storage") {
            return Err(Refusal::fault("not simulated: moving to another storage"));
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
        return Err(Refusal::fault(engine::missing(Kind::Lxc, target, &call.node)));
    }
    let value = movable((&source, vmid), &volume, (&target_guest, target), &key)?;
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

/// Returns the value of the source's mount point if it can move to `key` of the target.
fn movable(
    (source, vmid): (&Guest, u32),
    volume: &str,
    (target_guest, target): (&Guest, u32),
    key: &str,
) -> Outcome<String> {
    let Some(value) = source.get(volume).map(str::to_owned) else {
        return Err(Refusal::fault(format!("volume '{volume}' for container '{vmid}' does not exist")));
    };
    if target_guest.get(key).is_some() {
        return Err(Refusal::fault(format!("Target volume key '{key}' is already in use for container '{target}'")));
    }
    if let Some(lock) = source.get("lock").or_else(|| target_guest.get("lock")) {
        return Err(Refusal::fault(format!("CT is locked ({lock})")));
    }
    if source.run.is_some() {
        return Err(Refusal::fault(
            "Cannot move in-use volume while the source CT is running - detach or shutdown first",
        ));
    }
    Ok(value)
}
