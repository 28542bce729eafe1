//! Access control: roles, ACLs with propagation, resource pools, and tokens with and without privilege separation.

pub(crate) mod acl;
pub(crate) mod groups;
pub(crate) mod pools;
pub(crate) mod roles;
pub(crate) mod session;
pub(crate) mod tickets;
pub(crate) mod tokens;
pub(crate) mod users;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::params;
use crate::params::Params;
use crate::refusal::{Outcome, Refusal};
use crate::world::state::{State, Subject};

/// Privileges on a path. The value is true if the privilege propagates.
pub(crate) type Privileges = BTreeMap<String, bool>;

/// Returns the user that a token belongs to.
pub(crate) fn user_of(caller: &str) -> &str {
    caller.split('!').next().unwrap_or(caller)
}

impl State {
    fn roles_at<'s>(&'s self, subject: &str, path: &str) -> Vec<(&'s str, bool)> {
        let (user, token) = match subject.split_once('!') {
            Some((user, _)) => (user, Some(subject)),
            None => (subject, None),
        };
        if token.is_none() && user == "root@pam" {
            return vec![("Administrator", true)];
        }
        let groups = self.users.get(user).map(|user| &user.groups);
        let mut roles: Vec<(&str, bool)> = Vec::new();
        for (prefix, is_final) in prefixes(path) {
            let Some(entries) = self.acl.get(prefix) else { continue };
            let pick = |wanted: Subject, names: &dyn Fn(&str) -> bool| -> Vec<(&'s str, bool)> {
                entries
                    .iter()
                    .filter(|((kind, name, _), propagate)| *kind == wanted && names(name) && (is_final || **propagate))
                    .map(|((.., role), propagate)| (role.as_str(), *propagate))
                    .collect()
            };
            let found = match token {
                Some(token) => pick(Subject::Token, &|name| name == token),
                None => {
                    let own = pick(Subject::User, &|name| name == user);
                    let in_group = |name: &str| groups.is_some_and(|groups| groups.contains(name));
                    if own.is_empty() { pick(Subject::Group, &in_group) } else { own }
                }
            };
            if !found.is_empty() {
                roles = found;
            }
        }
        if let Some(refusal) = roles.iter().find(|(role, _)| *role == "NoAccess") {
            return vec![*refusal];
        }
        roles
    }

    /// Returns the roles of a user or token at a path, including those that come from resource pools.
    fn effective_roles<'s>(&'s self, subject: &str, path: &str) -> Vec<(&'s str, bool)> {
        let mut roles = self.roles_at(subject, path);
        // Roles from a resource pool never propagate and do not lift a `NoAccess`; a `NoAccess` on the pool itself
        // revokes what is granted.
        if roles.iter().any(|(role, _)| *role == "NoAccess") {
            return roles;
        }
        let pools = self.pools_of_path(path);
        let given: Vec<&str> = pools
            .iter()
            .flat_map(|pool| self.roles_at(subject, &format!("/pool/{pool}")))
            .map(|(role, _)| role)
            .collect();
        if given.contains(&"NoAccess") {
            return Vec::new();
        }
        for role in given {
            if !roles.iter().any(|(held, _)| *held == role) {
                roles.push((role, false));
            }
        }
        roles
    }

    fn privileges_of_subject(&self, subject: &str, path: &str) -> Privileges {
        let mut out = Privileges::new();
        for (role, propagate) in self.effective_roles(subject, path) {
            let Some((privileges, _)) = self.roles.get(role) else { continue };
            for privilege in privileges {
                *out.entry(privilege.clone()).or_insert(false) |= propagate;
            }
        }
        out
    }

    fn subject_may(&self, subject: &str, path: &str, privilege: &str) -> bool {
        let gives = |role: &str| self.roles.get(role).is_some_and(|(privileges, _)| privileges.contains(privilege));
        self.effective_roles(subject, path).iter().any(|(role, _)| gives(role))
    }

    fn pools_of_path(&self, path: &str) -> Vec<&str> {
        if let Some(vmid) = path.strip_prefix("/vms/").and_then(|v| v.parse::<u32>().ok()) {
            return self.pool_of(vmid).into_iter().collect();
        }
        let Some(storage) = path.strip_prefix("/storage/") else { return Vec::new() };
        let holding = self.pools.iter().filter(|(_, pool)| pool.storages.contains(storage));
        holding.map(|(name, _)| name.as_str()).collect()
    }

    /// Returns the privileges of `caller` (a user or token) at `path`.
    pub(crate) fn privileges(&self, caller: &str, path: &str) -> Privileges {
        let Some((user, token)) = caller.split_once('!') else { return self.privileges_of_subject(caller, path) };
        let of_user = self.privileges_of_subject(user, path);
        let separated = self.users.get(user).and_then(|u| u.tokens.get(token)).is_none_or(|t| t.separated);
        if !separated {
            return of_user;
        }
        let of_token = self.privileges_of_subject(caller, path);
        of_token
            .into_iter()
            .filter_map(|(privilege, propagates)| {
                of_user.get(&privilege).map(|of_user| (privilege, *of_user && propagates))
            })
            .collect()
    }

    pub(crate) fn may(&self, caller: &str, path: &str, privilege: &str) -> bool {
        let Some((user, token)) = caller.split_once('!') else { return self.subject_may(caller, path, privilege) };
        let separated = self.users.get(user).and_then(|u| u.tokens.get(token)).is_none_or(|t| t.separated);
        self.subject_may(user, path, privilege) && (!separated || self.subject_may(caller, path, privilege))
    }

    pub(crate) fn may_any(&self, caller: &str, path: &str, privileges: &[&str]) -> bool {
        privileges.iter().any(|privilege| self.may(caller, path, privilege))
    }

    /// Refuses with the name of the missing privilege.
    pub(crate) fn require(&self, caller: &str, path: &str, privileges: &[&str]) -> Outcome<()> {
        match privileges.iter().find(|privilege| !self.may(caller, path, privilege)) {
            Some(missing) => Err(Refusal::permission(&format!("{path}, {missing}"))),
            None => Ok(()),
        }
    }

    pub(crate) fn require_any(&self, caller: &str, path: &str, privileges: &[&str]) -> Outcome<()> {
        if self.may_any(caller, path, privileges) {
            return Ok(());
        }
        Err(Refusal::permission(&format!("{path}, {}", privileges.join("|"))))
    }

    /// Checks the privileges that a call declares (`permissions.check` of the schema). `root@pam` itself is not
    /// checked; its tokens are.
    ///
    /// Source: `check_api2_permissions` in PVE's `RPCEnvironment.pm`.
    pub(crate) fn check_declared(&self, caller: &str, check: &Value, params: &Params) -> Outcome<()> {
        if caller == "root@pam" {
            return Ok(());
        }
        let Some(list) = check.as_array() else { return Ok(()) };
        match list.first().and_then(Value::as_str).unwrap_or_default() {
            "and" => list[1..].iter().try_for_each(|one| self.check_declared(caller, one, params)),
            "or" => {
                if list[1..].iter().any(|one| self.check_declared(caller, one, params).is_ok()) {
                    return Ok(());
                }
                Err(Refusal::permission(""))
            }
            "perm" => self.check_perm(caller, list, params),
            "perm-modify" => self.check_modify(caller, list, params),
            "userid-param" => self.check_userid(caller, list, params),
            "userid-group" => self.check_group(caller, list, params),
            _ => Ok(()),
        }
    }

    fn check_perm(&self, caller: &str, list: &[Value], params: &Params) -> Outcome<()> {
        let path = fill(list.get(1).and_then(Value::as_str).unwrap_or_default(), params);
        let privileges: Vec<&str> = list
            .get(2)
            .and_then(Value::as_array)
            .map(|all| all.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let options: BTreeMap<&str, &Value> = list
            .get(3..)
            .unwrap_or_default()
            .chunks(2)
            .filter_map(|pair| Some((pair.first()?.as_str()?, pair.get(1)?)))
            .collect();
        if let Some(required) = options.get("require_param").and_then(|v| v.as_str())
            && !params.has(required)
        {
            return Err(Refusal::permission(""));
        }
        let Some(path) = path else {
            return Err(Refusal::permission(&format!(", {}", privileges.first().unwrap_or(&""))));
        };
        if options.contains_key("any") {
            return self.require_any(caller, &path, &privileges);
        }
        self.require(caller, &path, &privileges)
    }

    fn check_modify(&self, caller: &str, list: &[Value], params: &Params) -> Outcome<()> {
        match fill(list.get(1).and_then(Value::as_str).unwrap_or_default(), params) {
            Some(path) => self.may_modify(caller, &path),
            None => Ok(()),
        }
    }

    /// Checks that `caller` may change the ACL at `path`.
    pub(crate) fn may_modify(&self, caller: &str, path: &str) -> Outcome<()> {
        let below = |top: &str| path.strip_prefix(top).is_some_and(|rest| !rest.is_empty());
        let extra = if below("/storage/") {
            Some("Datastore.Allocate")
        } else if below("/vms/") {
            Some("VM.Allocate")
        } else if below("/pool/") {
            Some("Pool.Allocate")
        } else {
            None
        };
        let wanted: Vec<&str> = ["Permissions.Modify"].into_iter().chain(extra).collect();
        self.require_any(caller, path, &wanted)
    }

    fn check_userid(&self, caller: &str, list: &[Value], params: &Params) -> Outcome<()> {
        let userid = params.text("userid").unwrap_or_default();
        match list.get(1).and_then(Value::as_str).unwrap_or_default() {
            "self" if !self.users.contains_key(userid) => Err(Refusal::fault(format!("no such user ('{userid}')"))),
            "self" if caller == userid => Ok(()),
            "self" => Err(Refusal::permission("")),
            "Realm.AllocateUser" if !userid.contains('@') => {
                Err(Refusal::fault(format!("value '{userid}' does not look like a valid user name")))
            }
            "Realm.AllocateUser" => {
                let realm = userid.rsplit('@').next().unwrap_or_default();
                self.require(caller, &format!("/access/realm/{realm}"), &["Realm.AllocateUser"])
            }
            _ => Ok(()),
        }
    }

    /// `["userid-group", [privileges], "groups_param", "create"|"update"]`
    fn check_group(&self, caller: &str, list: &[Value], params: &Params) -> Outcome<()> {
        let privileges: Vec<&str> = list
            .get(1)
            .and_then(Value::as_array)
            .map(|all| all.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let userid = params.text("userid").unwrap_or_default();
        let of_groups = list.get(2).and_then(Value::as_str) == Some("groups_param");
        let existing = !of_groups || list.get(3).and_then(Value::as_str) != Some("create");
        if existing && !self.users.contains_key(userid) {
            return Err(Refusal::fault(format!("no such user ('{userid}')")));
        }
        if self.may_any(caller, "/access/groups", &privileges) {
            return Ok(());
        }
        let on = |group: &str| self.may_any(caller, &format!("/access/groups/{group}"), &privileges);
        let refused = |path: &str| Refusal::permission(&format!("{path}, {}", privileges.join("|")));
        if of_groups {
            let named = params::split_list(params.text("groups").unwrap_or_default());
            if named.is_empty() {
                return Err(refused("/access/groups"));
            }
            if let Some(group) = named.iter().find(|group| !self.groups.contains_key(*group) || !on(group)) {
                return Err(refused(&format!("/access/groups/{group}")));
            }
        }
        if !existing || self.users.get(userid).is_some_and(|user| user.groups.iter().any(|group| on(group))) {
            return Ok(());
        }
        Err(Refusal::permission(""))
    }
}

/// Replaces the variables of a path such as `/vms/{vmid}` by the request's values. Returns `None` if a value cannot be
/// part of a path.
fn fill(template: &str, params: &Params) -> Option<String> {
    let mut out = String::new();
    for part in template.split('/').filter(|p| !p.is_empty()) {
        out.push('/');
        match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            Some(name) => out.push_str(params.text(name).unwrap_or_default().trim_matches('/')),
            None => out.push_str(part),
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    let plain = out.chars().all(|c| c.is_ascii_alphanumeric() || "./-_@".contains(c));
    plain.then_some(out)
}

/// Splits `/vms/100` into `/`, `/vms` and `/vms/100`. The flag is true for the path itself.
fn prefixes(path: &str) -> impl Iterator<Item = (&str, bool)> {
    let path = path.trim_end_matches('/');
    let ends = path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
    let below = (!path.is_empty()).then(|| ends.chain([path.len()])).into_iter().flatten();
    std::iter::once(("/", path.is_empty())).chain(below.map(move |end| (&path[..end], end == path.len())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn state() -> State {
        let mut state = State::new(1, crate::line::Line::Nine);
        for name in ["ci@pve", "other@pve"] {
            state.users.insert(name.to_owned(), crate::world::state::User { enabled: true, ..Default::default() });
        }
        state.roles.insert("Clone".to_owned(), (BTreeSet::from(["VM.Clone".to_owned()]), false));
        state.roles.insert("NoAccess".to_owned(), (BTreeSet::new(), true));
        state
    }

    fn grant(state: &mut State, path: &str, who: Subject, name: &str, role: &str, propagate: bool) {
        state.acl.entry(path.to_owned()).or_default().insert((who, name.to_owned(), role.to_owned()), propagate);
    }

    #[test]
    fn a_separated_token_has_only_what_user_and_token_share() {
        let mut state = state();
        let token = crate::world::state::Token { secret: String::new(), separated: true, expire: 0, comment: None };
        state.users.get_mut("ci@pve").expect("a user").tokens.insert("t1".to_owned(), token);
        grant(&mut state, "/vms", Subject::User, "ci@pve", "Clone", true);
        assert!(state.may("ci@pve", "/vms/100", "VM.Clone"));
        assert!(!state.may("ci@pve!t1", "/vms/100", "VM.Clone"));
        grant(&mut state, "/vms/100", Subject::Token, "ci@pve!t1", "Clone", true);
        assert!(state.may("ci@pve!t1", "/vms/100", "VM.Clone"));
    }

    #[test]
    fn a_path_is_looked_up_from_the_root_down() {
        let all = |path| prefixes(path).collect::<Vec<_>>();
        assert_eq!(all("/"), [("/", true)]);
        assert_eq!(all("/vms/7"), [("/", false), ("/vms", false), ("/vms/7", true)]);
    }

    #[test]
    fn no_access_on_a_path_overrides_roles_above_it() {
        let mut state = state();
        grant(&mut state, "/vms", Subject::User, "ci@pve", "Clone", true);
        grant(&mut state, "/vms/7", Subject::User, "ci@pve", "NoAccess", true);
        assert!(!state.may("ci@pve", "/vms/7", "VM.Clone"));
        assert!(state.may("ci@pve", "/vms/8", "VM.Clone"));
    }

    #[test]
    fn a_role_that_does_not_propagate_holds_on_its_own_path_only() {
        let mut state = state();
        grant(&mut state, "/vms", Subject::User, "ci@pve", "Clone", false);
        assert!(state.may("ci@pve", "/vms", "VM.Clone"));
        assert!(!state.may("ci@pve", "/vms/7", "VM.Clone"));
    }
}
