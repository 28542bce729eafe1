//! `/access/roles`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::engine::{Call, Engine};
use crate::params::split_list;
use crate::refusal::{Outcome, Refusal};

pub(crate) fn roles(engine: &Engine) -> Value {
    let state = engine.state();
    let rows: Vec<Value> = state
        .roles
        .iter()
        .map(|(name, (privileges, special))| {
            json!({ "roleid": name, "privs": privileges.iter().cloned().collect::<Vec<_>>().join(","), "special": u8::from(*special) })
        })
        .collect();
    json!(rows)
}

pub(crate) fn role(engine: &Engine, call: &Call) -> Outcome<Value> {
    let state = engine.state();
    let name = call.text("roleid").unwrap_or_default();
    let Some((privileges, _)) = state.roles.get(name) else {
        return Err(Refusal::fault(format!("role '{name}' does not exist")));
    };
    Ok(json!(privileges.iter().map(|p| (p.clone(), 1)).collect::<BTreeMap<_, _>>()))
}

pub(crate) fn role_change(engine: &Engine, call: &Call, verb: &str) -> Outcome<Value> {
    let name = call.text("roleid").unwrap_or_default().to_owned();
    let mut state = engine.state();
    let privileges: BTreeSet<String> = split_list(call.text("privs").unwrap_or_default()).into_iter().collect();
    let existing = state.roles.get(&name).cloned();
    if verb == "create" {
        if name.to_lowercase().starts_with("pve") {
            return Err(Refusal::parameter(
                "roleid",
                "cannot use role ID starting with the (case-insensitive) 'PVE' namespace",
            ));
        }
        if existing.is_some() {
            return Err(Refusal::fault(format!("create role failed: role '{name}' already exists")));
        }
        state.roles.insert(name, (privileges, false));
        return Ok(Value::Null);
    }
    let past = if verb == "delete" { "deleted" } else { "modified" };
    let Some((old, special)) = existing else {
        return Err(Refusal::fault(format!("{verb} role failed: role '{name}' does not exist")));
    };
    if special {
        return Err(Refusal::fault(format!("auto-generated role '{name}' cannot be {past}")));
    }
    if verb == "delete" {
        state.roles.remove(&name);
        for entries in state.acl.values_mut() {
            entries.retain(|(.., role), _| *role != name);
        }
        state.acl.retain(|_, entries| !entries.is_empty());
        return Ok(Value::Null);
    }
    let kept = if call.params.flag("append") { old } else { BTreeSet::new() };
    state.roles.insert(name, (kept.union(&privileges).cloned().collect(), false));
    Ok(Value::Null)
}
