//! Power of VMs: start, stop, shutdown and others.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{cards, checks, suspend};
use crate::engine::locks::Mode;
use crate::engine::{Call, Engine, Worker};
use crate::guests::pending;
use crate::guests::status;
use crate::params;
use crate::refusal::{Outcome, Refusal};
use crate::world::drives;
use crate::world::guest::{Guest, Kind, Run};
use crate::world::volumes::storage_of;
use sim_backend::VmStart;

pub(crate) fn start(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    call.root_only(&[
        "skiplock",
        "stateuri",
        "migratedfrom",
        "migration_type",
        "migration_network",
        "targetstorage",
        "force-cpu",
    ])?;
    engine.state().quorum()?;
    let (vmid, node) = (call.vmid(), call.node.clone());
    let upid = engine
        .spawn(call, "qmstart", &vmid.to_string(), move |worker| async move { start_vm(&worker, vmid, &node).await });
    Ok(json!(upid))
}

/// Carries out a start task.
pub(crate) async fn start_vm(worker: &Worker, vmid: u32, node: &str) -> Result<(), String> {
    let engine = &worker.engine;
    engine.guest(Kind::Qemu, vmid, node).map_err(Refusal::into_text)?;
    let _guard = worker.lock(Kind::Qemu, vmid, Mode::Exclusive, 10).await?;
    let guest = engine.guest(Kind::Qemu, vmid, node).map_err(Refusal::into_text)?;
    if guest.is_template() {
        return Err("you can't start a vm if it's a template".to_owned());
    }
    let resume = suspend::is_suspended(&guest) || guest.get("vmstate").is_some();
    if let Some(lock) = guest.get("lock").filter(|_| !suspend::is_suspended(&guest)) {
        return Err(format!("VM is locked ({lock})"));
    }
    if guest.run.is_some() {
        return Err(format!("VM {vmid} already running"));
    }
    if !resume {
        pending::apply_pending(engine, vmid).await;
    }
    let guest = engine.guest(Kind::Qemu, vmid, node).map_err(Refusal::into_text)?;
    if guest.config.iter().any(|(key, value)| drives::is_drive(key) && drives::is_cloudinit(value)) {
        checks::snippets_exist(engine, &guest)?;
        worker.log("generating cloud-init ISO");
    }
    bridges_exist(engine, &guest)?;
    if resume {
        suspend::log_resumed_state(worker, &guest);
    }
    let start = VmStart { resume, ..vm_start(engine, vmid, &guest)? };
    set_running(engine, vmid);
    let started = engine.backend.vm_start(start, engine.events.clone()).await;
    if started.is_err() {
        engine.with_guest(vmid, |guest| guest.run = None);
    } else if resume {
        suspend::remove_state(worker, vmid).await;
    }
    started
}

pub(crate) fn bridges_exist(engine: &Engine, guest: &Guest) -> Result<(), String> {
    let state = engine.state();
    let Some(node) = state.nodes.get(&guest.node) else { return Ok(()) };
    for (key, value) in guest.config.iter().filter(|(key, _)| drives::is_net(key)) {
        let Some(bridge) = drives::bridge(value) else { continue };
        let known = node.networks.iter().any(|network| network.get("iface").and_then(Value::as_str) == Some(&bridge));
        if !known {
            tracing::debug!(key, "no such bridge");
            return Err(format!("bridge '{bridge}' does not exist"));
        }
    }
    Ok(())
}

fn vm_start(engine: &Engine, vmid: u32, guest: &Guest) -> Result<VmStart, String> {
    let state = engine.state();
    let order = drives::boot_order(guest.get("boot"));
    let disks = || drives::names().into_iter().filter(|name| guest.config.contains_key(name));
    let mut cdroms: Vec<PathBuf> = Vec::new();
    for name in disks() {
        let value = guest.get(&name).unwrap_or_default();
        let file = drives::file(value);
        if matches!(file.as_str(), "none" | "cdrom") {
            continue;
        }
        state.usable(&guest.node, storage_of(&file))?;
        let Some(volume) = state.volume(&guest.node, &file) else {
            return Err(format!("volume '{file}' does not exist"));
        };
        if drives::is_cdrom(value)
            && let Some(path) = &volume.file
        {
            cdroms.push(path.clone());
        }
    }
    let is_disk =
        |name: &String| guest.get(name).is_some_and(|value| drives::is_drive(name) && !drives::is_cdrom(value));
    let boot_disk = order.iter().find(|name| is_disk(name)).cloned().or_else(|| disks().find(|name| is_disk(name)));
    Ok(VmStart {
        vmid,
        name: status::name(guest, vmid),
        boot_disk: boot_disk.and_then(|name| guest.get(&name).map(drives::file)),
        cdroms,
        agent: drives::agent_enabled(guest.get("agent")),
        networks: cards::of(&guest.config),
        resume: false,
    })
}

