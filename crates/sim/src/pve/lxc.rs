//! Containers: creating, configuring, powering, moving volumes, destroying.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::allocation::{self, Wanted};
use super::disks;
use super::drives;
use super::engine::{Call, Engine, Worker};
use super::layout::Layout;
use super::line::Line;
use super::locks::{Guard, Mode};
use super::params::Params;
use super::pending;
use super::qemu_checks;
use super::qemu_config::{Change, change_of};
use super::qemu_create::{allocation, refuse_undefined, reserve};
use super::refusal::{Outcome, Refusal};
use super::state::{Guest, Kind, Pending};
use crate::backend::ContainerStart;

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

/// Somebody who wants a container's options changed, or a container made with them.
struct Asked<'a> {
    engine: &'a Engine,
    caller: &'a str,
    vmid: u32,
    pool: Option<&'a str>,
    before: Option<&'a Guest>,
    unprivileged: bool,
}

impl Asked<'_> {
    /// What a caller must be allowed to, by option; no value where it is deleted or reverted.
    fn option(&self, key: &str, value: Option<&str>) -> Outcome<()> {
        let applicant =
            qemu_checks::Applicant { engine: self.engine, caller: self.caller, vmid: self.vmid, pool: self.pool };
        let need = |privilege: &str| applicant.require(&[privilege]);
        if self.caller == "root@pam" {
            return Ok(());
        }
        match key {
            "cores" | "cpuunits" | "cpulimit" => need("VM.Config.CPU"),
            "memory" | "swap" => need("VM.Config.Memory"),
            "nameserver" | "searchdomain" | "hostname" => need("VM.Config.Network"),
            "features" => self.features(value, need),
            "hookscript" => Err(Refusal::permission("changing the hookscript is only allowed for root@pam")),
            key if key.strip_prefix("dev").is_some_and(|n| n.parse::<u32>().is_ok()) => {
                Err(Refusal::permission("configuring device passthrough is only allowed for root@pam"))
            }
            key if drives::is_mount(key) => {
                need("VM.Config.Disk")?;
                let Some(value) = value else { return Ok(()) };
                let file = drives::file(value);
                if file.starts_with('/') {
                    let kind = if file.starts_with("/dev/") { "device" } else { "bind" };
                    return Err(Refusal::permission(&format!("mount point type {kind} is only allowed for root@pam")));
                }
                mount_privilege(self.engine, self.caller, self.vmid, &file)
            }
            key if drives::is_net(key) => {
                need("VM.Config.Network")?;
                let old = self.before.and_then(|guest| guest.get(key));
                applicant.bridges(old.into_iter().chain(value))
            }
            _ => need("VM.Config.Options"),
        }
    }

    fn features(&self, value: Option<&str>, need: impl Fn(&str) -> Outcome<()>) -> Outcome<()> {
        if !self.unprivileged {
            let text = "changing feature flags for privileged container is only allowed for root@pam";
            return Err(Refusal::permission(text));
        }
        let parse = |text: Option<&str>| drives::parse(text.unwrap_or_default());
        let (mut old, mut new) = (parse(self.before.and_then(|guest| guest.get("features"))), parse(value));
        old.remove("file");
        new.remove("file");
        let changed = |key: &&String| old.get(*key) != new.get(*key);
        let keys: Vec<&String> = old.keys().chain(new.keys()).filter(changed).collect();
        if keys.iter().any(|key| *key != "nesting") {
            let text = "changing feature flags (except nesting) is only allowed for root@pam";
            return Err(Refusal::permission(text));
        }
        if keys.is_empty() { Ok(()) } else { need("VM.Allocate") }
    }
}

