//! Turns at a resource that only a few calls may use at a time.
//!
//! Each call is made for a party, such as the VMs of one runner pool. The next turn goes to the party whose last turn is
//! longest ago, so a party whose calls all hang delays another party by one call. Within a party, the lowest rank goes
//! first, then the call that has waited longest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::{Error, SetupError};

/// The turns at one resource. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Number of calls that may begin now.
    free: usize,
    waiting: Vec<Waiting>,
    /// Number of turns that were given.
    given: u64,
    /// Number of each party's last turn.
    last: HashMap<String, u64>,
    /// Number of calls that have come.
    arrived: u64,
}

/// A call that waits for its turn.
#[derive(Debug)]
struct Waiting {
    party: String,
    rank: u32,
    arrival: u64,
    begin: oneshot::Sender<Turn>,
}

/// The right to make one call. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<Turns>);

impl Turns {
    /// Returns the turns at a resource that `width` calls may use at a time.
    pub(crate) fn new(width: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: width,
            waiting: Vec::new(),
            given: 0,
            last: HashMap::new(),
            arrived: 0,
        })))
    }

    /// Waits for a turn of this party. Of its calls, those with the lowest rank go first.
    pub(crate) async fn take(&self, party: &str, rank: u32) -> Result<Turn, Error> {
        let granted = {
            let mut state = self.lock();
            let (begin, granted) = oneshot::channel();
            let arrival = state.arrived;
            state.arrived += 1;
            state.waiting.push(Waiting { party: party.to_owned(), rank, arrival, begin });
            self.give(&mut state);
            granted
        };
        // The sender is kept until it has sent.
        granted.await.map_err(|error| Error::Setup(SetupError::Http(error.into())))
    }

    /// Gives the free turns to the calls that are next.
    fn give(&self, state: &mut State) {
        while state.free > 0 {
            let Some(next) = state.next() else { return };
            let Waiting { party, begin, .. } = state.waiting.swap_remove(next);
            match begin.send(Turn(Some(self.clone()))) {
                Ok(()) => {
                    state.free -= 1;
                    state.given += 1;
                    state.last.insert(party, state.given);
                }
                // The caller no longer waits. The turn was not taken, so its end frees nothing.
                Err(mut turn) => turn.0 = None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the index of the call that is next.
    fn next(&self) -> Option<usize> {
        let order = |waiting: &Waiting| (self.last.get(&waiting.party).copied(), waiting.rank, waiting.arrival);
        (0..self.waiting.len()).min_by_key(|index| order(&self.waiting[*index]))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        let mut state = turns.lock();
        state.free += 1;
        turns.give(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{FutureExt as _, LocalBoxFuture};

    use super::*;

    type Call = LocalBoxFuture<'static, Result<Turn, Error>>;

    fn call(turns: &Turns, party: &'static str, rank: u32) -> Call {
        let turns = turns.clone();
        let mut call = async move { turns.take(party, rank).await }.boxed_local();
        assert!((&mut call).now_or_never().is_none(), "{party} {rank} does not wait");
        call
    }

    /// Returns the names of the calls in the order of their turns, each of which ends before the next.
    fn order(first: Turn, mut calls: Vec<(&'static str, Call)>) -> Vec<&'static str> {
        let mut order = Vec::new();
        drop(first);
        while !calls.is_empty() {
            let turn = calls.iter_mut().position(|(name, call)| {
                let turn = call.now_or_never();
                order.extend(turn.is_some().then_some(*name));
                turn.is_some()
            });
            drop(calls.remove(turn.unwrap()));
        }
        order
    }

    #[test]
    fn parties_take_turns_whatever_the_number_of_their_calls() {
        let turns = Turns::new(1);
        let first = turns.take("a", 0).now_or_never().unwrap().unwrap();
        let names = [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("b2", "b"), ("c1", "c")];
        let calls = names.map(|(name, party)| (name, call(&turns, party, 0)));
        assert_eq!(order(first, calls.into()), ["b1", "c1", "a1", "b2", "a2", "a3"]);
    }

    #[test]
    fn the_lowest_rank_of_a_party_goes_first() {
        let turns = Turns::new(1);
        let first = turns.take("a", 0).now_or_never().unwrap().unwrap();
        let calls = [("late", 5), ("second", 1), ("first", 0), ("third", 1)];
        let calls = calls.map(|(name, rank)| (name, call(&turns, "a", rank)));
        assert_eq!(order(first, calls.into()), ["first", "second", "third", "late"]);
    }

    #[test]
    fn a_call_that_is_given_up_takes_no_turn() {
        let turns = Turns::new(2);
        let mut both: Vec<Turn> = (0..2).map(|_| turns.take("a", 0).now_or_never().unwrap().unwrap()).collect();
        let (given_up, granted, mut next) = (call(&turns, "a", 0), call(&turns, "b", 0), call(&turns, "a", 0));
        drop(given_up);
        both.pop();
        // This call has its turn and does not know it yet.
        drop(granted);
        let third = (&mut next).now_or_never().unwrap().unwrap();
        both.clear();
        assert!(turns.take("c", 0).now_or_never().is_some());
        drop(third);
        assert_eq!(turns.lock().free, 2);
    }
}
