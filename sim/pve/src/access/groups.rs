//! `/access/groups`.

use serde_json::{Value, json};

use super::users::{remove_acl_entries, user_cfg_value};
use crate::engine::{Call, Engine};
use crate::refusal::{Outcome, Refusal};
use crate::world::state::Subject;

pub(crate) fn groups(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let shown = |group: &str| {
        let path = format!("/access/groups/{group}");
        state.may_any(&call.caller, &path, &["User.Modify", "Sys.Audit", "Group.Allocate"])
    };
    let rows: Vec<Value> = state
        .groups
        .iter()
        .filter(|(name, _)| shown(name))
        .map(|(name, comment)| {
            let users: Vec<&str> =
                state.users.iter().filter(|(_, u)| u.groups.contains(name)).map(|(n, _)| n.as_str()).collect();
            let mut row = json!({ "groupid": name, "users": users.join(",") });
            if let Some(comment) = comment {
                row["comment"] = json!(comment);
            }
            row
        })
        .collect();
    json!(rows)
}

pub(crate) fn group_change(engine: &Engine, call: &Call, verb: &str) -> Outcome<Value> {
    let name = call.text("groupid").unwrap_or_default().to_owned();
    let mut state = engine.state();
    let exists = state.groups.contains_key(&name);
    match verb {
        "create" if exists => {
            return Err(Refusal::fault(format!("create group failed: group '{name}' already exists")));
        }
        "create" => {
            state.groups.insert(name, user_cfg_value(call, "comment"));
            return Ok(Value::Null);
        }
        _ if !exists => {
            let prefix = if verb == "get" { String::new() } else { format!("{verb} group failed: ") };
            return Err(Refusal::fault(format!("{prefix}group '{name}' does not exist")));
        }
        "get" => {
            let members: Vec<&String> =
                state.users.iter().filter(|(_, u)| u.groups.contains(&name)).map(|(n, _)| n).collect();
            let mut out = json!({ "members": members });
            if let Some(Some(comment)) = state.groups.get(&name) {
                out["comment"] = json!(comment);
            }
            return Ok(out);
        }
        "delete" => {
            state.groups.remove(&name);
            state.users.values_mut().for_each(|user| {
                user.groups.remove(&name);
            });
            remove_acl_entries(&mut state, |subject, who| subject == Subject::Group && who == name);
        }
        _ => {
            if call.params.has("comment") {
                state.groups.insert(name, user_cfg_value(call, "comment"));
            }
        }
    }
    Ok(Value::Null)
}
