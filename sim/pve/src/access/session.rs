//! Logins, passwords, and the privileges of a caller.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::tickets;
use crate::engine::{Call, Engine};
use crate::params::split_list;
use crate::refusal::{Body, Outcome, Refusal};
use crate::world::state::State;

fn denied() -> Refusal {
    Refusal::new(401, "authentication failure", Body::Message).held(3)
}

pub(crate) fn login(engine: &Engine, call: &Call) -> Outcome<Value> {
    let mut name = call.text("username").unwrap_or_default().to_owned();
    if let Some(realm) = call.text("realm") {
        name = format!("{name}@{realm}");
    }
    let password = call.text("password").unwrap_or_default();
    let renewed = password.starts_with("PVE:") && tickets::ticket_user(engine, password).as_deref() == Some(&name);
    let known = engine.state().users.get(&name).is_some_and(|user| {
        let expired = user.expire > 0 && user.expire < engine.clock.seconds();
        user.enabled && !expired && user.password.as_deref().is_some_and(|p| p == password && !p.is_empty())
    });
    if !renewed && !known {
        return Err(denied());
    }
    if let (Some(path), Some(wanted)) = (call.text("path"), call.text("privs")) {
        let wanted = split_list(wanted);
        let privileges: Vec<&str> = wanted.iter().map(String::as_str).collect();
        if privileges.is_empty() || engine.state().require(&name, path, &privileges).is_err() {
            return Err(denied());
        }
    }
    let mut out = json!({ "username": name, "cap": capabilities(&engine.state(), &name) });
    // A login that only verifies a privilege does not return a ticket.
    if !call.params.has("path") {
        out["ticket"] = json!(tickets::ticket(engine, &name));
        out["CSRFPreventionToken"] = json!(tickets::csrf(engine, &name));
    }
    Ok(out)
}

/// Returns the capabilities that decide which parts of the web interface are shown.
fn capabilities(state: &State, user: &str) -> Value {
    const AREAS: [(&str, &[&str]); 7] = [
        ("vms", &["VM.", "Permissions.Modify"]),
        ("access", &["User.", "Group.", "Permissions.Modify"]),
        ("storage", &["Datastore.", "Permissions.Modify"]),
        ("nodes", &["Sys.", "Permissions.Modify"]),
        ("sdn", &["SDN.", "Permissions.Modify"]),
        ("dc", &["Sys.Audit", "Sys.Modify", "SDN."]),
        ("mapping", &["Mapping.", "Permissions.Modify"]),
    ];
    let mut out: BTreeMap<&str, Map<String, Value>> = AREAS.iter().map(|(area, _)| (*area, Map::new())).collect();
    let mut paths: BTreeSet<String> =
        ["/", "/nodes", "/access/groups", "/vms", "/storage", "/sdn", "/mapping"].map(str::to_owned).into();
    state.acl.keys().for_each(|path| paths.extend(with_parents(path)));
    for path in paths {
        let top = path.split('/').nth(1).filter(|top| !top.is_empty()).unwrap_or("dc").to_owned();
        let top = top.as_str();
        for privilege in state.privileges(user, &path).into_keys() {
            let areas: Vec<&str> = match top {
                "pool" if privilege.starts_with("VM.") => vec!["vms"],
                "pool" if privilege.starts_with("Datastore.") => vec!["storage"],
                "pool" if privilege == "Permissions.Modify" => vec!["storage", "vms"],
                _ => AREAS.iter().map(|(area, _)| *area).filter(|area| *area == top).collect(),
            };
            for area in areas {
                let fits = top == "pool"
                    || AREAS
                        .iter()
                        .any(|(name, stems)| *name == area && stems.iter().any(|stem| privilege.starts_with(stem)));
                if let Some(found) = out.get_mut(area).filter(|_| fits) {
                    found.insert(privilege.clone(), json!(1));
                }
            }
        }
    }
    json!(out)
}

/// Returns a path and its parents, without the root.
fn with_parents(path: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut at = path;
    while let Some(cut) = at.rfind('/').filter(|_| at.len() > 1) {
        out.push(at.to_owned());
        at = &at[..cut];
    }
    out
}

pub(crate) fn password(engine: &Engine, call: &Call) -> Outcome<Value> {
    let userid = call.text("userid").unwrap_or_default();
    if call.caller == userid && call.caller != "root@pam" {
        let Some(confirmation) = call.text("confirmation-password") else {
            return Err(Refusal::parameter("confirmation-password", "password is required to modify user"));
        };
        let good = engine.state().users.get(userid).is_some_and(|user| user.password.as_deref() == Some(confirmation));
        if !good {
            return Err(Refusal::fault("invalid credentials"));
        }
    }
    if call.caller != "root@pam" && call.caller != userid && (userid == "root@pam" || userid.ends_with("@pam")) {
        return Err(Refusal::permission(""));
    }
    let new = call.text("password").map(str::to_owned);
    match engine.state().users.get_mut(userid) {
        Some(user) => user.password = new,
        None => return Err(Refusal::fault(format!("no such user ('{userid}')"))),
    }
    Ok(Value::Null)
}

pub(crate) fn permissions(engine: &Engine, call: &Call) -> Outcome<Value> {
    let state = engine.state();
    let subject = call.text("userid").unwrap_or(&call.caller).to_owned();
    if subject != call.caller && super::user_of(&subject) != call.caller {
        state.require(&call.caller, "/access", &["Sys.Audit"])?;
    }
    if let Some(path) = call.text("path") {
        return Ok(json!({ path: numbers(&state, &subject, path) }));
    }
    let mut paths: BTreeSet<String> = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"]
        .iter()
        .map(|p| (*p).to_owned())
        .collect();
    state.acl.keys().for_each(|path| paths.extend(with_parents(path)));
    for pool in state.pools.values() {
        paths.extend(pool.guests.iter().map(|vmid| format!("/vms/{vmid}")));
        paths.extend(pool.storages.iter().map(|storage| format!("/storage/{storage}")));
    }
    let mut out = Map::new();
    for path in paths {
        let have = numbers(&state, &subject, &path);
        if have.as_object().is_some_and(|have| !have.is_empty()) {
            out.insert(path, have);
        }
    }
    Ok(Value::Object(out))
}

fn numbers(state: &State, subject: &str, path: &str) -> Value {
    let have: BTreeMap<String, u8> =
        state.privileges(subject, path).into_iter().map(|(name, propagate)| (name, u8::from(propagate))).collect();
    json!(have)
}

pub(crate) fn domains() -> Value {
    json!([
        { "comment": "Linux PAM standard authentication", "realm": "pam", "type": "pam" },
        { "comment": "Proxmox VE authentication server", "realm": "pve", "type": "pve" },
    ])
}
