//! `POST /nodes/{node}/lxc`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::checks::{Applicant, mount_access};
use super::volumes::{new_volume, stored};
use super::{power, setup};
use crate::engine::locks::Mode;
use crate::engine::{Call, Engine, Worker};
use crate::line::Line;
use crate::params::Params;
use crate::qemu;
use crate::qemu::create::{allocation, refuse_undefined, reserve};
use crate::refusal::{Outcome, Refusal};
use crate::storage::disks;
use crate::storage::messages;
use crate::world::drives;
use crate::world::guest::Kind;

const NOT_STORED: [&str; 15] = [
    "node",
    "vmid",
    "ostemplate",
    "pool",
    "start",
    "storage",
    "force",
    "restore",
    "unique",
    "password",
    "ssh-public-keys",
    "bwlimit",
    "ignore-unpack-errors",
    "ha-managed",
    "ostype",
];

pub(crate) fn create(engine: &Arc<Engine>, call: Call) -> Outcome<Value> {
    let vmid = call.vmid();
    engine.state().quorum()?;
    let unprivileged = unprivileged(engine, &call)?;
    unused(engine, vmid)?;
    if let Some(keys) = call.text("ssh-public-keys") {
        qemu::ssh_keys::check(keys)?;
    }
    let pool = call.text("pool").map(str::to_owned);
    allocation(engine, &call.caller, vmid, pool.as_deref())?;
    refuse_undefined(&call.params)?;
    if call.params.flag("restore") {
        return Err(Refusal::fault("not simulated: containers from backups"));
    }
    let mut options = call.params.clone();
    options.insert_text("unprivileged", if unprivileged { "1" } else { "0" });
    NOT_STORED.iter().for_each(|name| {
        options.0.remove(*name);
    });
    let asked = Applicant { engine, caller: &call.caller, vmid, pool: pool.as_deref(), before: None, unprivileged };
    for key in options.0.keys().filter(|key| *key != "unprivileged") {
        asked.option(key, options.text(key))?;
    }
    let storage = call.text("storage").unwrap_or("local").to_owned();
    let template = call.text("ostemplate").unwrap_or_default().to_owned();
    engine.state().volume_access(&call.caller, Some(vmid), &template, Some("vztmpl"))?;
    if !options.0.contains_key("rootfs") {
        options.insert_text("rootfs", format!("{storage}:4"));
    }
    let mounts: Vec<String> = options
        .0
        .keys()
        .filter(|key| drives::is_mount(key))
        .filter_map(|key| options.text(key))
        .map(str::to_owned)
        .collect();
    for value in &mounts {
        mount_access(engine, &call.node, &call.caller, value)?;
    }
    reserve(engine, Kind::Lxc, vmid, &call.node)
        .map_err(|text| Refusal::fault(format!("unable to create CT {vmid} - {text}")))?;
    let mut call = call;
    let lock = options.take("lock");
    let start = call.params.take("start").as_deref() == Some("1");
    let wanted = call.params.take("ostype");
    let inner = call.clone();
    let upid = engine.spawn(&call, "vzcreate", &vmid.to_string(), move |worker| async move {
        let plan = Creation { vmid, node: inner.node.clone(), template, options, pool, lock, wanted };
        build(&worker, plan).await?;
        if start {
            let _ = power::power(&worker.engine, &inner, "start");
        }
        Ok(())
    });
    Ok(json!(upid))
}

/// Returns true if the container is to be unprivileged. Newer lines of PVE make unprivileged containers by default, and
/// require more privileges for privileged ones.
fn unprivileged(engine: &Engine, call: &Call) -> Outcome<bool> {
    let wanted = call.text("unprivileged").map(|flag| flag == "1");
    let state = engine.state();
    let unprivileged = wanted.unwrap_or_else(|| state.line.unprivileged_by_default());
    if !unprivileged && state.line == Line::Nine {
        state.require(&call.caller, "/", &["Sys.Modify"])?;
    }
    if call.params.flag("ha-managed") {
        state.require(&call.caller, "/", &["Sys.Console"])?;
    }
    Ok(unprivileged)
}

/// Checks that no guest of the cluster has the VMID.
pub(crate) fn unused(engine: &Engine, vmid: u32) -> Outcome<()> {
    match engine.state().guests.get(&vmid) {
        Some(other) => {
            Err(Refusal::fault(format!("{} {vmid} already exists on node '{}'", other.kind.name(), other.node)))
        }
        None => Ok(()),
    }
}

struct Creation {
    vmid: u32,
    node: String,
    template: String,
    options: Params,
    pool: Option<String>,
    lock: Option<String>,
    wanted: Option<String>,
}

