//! Reading and changing the configuration of a VM.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::disks;
use super::drives;
use super::engine::{Call, Engine};
use super::params::{Params, split_list};
use super::pending;
use super::qemu_checks::{self, Applicant};
use super::qemu_create::refuse_undefined;
use super::refusal::{Outcome, Refusal};
use super::schema::Property;
use super::state::{Guest, Kind, Pending};

/// A stored value with the JSON type that PVE gives it.
pub(crate) fn typed(engine: &Engine, kind: Kind, key: &str, value: &str) -> Value {
    if key == "cipassword" {
        return json!("**********");
    }
    let numeric = engine
        .schema
        .option(kind.word(), key)
        .is_some_and(|property: &Property| matches!(property.kind(), "integer" | "boolean" | "number"));
    if !numeric {
        return json!(value);
    }
    value
        .parse::<i64>()
        .map(Value::from)
        .or_else(|_| value.parse::<f64>().map(Value::from))
        .unwrap_or_else(|_| json!(value))
}

pub(crate) fn read(engine: &Engine, kind: Kind, call: &Call) -> Outcome<Value> {
    let guest = engine.guest(kind, call.vmid(), &call.node)?;
    if let Some(name) = call.text("snapshot") {
        return Err(Refusal::fault(format!("snapshot '{name}' does not exist")));
    }
    let config = if call.params.flag("current") { guest.config.clone() } else { guest.with_pending() };
    let mut out = Map::new();
    for (key, value) in &config {
        out.insert(key.clone(), typed(engine, kind, key, value));
    }
    out.insert("digest".into(), json!(guest.digest()));
    Ok(Value::Object(out))
}

pub(crate) fn read_pending(engine: &Engine, kind: Kind, call: &Call) -> Outcome<Value> {
    let guest = engine.guest(kind, call.vmid(), &call.node)?;
    let mut rows = vec![json!({ "key": "digest", "value": guest.digest() })];
    for (key, value) in &guest.config {
        let mut row = json!({ "key": key, "value": typed(engine, kind, key, value) });
        match guest.pending.get(key) {
            Some(Pending::Set(new)) => row["pending"] = typed(engine, kind, key, new),
            Some(Pending::Delete(force)) => row["delete"] = json!(if *force { 2 } else { 1 }),
            None => {}
        }
        rows.push(row);
    }
    for (key, change) in guest.pending.iter().filter(|(key, _)| !guest.config.contains_key(*key)) {
        if let Pending::Set(value) = change {
            rows.push(json!({ "key": key, "pending": typed(engine, kind, key, value) }));
        }
    }
    Ok(json!(rows))
}

/// What a request wants changed.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) delete: Vec<String>,
    pub(crate) revert: Vec<String>,
    pub(crate) force: bool,
    pub(crate) digest: Option<String>,
    pub(crate) options: Params,
}

/// Takes the parts of a request apart; both kinds of guests share the words.
pub(crate) fn change_of(engine: &Engine, kind: Kind, call: &Call) -> Outcome<Change> {
    let mut options = call.params.clone();
    let delete = split_list(&options.take("delete").unwrap_or_default());
    let revert = split_list(&options.take("revert").unwrap_or_default());
    let force = options.take("force").as_deref() == Some("1");
    let digest = options.take("digest");
    for name in ["node", "vmid", "background_delay", "import-working-storage"] {
        options.0.remove(name);
    }
    if options.take("skiplock").as_deref() == Some("1") {
        return Err(Refusal::parameter("skiplock", "Only root may use this option."));
    }
    if let Some(cdrom) = options.take("cdrom") {
        options.insert_text("ide2", cdrom);
    }
    if delete.is_empty() && revert.is_empty() && options.0.is_empty() {
        return Err(Refusal::fault("no options specified"));
    }
    for key in &delete {
        if options.0.contains_key(key) {
            return Err(Refusal::parameter(
                "delete",
                format!("you can't use '-{key}' and -delete {key}' at the same time"),
            ));
        }
        if engine.schema.option(kind.word(), key).is_none() || is_no_option(key) {
            return Err(Refusal::parameter("delete", format!("unknown option '{key}'")));
        }
    }
    for key in &revert {
        if engine.schema.option(kind.word(), key).is_none() || is_no_option(key) {
            return Err(Refusal::parameter("revert", format!("unknown option '{key}'")));
        }
    }
    Ok(Change { delete, revert, force, digest, options })
}

fn is_no_option(key: &str) -> bool {
    matches!(key, "node" | "vmid" | "delete" | "revert" | "force" | "digest" | "skiplock" | "background_delay")
}

