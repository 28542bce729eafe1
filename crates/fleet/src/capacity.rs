//! How many more VMs a pool may have now.
//!
//! A slot is taken by whatever is written down, *and* by whatever PVE shows in the pool's range that is not proven to be somebody
//! else's, *and* by VMIDs that PVE calls taken without showing them. A VM counts once, however many of these know of it.

use std::collections::BTreeSet;

use dispatcher_api::RunnerPool;
use jiff::{SignedDuration, Timestamp};
use ownership::Vmid;

use crate::{Claim, Guests, Intent, Observed};

/// A list older than this says too little about what exists.
const OLDEST_LIST: SignedDuration = SignedDuration::from_secs(120);
/// Wait after the first failure in a row; doubles with each further one.
const FIRST_BACK_OFF: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_BACK_OFF: SignedDuration = SignedDuration::from_secs(300);

/// Why a pool makes no VM now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// The dispatcher is being drained.
    Draining,
    /// PVE has not been listed, or not lately.
    Unseen,
    /// The last VMs failed.
    BackOff {
        /// When the next may be made.
        until: Timestamp,
    },
    /// All slots are taken.
    Full {
        /// How many are.
        live: usize,
    },
}

/// How many of the wanted VMs may be made.
pub(super) fn grant(
    wanted: usize,
    pool: &RunnerPool,
    observed: &Observed,
    intents: &[Intent],
    now: Timestamp,
) -> usize {
    match free(pool, observed, intents, now) {
        Ok(free) => wanted.min(free),
        Err(_) => 0,
    }
}

/// Free slots, at least one, or why there is none.
pub(super) fn free(pool: &RunnerPool, observed: &Observed, intents: &[Intent], now: Timestamp) -> Result<usize, Hold> {
    if observed.draining {
        return Err(Hold::Draining);
    }
    let guests = observed
        .guests
        .as_ref()
        .filter(|guests| now.duration_since(guests.taken_at) <= OLDEST_LIST)
        .ok_or(Hold::Unseen)?;
    if let Some(until) = back_off(pool, observed, intents).filter(|until| *until > now) {
        return Err(Hold::BackOff { until });
    }
    let live = live(pool, guests, intents).len();
    match usize::try_from(pool.max).unwrap_or(usize::MAX).saturating_sub(live) {
        0 => Err(Hold::Full { live }),
        free => Ok(free),
    }
}

/// VMIDs that take a slot of the pool.
pub(super) fn live(pool: &RunnerPool, guests: &Guests, intents: &[Intent]) -> BTreeSet<Vmid> {
    let written =
        intents.iter().filter(|intent| intent.pool == pool.name && intent.is_live()).map(|intent| intent.vmid);
    let seen = guests.seen.iter().filter(|(vmid, guest)| {
        let counts = matches!(guest.claim, Claim::Ours { .. } | Claim::Unknown);
        counts && !is_stale(**vmid, guests, intents)
    });
    let seen = seen.map(|(vmid, _)| *vmid).chain(guests.hidden.iter().copied());
    written.chain(seen.filter(|vmid| pool.vmid_range.contains(*vmid))).collect()
}

/// Whether the list shows a VM of ours that was destroyed after the list was asked for.
pub(super) fn is_stale(vmid: Vmid, guests: &Guests, intents: &[Intent]) -> bool {
    let mut gone = intents.iter().filter(|intent| intent.vmid == vmid && !intent.is_live());
    gone.any(|intent| intent.life.since >= guests.taken_at)
}

/// Until when the pool waits because its last VMs failed.
pub(super) fn back_off(pool: &RunnerPool, observed: &Observed, intents: &[Intent]) -> Option<Timestamp> {
    let failures = failures(pool, observed, intents);
    let last = failures.iter().map(|intent| ended_at(intent)).max()?;
    let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(10);
    let wait = FIRST_BACK_OFF.saturating_mul(2_i32.saturating_pow(doublings)).min(LONGEST_BACK_OFF);
    last.checked_add(wait).ok()
}

/// The pool's last VMs, newest first, as far as each of them failed.
pub(super) fn failures<'a>(pool: &RunnerPool, observed: &Observed, intents: &'a [Intent]) -> Vec<&'a Intent> {
    let forgiven = observed.forgiven.get(&pool.name);
    let mut ended: Vec<_> =
        intents.iter().filter(|intent| intent.pool == pool.name && intent.life.reason.is_some()).collect();
    ended.sort_by_key(|intent| std::cmp::Reverse((intent.created_at, intent.vmid)));
    let counts = |intent: &&Intent| {
        let failed = intent.life.reason.is_some_and(crate::Reason::is_failure);
        failed && forgiven.is_none_or(|forgiven| intent.created_at > *forgiven)
    };
    ended.into_iter().take_while(counts).collect()
}

fn ended_at(intent: &Intent) -> Timestamp {
    intent.life.ended_at.unwrap_or(intent.life.since)
}
