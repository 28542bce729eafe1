//! The VMID of a new VM. Its node is that of its template: a linked clone stays where its base image is.
//!
//! VMIDs are taken in turn and rest after use, never lowest-first. A list that lags or a late reply still speaks of the last
//! incarnation, and must not meet the next one.

use dispatcher_api::RunnerPool;
use jiff::SignedDuration;
use ownership::Vmid;

use crate::Guests;
use crate::view::View;

/// Time for which a VMID rests, unless there is no other.
const REST: SignedDuration = SignedDuration::from_secs(60);
/// Time for which a VMID is avoided that was found to belong to somebody else.
const AVOIDED: SignedDuration = SignedDuration::from_mins(5);

/// Returns up to `count` VMIDs of the pool's range that nobody uses.
pub(crate) fn choose(count: usize, pool: &RunnerPool, view: &View<'_>) -> Vec<Vmid> {
    let Some(guests) = view.facts.guests.as_ref().filter(|_| count > 0) else { return Vec::new() };
    let mut free: Vec<Vmid> = in_turn(pool, view).filter(|vmid| is_free(*vmid, guests, view)).collect();
    let rests = |vmid: &Vmid| view.records.freed_at(*vmid).is_some_and(|at| view.now.duration_since(at) < REST);
    // The sort is stable: first the rested ones in turn, then the others, the longest rest first.
    free.sort_by_key(|vmid| rests(vmid).then(|| view.records.freed_at(*vmid)));
    free.truncate(count);
    free
}

/// Returns the range, beginning after the VMID that was reserved last.
fn in_turn(pool: &RunnerPool, view: &View<'_>) -> impl Iterator<Item = Vmid> {
    let range = pool.vmid_range;
    let mine = view.records.of_pool(&pool.name).iter().filter(|intent| range.contains(intent.vmid));
    let last = mine.max_by_key(|intent| (intent.created_at, intent.vmid)).map_or(range.last(), |intent| intent.vmid);
    range.iter().filter(move |vmid| *vmid > last).chain(range.iter().filter(move |vmid| *vmid <= last))
}

fn is_free(vmid: Vmid, guests: &Guests, view: &View<'_>) -> bool {
    let is_seen = guests.seen.contains_key(&vmid) && !view.records.is_stale(vmid, guests);
    let is_avoided = view.records.taken_at(vmid).is_some_and(|at| view.now.duration_since(at) < AVOIDED);
    view.records.live(vmid).is_none() && !is_seen && !is_avoided && !view.facts.hidden.contains(&vmid)
}
