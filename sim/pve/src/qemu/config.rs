//! Changing the configuration of a VM.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::checks::{self, Applicant};
use super::create::refuse_undefined;
use super::suspend;
use crate::engine::locks::Mode;
use crate::engine::{Call, Engine};
use crate::guests::config::{Change, change_of};
use crate::guests::{pending, tags};
use crate::params::Params;
use crate::refusal::{Outcome, Refusal};
use crate::storage::disks;
use crate::storage::messages;
use crate::world;
use crate::world::drives;
use crate::world::guest::{Guest, Kind, Pending};
use crate::world::volumes::storage_of;

/// Changes a VM's configuration. `PUT` answers after the change, `POST` with a task that acquires the lock itself.
pub(crate) async fn write(engine: &Arc<Engine>, call: Call, as_task: bool) -> Outcome<Value> {
    let vmid = call.vmid();
    let mut change = change_of(engine, Kind::Qemu, &call)?;
    refuse_undefined(&change.options)?;
    checks::drive_values(engine, &change.options)?;
    let options = shown(&change, call.text("revert"));
    one_cloudinit(engine, vmid, &change.options)?;
    let applicant = Applicant { engine, caller: &call.caller, vmid, pool: None };
    applicant.options(change.delete.iter())?;
    applicant.options(change.options.0.keys())?;
    applicant.storages(&change.options)?;
    let cards: Vec<&str> =
        change.options.0.keys().filter(|key| drives::is_net(key)).filter_map(|key| change.options.text(key)).collect();
    applicant.bridges(cards.into_iter())?;
    // A config lock is seen immediately, even while another task holds the file lock.
    load_and_check(engine, &call, &change)?;
    checks::normalise(engine, &mut change.options);
    let locked = |guard| (guard, call.clone(), change.clone());
    if !as_task {
        let guard = engine.lock_now(Kind::Qemu, vmid).await?;
        let (_guard, call, mut change) = locked(guard);
        update(engine, &call, &mut change, &messages::quiet).await?;
        return Ok(Value::Null);
    }
    let line = format!("update VM {vmid}: {options}");
    let delay = call.params.number("background_delay").and_then(|n| u64::try_from(n).ok());
    let inner = call.clone();
    let upid = engine.spawn(&call, "qmconfig", &vmid.to_string(), move |worker| async move {
        let mut change = change;
        let _guard = worker.lock(Kind::Qemu, vmid, Mode::Exclusive, 10).await?;
        worker.log(line);
        let print = |line: String| worker.log(line);
        update(&worker.engine, &inner, &mut change, &print).await.map_err(Refusal::into_text)
    });
    if let Some(delay) = delay
        && engine.ended_within(&upid, Duration::from_secs(delay)).await
    {
        let end = engine.state().tasks.iter().rev().find(|task| task.upid == upid).and_then(|task| task.end.clone());
        return match end {
            Some((_, status)) if status != "OK" && !status.starts_with("WARNINGS") => {
                Err(Refusal::fault(format!("failed to update VM {vmid}: {status}")))
            }
            _ => Ok(Value::Null),
        };
    }
    Ok(json!(upid))
}

/// Loads the guest and checks a change, before and again after the lock is acquired.
fn load_and_check(engine: &Engine, call: &Call, change: &Change) -> Outcome<Guest> {
    let guest = engine.guest(Kind::Qemu, call.vmid(), &call.node)?;
    if change.digest.as_ref().is_some_and(|digest| *digest != guest.digest()) {
        return Err(Refusal::fault("checksum mismatch (file change by other user?)"));
    }
    let wakes = change.delete.iter().any(|key| key == "vmstate") && suspend::is_suspended(&guest);
    if !wakes {
        guest.unlocked()?;
    }
    let pending = |key: &str| match guest.pending.get(key) {
        Some(Pending::Set(value)) => Some(value.as_str()),
        _ => guest.get(key),
    };
    let number =
        |key: &str| change.options.text(key).or_else(|| pending(key)).and_then(|text| text.parse::<u64>().ok());
    let memory = number("memory").unwrap_or(512);
    if (change.options.has("memory") || change.options.has("balloon"))
        && number("balloon").is_some_and(|balloon| balloon > memory)
    {
        return Err(Refusal::fault("balloon value too large (must be smaller than assigned memory)"));
    }
    Ok(guest)
}