/// Marks a guest as running and gives the run its number.
pub(crate) fn set_running(engine: &Engine, vmid: u32) {
    let since = engine.clock.now();
    let mut state = engine.state();
    let pid = state.pid();
    let number = state.next_run;
    state.next_run += 1;
    let node_cores =
        state.guests.get(&vmid).and_then(|guest| state.nodes.get(&guest.node)).map_or(1, |node| node.cores);
    if let Some(guest) = state.guests.get_mut(&vmid) {
        let (memory, cores) = (status::memory(guest), status::cores(guest, node_cores));
        guest.run = Some(Run { pid, since, paused: false, agent: false, stuck: false, number, memory, cores });
    }
}

pub(crate) fn stop(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    call.root_only(&["skiplock", "keepActive", "migratedfrom"])?;
    let (vmid, node, overrule) = (call.vmid(), call.node.clone(), call.params.flag("overrule-shutdown"));
    let upid = engine.spawn(call, "qmstop", &vmid.to_string(), move |worker| async move {
        let engine = &worker.engine;
        if engine.guest(Kind::Qemu, vmid, &node).is_err() {
            return Err(format!("unable to find configuration file for VM {vmid} on node '{node}'"));
        }
        if overrule {
            overrule_shutdowns(&worker, "qmshutdown", vmid).await;
        }
        let _guard = worker.lock(Kind::Qemu, vmid, Mode::Exclusive, 10).await?;
        unlocked_where_running(engine, vmid)?;
        cut_power(engine, vmid).await;
        Ok(())
    });
    Ok(json!(upid))
}

/// Checks that a running VM has no config lock. A config lock of a stopped VM does not matter here.
fn unlocked_where_running(engine: &Engine, vmid: u32) -> Result<(), String> {
    let lock = engine.with_guest(vmid, |guest| guest.run.as_ref().and(guest.get("lock")).map(str::to_owned)).flatten();
    lock.map_or(Ok(()), |lock| Err(format!("VM is locked ({lock})")))
}

fn is_paused(engine: &Engine, vmid: u32) -> bool {
    engine.with_guest(vmid, |guest| guest.run.as_ref().is_some_and(|run| run.paused)) == Some(true)
}

pub(crate) async fn overrule_shutdowns(worker: &Worker, kind: &str, vmid: u32) {
    let engine = &worker.engine;
    let tasks: Vec<String> = {
        let state = engine.state();
        let id = vmid.to_string();
        state
            .tasks
            .iter()
            .filter(|task| task.kind == kind && task.id == id && task.end.is_none())
            .map(|task| task.upid.clone())
            .collect()
    };
    if tasks.is_empty() {
        return;
    }
    for upid in &tasks {
        engine.interrupt(upid);
        engine.ended(upid).await;
    }
    worker.log(format!("overruled {kind} tasks: {}", tasks.join(", ")));
}

/// Cuts the power and applies pending changes.
pub(crate) async fn cut_power(engine: &Arc<Engine>, vmid: u32) {
    let running = engine.with_guest(vmid, |guest| guest.run.is_some()) == Some(true);
    if !running {
        return;
    }
    engine.backend.vm_stop(vmid).await;
    engine.with_guest(vmid, |guest| guest.run = None);
    engine.wait(Duration::from_millis(600)).await;
    pending::apply_pending(engine, vmid).await;
}

