//! Permission to set and remove tags of a guest.

use std::collections::BTreeSet;

use crate::params::split_list;
use crate::refusal::{Outcome, Refusal};
use crate::world::drives;
use crate::world::state::State;

/// Requires `VM.Config.Options` on the guest itself, and `Sys.Modify` on `/` for each tag that the caller may not
/// change otherwise.
///
/// The resource pool of a guest that is being created does not count. A token with its privileges through the pool can
/// therefore tag a guest only once it exists.
pub(crate) fn require(state: &State, caller: &str, vmid: u32, old: Option<&str>, new: Option<&str>) -> Outcome<()> {
    state.require(caller, &format!("/vms/{vmid}"), &["VM.Config.Options"])?;
    if state.may(caller, "/", "Sys.Modify") {
        return Ok(());
    }
    let set = |tags: Option<&str>| split_list(tags.unwrap_or_default()).into_iter().collect::<BTreeSet<_>>();
    let (old, new) = (set(old), set(new));
    let registered = registered(state);
    let allowed = allowed(state, caller);
    let refused = old
        .symmetric_difference(&new)
        .find(|tag| registered.contains(*tag) || !(free(state) || allowed.contains(*tag)));
    match refused {
        Some(tag) => Err(Refusal::permission(&format!("/, Sys.Modify for modifying tag '{tag}'"))),
        None => Ok(()),
    }
}

/// Returns the existing or listed tags that a caller may use, sorted.
pub(crate) fn allowed(state: &State, caller: &str) -> BTreeSet<String> {
    let privileged = state.may(caller, "/", "Sys.Modify");
    let policy = policy(state);
    let mut tags = BTreeSet::new();
    if privileged || policy != "none" {
        tags.extend(listed(state));
    }
    if privileged || matches!(policy.as_str(), "free" | "existing") {
        let visible = state
            .guests
            .iter()
            .filter(|(vmid, _)| privileged || state.may(caller, &format!("/vms/{vmid}"), "VM.Audit"));
        tags.extend(visible.filter_map(|(_, guest)| guest.get("tags")).flat_map(split_list));
    }
    let registered = registered(state);
    if privileged {
        tags.extend(registered);
    } else {
        tags.retain(|tag| !registered.contains(tag));
    }
    tags
}

fn free(state: &State) -> bool {
    policy(state) == "free"
}

/// Returns `user-allow` of the datacenter, which is `free` unless set.
fn policy(state: &State) -> String {
    access(state).remove("user-allow").unwrap_or_else(|| "free".to_owned())
}

fn listed(state: &State) -> Vec<String> {
    split_list(&access(state).remove("user-allow-list").unwrap_or_default())
}

fn access(state: &State) -> std::collections::BTreeMap<String, String> {
    state.options.get("user-tag-access").map(|value| drives::parse(value)).unwrap_or_default()
}

fn registered(state: &State) -> BTreeSet<String> {
    state.options.get("registered-tags").map(|tags| split_list(tags).into_iter().collect()).unwrap_or_default()
}
