//! `POST /nodes/{node}/qemu`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::checks::{self, Applicant};
use super::ssh_keys;
use crate::engine::locks::Mode;
use crate::engine::{Call, Engine, Worker};
use crate::guests::tags;
use crate::params::Param;
use crate::params::Params;
use crate::refusal::{Outcome, Refusal};
use crate::storage::disks;
use crate::storage::messages;
use crate::world::drives;
use crate::world::guest::{Guest, Kind};
use crate::world::state::State;

/// Parameters that are not options.
const NOT_STORED: [&str; 13] = [
    "node",
    "vmid",
    "pool",
    "start",
    "storage",
    "archive",
    "force",
    "unique",
    "bwlimit",
    "live-restore",
    "import-working-storage",
    "ha-managed",
    "cdrom",
];

pub(crate) fn create(engine: &Arc<Engine>, mut call: Call) -> Outcome<Value> {
    let vmid = call.vmid();
    if let Some(cdrom) = call.params.take("cdrom") {
        let value = if drives::is_cdrom(&cdrom) { cdrom } else { format!("{cdrom},media=cdrom") };
        call.params.insert_text("ide2", value);
    }
    ssh_keys::check_parameter(&call.params)?;
    engine.state().quorum()?;
    let pool = call.params.text("pool").map(str::to_owned);
    may_create(engine, &call, pool.as_deref())?;
    refuse_undefined(&call.params)?;
    if call.params.has("archive") {
        return Err(Refusal::fault("not simulated: VMs from backups"));
    }
    let start = call.params.flag("start");
    let mut options = call.params.clone();
    NOT_STORED.iter().for_each(|name| {
        options.0.remove(*name);
    });
    let applicant = Applicant { engine, caller: &call.caller, vmid, pool: pool.as_deref() };
    applicant.storages(&options)?;
    applicant.options(options.0.keys())?;
    applicant.valued(&options)?;
    let nets: Vec<String> =
        options.0.keys().filter(|k| drives::is_net(k)).filter_map(|k| options.text(k)).map(str::to_owned).collect();
    applicant.bridges(nets.iter().map(String::as_str))?;
    checks::drive_values(engine, &options)?;
    checks::normalise(engine, &mut options);
    reserve(engine, Kind::Qemu, vmid, &call.node)
        .map_err(|text| Refusal::fault(format!("unable to create VM {vmid} - {text}")))?;
    let plan = Creation { caller: call.caller.clone(), vmid, node: call.node.clone(), options, pool, start };
    let upid = engine.spawn(&call, "qmcreate", &vmid.to_string(), move |worker| build(worker, plan));
    Ok(json!(upid))
}

/// A VM whose creation has been checked.
struct Creation {
    caller: String,
    vmid: u32,
    node: String,
    options: Params,
    pool: Option<String>,
    start: bool,
}

