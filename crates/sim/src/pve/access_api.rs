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
    let known =
        engine.state().users.get(&name).is_some_and(|user| {
            user.enabled && user.password.as_deref().is_some_and(|p| p == password && !p.is_empty())
        });
    if !renewed && !known {
        return Err(denied());
    }
    if let (Some(path), Some(wanted)) = (call.text("path"), call.text("privs")) {
        let wanted = split_list(wanted);
        let privileges: Vec<&str> = wanted.iter().map(String::as_str).collect();
        if !engine.state().may_any(&name, path, &privileges) {
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
    let mut out = Map::new();
    let areas: [(&str, &[&str], &str); 7] = [
        ("vms", &["/vms", "/pool"], "^(VM\\.|Permissions\\.Modify$)"),
        ("storage", &["/storage"], "^(Datastore\\.|Permissions\\.Modify$)"),
        ("access", &["/access", "/access/groups"], "^(User|Group|Permissions)\\."),
        ("nodes", &["/nodes"], "^(Sys\\.|Permissions\\.Modify$)"),
        ("sdn", &["/sdn"], "^(SDN\\.|Permissions\\.Modify$)"),
        ("dc", &["/"], "^(SDN\\.|Sys\\.Audit$|Sys\\.Modify$)"),
        ("mapping", &["/mapping"], "^(Mapping\\.|Permissions\\.Modify$)"),
    ];
    for (area, paths, pattern) in areas {
        let regex = regex::Regex::new(pattern).ok();
        let mut found = Map::new();
        let below: BTreeSet<String> = state
            .acl
            .keys()
            .filter(|path| paths.iter().any(|p| *p != "/" && path.starts_with(&format!("{p}/"))))
            .cloned()
            .collect();
        for path in paths.iter().map(|p| (*p).to_owned()).chain(below) {
            for privilege in state.privileges(user, &path).keys() {
                if regex.as_ref().is_some_and(|r| r.is_match(privilege)) {
                    found.insert(privilege.clone(), json!(1));
                }
            }
        }
        out.insert(area.to_owned(), Value::Object(found));
    }
    Value::Object(out)
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
    for path in state.acl.keys() {
        let mut at = path.as_str();
        while let Some(cut) = at.rfind('/').filter(|cut| *cut > 0 || at.len() > 1) {
            paths.insert(at.to_owned());
            at = &at[..cut];
        }
    }
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
    row
}

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
        comment: call.text("comment").map(str::to_owned),
        email: call.text("email").map(str::to_owned),
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
    let Some(user) = state.users.get_mut(&name) else { return Ok(Value::Null) };
    if let Some(comment) = call.text("comment") {
        user.comment = Some(comment.to_owned());
    }
    if let Some(email) = call.text("email") {
        user.email = Some(email.to_owned());
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
        comment: call.text("comment").map(str::to_owned),
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
    if let Some(comment) = call.text("comment") {
        token.comment = Some(comment.to_owned());
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
    let auditor =
        state.may(&call.caller, "/access", "Sys.Audit") || state.may(&call.caller, "/access", "Permissions.Modify");
    let mut rows = Vec::new();
    for (path, entries) in &state.acl {
        let own = match path.split('/').nth(1).unwrap_or_default() {
            "vms" => state.may(&call.caller, path, "VM.Allocate"),
            "storage" => state.may(&call.caller, path, "Datastore.Allocate"),
            "pool" => state.may(&call.caller, path, "Pool.Allocate"),
            _ => false,
        };
        if !auditor && !own && !state.may(&call.caller, path, "Permissions.Modify") {
            continue;
        }
        for ((subject, who, role), propagate) in entries {
            rows.push(json!({ "path": path, "propagate": u8::from(*propagate), "roleid": role, "type": subject.word(), "ugid": who }));
        }
    }
    json!(rows)
}

fn acl_path_is_valid(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    match parts.as_slice() {
        []
        | ["access" | "nodes" | "pool" | "sdn" | "storage" | "vms" | "mapping"]
        | ["access", "groups" | "realm", ..] => true,
        ["nodes" | "storage" | "vms" | "pool", ..] => parts.len() >= 2,
        ["sdn", "zones" | "fabrics" | "controllers" | "dns" | "ipams", ..] => true,
        ["mapping", "dir" | "hwrng" | "notifications" | "pci" | "usb", ..] => true,
        _ => false,
    }
}

pub(crate) fn acl_update(engine: &Engine, call: &Call) -> Outcome<Value> {
    let path = call.text("path").unwrap_or_default();
    if !acl_path_is_valid(path) {
        return Err(Refusal::parameter("path", format!("invalid ACL path '{path}'")));
    }
    let lists = [("users", Subject::User), ("groups", Subject::Group), ("tokens", Subject::Token)];
    if lists.iter().all(|(name, _)| !call.params.has(name)) {
        let text = "either 'users', 'groups' or 'tokens' is required.";
        return Err(Refusal::parameters(lists.iter().map(|(name, _)| ((*name).to_owned(), text.to_owned())).collect()));
    }
    let path = if path == "/" { path.to_owned() } else { path.trim_end_matches('/').to_owned() };
    let delete = call.params.flag("delete");
    let propagate = call.text("propagate") != Some("0");
    let mut state = engine.state();
    let fail = |text: String| Err(Refusal::fault(format!("ACL update failed: {text}")));
    for role in split_list(call.text("roles").unwrap_or_default()) {
        if !state.roles.contains_key(&role) {
            return fail(format!("role '{role}' does not exist"));
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

pub(crate) fn groups(engine: &Engine) -> Value {
    let state = engine.state();
    let rows: Vec<Value> = state
        .groups
        .iter()
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
            state.groups.insert(name, call.text("comment").map(str::to_owned));
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
            if let Some(comment) = call.text("comment") {
                state.groups.insert(name, Some(comment.to_owned()));
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
