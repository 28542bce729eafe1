//! Which VMID a new VM gets. Its node is that of its template: a linked clone stays where its base image is.
//!
//! VMIDs are taken in turn and rest after use, never lowest-first: whatever still speaks of the last incarnation (a list that lags,
//! a late reply) must not meet the next one.

use crate::Reason;
use dispatcher_api::RunnerPool;
use jiff::{SignedDuration, Timestamp};
use ownership::Vmid;

use crate::{Guests, Intent, Observed, capacity};

/// How long a VMID rests, unless there is no other.
const REST: SignedDuration = SignedDuration::from_secs(60);

/// How long a VMID is avoided that somebody else was found to have.
const AVOIDED: SignedDuration = SignedDuration::from_mins(5);

/// Up to `count` VMIDs of the pool's range that nobody uses.
pub(super) fn choose(
    count: usize,
    pool: &RunnerPool,
    observed: &Observed,
    intents: &[Intent],
    now: Timestamp,
) -> Vec<Vmid> {
    let Some(guests) = observed.guests.as_ref().filter(|_| count > 0) else { return Vec::new() };
    let mut free: Vec<Vmid> = in_turn(pool, intents).filter(|vmid| is_free(*vmid, guests, intents, now)).collect();
    let rests = |vmid: &Vmid| freed_at(*vmid, intents).is_some_and(|freed| now.duration_since(freed) < REST);
    // Stable: in turn among the rested, then those that rest, the longest rest first.
    free.sort_by_key(|vmid| rests(vmid).then(|| freed_at(*vmid, intents)));
    free.truncate(count);
    free
}

/// The range, beginning after the VMID that was set aside last.
fn in_turn(pool: &RunnerPool, intents: &[Intent]) -> impl Iterator<Item = Vmid> {
    let range = pool.vmid_range;
    let mine = intents.iter().filter(|intent| range.contains(intent.vmid));
    let last = mine.max_by_key(|intent| (intent.created_at, intent.vmid)).map_or(range.last(), |intent| intent.vmid);
    range.iter().filter(move |vmid| *vmid > last).chain(range.iter().filter(move |vmid| *vmid <= last))
}

fn is_free(vmid: Vmid, guests: &Guests, intents: &[Intent], now: Timestamp) -> bool {
    let written = intents.iter().any(|intent| intent.vmid == vmid && intent.is_live());
    let seen = guests.seen.contains_key(&vmid) && !capacity::is_stale(vmid, guests, intents);
    !written
        && !seen
        && !was_taken(vmid, intents, now)
        && !guests.hidden.contains(&vmid)
        && !guests.taken.contains(&vmid)
}

/// Whether a clone to this VMID lately found somebody else there.
fn was_taken(vmid: Vmid, intents: &[Intent], now: Timestamp) -> bool {
    let found = |intent: &Intent| intent.vmid == vmid && intent.life.reason == Some(Reason::VmidTaken);
    intents.iter().any(|intent| found(intent) && now.duration_since(intent.life.since) < AVOIDED)
}

fn freed_at(vmid: Vmid, intents: &[Intent]) -> Option<Timestamp> {
    intents.iter().filter(|intent| intent.vmid == vmid && !intent.is_live()).map(|intent| intent.life.since).max()
}