/// Checks everything about the caller that does not depend on the options.
fn may_create(engine: &Engine, call: &Call, pool: Option<&str>) -> Outcome<()> {
    let vmid = call.vmid();
    let state = engine.state();
    if let Some(pool) = pool {
        pool_exists(&state, pool)?;
    }
    if let Some(storage) = call.text("storage") {
        state.require(&call.caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    }
    if call.params.flag("ha-managed") {
        state.require(&call.caller, "/", &["Sys.Console"])?;
    }
    drop(state);
    if call.params.flag("start") {
        Applicant { engine, caller: &call.caller, vmid, pool }.require(&["VM.PowerMgmt"])?;
    }
    allocation(engine, &call.caller, vmid, pool)
}

fn pool_exists(state: &State, pool: &str) -> Outcome<()> {
    if state.pools.contains_key(pool) {
        return Ok(());
    }
    Err(Refusal::permission(&format!("pool '{pool}' does not exist")))
}

/// Refuses JSON `null` and keys without value, which PVE's parser sees as undefined.
pub(crate) fn refuse_undefined(params: &Params) -> Outcome<()> {
    match params.0.iter().find(|(_, value)| **value == Param::Undefined) {
        Some((name, _)) => Err(Refusal::fault(format!("unable to parse value of '{name}' - got undefined value"))),
        None => Ok(()),
    }
}

/// Requires `VM.Allocate` on the VMID or on the pool.
pub(crate) fn allocation(engine: &Engine, caller: &str, vmid: u32, pool: Option<&str>) -> Outcome<()> {
    let state = engine.state();
    if let Some(pool) = pool {
        pool_exists(&state, pool)?;
    }
    let by_pool = pool.is_some_and(|pool| state.may(caller, &format!("/pool/{pool}"), "VM.Allocate"));
    if by_pool || state.may(caller, &format!("/vms/{vmid}"), "VM.Allocate") {
        return Ok(());
    }
    Err(Refusal::permission(""))
}

/// Takes the VMID with `lock: create`. The error is the part of PVE's text after `unable to create … - `.
pub(crate) fn reserve(engine: &Engine, kind: Kind, vmid: u32, node: &str) -> Result<(), String> {
    let mut state = engine.state();
    if let Some(other) = state.guests.get(&vmid) {
        return Err(format!("{} {vmid} already exists on node '{}'", other.kind.name(), other.node));
    }
    let mut guest = Guest::new(kind, node);
    guest.set("lock", "create");
    state.guests.insert(vmid, guest);
    Ok(())
}

async fn build(worker: Worker, plan: Creation) -> Result<(), String> {
    let engine = worker.engine.clone();
    let vmid = plan.vmid;
    let _lock = worker.lock(Kind::Qemu, vmid, Mode::Exclusive, 10).await?;
    disks::remove_if_stopped(&worker, vmid);
    let made = fill(&worker, &plan).await;
    let config = match made {
        Ok(config) => config,
        Err(text) => {
            disks::remove_guest(&engine, vmid, disks::VolumeScope::Numbered, &messages::quiet).await;
            return Err(format!("unable to create VM {vmid} - {text}"));
        }
    };
    worker.middle().await;
    worker.keep();
    finish(&engine, vmid, config, plan.pool.as_deref());
    if plan.start {
        worker.log("Execute autostart");
        drop(_lock);
        return super::power::start_vm(&worker, vmid, &plan.node).await;
    }
    Ok(())
}

async fn fill(worker: &Worker, plan: &Creation) -> Result<BTreeMap<String, String>, String> {
    let engine = &worker.engine;
    let (vmid, options) = (plan.vmid, &plan.options);
    let blank = Guest::new(Kind::Qemu, &plan.node);
    let print = |line: String| worker.log(line);
    let mut config = BTreeMap::new();
    for key in options.0.keys() {
        let Some(value) = options.text(key) else { continue };
        let stored = if drives::is_drive(key) {
            disks::attach(engine, &blank, vmid, key, value, &print).await?
        } else {
            value.to_owned()
        };
        config.insert(key.clone(), stored);
    }
    if let Some(new) = options.text("tags") {
        tags::require(&engine.state(), &plan.caller, vmid, None, Some(new)).map_err(Refusal::into_text)?;
    }
    Ok(config)
}

fn finish(engine: &Engine, vmid: u32, config: BTreeMap<String, String>, pool: Option<&str>) {
    let seconds = engine.clock.seconds();
    let mut state = engine.state();
    let (smbios, generation) = (state.uuid(), state.uuid());
    let meta = format!("creation-qemu={},ctime={seconds}", state.qemu_version);
    if let Some(pool) = pool.and_then(|pool| state.pools.get_mut(pool)) {
        pool.guests.insert(vmid);
    }
    let Some(guest) = state.guests.get_mut(&vmid) else { return };
    guest.config.remove("lock");
    config.iter().for_each(|(key, value)| guest.set(key, value));
    if !guest.config.contains_key("boot") {
        let order = default_boot(guest);
        guest.set("boot", &drives::print_boot(&order));
    }
    let smbios = match guest.get("smbios1") {
        None => format!("uuid={smbios}"),
        Some(given) if given.contains("uuid=") => given.to_owned(),
        Some(given) => format!("{given},uuid={smbios}"),
    };
    guest.set("smbios1", &smbios);
    guest.set("vmgenid", &generation);
    guest.set("meta", &meta);
}

/// Returns the default boot order: first hard disk, first CD-ROM, first network card.
pub(crate) fn default_boot(guest: &Guest) -> Vec<String> {
    let find = |cdrom: bool| {
        drives::names().into_iter().find(|name| guest.get(name).is_some_and(|value| drives::is_cdrom(value) == cdrom))
    };
    let net = (0..32).map(|n| format!("net{n}")).find(|name| guest.config.contains_key(name));
    find(false).into_iter().chain(find(true)).chain(net).collect()
}
