//! `/access/acl`.

use serde_json::{Value, json};

use super::users::user_cfg_value;
use crate::engine::{Call, Engine};
use crate::params::split_list;
use crate::refusal::{Outcome, Refusal};
use crate::world::state::{State, Subject};

pub(crate) fn acl(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let auditor = state.may(&call.caller, "/access", "Sys.Audit");
    let mut rows = Vec::new();
    for (path, entries) in &state.acl {
        if !auditor && state.may_modify(&call.caller, path).is_err() {
            continue;
        }
        for ((subject, who, role), propagate) in entries {
            rows.push(json!({ "path": path, "propagate": u8::from(*propagate), "roleid": role, "type": subject.word(), "ugid": who }));
        }
    }
    json!(rows)
}

/// Returns the path in its stored form: single slashes, one at the beginning, none at the end. Returns `None` for text
/// that cannot be a path.
fn normal_path(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let plain = !path.is_empty() && path.chars().all(|c| c.is_ascii_alphanumeric() || ".-_/".contains(c));
    plain.then(|| format!("/{}", parts.join("/")))
}

/// Returns true if an ACL entry can be set at a path.
fn acl_path_is_valid(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let alphanumeric = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    let number = |text: &str, most: usize| {
        text.chars().all(|c| c.is_ascii_digit()) && !text.starts_with('0') && text.len() <= most
    };
    match parts.as_slice() {
        [] | ["access" | "nodes" | "pool" | "sdn" | "storage" | "vms" | "mapping"] => true,
        ["access", "groups" | "realm"] | ["access", "groups" | "realm", _] => true,
        ["nodes" | "storage", _] | ["mapping", _] | ["mapping", _, _] => true,
        ["pool", below @ ..] => below.len() <= 3,
        ["vms", vmid] => vmid.len() >= 3 && number(vmid, usize::MAX),
        ["sdn", "controllers" | "dns" | "fabrics" | "ipams" | "prefix-lists" | "route-maps" | "zones"] => true,
        ["sdn", "controllers", name] => !name.contains('.'),
        ["sdn", "dns" | "fabrics" | "ipams" | "prefix-lists" | "route-maps", name] => alphanumeric(name),
        ["sdn", "zones", _] | ["sdn", "zones", _, _] => true,
        ["sdn", "zones", _, _, tag] => number(tag, 4),
        _ => false,
    }
}

/// Refuses a role that the caller may not grant at a path. A caller without `Permissions.Modify` there grants and
/// revokes only privileges that the caller holds at the same path.
fn may_hand_out(state: &State, caller: &str, path: &str, role: &str, change: (bool, bool)) -> Result<(), String> {
    let (delete, propagate) = change;
    let have = state.privileges(caller, path);
    if have.contains_key("Permissions.Modify") {
        return Ok(());
    }
    let verb = if delete { "remove" } else { "add" };
    let text =
        |what: String| Err(format!("400 Parameter verification failed.\nrole: Cannot {verb} role '{role}' {what}"));
    for privilege in state.roles.get(role).map(|(privileges, _)| privileges.iter()).into_iter().flatten() {
        match have.get(privilege) {
            None => return text("- requires 'Permissions.Modify' or superset of privileges.".to_owned()),
            Some(false) if propagate && !delete => {
                return text(
                    "with propagation - requires 'Permissions.Modify' or propagated superset of privileges.".to_owned(),
                );
            }
            Some(_) => {}
        }
    }
    if role == "NoAccess" { text("- requires 'Permissions.Modify'".to_owned()) } else { Ok(()) }
}

pub(crate) fn acl_update(engine: &Engine, call: &Call) -> Outcome<Value> {
    // PVE changes the entries in this order.
    let lists = [("groups", Subject::Group), ("users", Subject::User), ("tokens", Subject::Token)];
    if lists.iter().all(|(name, _)| user_cfg_value(call, name).is_none()) {
        let text = "either 'users', 'groups' or 'tokens' is required.";
        return Err(Refusal::parameters(lists.iter().map(|(name, _)| ((*name).to_owned(), text.to_owned())).collect()));
    }
    let asked = call.text("path").unwrap_or_default();
    let path = normal_path(asked).filter(|path| call.params.flag("delete") || acl_path_is_valid(path));
    let Some(path) = path else { return Err(Refusal::parameter("path", format!("invalid ACL path '{asked}'"))) };
    let delete = call.params.flag("delete");
    let propagate = call.text("propagate") != Some("0");
    let mut state = engine.state();
    let fail = |text: String| Err(Refusal::fault(format!("ACL update failed: {text}")));
    for role in split_list(call.text("roles").unwrap_or_default()) {
        if !state.roles.contains_key(&role) {
            return fail(format!("role '{role}' does not exist"));
        }
        if let Err(text) = may_hand_out(&state, &call.caller, &path, &role, (delete, propagate)) {
            return fail(text);
        }
        for (name, subject) in lists {
            for who in split_list(call.text(name).unwrap_or_default()) {
                if let Some(text) = unknown(&state, subject, &who) {
                    return fail(text);
                }
                let entries = state.acl.entry(path.clone()).or_default();
                if delete {
                    entries.remove(&(subject, who, role.clone()));
                } else {
                    entries.insert((subject, who, role.clone()), propagate);
                }
            }
        }
    }
    state.acl.retain(|_, entries| !entries.is_empty());
    Ok(Value::Null)
}

fn unknown(state: &State, subject: Subject, who: &str) -> Option<String> {
    match subject {
        Subject::User => (!state.users.contains_key(who)).then(|| format!("user '{who}' does not exist")),
        Subject::Group => (!state.groups.contains_key(who)).then(|| format!("group '{who}' does not exist")),
        Subject::Token => {
            let (user, token) = who.split_once('!').unwrap_or((who, ""));
            let known = state.users.get(user).is_some_and(|u| u.tokens.contains_key(token));
            (!known).then(|| format!("no such token '{token}' for user '{user}'"))
        }
    }
}
