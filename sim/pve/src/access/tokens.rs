//! `/access/users/{userid}/token`.

use serde_json::{Map, Value, json};

use super::users::{find_user, remove_acl_entries, token_row, user_cfg_value, with_id};
use crate::engine::{Call, Engine};
use crate::params::split_list;
use crate::refusal::{Outcome, Refusal};
use crate::world::state::{Subject, Token};

pub(crate) fn tokens(engine: &Engine, call: &Call) -> Outcome<Value> {
    let state = engine.state();
    let user = find_user(&state, call.text("userid").unwrap_or_default())?;
    Ok(json!(user.tokens.iter().map(|(id, token)| with_id(token_row(token), id)).collect::<Vec<_>>()))
}

fn no_token(user: &str, token: &str) -> Refusal {
    Refusal::fault(format!("no such token '{token}' for user '{user}'"))
}

pub(crate) fn token(engine: &Engine, call: &Call) -> Outcome<Value> {
    let state = engine.state();
    let (name, id) = (call.text("userid").unwrap_or_default(), call.text("tokenid").unwrap_or_default());
    let token = find_user(&state, name)?.tokens.get(id).ok_or_else(|| no_token(name, id))?;
    Ok(Value::Object(token_row(token)))
}

pub(crate) fn token_create(engine: &Engine, call: &Call) -> Outcome<Value> {
    let (name, id) = (call.text("userid").unwrap_or_default(), call.text("tokenid").unwrap_or_default());
    let mut state = engine.state();
    let secret = state.uuid();
    find_user(&state, name)?;
    let Some(user) = state.users.get_mut(name) else { return Ok(Value::Null) };
    if user.tokens.contains_key(id) {
        return Err(Refusal::parameter("tokenid", "Token already exists."));
    }
    let token = Token {
        secret: secret.clone(),
        separated: call.text("privsep") != Some("0"),
        expire: call.params.number("expire").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        comment: user_cfg_value(call, "comment"),
    };
    user.tokens.insert(id.to_owned(), token);
    let mut info = Map::new();
    info.insert("privsep".into(), json!(call.text("privsep").unwrap_or("1")));
    for key in ["comment", "expire"] {
        if let Some(value) = call.text(key) {
            info.insert(key.into(), json!(value));
        }
    }
    Ok(json!({ "full-tokenid": format!("{name}!{id}"), "info": info, "value": secret }))
}

pub(crate) fn token_update(engine: &Engine, call: &Call) -> Outcome<Value> {
    let (name, id) = (call.text("userid").unwrap_or_default(), call.text("tokenid").unwrap_or_default());
    let mut state = engine.state();
    find_user(&state, name)?;
    let secret = state.uuid();
    let Some(token) = state.users.get_mut(name).and_then(|user| user.tokens.get_mut(id)) else {
        return Err(no_token(name, id));
    };
    let deleted = split_list(call.text("delete").unwrap_or_default());
    if let Some(unknown) = deleted.iter().find(|option| *option != "comment") {
        let text = format!(
            "updating token info failed: 400 Parameter verification failed.\ndelete: unknown option '{unknown}'"
        );
        return Err(Refusal::fault(text));
    }
    if call.params.has("comment") {
        token.comment = user_cfg_value(call, "comment");
    }
    if deleted.iter().any(|option| option == "comment") {
        token.comment = None;
    }
    if call.params.has("privsep") {
        token.separated = call.params.flag("privsep");
    }
    if let Some(expire) = call.params.number("expire").and_then(|n| u64::try_from(n).ok()) {
        token.expire = expire;
    }
    let mut out = token_row(token);
    // The answer repeats these values as they were sent.
    for key in ["privsep", "expire"] {
        if let Some(value) = call.text(key) {
            out.insert(key.into(), json!(value));
        }
    }
    if call.params.flag("regenerate") {
        token.secret.clone_from(&secret);
        out.insert("full-tokenid".into(), json!(format!("{name}!{id}")));
        out.insert("value".into(), json!(secret));
    }
    Ok(Value::Object(out))
}

pub(crate) fn token_delete(engine: &Engine, call: &Call) -> Outcome<Value> {
    let (name, id) = (call.text("userid").unwrap_or_default(), call.text("tokenid").unwrap_or_default());
    let mut state = engine.state();
    let removed = state.users.get_mut(name).and_then(|user| user.tokens.remove(id));
    if removed.is_none() {
        return Err(no_token(name, id));
    }
    let full = format!("{name}!{id}");
    remove_acl_entries(&mut state, |subject, who| subject == Subject::Token && who == full);
    Ok(Value::Null)
}
