//! Changing the configuration of a container.

use std::sync::Arc;

use serde_json::Value;

use super::checks::{Applicant, mount_access};
use super::volumes::{new_volume, print_mount, stored};
use crate::engine::{Call, Engine};
use crate::guests::config::{Change, change_of, contradictions};
use crate::guests::pending;
use crate::qemu::create::refuse_undefined;
use crate::refusal::{Outcome, Refusal};
use crate::storage::messages;
use crate::world::drives;
use crate::world::guest::{Guest, Kind, Pending};

pub(crate) async fn write(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let vmid = call.vmid();
    let change = change_of(engine, Kind::Lxc, call)?;
    refuse_undefined(&change.options)?;
    let _guard = engine.lock_now(Kind::Lxc, vmid).await?;
    let guest = engine.guest(Kind::Lxc, vmid, &call.node)?;
    guest.unlocked()?;
    if change.digest.as_ref().is_some_and(|digest| *digest != guest.digest()) {
        return Err(Refusal::fault("detected modified configuration - file changed by other user? Try again."));
    }
    let asked = Applicant {
        engine,
        caller: &call.caller,
        vmid,
        pool: None,
        before: Some(&guest),
        unprivileged: guest.get("unprivileged") == Some("1"),
    };
    for key in change.delete.iter().chain(&change.revert) {
        asked.option(key, None)?;
    }
    contradictions(engine, Kind::Lxc, &change)?;
    for key in change.options.0.keys() {
        asked.option(key, change.options.text(key))?;
    }
    for key in change.options.0.keys().filter(|key| drives::is_mount(key)) {
        mount_access(engine, &call.node, &call.caller, change.options.text(key).unwrap_or_default())?;
    }
    if let Some(key) = ["unprivileged"].iter().find(|key| change.options.has(key)) {
        return Err(Refusal::fault(format!("unable to modify read-only option: '{key}'")));
    }
    if let Some(key) = change.delete.iter().find(|key| matches!(key.as_str(), "memory" | "rootfs" | "ostype")) {
        return Err(Refusal::fault(format!("unable to delete required option '{key}'")));
    }
    protected(vmid, &guest, &change)?;
    engine.config_is_writable(Kind::Lxc, vmid, &call.node).map_err(Refusal::fault)?;
    carry_out(engine, vmid, &guest, &change).await?;
    Ok(Value::Null)
}

/// Refuses changes of a protected container's volumes.
fn protected(vmid: u32, guest: &Guest, change: &Change) -> Outcome<()> {
    if guest.get("protection") != Some("1") {
        return Ok(());
    }
    let refused = |verb: &str, key: &str| {
        Err(Refusal::fault(format!("can't {verb} CT {vmid} drive '{key}' - protection mode enabled")))
    };
    if let Some(key) = change.delete.iter().find(|key| drives::is_mount(key)) {
        return refused("remove", key);
    }
    match change.options.0.keys().find(|key| drives::is_mount(key)) {
        Some(key) => refused("update", key),
        None => Ok(()),
    }
}

async fn carry_out(engine: &Arc<Engine>, vmid: u32, before: &Guest, change: &Change) -> Outcome<()> {
    for key in &change.revert {
        engine.with_guest(vmid, |guest| guest.pending.remove(key));
    }
    let mut changed = Vec::new();
    for key in &change.delete {
        // An option that was only pending is only removed from the pending ones.
        engine.with_guest(vmid, |guest| {
            if guest.config.contains_key(key) {
                guest.pending.insert(key.clone(), Pending::Delete(change.force));
            }
        });
        changed.push(key.clone());
    }
    for key in change.options.0.keys() {
        let Some(value) = change.options.text(key) else { continue };
        let running = before.run.is_some();
        let new = if drives::is_mount(key)
            && drives::file(value).split_once(':').is_some_and(|(_, size)| size.parse::<f64>().is_ok())
        {
            if running && before.get(key).is_none() {
                let text = format!("unable to hotplug {key}: failed to change apparmor profile: Invalid argument\n");
                return restore(engine, vmid, before, key, text);
            }
            new_volume(engine, &before.node, vmid, value, &messages::quiet).await.map_err(Refusal::fault)?
        } else {
            stored(engine, key, value)
        };
        let new = if drives::is_mount(key) { absolute(&new) } else { new };
        engine.with_guest(vmid, |guest| guest.pending.insert(key.clone(), Pending::Set(new)));
        changed.push(key.clone());
    }
    if before.run.is_none() {
        pending::apply_pending(engine, vmid).await;
        return Ok(());
    }
    let errors = pending::hotplug(engine, vmid, &changed).await;
    if changed.iter().any(|key| drives::is_net(key)) {
        // Adding a card makes PVE detect the operating system from the root file system again.
        engine.with_guest(vmid, |guest| guest.set("ostype", "alpine"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Refusal::parameters(errors)) }
}

/// Makes a mount path begin at the root.
fn absolute(value: &str) -> String {
    let mut fields = drives::parse(value);
    if let Some(mp) = fields.get_mut("mp")
        && !mp.starts_with('/')
    {
        *mp = format!("/{mp}");
    }
    print_mount(&fields)
}

/// Undoes a failed change of a running container, and returns the error.
fn restore(engine: &Engine, vmid: u32, before: &Guest, key: &str, text: String) -> Outcome<()> {
    engine.with_guest(vmid, |guest| {
        guest.config = before.config.clone();
        guest.pending = before.pending.clone();
    });
    Err(Refusal::parameter(key, text))
}