/// Carries out the change under the lock.
async fn update(engine: &Arc<Engine>, call: &Call, change: &mut Change, print: messages::Print<'_>) -> Outcome<()> {
    let guest = load_and_check(engine, call, change)?;
    // An option that is both reverted and set gets the value in force.
    let applicant = Applicant { engine, caller: &call.caller, vmid: call.vmid(), pool: None };
    drive_privileges(&applicant, &guest, change)?;
    applicant.values(&guest, change)?;
    boot_devices_exist(&guest, change)?;
    engine.config_is_writable(Kind::Qemu, call.vmid(), &call.node).map_err(Refusal::fault)?;
    carry_out(engine, call.vmid(), change, print).await
}

/// Checks that the devices of a boot order exist or are part of the same request.
fn boot_devices_exist(guest: &Guest, change: &Change) -> Outcome<()> {
    let held = guest.with_pending();
    for device in drives::boot_order(change.options.text("boot")) {
        let there = held.contains_key(&device) || guest.config.contains_key(&device) || change.options.has(&device);
        if !there || change.delete.contains(&device) {
            return Err(Refusal::fault(format!("invalid bootorder: device '{device}' does not exist'")));
        }
    }
    Ok(())
}

/// Refuses a second cloud-init drive. PVE checks this before anything else.
fn one_cloudinit(engine: &Engine, vmid: u32, options: &Params) -> Outcome<()> {
    let held = engine.with_guest(vmid, |guest| guest.with_pending()).unwrap_or_default();
    let Some((other, _)) = held.iter().find(|(name, value)| drives::is_drive(name) && drives::is_cloudinit(value))
    else {
        return Ok(());
    };
    let second = options.0.keys().find(|key| {
        drives::is_drive(key) && *key != other && drives::is_cloudinit(options.text(key).unwrap_or_default())
    });
    match second {
        Some(key) => Err(Refusal::fault(format!("{key} - cloud-init drive is already attached at '{other}'"))),
        None => Ok(()),
    }
}

/// Returns the change as PVE logs it: `-delete ide2 -description finished`.
fn shown(change: &Change, revert: Option<&str>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut all: Vec<(String, String)> = change
        .options
        .0
        .keys()
        .map(|key| {
            let value = change.options.text(key).unwrap_or_default();
            (key.clone(), if key == "cipassword" { "<hidden>".to_owned() } else { value.to_owned() })
        })
        .collect();
    if !change.delete.is_empty() {
        all.push(("delete".to_owned(), change.delete.join(",")));
    }
    if let Some(revert) = revert {
        all.push(("revert".to_owned(), revert.to_owned()));
    }
    if change.force {
        all.push(("force".to_owned(), "1".to_owned()));
    }
    all.sort();
    for (key, value) in all {
        parts.push(format!("-{key} {value}"));
    }
    parts.join(" ")
}

fn drive_privileges(applicant: &Applicant<'_>, guest: &Guest, change: &Change) -> Outcome<()> {
    let held = guest.with_pending();
    for key in &change.delete {
        let Some(value) = guest.get(key).or_else(|| held.get(key).map(String::as_str)) else { continue };
        let protected = |what: String| match guest.get("protection") {
            Some("1") => Err(Refusal::fault(format!("can't remove {what} - protection mode enabled"))),
            _ => Ok(()),
        };
        if key == "vmstate" {
            protected(format!("vmstate '{value}'"))?;
            let path = format!("/storage/{}", storage_of(value));
            applicant.engine.state().require(applicant.caller, &path, &["Datastore.AllocateSpace"])?;
        } else if drives::is_unused(key) {
            protected(format!("unused disk '{}'", drives::file(value)))?;
            applicant.require(&["VM.Config.Disk"])?;
        } else if drives::is_drive(key) {
            protected(format!("drive '{key}'"))?;
            applicant.drive(value)?;
        } else if drives::is_net(key) {
            applicant.bridges(guest.get(key).into_iter())?;
        } else if key == "tags" {
            tags::require(&applicant.engine.state(), applicant.caller, applicant.vmid, Some(value), None)?;
        } else {
            applicant.device(key, value, "delete")?;
        }
    }
    for key in change.options.0.keys().filter(|key| drives::is_drive(key)) {
        if let Some(old) = guest.get(key) {
            applicant.drive(old)?;
        }
        applicant.drive(change.options.text(key).unwrap_or_default())?;
    }
    for key in change.options.0.keys().filter(|key| drives::is_net(key)) {
        applicant.bridges(guest.get(key).into_iter())?;
    }
    Ok(())
}

