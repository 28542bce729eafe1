//! Suspending a VM to disk, and resuming it from there.
//!
//! ```text
//! running ── suspend todisk=1 ──► lock: suspending ──► stopped, lock: suspended, vmstate ── start, resume ──► running
//! ```
//!
//! Source: `vm_suspend` in qemu-server's `QemuServer/RunState.pm`, `vm_start` in `QemuServer.pm`, and `vm_suspend` and
//! `vm_resume` in `API2/Qemu.pm`. The options `runningmachine`, `runningcpu` and `running-nets-host-mtu`, which PVE
//! stores with `vmstate`, are not simulated.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::checks::Applicant;
use crate::engine::locks::Mode;
use crate::engine::{Call, Engine, Worker};
use crate::guests::status;
use crate::refusal::{Outcome, Refusal};
use crate::storage::allocation::{self, NewVolume};
use crate::storage::disks;
use crate::storage::messages;
use crate::world::drives;
use crate::world::guest::{Guest, Kind};
use crate::world::layout::Layout;
use crate::world::state::State;
use crate::world::volumes::storage_of;

/// Bytes that PVE reserves for the state of a VM's devices.
const DEVICES: u64 = 500 << 20;

/// Returns true if the VM was suspended to disk.
pub(crate) fn is_suspended(guest: &Guest) -> bool {
    guest.get("lock") == Some("suspended")
}

/// `POST …/status/suspend` with `todisk=1` for a running VM.
pub(crate) fn suspend_to_disk(engine: &Arc<Engine>, call: &Call, guest: &Guest) -> Outcome<Value> {
    if guest.managed_by_ha {
        return Err(Refusal::fault("Cannot suspend HA managed VM to disk"));
    }
    let vmid = call.vmid();
    Applicant { engine, caller: &call.caller, vmid, pool: None }.require(&["VM.Config.Disk"])?;
    if guest.config.keys().any(|key| key.starts_with("hostpci")) {
        let text = "cannot suspend VM to disk due to passed-through PCI device(s), which lack the possibility to save/restore their internal state";
        return Err(Refusal::fault(text));
    }
    let storage = match call.text("statestorage") {
        Some(storage) => storage.to_owned(),
        None => state_storage(&engine.state(), guest),
    };
    engine.state().require(&call.caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    if !engine.backend.can_suspend() {
        return Err(Refusal::fault("not simulated: suspending to disk a VM that really runs"));
    }
    let node = call.node.clone();
    let upid = engine.spawn(call, "qmsuspend", &vmid.to_string(), move |worker| async move {
        save(&worker, vmid, &node, &storage).await
    });
    Ok(json!(upid))
}

async fn save(worker: &Worker, vmid: u32, node: &str, storage: &str) -> Result<(), String> {
    let engine = &worker.engine;
    let _guard = worker.lock(Kind::Qemu, vmid, Mode::Exclusive, 10).await?;
    let guest = engine.guest(Kind::Qemu, vmid, node).map_err(Refusal::into_text)?;
    if guest.get("lock") == Some("backup") {
        return Err("cannot suspend to disk during backup".to_owned());
    }
    guest.unlocked().map_err(Refusal::into_text)?;
    let state = allocate(worker, vmid, &guest, storage)?;
    engine.with_guest(vmid, |guest| {
        guest.set("lock", "suspending");
        guest.set("vmstate", &state);
    });
    // PVE asks QEMU once a second if everything is saved.
    engine.wait(Duration::from_secs(1)).await;
    worker.log("State saved, quitting");
    engine.backend.vm_suspend(vmid).await;
    engine.with_guest(vmid, |guest| {
        guest.run = None;
        guest.set("lock", "suspended");
    });
    Ok(())
}

/// Makes the volume for memory and devices. It has twice the size of the memory, because QEMU saves the memory while
/// the VM still runs.
fn allocate(worker: &Worker, vmid: u32, guest: &Guest, storage: &str) -> Result<String, String> {
    let engine = &worker.engine;
    let now = i64::try_from(engine.clock.seconds()).unwrap_or_default();
    let date = jiff::Timestamp::from_second(now).map_err(|error| error.to_string())?.strftime("%Y-%m-%d");
    let mut name = format!("vm-{vmid}-state-suspend-{date}");
    if engine.state().layout(storage) == Layout::Files {
        name = format!("{vmid}/{name}.raw");
    }
    let wanted = NewVolume {
        node: &guest.node,
        storage,
        vmid,
        content: "images",
        format: Some("raw"),
        name: Some(&name),
        bytes: status::memory(guest) * 2 + DEVICES,
    };
    allocation::allocate(engine, wanted, &|line| worker.log(line))
}

/// Returns the storage for a VM's state: the configured one, or else one of its disks' storages. A shared storage comes
/// before a local one, and one with files before others.
fn state_storage(state: &State, guest: &Guest) -> String {
    if let Some(configured) = guest.get("vmstatestorage") {
        return configured.to_owned();
    }
    let disks = guest.config.iter().filter(|(key, value)| drives::is_drive(key) && !drives::is_cdrom(value));
    let used: std::collections::BTreeSet<String> =
        disks.map(|(_, value)| storage_of(&drives::file(value)).to_owned()).filter(|name| !name.is_empty()).collect();
    let mut chosen = [None, None];
    for name in used {
        let Some(storage) = state.storages.get(&name) else { continue };
        let place = &mut chosen[usize::from(!storage.shared)];
        if place.is_none() || storage.has_path() {
            *place = Some(name);
        }
    }
    let [shared, local] = chosen;
    shared.or(local).unwrap_or_else(|| "local".to_owned())
}

/// Logs which state a start resumes.
pub(crate) fn log_resumed_state(worker: &Worker, guest: &Guest) {
    worker.log("Resuming suspended VM");
    if let Some(state) = guest.get("vmstate") {
        worker.log(format!("activating and using '{state}' as vmstate"));
    }
}

/// Removes the state and the lock of a resumed VM.
pub(crate) async fn remove_state(worker: &Worker, vmid: u32) {
    worker.log("Resumed VM, removing state");
    discard(&worker.engine, vmid, &|line| worker.log(line)).await;
}

/// Frees the volume with a VM's state, and removes the lock of a suspended VM.
pub(crate) async fn discard(engine: &Arc<Engine>, vmid: u32, print: messages::Print<'_>) {
    let removed = engine.with_guest(vmid, |guest| {
        guest.config.remove("lock");
        Some((guest.node.clone(), guest.config.remove("vmstate")?))
    });
    if let Some((node, state)) = removed.flatten()
        && let Err(text) = disks::free(engine, &node, &state, print).await
    {
        print(text);
    }
}
