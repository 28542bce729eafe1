//! `/access`: login, users, tokens, roles, ACLs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::engine::{Call, Engine};
use super::params::split_list;
use super::refusal::{Body, Outcome, Refusal};
use super::state::{State, Subject, Token, User};
use super::tickets;

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
    // A login that only verifies a privilege gets no ticket.
    if !call.params.has("path") {
        out["ticket"] = json!(tickets::ticket(engine, &name));
        out["CSRFPreventionToken"] = json!(tickets::csrf(engine, &name));
    }
    Ok(out)
}

/// What the web page shows or hides.
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

/// A path and all above it but the root.
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
    if subject != call.caller && super::access::user_of(&subject) != call.caller {
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

fn user_row(name: &str, user: &User) -> Map<String, Value> {
    let mut row = Map::new();
    let _ = name;
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

/// What is set to nothing is not there afterwards.
fn given(call: &Call, name: &str) -> Option<String> {
    call.text(name).filter(|text| !text.is_empty()).map(str::to_owned)
}

const DETAILS: [&str; 3] = ["firstname", "lastname", "keys"];

fn token_row(token: &Token) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("expire".into(), json!(token.expire));
    row.insert("privsep".into(), json!(u8::from(token.separated)));
    if let Some(comment) = &token.comment {
        row.insert("comment".into(), json!(comment));
    }
    row
}

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
        let mut row = user_row(name, user);
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

fn with_id(mut row: Map<String, Value>, id: &str) -> Value {
    row.insert("tokenid".into(), json!(id));
    Value::Object(row)
}

fn find_user<'a>(state: &'a State, name: &str) -> Outcome<&'a User> {
    state.users.get(name).ok_or_else(|| Refusal::fault(format!("no such user ('{name}')")))
}

pub(crate) fn user(engine: &Engine, call: &Call) -> Outcome<Value> {
    let state = engine.state();
    let name = call.text("userid").unwrap_or_default();
    let user = find_user(&state, name)?;
    let mut row = user_row(name, user);
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
        comment: given(call, "comment"),
        email: given(call, "email"),
        details: DETAILS.iter().filter_map(|name| Some(((*name).to_owned(), given(call, name)?))).collect(),
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
        user.comment = given(call, "comment");
    }
    if call.params.has("email") {
        user.email = given(call, "email");
    }
    for name in DETAILS.into_iter().filter(|name| call.params.has(name)) {
        match given(call, name) {
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
    forget(&mut state, |subject, who| {
        (subject == Subject::User && who == name) || (subject == Subject::Token && super::access::user_of(who) == name)
    });
    Ok(Value::Null)
}

fn forget(state: &mut State, gone: impl Fn(Subject, &str) -> bool) {
    for entries in state.acl.values_mut() {
        entries.retain(|(subject, who, _), _| !gone(*subject, who));
    }
    state.acl.retain(|_, entries| !entries.is_empty());
}

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
    let Some(user) = state.users.get_mut(name) else { return Err(Refusal::permission("")) };
    if user.tokens.contains_key(id) {
        return Err(Refusal::parameter("tokenid", "Token already exists."));
    }
    let token = Token {
        secret: secret.clone(),
        separated: call.text("privsep") != Some("0"),
        expire: call.params.number("expire").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        comment: given(call, "comment"),
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
        token.comment = given(call, "comment");
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
    // What was sent comes back as it was sent.
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
    forget(&mut state, |subject, who| subject == Subject::Token && who == full);
    Ok(Value::Null)
}

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

/// One form for each path: single slashes, one at the beginning, none at the end.
fn normal_path(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let plain = !path.is_empty() && path.chars().all(|c| c.is_ascii_alphanumeric() || ".-_/".contains(c));
    plain.then(|| format!("/{}", parts.join("/")))
}

/// Paths that an ACL may stand at.
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

/// Who may not hand out rights at a path freely hands out, or takes away, only what he has there himself.
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
    // In the order in which PVE goes through them.
    let lists = [("groups", Subject::Group), ("users", Subject::User), ("tokens", Subject::Token)];
    if lists.iter().all(|(name, _)| given(call, name).is_none()) {
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
            state.groups.insert(name, given(call, "comment"));
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
            forget(&mut state, |subject, who| subject == Subject::Group && who == name);
        }
        _ => {
            if call.params.has("comment") {
                state.groups.insert(name, given(call, "comment"));
            }
        }
    }
    Ok(Value::Null)
}

pub(crate) fn domains() -> Value {
    json!([
        { "comment": "Linux PAM standard authentication", "realm": "pam", "type": "pam" },
        { "comment": "Proxmox VE authentication server", "realm": "pve", "type": "pve" },
    ])
}
