//! What exists without a record: VMs of ours to take over, VMs that are lent to us, registrations without a VM.

use dispatcher_api::Config;
use jiff::{SignedDuration, Timestamp};
use ownership::{RunnerName, Vmid};

use crate::{Action, Claim, Guests, Intent, Observed, Power, RunnerSeen, capacity};

/// A registration without a VM is left alone for this long after its incarnation ended: GitHub removes used ones by itself.
const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// What is to be done about them.
pub(super) fn find(observed: &Observed, intents: &[Intent], config: &Config, now: Timestamp) -> Vec<Action> {
    let Some(guests) = &observed.guests else { return Vec::new() };
    let mut actions: Vec<_> =
        guests.seen.keys().filter_map(|vmid| take_over(*vmid, guests, observed, intents)).collect();
    actions.extend(registrations(observed, guests, intents, config, now));
    actions
}

fn take_over(vmid: Vmid, guests: &Guests, observed: &Observed, intents: &[Intent]) -> Option<Action> {
    let guest = guests.seen.get(&vmid)?;
    match &guest.claim {
        Claim::Ours { name, pool } => {
            // A VMID has one live record at most; a record of an earlier incarnation says nothing about this one.
            let known = intents.iter().any(|intent| intent.name == *name || (intent.vmid == vmid && intent.is_live()));
            let unclear = guest.locked || capacity::is_stale(vmid, guests, intents);
            (!known && !unclear).then(|| Action::Adopt { pool: pool.clone(), vmid })
        }
        Claim::Lent { pool, ran, name } => {
            let finished = *ran && guest.power == Power::Off && !guest.locked;
            (finished && !observed.in_flight.contains(name)).then(|| Action::DestroyLent { pool: pool.clone(), vmid })
        }
        Claim::Foreign | Claim::Unknown => None,
    }
}

/// Registrations with names of our grammar, our pools and our VMIDs, of which neither a VM nor a record is left.
fn registrations(
    observed: &Observed,
    guests: &Guests,
    intents: &[Intent],
    config: &Config,
    now: Timestamp,
) -> Vec<Action> {
    let mut actions = Vec::new();
    for (repository, seen) in &observed.repositories {
        let Some(runners) = &seen.runners else { continue };
        for runner in &runners.list {
            // The list of runners must be the older one: a VM made after it cannot be missed then.
            let comparable = guests.taken_at >= runners.taken_at;
            if comparable && is_orphan(runner, observed, guests, intents, config, now) {
                let (runner_id, name) = (runner.id, runner.name.clone());
                actions.push(Action::RemoveRegistration { repository: repository.clone(), runner_id, name });
            }
        }
    }
    actions
}

fn is_orphan(
    runner: &RunnerSeen,
    observed: &Observed,
    guests: &Guests,
    intents: &[Intent],
    config: &Config,
    now: Timestamp,
) -> bool {
    let Some(pool) = runner.name.pool(&config.installation).and_then(|pool| config.pool(&pool)) else { return false };
    let recorded = intents.iter().any(|intent| {
        let settled = !intent.is_live() && now.duration_since(intent.life.since) >= GRACE;
        intent.name == runner.name && !settled
    });
    let ours = pool.vmid_range.contains(runner.name.vmid());
    ours && !may_exist(&runner.name, guests)
        && !recorded
        && !runner.online
        && !runner.busy
        && !observed.in_flight.contains(&runner.name)
}

/// Whether the VM of that very name may exist. Another incarnation at the same VMID is another VM.
fn may_exist(name: &RunnerName, guests: &Guests) -> bool {
    match guests.seen.get(&name.vmid()).map(|guest| &guest.claim) {
        Some(Claim::Ours { name: found, .. } | Claim::Lent { name: found, .. }) => found == name,
        Some(Claim::Foreign | Claim::Unknown) => true,
        None => guests.hidden.contains(&name.vmid()) || guests.taken.contains(&name.vmid()),
    }
}
