//! Things of ours without a record: VMs to adopt, VMs that are lent and have finished, registrations without a VM.

use std::collections::BTreeSet;

use dispatcher_api::Config;
use jiff::SignedDuration;
use ownership::{PoolName, RunnerName, Vmid};

use crate::effect::{Effect, Step};
use crate::view::View;
use crate::{Claim, Facts, Guests, Power, RunnerSeen};

/// Time for which a registration without a VM is left alone after its incarnation ended: GitHub removes used ones by itself.
const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// A VM of ours without a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stray {
    pub(crate) name: RunnerName,
    pub(crate) pool: PoolName,
    pub(crate) vmid: Vmid,
}

/// Returns the VMs of ours that have no record.
pub(crate) fn strays(view: &View<'_>, is_recorded: impl Fn(&RunnerName) -> bool) -> Vec<Stray> {
    let Some(guests) = &view.facts.guests else { return Vec::new() };
    let mut strays = Vec::new();
    for (vmid, guest) in &guests.seen {
        let Claim::Ours { name, pool } = &guest.claim else { continue };
        // A VMID has one live record at most; a record of an earlier incarnation says nothing about this one.
        let is_known = is_recorded(name) || view.records.live(*vmid).is_some() || view.rivals.made(guest.run);
        if !is_known && !guest.locked && !view.records.is_stale(*vmid, guests) {
            strays.push(Stray { name: name.clone(), pool: pool.clone(), vmid: *vmid });
        }
    }
    strays
}

/// Returns the destructions of lent VMs that have finished: they are off, and were seen running before.
pub(crate) fn lent(view: &View<'_>, ran: &BTreeSet<RunnerName>) -> Vec<Effect> {
    let Some(guests) = &view.facts.guests else { return Vec::new() };
    let mut effects = Vec::new();
    for (vmid, guest) in &guests.seen {
        let Claim::Lent { pool, name } = &guest.claim else { continue };
        if ran.contains(name) && guest.power == Power::Off && !guest.locked {
            let step = Step::DestroyLent { pool: pool.clone(), vmid: *vmid, node: guest.node.clone() };
            effects.push(Effect { name: name.clone(), step });
        }
    }
    effects
}

/// Returns the removals of registrations with names of our grammar and our VMIDs, of which neither a VM nor a live record is
/// left.
pub(crate) fn registrations(view: &View<'_>, settled: impl Fn(&RunnerName) -> Option<bool>) -> Vec<Effect> {
    let Some(guests) = &view.facts.guests else { return Vec::new() };
    let mut effects = Vec::new();
    for (repository, seen) in &view.facts.repositories {
        let Some(runners) = &seen.runners else { continue };
        // The list of runners must be the older one: a VM that was made after it cannot be missed then.
        if guests.taken_at < runners.taken_at {
            continue;
        }
        for runner in runners.list.iter().filter(|runner| is_orphan(runner, view, guests, &settled)) {
            let step = Step::RemoveRegistration { repository: repository.clone(), runner_id: Some(runner.id) };
            effects.push(Effect { name: runner.name.clone(), step });
        }
    }
    effects
}

fn is_orphan(
    runner: &RunnerSeen,
    view: &View<'_>,
    guests: &Guests,
    settled: &impl Fn(&RunnerName) -> Option<bool>,
) -> bool {
    let vmid = runner.name.vmid();
    // Without a record, the name alone must say that it is ours: a pool of ours, and a VMID in its range.
    let is_ours = match settled(&runner.name) {
        Some(is_settled) => is_settled,
        None => is_of_a_pool(&runner.name, view.config),
    };
    is_ours && !may_exist(&runner.name, vmid, guests, &view.facts.hidden) && !runner.online && !runner.busy
}

/// Returns true if the name is of this installation, of one of its pools, and of a VMID in the range of that pool.
pub(crate) fn is_of_a_pool(name: &RunnerName, config: &Config) -> bool {
    let pool = name.pool(&config.installation).and_then(|pool| config.pool(&pool));
    pool.is_some_and(|pool| pool.vmid_range.contains(name.vmid()))
}

/// Returns true if the provider lends a VM of this name.
pub(crate) fn is_lent(name: &RunnerName, facts: &Facts) -> bool {
    let claim = facts.guest(name.vmid()).map(|guest| &guest.claim);
    matches!(claim, Some(Claim::Lent { name: lent, .. }) if lent == name)
}

/// Returns true if an ended record is old enough for its registration to be removed.
pub(crate) fn is_settled(since: jiff::Timestamp, now: jiff::Timestamp) -> bool {
    now.duration_since(since) >= GRACE
}

/// Returns true if the VM of that very name may exist. Another incarnation at the same VMID is another VM.
fn may_exist(name: &RunnerName, vmid: Vmid, guests: &Guests, hidden: &BTreeSet<Vmid>) -> bool {
    match guests.seen.get(&vmid).map(|guest| &guest.claim) {
        Some(Claim::Ours { name: found, .. } | Claim::Lent { name: found, .. }) => found == name,
        Some(Claim::Foreign | Claim::Unknown) => true,
        None => hidden.contains(&vmid),
    }
}
