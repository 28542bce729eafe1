//! Free slots of a pool.
//!
//! A slot is taken by each record, by each guest in the pool's range that is not proven to belong to another owner, and by each VMID
//! that PVE calls taken without showing its guest. A VM counts once, however many of these know of it.

use std::collections::BTreeSet;

use dispatcher_api::RunnerPool;
use jiff::{SignedDuration, Timestamp};
use ownership::Vmid;

use crate::view::View;
use crate::{Claim, Guests, Intent, Reason};

/// Age from which a list of guests says too little about what exists.
const OLDEST_LIST: SignedDuration = SignedDuration::from_secs(120);
/// Wait after the first failure in a row; doubles with each further one.
const FIRST_BACK_OFF: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_BACK_OFF: SignedDuration = SignedDuration::from_secs(300);

/// Reason for which a pool makes no VM now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The dispatcher is being drained.
    Draining,
    /// Another dispatcher of this installation goes first.
    StandingBack,
    /// PVE has not been listed, or not lately.
    Unseen,
    /// The last VMs failed.
    BackOff {
        /// Time at which the next may be made.
        until: Timestamp,
    },
    /// All slots are taken.
    Full {
        /// Number of taken slots.
        live: usize,
    },
}

/// Returns the number of free slots, at least one, or why there is none.
pub(crate) fn free(pool: &RunnerPool, view: &View<'_>) -> Result<usize, Hold> {
    if view.draining {
        return Err(Hold::Draining);
    }
    if view.stands_back {
        return Err(Hold::StandingBack);
    }
    let is_recent = |guests: &&Guests| view.now.duration_since(guests.taken_at) <= OLDEST_LIST;
    let guests = view.facts.guests.as_ref().filter(is_recent).ok_or(Hold::Unseen)?;
    if let Some(until) = back_off(pool, view).filter(|until| *until > view.now) {
        return Err(Hold::BackOff { until });
    }
    let live = live(pool, guests, view).len();
    match usize::try_from(pool.max).unwrap_or(usize::MAX).saturating_sub(live) {
        0 => Err(Hold::Full { live }),
        free => Ok(free),
    }
}

/// Returns the VMIDs that take a slot of the pool.
fn live(pool: &RunnerPool, guests: &Guests, view: &View<'_>) -> BTreeSet<Vmid> {
    let range = pool.vmid_range.first()..=pool.vmid_range.last();
    let written = view.records.of_pool(&pool.name).iter().filter(|intent| intent.is_live()).map(|intent| intent.vmid);
    // A pool that was renamed still has the VMs of its old name in its range.
    let written = written.chain(view.records.live_in(range.clone()));
    let seen = guests.seen.range(range.clone()).filter(|(vmid, guest)| {
        let counts = matches!(guest.claim, Claim::Ours { .. } | Claim::Unknown);
        counts && !view.records.is_stale(**vmid, guests)
    });
    let clones = view.facts.clones.range(range).copied();
    written.chain(seen.map(|(vmid, _)| *vmid)).chain(clones).collect()
}

/// Returns the end of the pool's wait after failures.
pub(crate) fn back_off(pool: &RunnerPool, view: &View<'_>) -> Option<Timestamp> {
    let failures = failures(pool, view);
    let last = failures.iter().map(|intent| ended_at(intent)).max()?;
    let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(10);
    let wait = FIRST_BACK_OFF.saturating_mul(2_i32.saturating_pow(doublings)).min(LONGEST_BACK_OFF);
    last.checked_add(wait).ok()
}

/// Returns the pool's last VMs, newest first, as far as each of them failed.
pub(crate) fn failures<'a>(pool: &RunnerPool, view: &View<'a>) -> Vec<&'a Intent> {
    let forgiven = view.forgiven.get(&pool.name);
    let mut ended: Vec<&Intent> =
        view.records.of_pool(&pool.name).iter().filter(|intent| intent.life.reason.is_some()).copied().collect();
    ended.sort_by_key(|intent| std::cmp::Reverse((intent.created_at, intent.vmid)));
    let counts = |intent: &&Intent| {
        let failed = intent.life.reason.is_some_and(Reason::is_failure);
        failed && forgiven.is_none_or(|forgiven| intent.created_at > *forgiven)
    };
    ended.into_iter().take_while(counts).collect()
}

fn ended_at(intent: &Intent) -> Timestamp {
    intent.life.ended_at.unwrap_or(intent.life.since)
}
