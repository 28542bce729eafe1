//! Reading a guest's configuration, and reading a requested change of it.

use serde_json::{Map, Value, json};

use crate::engine::{Call, Engine};
use crate::params::{Params, split_list};
use crate::qemu;
use crate::refusal::{Outcome, Refusal};
use crate::schema::Property;
use crate::world::guest::{Kind, Pending};

/// Returns a stored value with the JSON type that PVE gives it.
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
    let snapshot = call.text("snapshot").map(|name| guest.snapshot(name)).transpose()?;
    let config = if let Some(snapshot) = snapshot {
        snapshot.config.clone()
    } else if call.params.flag("current") {
        guest.config.clone()
    } else {
        guest.with_pending()
    };
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

/// The change of a configuration that a request asks for.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) delete: Vec<String>,
    pub(crate) revert: Vec<String>,
    pub(crate) force: bool,
    pub(crate) digest: Option<String>,
    pub(crate) options: Params,
}

/// Reads the change that a request asks for. VMs and containers share the parameters. Contradictions in a VM's request
/// are refused here, those in a container's request only after its configuration is loaded ([`contradictions`]).
pub(crate) fn change_of(engine: &Engine, kind: Kind, call: &Call) -> Outcome<Change> {
    let mut options = call.params.clone();
    if kind == Kind::Qemu {
        call.root_only(&["skiplock"])
            .or_else(|refusal| if call.params.flag("skiplock") { Err(refusal) } else { Ok(()) })?;
        qemu::ssh_keys::check_parameter(&call.params)?;
    }
    options.take("skiplock");
    let mut delete = split_list(&options.take("delete").unwrap_or_default());
    let revert = split_list(&options.take("revert").unwrap_or_default());
    let force = options.take("force").as_deref() == Some("1");
    let digest = options.take("digest");
    for name in ["node", "vmid", "background_delay", "import-working-storage"] {
        options.0.remove(name);
    }
    if delete.is_empty()
        && revert.is_empty()
        && options.0.is_empty()
        && (kind == Kind::Qemu || !call.params.has("delete"))
    {
        return Err(Refusal::fault("no options specified"));
    }
    if let Some(cdrom) = options.take("cdrom") {
        options.insert_text("ide2", cdrom);
    }
    if kind == Kind::Qemu {
        for key in &mut delete {
            if key == "cdrom" {
                "ide2".clone_into(key);
            }
        }
    }
    let change = Change { delete, revert, force, digest, options };
    if kind == Kind::Qemu {
        contradictions(engine, kind, &change)?;
    }
    Ok(change)
}

/// Refuses unknown options, and options that are set and also deleted or reverted, in PVE's order and words.
pub(crate) fn contradictions(engine: &Engine, kind: Kind, change: &Change) -> Outcome<()> {
    let qemu = kind == Kind::Qemu;
    // A request can delete the state of a suspended VM but not set it.
    let is_state = |key: &str| qemu && key == "vmstate";
    let exists =
        |key: &str| is_state(key) || engine.schema.option(kind.word(), key).is_some() && !is_not_an_option(key);
    let both = |one: &str, other: &str| {
        if qemu && other.starts_with("-revert") || !qemu && !one.starts_with("'-delete") && other.starts_with("-revert")
        {
            format!("you can't use {one} and {}{other}' at the same time", if qemu { "" } else { "'" })
        } else {
            format!("you can't use {one} and {other}' at the same time")
        }
    };
    for key in &change.revert {
        if !exists(key) {
            return Err(Refusal::parameter("revert", format!("unknown option '{key}'")));
        }
        if change.options.0.contains_key(key) {
            let name = if qemu { "delete" } else { "revert" };
            return Err(Refusal::parameter(name, both(&format!("'-{key}'"), &format!("-revert {key}"))));
        }
    }
    for key in &change.delete {
        let unknown = || Refusal::parameter("delete", format!("unknown option '{key}'"));
        if !qemu && !exists(key) {
            return Err(unknown());
        }
        if change.options.0.contains_key(key) {
            return Err(Refusal::parameter("delete", both(&format!("'-{key}'"), &format!("-delete {key}"))));
        }
        if change.revert.contains(key) {
            let (name, quote) = if qemu { ("revert", "") } else { ("delete", "'") };
            let text = format!("you can't use '-delete {key}' and {quote}-revert {key}' at the same time");
            return Err(Refusal::parameter(name, text));
        }
        if !exists(key) {
            return Err(unknown());
        }
    }
    Ok(())
}

fn is_not_an_option(key: &str) -> bool {
    matches!(key, "node" | "vmid" | "delete" | "revert" | "force" | "digest" | "skiplock" | "background_delay")
}