/// A new volume asks for space, one that is there for access to it.
fn mount_privilege(engine: &Engine, caller: &str, vmid: u32, file: &str) -> Outcome<()> {
    let Some((storage, name)) = file.split_once(':') else { return Ok(()) };
    let path = format!("/storage/{storage}");
    let state = engine.state();
    if name.parse::<f64>().is_ok() {
        return state.require(caller, &path, &["Datastore.AllocateSpace"]);
    }
    state.volume_access(caller, Some(vmid), file, Some("rootdir"))
}

pub(crate) fn create(engine: &Arc<Engine>, call: Call) -> Outcome<Value> {
    let vmid = call.vmid();
    engine.state().quorum()?;
    let unprivileged = unprivileged(engine, &call)?;
    unused(engine, vmid)?;
    if let Some(keys) = call.text("ssh-public-keys") {
        qemu_checks::check_keys(keys)?;
    }
    let pool = call.text("pool").map(str::to_owned);
    allocation(engine, &call.caller, vmid, pool.as_deref())?;
    refuse_undefined(&call.params)?;
    let mut options = call.params.clone();
    options.insert_text("unprivileged", if unprivileged { "1" } else { "0" });
    NOT_STORED.iter().for_each(|name| {
        options.0.remove(*name);
    });
    let asked = Asked { engine, caller: &call.caller, vmid, pool: pool.as_deref(), before: None, unprivileged };
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
            let _ = power(&worker.engine, &inner, "start");
        }
        Ok(())
    });
    Ok(json!(upid))
}

/// Newer lines make unprivileged containers unless told otherwise, and ask more of those who do.
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

/// The number is free in the whole cluster.
pub(crate) fn unused(engine: &Engine, vmid: u32) -> Outcome<()> {
    match engine.state().guests.get(&vmid) {
        Some(other) => {
            Err(Refusal::fault(format!("{} {vmid} already exists on node '{}'", other.kind.name(), other.node)))
        }
        None => Ok(()),
    }
}

