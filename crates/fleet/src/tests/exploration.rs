//! Every order of events in a small world, within bounds; each state is checked, and from each sampled one a fair future must lead to
//! the end of all jobs with nothing left.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::fixture::config;
use super::world::{Faults, Move, World};

const NO_FAULTS: Faults = Faults { crashes: 0, ledger_losses: 0, lost_replies: 0, ghosts: 0, passes: 0 };

/// What was explored.
struct Explored {
    states: usize,
    complete: bool,
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.canonical().hash(&mut hasher);
    hasher.finish()
}

/// Breadth first, up to a number of states.
fn explore(start: World, most: usize, sample: usize) -> Explored {
    let mut seen: HashSet<u64> = [fingerprint(&start)].into();
    let mut queue: VecDeque<World> = [start].into();
    while let Some(world) = queue.pop_front() {
        if seen.len().is_multiple_of(sample) {
            ends_well(world.clone());
        }
        for made in world.moves() {
            let mut next = world.clone();
            next.make(&made);
            if seen.insert(fingerprint(&next)) {
                queue.push_back(next);
            }
        }
        if seen.len() >= most {
            return Explored { states: seen.len(), complete: false };
        }
    }
    Explored { states: seen.len(), complete: true }
}

/// A future in which everything that can happen does, and nothing more goes wrong (I3, I7, I8).
pub(super) fn ends_well(mut world: World) {
    world.faults = Faults { passes: u16::MAX, ..NO_FAULTS };
    for turn in 0..5_000 {
        if world.is_finished() {
            return;
        }
        let moves = world.moves();
        let next = moves.iter().min_by_key(|made| urgency(made, turn)).unwrap();
        world.make(next);
    }
    panic!("I3, I7: this does not come to an end: {}", world.brief());
}

/// Guests and tasks go on first; looks follow; time passes when nothing else is left.
fn urgency(made: &Move, turn: u32) -> u8 {
    match made {
        Move::Advance(_) => 0,
        Move::Pass => 9,
        Move::LookAtGuests => 5,
        Move::LookAtGithub => 4 + 2 * u8::from(turn.is_multiple_of(2)),
        _ => 1,
    }
}

#[test]
fn i1_to_i10_one_job_whatever_the_order_of_events() {
    let explored = explore(World::new(config(1), 1, NO_FAULTS), 100_000, 7);
    assert!(explored.complete, "more than {} states", explored.states);
    assert!(explored.states > 30);
}

#[test]
fn i8_one_job_with_a_crash_at_every_point_and_every_reply_lost() {
    let faults = Faults { crashes: 1, lost_replies: 1, ..NO_FAULTS };
    let explored = explore(World::new(config(1), 1, faults), 20_000, 29);
    assert!(explored.states > 1_000, "only {} states", explored.states);
}

#[test]
fn i2_i8_one_job_with_the_ledger_lost_at_every_point() {
    let faults = Faults { ledger_losses: 1, ..NO_FAULTS };
    let explored = explore(World::new(config(1), 1, faults), 20_000, 29);
    assert!(explored.states > 300, "only {} states", explored.states);
}

#[test]
fn i2_three_jobs_never_exceed_two_vms() {
    let explored = explore(World::new(config(2), 3, NO_FAULTS), 20_000, 997);
    assert!(explored.states > 10_000, "only {} states", explored.states);
}