async fn carry_out(engine: &Arc<Engine>, vmid: u32, change: &Change, print: messages::Print<'_>) -> Outcome<()> {
    let mut changed: Vec<String> = Vec::new();
    // The whole request changes one boot order, beginning with the current one.
    let mut order = engine.with_guest(vmid, |guest| drives::boot_order(guest.get("boot"))).unwrap_or_default();
    for key in &change.revert {
        engine.with_guest(vmid, |guest| guest.pending.remove(key));
    }
    let held = engine.with_guest(vmid, |guest| guest.with_pending()).unwrap_or_default();
    for key in &change.delete {
        if key == "vmstate" {
            suspend::discard(engine, vmid, print).await;
            continue;
        }
        let in_force = engine.with_guest(vmid, |guest| guest.config.contains_key(key)) == Some(true);
        if !in_force && !held.contains_key(key) {
            print(format!("cannot delete '{key}' - not set in current configuration!"));
        }
        engine.with_guest(vmid, |guest| delete(guest, key, change.force, &mut order, &mut changed));
    }
    for key in change.options.0.keys() {
        let Some(value) = change.options.text(key) else { continue };
        let own_order = (!change.options.has("boot")).then_some(&mut order);
        set(engine, vmid, (key, value), own_order, &mut changed, print).await.map_err(Refusal::fault)?;
    }
    let fresh_image = changed.iter().any(|key| {
        engine.with_guest(vmid, |guest| matches!(guest.pending.get(key), Some(Pending::Set(value)) if drives::is_drive(key) && drives::is_cloudinit(value))) == Some(true)
    });
    let running = engine.with_guest(vmid, |guest| guest.run.is_some()) == Some(true);
    if running {
        let errors = pending::hotplug(engine, vmid, &changed).await;
        return if errors.is_empty() { Ok(()) } else { Err(Refusal::parameters(errors)) };
    }
    pending::apply_pending(engine, vmid).await;
    if fresh_image {
        let now = engine.with_guest(vmid, |guest| guest.clone());
        now.map_or(Ok(()), |now| checks::snippets_exist(engine, &now)).map_err(Refusal::fault)?;
    }
    Ok(())
}

fn delete(guest: &mut Guest, key: &str, force: bool, order: &mut Vec<String>, changed: &mut Vec<String>) {
    let was_pending = guest.pending.remove(key).is_some();
    if !guest.config.contains_key(key) {
        return;
    }
    if !was_pending && order.iter().any(|name| name == key) {
        order.retain(|name| name != key);
        guest.pending.insert("boot".into(), Pending::Set(drives::print_boot(order)));
        changed.push("boot".to_owned());
    }
    guest.pending.insert(key.to_owned(), Pending::Delete(force));
    changed.push(key.to_owned());
}

/// Sets one option. `order` is `None` if the request sets the boot order itself.
async fn set(
    engine: &Arc<Engine>,
    vmid: u32,
    option: (&str, &str),
    order: Option<&mut Vec<String>>,
    changed: &mut Vec<String>,
    print: messages::Print<'_>,
) -> Result<(), String> {
    let (key, value) = option;
    let Some(guest) = engine.with_guest(vmid, |guest| guest.clone()) else { return Ok(()) };
    let stored = if drives::is_drive(key) {
        disks::attach(engine, &guest, vmid, key, value, print).await?
    } else {
        value.to_owned()
    };
    engine.with_guest(vmid, |guest| {
        let plain_cdrom = drives::is_drive(key) && drives::is_cdrom(&stored) && !drives::is_cloudinit(&stored);
        if let Some(order) =
            order.filter(|order| plain_cdrom && !order.is_empty() && !order.iter().any(|name| name == key))
        {
            order.push(key.to_owned());
            guest.pending.insert("boot".into(), Pending::Set(drives::print_boot(order)));
            changed.push("boot".to_owned());
        }
        if guest.config.get(key) == Some(&world::guest::stored(&stored)) && key != "description" {
            guest.pending.remove(key);
            return;
        }
        guest.pending.insert(key.to_owned(), Pending::Set(stored));
        changed.push(key.to_owned());
    });
    Ok(())
}