pub(crate) fn shutdown(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    call.root_only(&["skiplock", "keepActive"])?;
    let (vmid, node) = (call.vmid(), call.node.clone());
    let timeout = call.params.number("timeout").and_then(|n| u64::try_from(n).ok()).unwrap_or(60);
    let force = call.params.flag("forceStop");
    let paused = is_paused(engine, vmid);
    if paused && !force {
        return Err(Refusal::fault("VM is paused - cannot shutdown"));
    }
    let upid = engine.spawn(call, "qmshutdown", &vmid.to_string(), move |worker| async move {
        let engine = worker.engine.clone();
        if engine.guest(Kind::Qemu, vmid, &node).is_err() {
            return Err(format!("unable to find configuration file for VM {vmid} on node '{node}'"));
        }
        let _guard = worker.lock(Kind::Qemu, vmid, Mode::Exclusive, 10).await?;
        unlocked_where_running(&engine, vmid)?;
        if paused {
            cut_power(&engine, vmid).await;
            return Ok(());
        }
        power_down(&worker, vmid, timeout, force).await
    });
    Ok(json!(upid))
}

async fn power_down(worker: &Worker, vmid: u32, timeout: u64, force: bool) -> Result<(), String> {
    let engine = &worker.engine;
    let Some(guest) = engine.with_guest(vmid, |guest| guest.clone()) else { return Ok(()) };
    let Some(run) = &guest.run else { return Ok(()) };
    if drives::agent_enabled(guest.get("agent")) && !run.agent {
        engine.wait(Duration::from_secs(4)).await;
        worker
            .log(format!("QEMU Guest Agent is not running - VM {vmid} qga command 'guest-ping' failed - got timeout"));
    }
    engine.backend.vm_shutdown(vmid).await;
    if gone_within(engine, vmid, run.number, timeout).await {
        pending::apply_pending(engine, vmid).await;
        return Ok(());
    }
    if !force {
        return Err("VM quit/powerdown failed - got timeout".to_owned());
    }
    worker.log("VM still running - terminating now with SIGTERM");
    cut_power(engine, vmid).await;
    Ok(())
}

/// Waits until a run has ended. Returns false after `seconds`.
pub(crate) async fn gone_within(engine: &Engine, vmid: u32, number: u64, seconds: u64) -> bool {
    let began = engine.clock.now();
    let limit = Duration::from_secs(seconds);
    loop {
        let there =
            engine.with_guest(vmid, |guest| guest.run.as_ref().is_some_and(|run| run.number == number)) == Some(true);
        if !there {
            return true;
        }
        if engine.clock.now().saturating_sub(began) >= limit {
            return false;
        }
        engine.wait(Duration::from_millis(200)).await;
    }
}

pub(crate) fn other_power_calls(engine: &Arc<Engine>, call: &Call, verb: &str) -> Outcome<Value> {
    call.root_only(&["skiplock"])?;
    let vmid = call.vmid();
    let Ok(guest) = engine.guest(Kind::Qemu, vmid, &call.node) else {
        let text = format!("unable to find configuration file for VM {vmid} on node '{}'", call.node);
        return Err(Refusal::fault(text));
    };
    if verb == "resume" && suspend::is_suspended(&guest) {
        return Ok(resume_from_disk(engine, call));
    }
    if verb == "reboot" && guest.run.as_ref().is_some_and(|run| run.paused) {
        return Err(Refusal::fault("VM is paused - cannot shutdown"));
    }
    let Some(run) = guest.run.clone() else { return Err(Refusal::fault(format!("VM {vmid} not running"))) };
    if verb == "suspend" && call.params.flag("todisk") {
        return suspend::suspend_to_disk(engine, call, &guest);
    }
    let timeout = call.params.number("timeout").and_then(|n| u64::try_from(n).ok()).unwrap_or(60);
    let (node, verb, skips_lock) = (call.node.clone(), verb.to_owned(), call.params.flag("skiplock"));
    let kind = match verb.as_str() {
        "suspend" => "qmpause".to_owned(),
        other => format!("qm{other}"),
    };
    let upid = engine.spawn(call, &kind, &vmid.to_string(), move |worker| async move {
        let engine = worker.engine.clone();
        match verb.as_str() {
            "suspend" | "resume" => {
                let _guard = worker.lock(Kind::Qemu, vmid, Mode::Exclusive, 10).await?;
                let guest = engine.guest(Kind::Qemu, vmid, &node).map_err(Refusal::into_text)?;
                if let Some(lock) = guest.get("lock").filter(|lock| *lock != "backup" && !skips_lock) {
                    return Err(format!("VM is locked ({lock})"));
                }
                engine.with_guest(vmid, |guest| {
                    if let Some(run) = &mut guest.run {
                        run.paused = verb == "suspend";
                    }
                });
            }
            "reboot" => {
                let guard = worker.lock(Kind::Qemu, vmid, Mode::Exclusive, 10).await?;
                engine.backend.vm_shutdown(vmid).await;
                if !gone_within(&engine, vmid, run.number, timeout).await {
                    return Err("VM quit/powerdown failed - got timeout".to_owned());
                }
                drop(guard);
                start_again(&engine, vmid, node);
            }
            _ => {}
        }
        Ok(())
    });
    Ok(json!(upid))
}