/// `PUT` answers when done, `POST` with a task.
pub(crate) async fn write(engine: &Arc<Engine>, call: Call, as_task: bool) -> Outcome<Value> {
    let vmid = call.vmid();
    qemu_checks::ssh_keys(&call.params)?;
    let mut change = change_of(engine, Kind::Qemu, &call)?;
    refuse_undefined(&change.options)?;
    qemu_checks::drive_values(&change.options)?;
    let given = shown(&change);
    one_cloudinit(engine, vmid, &change.options)?;
    let applicant = Applicant { engine, caller: &call.caller, vmid, pool: None };
    applicant.options(change.delete.iter())?;
    applicant.options(change.options.0.keys())?;
    applicant.storages(&change.options)?;
    applicant.valued(&change.options)?;
    // A config lock is seen at once, whoever holds the file's.
    engine.guest(Kind::Qemu, vmid, &call.node)?.unlocked()?;
    let guard = engine.lock_now(Kind::Qemu, vmid).await?;
    let guest = engine.guest(Kind::Qemu, vmid, &call.node)?;
    if change.digest.as_ref().is_some_and(|digest| *digest != guest.digest()) {
        return Err(Refusal::fault("checksum mismatch (file change by other user?)"));
    }
    guest.unlocked()?;
    drive_privileges(&applicant, &guest, &change)?;
    qemu_checks::normalise(engine, &mut change.options);
    if !as_task {
        carry_out(engine, vmid, &change, &disks::quiet).await?;
        return Ok(Value::Null);
    }
    let line = format!("update VM {vmid}: {given}");
    let upid = engine.spawn(&call, "qmconfig", &vmid.to_string(), move |worker| async move {
        let _guard = guard;
        worker.log(line);
        let print = |line: String| worker.log(line);
        carry_out(&worker.engine, vmid, &change, &print).await.map_err(Refusal::into_text)
    });
    Ok(json!(upid))
}

/// A VM has one cloud-init drive; this is found before anything else is looked at.
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

/// `-delete ide2 -description finished`
fn shown(change: &Change) -> String {
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
    if let Some(digest) = &change.digest {
        all.push(("digest".to_owned(), digest.clone()));
    }
    all.sort();
    for (key, value) in all {
        parts.push(format!("-{key} {value}"));
    }
    parts.join(" ")
}

fn drive_privileges(applicant: &Applicant<'_>, guest: &Guest, change: &Change) -> Outcome<()> {
    for key in &change.delete {
        let value = guest.get(key).unwrap_or_default();
        if drives::is_unused(key) {
            applicant.require(&["VM.Config.Disk"])?;
        } else if drives::is_drive(key) {
            if guest.get("protection") == Some("1") && guest.get(key).is_some() {
                return Err(Refusal::fault(format!("can't remove drive '{key}' - protection mode enabled")));
            }
            applicant.require(&[if drives::is_cdrom(value) { "VM.Config.CDROM" } else { "VM.Config.Disk" }])?;
        } else if drives::is_net(key) {
            applicant.bridges(std::iter::once(value))?;
        } else if key == "tags" {
            applicant.require(&["VM.Config.Options"])?;
        } else if key.starts_with("serial") || key.starts_with("usb") {
            applicant.require(&["VM.Config.HWType"])?;
        }
    }
    for key in change.options.0.keys() {
        let value = change.options.text(key).unwrap_or_default();
        if drives::is_drive(key) {
            let cdrom = drives::is_cdrom(value)
                || guest.get(key).is_some_and(drives::is_cdrom)
                || matches!(drives::file(value).as_str(), "none" | "cdrom");
            applicant.require(&[if cdrom { "VM.Config.CDROM" } else { "VM.Config.Disk" }])?;
        }
        if drives::is_net(key) {
            applicant.bridges(guest.get(key).into_iter().chain([value]))?;
        }
    }
    Ok(())
}

async fn carry_out(engine: &Arc<Engine>, vmid: u32, change: &Change, print: disks::Print<'_>) -> Outcome<()> {
    let mut changed: Vec<String> = Vec::new();
    // One order for the whole request, from what is in force.
    let mut order = engine.with_guest(vmid, |guest| drives::boot_order(guest.get("boot"))).unwrap_or_default();
    for key in &change.revert {
        engine.with_guest(vmid, |guest| guest.pending.remove(key));
    }
    for key in &change.delete {
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
    pending::settle(engine, vmid).await;
    if fresh_image {
        let custom = engine.with_guest(vmid, |guest| guest.config.get("cicustom").cloned()).flatten();
        qemu_checks::snippets_exist(engine, custom.as_deref()).map_err(Refusal::fault)?;
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

/// `order` is absent where the request sets the boot order itself.
async fn set(
    engine: &Arc<Engine>,
    vmid: u32,
    option: (&str, &str),
    order: Option<&mut Vec<String>>,
    changed: &mut Vec<String>,
    print: disks::Print<'_>,
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
        if guest.config.get(key) == Some(&super::state::stored(&stored)) && key != "description" {
            guest.pending.remove(key);
            return;
        }
        guest.pending.insert(key.to_owned(), Pending::Set(stored));
        changed.push(key.to_owned());
    });
    Ok(())
}