fn mount_access(engine: &Engine, node: &str, caller: &str, value: &str) -> Outcome<()> {
    let file = drives::file(value);
    let Some((storage, _)) = file.split_once(':') else { return Ok(()) };
    let state = engine.state();
    let found = state.usable(node, storage).map_err(Refusal::fault)?;
    state.require(caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    if found.holds("rootdir") {
        return Ok(());
    }
    Err(Refusal::parameter("storage", format!("storage '{storage}' does not support container directories")))
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
    worker.half_made(Some(vmid));
    match fill(worker, &plan).await {
        Ok(config) => {
            worker.half_made(None);
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
            disks::forget_guest(engine, vmid, disks::Reach::Numbered, &disks::quiet).await;
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
        engine.backend.container_create(&rootfs, file, &hostname).await?;
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

/// Junk in place of an archive ends with tar's complaints.
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

/// Values in the form in which they are stored.
fn stored(engine: &Engine, key: &str, value: &str) -> String {
    if key == "tags" {
        return qemu_checks::tags(value);
    }
    if !drives::is_net(key) {
        return value.to_owned();
    }
    let mut fields = drives::parse(value);
    fields.remove("file");
    fields.entry("hwaddr".to_owned()).or_insert_with(|| engine.state().mac());
    fields.insert("type".to_owned(), "veth".to_owned());
    let name = fields.remove("name").unwrap_or_default();
    let mut out = format!("name={name}");
    for first in ["bridge"] {
        if let Some(value) = fields.remove(first) {
            out.push_str(&format!(",{first}={value}"));
        }
    }
    for (key, value) in fields {
        out.push_str(&format!(",{key}={value}"));
    }
    out
}

/// `volume[,mp=…],rest` in PVE's order.
fn print_mount(fields: &BTreeMap<String, String>) -> String {
    let mut out = fields.get("file").cloned().unwrap_or_default();
    if let Some(mp) = fields.get("mp") {
        out.push_str(&format!(",mp={mp}"));
    }
    for (key, value) in fields.iter().filter(|(key, _)| !matches!(key.as_str(), "file" | "mp")) {
        out.push_str(&format!(",{key}={value}"));
    }
    out
}

async fn new_volume(
    engine: &Arc<Engine>,
    node: &str,
    vmid: u32,
    value: &str,
    print: disks::Print<'_>,
) -> Result<String, String> {
    let mut fields = drives::parse(value);
    let file = fields.get("file").cloned().unwrap_or_default();
    let (storage, size) = file.split_once(':').unwrap_or(("", ""));
    engine.state().usable(node, storage)?;
    let Some(bytes) = drives::gigabytes(size) else {
        let Some(size) = engine.state().volume(node, &file).map(|volume| volume.size) else {
            return Err(format!("volume '{file}' does not exist"));
        };
        fields.insert("size".into(), drives::print_size(size));
        return Ok(print_mount(&fields));
    };
    let volid = root_volume(engine, node, storage, vmid, bytes, print)?;
    engine.backend.disk_create(&volid).await.map_err(|error| error.to_string())?;
    fields.insert("file".into(), volid);
    fields.insert("size".into(), drives::print_size(bytes));
    Ok(print_mount(&fields))
}

/// A volume for a container's files: a file system of its own, or a data set where the storage has such.
pub(crate) fn root_volume(
    engine: &Engine,
    node: &str,
    storage: &str,
    vmid: u32,
    bytes: u64,
    print: disks::Print<'_>,
) -> Result<String, String> {
    let (layout, holds) =
        engine.state().storages.get(storage).map_or((Layout::Files, false), |s| (s.layout(), s.holds("rootdir")));
    let format = if layout == Layout::Zfs { "subvol" } else { "raw" };
    if layout != Layout::Zfs && !holds {
        return Err(format!("content type 'rootdir' is not available or configured on storage '{storage}'"));
    }
    let wanted = Wanted { node, storage, vmid, content: "rootdir", format: Some(format), name: None, bytes };
    let volid = allocation::allocate(engine, wanted, print)?;
    if format == "raw" {
        filesystem(engine, bytes, print);
    }
    Ok(volid)
}

/// What mkfs says.
pub(crate) fn filesystem(engine: &Engine, bytes: u64, print: disks::Print<'_>) {
    let small = bytes < 512 << 20;
    let block = if small { 1024 } else { 4096 };
    let blocks = bytes / block;
    let inodes = if small { bytes / 4096 } else { bytes / 16384 };
    print(format!("Creating filesystem with {blocks} {}k blocks and {inodes} inodes", block / 1024));
    let uuid = engine.state().uuid();
    print(format!("Filesystem UUID: {uuid}"));
    print("Superblock backups stored on blocks: ".to_owned());
    let (group, offset) = if small { (8192, 1) } else { (32768, 0) };
    let mut starts: Vec<u64> =
        [1_u64, 3, 5, 7, 9, 25, 27, 49, 81, 125].iter().map(|n| n * group + offset).filter(|at| *at < blocks).collect();
    starts.sort_unstable();
    let text: Vec<String> = starts.iter().map(u64::to_string).collect();
    print(format!("\t{}", text.join(", ")));
}

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
    let asked = Asked {
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
    super::qemu_config::contradictions(engine, Kind::Lxc, &change)?;
    for key in change.options.0.keys() {
        asked.option(key, change.options.text(key))?;
    }
    for key in change.options.0.keys().filter(|key| drives::is_mount(key)) {
        mount_access(engine, &call.node, &call.caller, change.options.text(key).unwrap_or_default())?;
    }
    if let Some(key) = ["unprivileged"].iter().find(|key| change.options.has(key)) {
        return Err(Refusal::fault(format!("unable to modify read-only option: '{key}'")));
    }
    if guest.get("protection") == Some("1")
        && let Some(key) = change.delete.iter().find(|key| drives::is_mount(key))
    {
        return Err(Refusal::fault(format!("can't remove CT {vmid} drive '{key}' - protection mode enabled")));
    }
    engine.config_is_writable(Kind::Lxc, vmid, &call.node).map_err(Refusal::fault)?;
    carry_out(engine, vmid, &guest, &change).await?;
    Ok(Value::Null)
}

async fn carry_out(engine: &Arc<Engine>, vmid: u32, before: &Guest, change: &Change) -> Outcome<()> {
    for key in &change.revert {
        engine.with_guest(vmid, |guest| guest.pending.remove(key));
    }
    let mut changed = Vec::new();
    for key in &change.delete {
        engine.with_guest(vmid, |guest| {
            guest.pending.remove(key);
            if guest.config.contains_key(key) {
                guest.pending.insert(key.clone(), Pending::Delete(change.force));
            }
        });
        changed.push(key.clone());
    }
    for key in change.options.0.keys() {
        let Some(value) = change.options.text(key) else { continue };
        let running = before.run.is_some();
        if running && matches!(key.as_str(), "memory" | "swap") {
            // The real server writes the control group first; in the recordings that fails.
            let text =
                format!("unable to hotplug {key}: trying to change memory cgroup values: container not running\n");
            return restore(engine, vmid, before, key, text);
        }
        let new = if drives::is_mount(key)
            && drives::file(value).split_once(':').is_some_and(|(_, size)| size.parse::<f64>().is_ok())
        {
            if running && before.get(key).is_none() {
                let text = format!("unable to hotplug {key}: failed to change apparmor profile: Invalid argument\n");
                return restore(engine, vmid, before, key, text);
            }
            new_volume(engine, &before.node, vmid, value, &disks::quiet).await.map_err(Refusal::fault)?
        } else {
            stored(engine, key, value)
        };
        let new = if drives::is_mount(key) { absolute(&new) } else { new };
        engine.with_guest(vmid, |guest| guest.pending.insert(key.clone(), Pending::Set(new)));
        changed.push(key.clone());
    }
    if before.run.is_none() {
        pending::settle(engine, vmid).await;
        return Ok(());
    }
    let errors = pending::hotplug(engine, vmid, &changed).await;
    if changed.iter().any(|key| drives::is_net(key)) {
        // Plugging a card looks at the root file system anew.
        engine.with_guest(vmid, |guest| guest.set("ostype", "alpine"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Refusal::parameters(errors)) }
}

/// A mount path always begins at the root.
fn absolute(value: &str) -> String {
    let mut fields = drives::parse(value);
    if let Some(mp) = fields.get_mut("mp")
        && !mp.starts_with('/')
    {
        *mp = format!("/{mp}");
    }
    print_mount(&fields)
}

/// A failed change of a running container leaves nothing behind.
fn restore(engine: &Engine, vmid: u32, before: &Guest, key: &str, text: String) -> Outcome<()> {
    engine.with_guest(vmid, |guest| {
        guest.config = before.config.clone();
        guest.pending = before.pending.clone();
    });
    Err(Refusal::parameter(key, text))
}

pub(crate) fn power(engine: &Arc<Engine>, call: &Call, verb: &str) -> Outcome<Value> {
    super::power::root_only(call, &["skiplock"])?;
    let vmid = call.vmid();
    let running = engine.with_guest(vmid, |guest| guest.run.is_some()) == Some(true);
    match (verb, running) {
        ("start" | "resume", true) => return Err(Refusal::fault(format!("CT {vmid} already running"))),
        ("stop" | "shutdown" | "suspend", false) => return Err(Refusal::fault(format!("CT {vmid} not running"))),
        ("reboot", false) => return Err(Refusal::fault(format!("VM {vmid} not running"))),
        _ => {}
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
            super::power::overrule_shutdowns(&worker, "vzshutdown", vmid).await;
        }
        let guard = worker.lock(Kind::Lxc, vmid, Mode::Exclusive, 10).await?;
        let lock = engine.with_guest(vmid, |guest| guest.get("lock").map(str::to_owned)).flatten();
        let ends = matches!(verb_owned.as_str(), "stop" | "shutdown");
        if let Some(lock) = lock.filter(|lock| ends && (verb_owned == "shutdown" || lock != "mounted")) {
            return Err(format!("CT is locked ({lock})"));
        }
        match verb_owned.as_str() {
            "start" => start(&worker, vmid, &node, guard).await,
            "shutdown" => shutdown(&engine, vmid, timeout, force).await,
            "reboot" => {
                cut(&engine, vmid).await;
                start(&worker, vmid, &node, guard).await
            }
            _ => {
                cut(&engine, vmid).await;
                Ok(())
            }
        }
    });
    Ok(json!(upid))
}

async fn start(worker: &Worker, vmid: u32, node: &str, _guard: Guard) -> Result<(), String> {
    let engine = &worker.engine;
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
    pending::settle(engine, vmid).await;
    let guest = engine.guest(Kind::Lxc, vmid, node).map_err(Refusal::into_text)?;
    super::power::bridges_exist(engine, &guest)?;
    let mounts = guest
        .config
        .iter()
        .filter(|(key, _)| drives::is_mount(key) && *key != "rootfs")
        .map(|(_, value)| (drives::file(value), drives::parse(value).remove("mp").unwrap_or_default()))
        .collect();
    let start = ContainerStart {
        vmid,
        hostname: super::status::name(&guest, vmid),
        rootfs: drives::file(guest.get("rootfs").unwrap_or_default()),
        mounts,
    };
    super::power::set_running(engine, vmid);
    let started = engine.backend.container_start(start, engine.events.clone()).await;
    if started.is_err() {
        engine.with_guest(vmid, |guest| guest.run = None);
    }
    started
}

async fn shutdown(engine: &Arc<Engine>, vmid: u32, _timeout: u64, _force: bool) -> Result<(), String> {
    engine.wait(Duration::from_millis(500)).await;
    cut(engine, vmid).await;
    Ok(())
}

/// Ends a container at once and applies what was pending.
pub(crate) async fn cut(engine: &Arc<Engine>, vmid: u32) {
    engine.consoles.drop_shell(vmid);
    engine.backend.container_stop(vmid).await;
    engine.with_guest(vmid, |guest| guest.run = None);
    engine.wait(Duration::from_millis(600)).await;
    pending::settle(engine, vmid).await;
}

pub(crate) fn interfaces(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let Some(guest) = state.guests.get(&call.vmid()).filter(|guest| guest.kind == Kind::Lxc && guest.run.is_some())
    else {
        return Value::Null;
    };
    let mut rows = vec![json!({
        "name": "lo", "hwaddr": "00:00:00:00:00:00", "hardware-address": "00:00:00:00:00:00", "inet": "127.0.0.1/8", "inet6": "::1/128",
        "ip-addresses": [{ "ip-address": "127.0.0.1", "ip-address-type": "inet", "prefix": "8" }, { "ip-address": "::1", "ip-address-type": "inet6", "prefix": "128" }],
    })];
    for (_, value) in guest.config.iter().filter(|(key, _)| drives::is_net(key)) {
        let fields = drives::parse(value);
        let mac = fields.get("hwaddr").map(|mac| mac.to_lowercase()).unwrap_or_default();
        let address = match fields.get("ip").map(String::as_str) {
            Some("dhcp") | None => format!("10.78.0.{}/24", 100 + call.vmid() % 150),
            Some(fixed) => fixed.to_owned(),
        };
        let (ip, prefix) = address.split_once('/').unwrap_or((&address, "24"));
        rows.push(json!({
            "name": fields.get("name"), "hwaddr": mac, "hardware-address": mac, "inet": address,
            "ip-addresses": [{ "ip-address": ip, "ip-address-type": "inet", "prefix": prefix }],
        }));
    }
    json!(rows)
}
