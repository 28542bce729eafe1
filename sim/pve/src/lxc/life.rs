//! Conversion of containers to templates, and their removal.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::engine::locks::Mode;
use crate::engine::{Call, Engine};
use crate::qemu;
use crate::refusal::{Outcome, Refusal};
use crate::storage::disks;
use crate::world::drives;
use crate::world::guest::Kind;
use crate::world::layout::Feature;

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
            let base = qemu::life::into_base(&worker, &guest.node, value).await?;
            engine.with_guest(vmid, |guest| guest.set(key, &base));
        }
        Ok(())
    });
    Ok(Value::Null)
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
    let (node, reach) = (call.node.clone(), disks::VolumeScope::of(call));
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
        disks::remove_guest(engine, vmid, reach, &|line| worker.log(line)).await;
        if purge {
            worker.log(format!("purging CT {vmid} from related configurations.."));
        }
        Ok(())
    });
    Ok(json!(upid))
}
