//! Other dispatchers of the same installation, and a ledger that went back in time, recognised by the runs in markers.
//!
//! The first list after a start shows the runs of the past. A run that the ledger does not know proves that the ledger is older than
//! the guests. A VM of a foreign run that appears later proves that another dispatcher works at the same time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use ownership::{Run, RunnerName};
use serde::{Deserialize, Serialize};

use crate::{Claim, Guests};

/// Time after the last new VM of another dispatcher from which it counts as ended.
const RIVAL_ENDS: SignedDuration = SignedDuration::from_mins(10);

/// The starts of this dispatcher, as its ledger knows them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Runs {
    /// This start.
    pub own: Run,
    /// Earlier starts. The ledger may have forgotten the oldest ones.
    pub earlier: BTreeSet<Run>,
}

impl Runs {
    /// Returns true if this is an earlier run of this ledger, or may be one that the ledger has forgotten.
    fn is_earlier(&self, run: Run) -> bool {
        let is_forgotten =
            self.earlier.first().is_some_and(|oldest| oldest.counter > 1 && run.counter < oldest.counter);
        self.earlier.contains(&run) || is_forgotten
    }
}

/// Another dispatcher of this installation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Rival {
    /// Its run.
    pub(crate) run: Run,
    /// Time at which its first new VM was seen.
    pub(crate) since: Timestamp,
    /// Time at which its last new VM was seen.
    seen_at: Timestamp,
}

/// Runs that were seen in markers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Rivals {
    pub(crate) runs: Option<Runs>,
    /// True once the markers of the first list were compared with the ledger's runs.
    is_compared: bool,
    /// VMs of foreign runs that were in an earlier list.
    known: BTreeSet<RunnerName>,
    pub(crate) working: Vec<Rival>,
}

impl Rivals {
    pub(crate) fn of(runs: Runs) -> Self {
        Self { runs: Some(runs), ..Self::default() }
    }

    /// Takes a list of guests. Returns true if it proves that the ledger went back in time.
    pub(crate) fn take(&mut self, guests: &Guests, is_recorded: impl Fn(&RunnerName) -> bool) -> bool {
        let Some(runs) = &self.runs else { return false };
        let foreign: BTreeMap<&RunnerName, Run> = runs_seen(guests).filter(|(_, run)| *run != runs.own).collect();
        if !self.is_compared {
            self.is_compared = true;
            self.known = foreign.keys().map(|name| (*name).clone()).collect();
            return foreign.values().any(|run| !runs.is_earlier(*run));
        }
        let is_new = |name: &RunnerName| !self.known.contains(name) && !is_recorded(name);
        for run in foreign.iter().filter(|(name, _)| is_new(name)).map(|(_, run)| *run) {
            match self.working.iter_mut().find(|rival| rival.run == run) {
                Some(rival) => rival.seen_at = guests.taken_at,
                None => self.working.push(Rival { run, since: guests.taken_at, seen_at: guests.taken_at }),
            }
        }
        self.known = foreign.into_keys().cloned().collect();
        false
    }

    /// Forgets the dispatchers of which nothing new was seen for long.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        self.working.retain(|rival| now.duration_since(rival.seen_at) < RIVAL_ENDS);
    }

    /// Returns true if another dispatcher goes first. Of two, the one with the larger run stands back.
    pub(crate) fn stand_back(&self) -> bool {
        self.runs.as_ref().is_some_and(|runs| self.working.iter().any(|rival| rival.run < runs.own))
    }

    /// Returns true if a dispatcher that works now made the VM with this run.
    pub(crate) fn made(&self, run: Option<Run>) -> bool {
        run.is_some_and(|run| self.working.iter().any(|rival| rival.run == run))
    }
}

fn runs_seen(guests: &Guests) -> impl Iterator<Item = (&RunnerName, Run)> {
    guests.seen.values().filter_map(|guest| match &guest.claim {
        Claim::Ours { name, .. } => Some((name, guest.run?)),
        _ => None,
    })
}
