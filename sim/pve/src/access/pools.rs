//! `/pools`: resource pools, including nested ones.

use serde_json::{Value, json};

use super::users::user_cfg_value;
use crate::cluster::resources::{guest_row, storage_row};
use crate::engine::{Call, Engine};
use crate::params::split_list;
use crate::refusal::{Outcome, Refusal};
use crate::world::state::Pool;

pub(crate) fn list(engine: &Engine, call: &Call) -> Outcome<Value> {
    if call.params.has("poolid") {
        return one(engine, call).map(|pool| json!([pool]));
    }
    let state = engine.state();
    let shown = state.pools.iter().filter(|(name, _)| state.may(&call.caller, &format!("/pool/{name}"), "Pool.Audit"));
    let rows = shown.map(|(name, pool)| {
        let mut row = json!({ "poolid": name });
        if let Some(comment) = &pool.comment {
            row["comment"] = json!(comment);
        }
        row
    });
    Ok(json!(rows.collect::<Vec<_>>()))
}

pub(crate) fn one(engine: &Engine, call: &Call) -> Outcome<Value> {
    let state = engine.state();
    let name = call.text("poolid").unwrap_or_default();
    let Some(pool) = state.pools.get(name) else {
        return Err(Refusal::fault(format!("pool '{name}' does not exist")));
    };
    let wanted = |kind: &str| call.text("type").is_none_or(|wanted| wanted == kind);
    let kind_of = |vmid: &u32| state.guests.get(vmid).map(|guest| guest.kind);
    let mut members: Vec<Value> = pool
        .guests
        .iter()
        .filter(|vmid| kind_of(vmid).is_some_and(|kind| wanted(kind.word())))
        .filter_map(|vmid| Some(json!(guest_row(engine, &state, *vmid, state.guests.get(vmid)?, false))))
        .collect();
    if wanted("storage") {
        members.extend(pool.storages.iter().filter_map(|name| {
            // One row for each storage: the row of the node that answers, if it has the storage.
            let found = state.storages.get(name)?;
            let node = if found.is_on(&call.node) { &call.node } else { found.nodes.iter().min()? };
            Some(storage_row(engine, &state, node, name))
        }));
    }
    let mut out = json!({ "members": members, "poolid": name });
    if let Some(comment) = &pool.comment {
        out["comment"] = json!(comment);
    }
    Ok(out)
}

fn failed(verb: &str, text: impl std::fmt::Display) -> Refusal {
    Refusal::fault(format!("{verb} failed: {text}"))
}

pub(crate) fn create(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("poolid").unwrap_or_default().to_owned();
    let mut state = engine.state();
    if state.pools.contains_key(&name) {
        return Err(failed("create pool", format!("pool '{name}' already exists")));
    }
    let leaf = match name.rsplit_once('/') {
        Some((parent, _)) if !state.pools.contains_key(parent) => {
            return Err(failed("create pool", format!("parent '{parent}' of pool '{name}' does not exist")));
        }
        Some((_, leaf)) => leaf,
        None => &name,
    };
    if !leaf.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(failed("create pool", "pool name must start with a letter"));
    }
    state.pools.insert(name, Pool { comment: user_cfg_value(call, "comment"), ..Pool::default() });
    Ok(Value::Null)
}

pub(crate) fn delete(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("poolid").unwrap_or_default();
    let mut state = engine.state();
    let Some(pool) = state.pools.get(name) else {
        return Err(failed("delete pool", format!("pool '{name}' does not exist")));
    };
    let inside = state.pools.keys().find(|other| other.starts_with(&format!("{name}/")));
    let guest = pool.guests.iter().find(|vmid| state.guests.contains_key(vmid));
    let storage = pool.storages.iter().find(|storage| state.storages.contains_key(*storage));
    let what = match (inside, guest, storage) {
        (Some(pool), ..) => format!("pool '{pool}'"),
        (None, Some(vmid), _) => format!("VM {vmid}"),
        (None, None, Some(storage)) => format!("storage '{storage}'"),
        (None, None, None) => {
            state.pools.remove(name);
            state.acl.remove(&format!("/pool/{name}"));
            return Ok(Value::Null);
        }
    };
    Err(failed("delete pool", format!("pool '{name}' is not empty (contains {what})")))
}

/// Changes a resource pool completely or not at all, because PVE writes the file only at the end.
pub(crate) fn update(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("poolid").unwrap_or_default();
    let mut state = engine.state();
    let mut pools = state.pools.clone();
    let Some(pool) = pools.get_mut(name) else {
        return Err(failed("update pools", format!("pool '{name}' does not exist")));
    };
    if call.params.has("comment") {
        pool.comment = user_cfg_value(call, "comment");
    }
    let delete = call.params.flag("delete");
    for vmid in split_list(call.text("vms").unwrap_or_default()) {
        allowed(state.may_modify(&call.caller, &format!("/vms/{vmid}")))?;
        let vmid: u32 = vmid.parse().unwrap_or(0);
        let there = pools.get(name).is_some_and(|pool| pool.guests.contains(&vmid));
        if delete != there {
            let not = if delete { "not a" } else { "already a" };
            return Err(failed("update pools", format!("VM {vmid} is {not} pool member")));
        }
        let other = pools.iter().find(|(_, pool)| pool.guests.contains(&vmid)).map(|(other, _)| other.clone());
        if let Some(other) = other.filter(|_| !delete) {
            if !call.params.flag("allow-move") {
                let text = format!("VM {vmid} belongs already to pool '{other}' and 'allow-move' is not set");
                return Err(failed("update pools", text));
            }
            allowed(state.require(&call.caller, &format!("/pool/{other}"), &["Pool.Allocate"]))?;
            pools.entry(other).and_modify(|pool| {
                pool.guests.remove(&vmid);
            });
        }
        pools.entry(name.to_owned()).and_modify(|pool| {
            if delete {
                pool.guests.remove(&vmid)
            } else {
                pool.guests.insert(vmid)
            };
        });
    }
    for storage in split_list(call.text("storage").unwrap_or_default()) {
        allowed(state.may_modify(&call.caller, &format!("/storage/{storage}")))?;
        let Some(pool) = pools.get_mut(name) else { break };
        if delete != pool.storages.contains(&storage) {
            let not = if delete { "not a" } else { "already a" };
            return Err(failed("update pools", format!("Storage '{storage}' is {not} pool member")));
        }
        if delete {
            pool.storages.remove(&storage)
        } else {
            pool.storages.insert(storage)
        };
    }
    state.pools = pools;
    Ok(Value::Null)
}

/// Turns a refusal for a missing privilege into the text that PVE reports inside a failed change.
fn allowed(checked: Outcome<()>) -> Outcome<()> {
    checked.map_err(|refusal| failed("update pools", format!("{} {}", refusal.status, refusal.reason)))
}
