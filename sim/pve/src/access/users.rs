//! `/access/users`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::engine::{Call, Engine};
use crate::params::split_list;
use crate::refusal::{Outcome, Refusal};
use crate::world::state::{State, Subject, Token, User};

fn user_row(user: &User) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("enable".into(), json!(u8::from(user.enabled)));
    row.insert("expire".into(), json!(user.expire));
    for (key, value) in [("comment", &user.comment), ("email", &user.email)] {
        if let Some(value) = value {
            row.insert(key.into(), json!(value));
        }
    }
    row.extend(user.details.iter().map(|(key, value)| (key.clone(), json!(value))));
    row
}

pub(crate) fn token_row(token: &Token) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("expire".into(), json!(token.expire));
    row.insert("privsep".into(), json!(u8::from(token.separated)));
    if let Some(comment) = &token.comment {
        row.insert("comment".into(), json!(comment));
    }
    row
}

/// Returns a parameter as `user.cfg` gives it back: without blanks around it, and not at all if it is empty or `0`.
///
/// Source: `parse_user_config` and `write_user_config` in PVE's `AccessControl.pm`.
pub(crate) fn user_cfg_value(call: &Call, name: &str) -> Option<String> {
    let text = call.text(name)?.trim_matches(' ');
    (!matches!(text, "" | "0")).then(|| text.to_owned())
}

const DETAILS: [&str; 3] = ["firstname", "lastname", "keys"];

pub(crate) fn users(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let full = call.params.flag("full");
    let all = state.may_any(&call.caller, "/access/groups", &["User.Modify", "Sys.Audit"]);
    let mut rows = Vec::new();
    for (name, user) in &state.users {
        let in_group = user
            .groups
            .iter()
            .any(|g| state.may_any(&call.caller, &format!("/access/groups/{g}"), &["User.Modify", "Sys.Audit"]));
        if !(all || in_group || call.caller == *name) {
            continue;
        }
        if call.params.has("enabled") && call.params.flag("enabled") != user.enabled {
            continue;
        }
        let mut row = user_row(user);
        row.insert("userid".into(), json!(name));
        let realm = name.rsplit('@').next().unwrap_or_default();
        row.insert("realm-type".into(), json!(realm));
        if full {
            row.insert("groups".into(), json!(user.groups.iter().cloned().collect::<Vec<_>>().join(",")));
            let tokens: Vec<Value> = user.tokens.iter().map(|(id, token)| with_id(token_row(token), id)).collect();
            row.insert("tokens".into(), if tokens.is_empty() { Value::Null } else { json!(tokens) });
        }
        rows.push(Value::Object(row));
    }
    json!(rows)
}

pub(crate) fn with_id(mut row: Map<String, Value>, id: &str) -> Value {
    row.insert("tokenid".into(), json!(id));
    Value::Object(row)
}

pub(crate) fn find_user<'a>(state: &'a State, name: &str) -> Outcome<&'a User> {
    state.users.get(name).ok_or_else(|| Refusal::fault(format!("no such user ('{name}')")))
}

pub(crate) fn user(engine: &Engine, call: &Call) -> Outcome<Value> {
    let state = engine.state();
    let name = call.text("userid").unwrap_or_default();
    let user = find_user(&state, name)?;
    let mut row = user_row(user);
    row.insert("groups".into(), json!(user.groups));
    let tokens: Map<String, Value> =
        user.tokens.iter().map(|(id, token)| (id.clone(), Value::Object(token_row(token)))).collect();
    row.insert("tokens".into(), if tokens.is_empty() { Value::Null } else { json!(tokens) });
    Ok(Value::Object(row))
}

pub(crate) fn user_create(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("userid").unwrap_or_default().to_owned();
    let mut state = engine.state();
    let fail = |text: String| Err(Refusal::fault(format!("create user failed: {text}")));
    if state.users.contains_key(&name) {
        return fail(format!("user '{name}' already exists"));
    }
    let groups: BTreeSet<String> = split_list(call.text("groups").unwrap_or_default()).into_iter().collect();
    if let Some(missing) = groups.iter().find(|group| !state.groups.contains_key(*group)) {
        return fail(format!("no such group '{missing}'"));
    }
    let user = User {
        password: call.text("password").map(str::to_owned),
        enabled: call.text("enable") != Some("0"),
        expire: call.params.number("expire").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        comment: user_cfg_value(call, "comment"),
        email: user_cfg_value(call, "email"),
        details: DETAILS.iter().filter_map(|name| Some(((*name).to_owned(), user_cfg_value(call, name)?))).collect(),
        groups,
        tokens: BTreeMap::new(),
    };
    state.users.insert(name, user);
    Ok(Value::Null)
}

pub(crate) fn user_update(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("userid").unwrap_or_default().to_owned();
    let mut state = engine.state();
    find_user(&state, &name)?;
    let groups = call.text("groups").map(split_list);
    if let Some(missing) = groups.iter().flatten().find(|group| !state.groups.contains_key(*group)) {
        return Err(Refusal::fault(format!("update user failed: no such group '{missing}'")));
    }
    let Some(user) = state.users.get_mut(&name) else { return Ok(Value::Null) };
    if call.params.has("comment") {
        user.comment = user_cfg_value(call, "comment");
    }
    if call.params.has("email") {
        user.email = user_cfg_value(call, "email");
    }
    for name in DETAILS.into_iter().filter(|name| call.params.has(name)) {
        match user_cfg_value(call, name) {
            Some(value) => user.details.insert(name.to_owned(), value),
            None => user.details.remove(name),
        };
    }
    if call.params.has("enable") {
        user.enabled = call.params.flag("enable");
    }
    if let Some(expire) = call.params.number("expire").and_then(|n| u64::try_from(n).ok()) {
        user.expire = expire;
    }
    if let Some(groups) = groups {
        if !call.params.flag("append") {
            user.groups.clear();
        }
        user.groups.extend(groups);
    }
    Ok(Value::Null)
}

pub(crate) fn user_delete(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("userid").unwrap_or_default();
    let mut state = engine.state();
    find_user(&state, name)?;
    state.users.remove(name);
    remove_acl_entries(&mut state, |subject, who| {
        (subject == Subject::User && who == name) || (subject == Subject::Token && super::user_of(who) == name)
    });
    Ok(Value::Null)
}

pub(crate) fn remove_acl_entries(state: &mut State, gone: impl Fn(Subject, &str) -> bool) {
    for entries in state.acl.values_mut() {
        entries.retain(|(subject, who, _), _| !gone(*subject, who));
    }
    state.acl.retain(|_, entries| !entries.is_empty());
}