async fn build(worker: &Worker, plan: Creation) -> Result<(), String> {
    let engine = &worker.engine;
    let vmid = plan.vmid;
    let _guard = worker.lock(Kind::Lxc, vmid, Mode::Exclusive, 10).await?;
    disks::remove_if_stopped(worker, vmid);
    match fill(worker, &plan).await {
        Ok(config) => {
            worker.middle().await;
            worker.keep();
            let mut state = engine.state();
            if let Some(pool) = plan.pool.as_ref().and_then(|pool| state.pools.get_mut(pool)) {
                pool.guests.insert(vmid);
            }
            if let Some(guest) = state.guests.get_mut(&vmid) {
                guest.config.remove("lock");
                config.iter().for_each(|(key, value)| guest.set(key, value));
            }
            Ok(())
        }
        Err(text) => {
            disks::remove_guest(engine, vmid, disks::VolumeScope::Numbered, &messages::quiet).await;
            Err(format!("unable to create CT {vmid} - {text}"))
        }
    }
}

async fn fill(worker: &Worker, plan: &Creation) -> Result<BTreeMap<String, String>, String> {
    let engine = &worker.engine;
    let vmid = plan.vmid;
    let mut config = BTreeMap::new();
    let print = |line: String| worker.log(line);
    let mut mounts: Vec<&String> = plan.options.0.keys().filter(|key| drives::is_mount(key)).collect();
    mounts.sort_by_key(|key| (key.as_str() != "rootfs", key.len(), (*key).clone()));
    for key in mounts {
        let value = plan.options.text(key).unwrap_or_default();
        config.insert(key.clone(), new_volume(engine, &plan.node, vmid, value, &print).await?);
    }
    let Some(file) = engine.state().volume(&plan.node, &plan.template).map(|volume| volume.file.clone()) else {
        return Err(format!("volume '{}' does not exist", plan.template));
    };
    let path = engine.state().path_of(&plan.template);
    worker.log(format!("extracting archive '{path}'"));
    let hostname = plan.options.text("hostname").map_or_else(|| format!("CT{vmid}"), str::to_owned);
    let rootfs = drives::file(config.get("rootfs").map_or("", String::as_str));
    if let Some(file) = file {
        unpackable(worker, vmid, &plan.template, &file)?;
        let keys = plan.options.0.keys();
        let asked = keys.filter_map(|key| Some((key.clone(), plan.options.text(key)?.to_owned()))).collect();
        let setup = setup::of(&asked, &hostname, engine.backend.node_name_servers());
        engine.backend.container_create(&rootfs, file, setup).await?;
    }
    worker.log("Total bytes read: 2191360 (2.1MiB, 200MiB/s)");
    if let Some(wanted) = plan.wanted.as_ref().filter(|wanted| *wanted != "alpine") {
        worker.log(format!("got unexpected ostype (alpine != {wanted})"));
    }
    worker.log("Detected container architecture: amd64");
    if plan.options.text("timezone") == Some("host") {
        worker.log("container does not have /usr/share/zoneinfo/Etc/UTC, timezone can not be modified");
    }
    for key in plan.options.0.keys().filter(|key| !drives::is_mount(key)) {
        let Some(value) = plan.options.text(key) else { continue };
        config.insert(key.clone(), stored(engine, key, value));
    }
    let defaults = [("arch", "amd64"), ("memory", "512"), ("swap", "512"), ("ostype", "alpine")];
    for (key, value) in defaults {
        config.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    if config.get("unprivileged").is_some_and(|value| value == "0") {
        config.remove("unprivileged");
    }
    config.insert("hostname".to_owned(), hostname);
    if let Some(lock) = &plan.lock {
        config.insert("lock".to_owned(), lock.clone());
    }
    Ok(config)
}

/// Logs tar's messages about a file that is not an archive, and returns the error.
fn unpackable(worker: &Worker, vmid: u32, template: &str, file: &std::path::Path) -> Result<(), String> {
    let mut magic = [0_u8; 4];
    let read = std::fs::File::open(file).and_then(|mut file| std::io::Read::read(&mut file, &mut magic));
    let is_zstd = read.is_ok() && magic == [0x28, 0xb5, 0x2f, 0xfd];
    if !template.ends_with(".tar.zst") || is_zstd {
        return Ok(());
    }
    for line in [
        "zstd: /*stdin*\\: unsupported format ",
        "tar: Child returned status 1",
        "tar: Error is not recoverable: exiting now",
    ] {
        worker.log(line);
    }
    Err(format!(
        "command 'lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- tar xpf - --zstd --totals --one-file-system -p --sparse --numeric-owner --acls --xattrs '--xattrs-include=user.*' '--xattrs-include=security.capability' '--warning=no-file-ignored' '--warning=no-xattr-write' -C /var/lib/lxc/{vmid}/rootfs --skip-old-files --anchored --exclude './dev/*'' failed: exit code 2"
    ))
}