/// Starts a VM that was suspended to disk, for `POST …/status/resume`.
fn resume_from_disk(engine: &Arc<Engine>, call: &Call) -> Value {
    let (vmid, node) = (call.vmid(), call.node.clone());
    json!(
        engine.spawn(
            call,
            "qmresume",
            &vmid.to_string(),
            move |worker| async move { start_vm(&worker, vmid, &node).await }
        )
    )
}

/// Starts the VM for the second half of a reboot, which is not a task of its own.
fn start_again(engine: &Arc<Engine>, vmid: u32, node: String) {
    let engine = engine.clone();
    engine.clone().spawn_background(async move {
        engine.clock.sleep(Duration::from_millis(1500)).await;
        pending::apply_pending(&engine, vmid).await;
        let Ok(guest) = engine.guest(Kind::Qemu, vmid, &node) else { return };
        if let Ok(start) = vm_start(&engine, vmid, &guest) {
            set_running(&engine, vmid);
            if engine.backend.vm_start(start, engine.events.clone()).await.is_err() {
                engine.with_guest(vmid, |guest| guest.run = None);
            }
        }
    });
}

fn listed(call: &Call) -> Vec<u32> {
    params::split_list(call.text("vms").unwrap_or_default()).iter().filter_map(|vmid| vmid.parse().ok()).collect()
}

/// `POST /nodes/{node}/startall`: starts guests one after the other, in the order of their VMIDs.
pub(crate) fn start_all(engine: &Arc<Engine>, call: &Call) -> Value {
    let (guests, node) = (listed(call), call.node.clone());
    json!(engine.spawn(call, "startall", "", move |worker| async move {
        for vmid in guests {
            let stopped =
                worker.engine.with_guest(vmid, |guest| guest.run.is_none() && guest.kind == Kind::Qemu) == Some(true);
            if stopped {
                worker.log(format!("Starting VM {vmid}"));
                start_vm(&worker, vmid, &node).await?;
            }
        }
        Ok(())
    }))
}

/// `POST /nodes/{node}/stopall`: stops guests in the reverse order.
pub(crate) fn stop_all(engine: &Arc<Engine>, call: &Call) -> Value {
    let mut guests = listed(call);
    guests.reverse();
    let timeout = call.params.number("timeout").and_then(|n| u64::try_from(n).ok()).unwrap_or(180);
    let force = call.text("force-stop") != Some("0");
    json!(engine.spawn(call, "stopall", "", move |worker| async move {
        for vmid in guests {
            let Some(number) =
                worker.engine.with_guest(vmid, |guest| guest.run.as_ref().map(|run| run.number)).flatten()
            else {
                continue;
            };
            worker.log(format!("Stopping VM {vmid} (timeout = {timeout} seconds)"));
            worker.engine.backend.vm_shutdown(vmid).await;
            if !gone_within(&worker.engine, vmid, number, timeout).await && force {
                cut_power(&worker.engine, vmid).await;
            }
        }
        Ok(())
    }))
}

pub(crate) async fn send_key(engine: &Engine, call: &Call) -> Outcome<Value> {
    let guest = engine.guest(Kind::Qemu, call.vmid(), &call.node)?;
    if guest.run.is_none() {
        return Err(Refusal::fault(format!("VM {} not running", call.vmid())));
    }
    engine.backend.vm_key(call.vmid(), call.text("key").unwrap_or_default()).await;
    Ok(Value::Null)
}
