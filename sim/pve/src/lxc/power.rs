//! Power of containers: start, stop, shutdown, reboot.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::setup;
use crate::engine::locks::{Guard, Mode};
use crate::engine::{Call, Engine};
use crate::guests;
use crate::guests::pending;
use crate::qemu;
use crate::refusal::{Outcome, Refusal};
use crate::world::drives;
use crate::world::guest::Kind;
use sim_backend::ContainerStart;

pub(crate) fn power(engine: &Arc<Engine>, call: &Call, verb: &str) -> Outcome<Value> {
    call.root_only(&["skiplock"])?;
    let vmid = call.vmid();
    let running = engine.with_guest(vmid, |guest| guest.run.is_some()) == Some(true);
    match (verb, running) {
        ("start" | "resume", true) => return Err(Refusal::fault(format!("CT {vmid} already running"))),
        ("stop" | "shutdown" | "suspend", false) => return Err(Refusal::fault(format!("CT {vmid} not running"))),
        ("reboot", false) => return Err(Refusal::fault(format!("VM {vmid} not running"))),
        _ => {}
    }
    if matches!(verb, "suspend" | "resume") {
        return Err(Refusal::fault(format!("not simulated: {verb} of a container")));
    }
    if verb == "start" {
        engine.state().quorum()?;
    }
    let (node, verb_owned) = (call.node.clone(), verb.to_owned());
    let timeout = call.params.number("timeout").and_then(|n| u64::try_from(n).ok()).unwrap_or(60);
    let (force, overrule) = (call.params.flag("forceStop"), call.params.flag("overrule-shutdown"));
    let upid = engine.spawn(call, &format!("vz{verb}"), &vmid.to_string(), move |worker| async move {
        let engine = worker.engine.clone();
        engine.guest(Kind::Lxc, vmid, &node).map_err(Refusal::into_text)?;
        if overrule {
            qemu::power::overrule_shutdowns(&worker, "vzshutdown", vmid).await;
        }
        let guard = worker.lock(Kind::Lxc, vmid, Mode::Exclusive, 10).await?;
        let lock = engine.with_guest(vmid, |guest| guest.get("lock").map(str::to_owned)).flatten();
        let ends = matches!(verb_owned.as_str(), "stop" | "shutdown");
        if let Some(lock) = lock.filter(|lock| ends && (verb_owned == "shutdown" || lock != "mounted")) {
            return Err(format!("CT is locked ({lock})"));
        }
        match verb_owned.as_str() {
            "start" => start(&engine, vmid, &node, guard).await,
            "shutdown" => shutdown(&engine, vmid, timeout, force).await,
            "reboot" => {
                shutdown(&engine, vmid, timeout, true).await?;
                start(&engine, vmid, &node, guard).await
            }
            _ => {
                stop_now(&engine, vmid).await;
                Ok(())
            }
        }
    });
    Ok(json!(upid))
}

async fn start(engine: &Arc<Engine>, vmid: u32, node: &str, _guard: Guard) -> Result<(), String> {
    let guest = engine.guest(Kind::Lxc, vmid, node).map_err(Refusal::into_text)?;
    if guest.is_template() {
        return Err("you can't start a CT if it's a template".to_owned());
    }
    if let Some(lock) = guest.get("lock").filter(|lock| *lock != "mounted") {
        return Err(format!("CT is locked ({lock})"));
    }
    let quota = |(key, value): (&String, &String)| {
        drives::is_mount(key) && drives::parse(value).get("quota").is_some_and(|flag| flag == "1")
    };
    if guest.get("unprivileged") == Some("1") && guest.config.iter().any(quota) {
        return Err("Quotas are not supported by unprivileged containers.".to_owned());
    }
    pending::apply_pending(engine, vmid).await;
    let guest = engine.guest(Kind::Lxc, vmid, node).map_err(Refusal::into_text)?;
    qemu::power::bridges_exist(engine, &guest)?;
    let mounts = guest
        .config
        .iter()
        .filter(|(key, _)| drives::is_mount(key) && *key != "rootfs")
        .map(|(_, value)| (drives::file(value), drives::parse(value).remove("mp").unwrap_or_default()))
        .collect();
    let start = ContainerStart {
        vmid,
        rootfs: drives::file(guest.get("rootfs").unwrap_or_default()),
        mounts,
        setup: setup::of(&guest.config, &guests::status::name(&guest, vmid), engine.backend.node_name_servers()),
    };
    qemu::power::set_running(engine, vmid);
    let started = engine.backend.container_start(start, engine.events.clone()).await;
    if started.is_err() {
        engine.with_guest(vmid, |guest| guest.run = None);
    }
    started
}

/// Asks a container's init to halt. After `timeout` seconds the container is stopped if `force` is set.
async fn shutdown(engine: &Arc<Engine>, vmid: u32, timeout: u64, force: bool) -> Result<(), String> {
    engine.wait(Duration::from_millis(500)).await;
    if !engine.backend.container_shutdown(vmid, Duration::from_secs(timeout)).await && !force {
        return Err("container did not stop".to_owned());
    }
    stop_now(engine, vmid).await;
    Ok(())
}

/// Starts a container that rebooted itself, with its current configuration. On the real server systemd does this.
pub(crate) async fn start_again(engine: &Arc<Engine>, vmid: u32) {
    engine.consoles.drop_shell(vmid);
    pending::apply_pending(engine, vmid).await;
    let Some(node) = engine.with_guest(vmid, |guest| guest.node.clone()) else { return };
    let Ok(guard) = engine.lock_now(Kind::Lxc, vmid).await else { return };
    if let Err(error) = start(engine, vmid, &node, guard).await {
        tracing::debug!(vmid, error, "a container that rebooted does not start");
    }
}

/// Stops a container immediately and applies its pending changes.
pub(crate) async fn stop_now(engine: &Arc<Engine>, vmid: u32) {
    engine.consoles.drop_shell(vmid);
    engine.backend.container_stop(vmid).await;
    engine.with_guest(vmid, |guest| guest.run = None);
    engine.wait(Duration::from_millis(600)).await;
    pending::apply_pending(engine, vmid).await;
}
