//! The record of one incarnation of a VM.

use jiff::Timestamp;
use ownership::{NodeName, PoolName, RunnerName, Vmid};
use serde::{Deserialize, Serialize};

use crate::{Event, Life, State};

/// Record of one incarnation of a VMID, as the ledger stores it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Intent {
    /// Name of the VM and of its runner.
    pub name: RunnerName,
    /// Pool that it was made for.
    pub pool: PoolName,
    /// VMID of the VM.
    pub vmid: Vmid,
    /// Node that holds it: first that of its template, then the one on which it was last seen.
    pub node: NodeName,
    /// Template that it is cloned from.
    pub template: Vmid,
    /// PVE resource pool that it is put into.
    pub resource_pool: String,
    /// Time at which it was reserved, or found.
    pub created_at: Timestamp,
    /// Its life so far.
    pub life: Life,
    /// Time before which nothing is done with it, because the last step did not succeed.
    #[serde(skip)]
    pub retry_at: Option<Timestamp>,
    /// Number of steps in a row that did not succeed in the present state.
    #[serde(skip)]
    pub attempts: u32,
    /// True while this process has the registration that the guest is to get.
    #[serde(skip)]
    pub holds_registration: bool,
    /// Failure of the last step that did not succeed, with its cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Time of the first failure in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Times at which it entered its states, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entered: Vec<(State, Timestamp)>,
}

/// Most entries of [`Intent::entered`]. A life has fewer, unless Proxmox VE and GitHub contradict one another for long.
const MOST_ENTERED: usize = 24;

impl Intent {
    /// Returns true while the VM holds a slot of its pool.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.life.state.holds_slot()
    }

    /// Returns true if a step may start now.
    pub(crate) fn is_actionable(&self, now: Timestamp) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    /// Follows an event. Returns false if it does not fit the state, and so changes nothing.
    pub(crate) fn apply(&mut self, event: &Event, now: Timestamp) -> bool {
        let Ok(life) = self.life.after(event, now) else { return false };
        // Two sources that contradict one another about a guest must not end the rest of its step.
        let is_about_presence = matches!(event, Event::Missing | Event::Reappeared) && life.state == self.life.state;
        let rest = self.retry_at.filter(|_| is_about_presence);
        self.set_life(life, now);
        self.retry_at = rest;
        self.forget_failure_after(event);
        true
    }

    /// Replaces the life by one that an event led to.
    pub(crate) fn set_life(&mut self, life: Life, now: Timestamp) {
        if life.state != self.life.state {
            // The clone of a reserved VM may be refused, so that the VM enters both states with each attempt.
            if (self.life.state, life.state) != (State::Reserved, State::Cloning) {
                self.attempts = 0;
            }
            if self.entered.len() < MOST_ENTERED {
                self.entered.push((life.state, now));
            }
        }
        // Lists that disagree about the VM's presence must not shorten a rest.
        let is_presence = life.state == self.life.state && life.missing_at != self.life.missing_at;
        if !is_presence {
            self.retry_at = None;
        }
        self.life = life;
    }

    /// Returns the record in the form of the ledger, which release 0.1 can read: that release stops a VM in quarantine.
    #[must_use]
    pub fn to_stored(&self) -> Self {
        let stored = |state| if state == State::Quarantined { State::Stopping } else { state };
        let life = Life { state: stored(self.life.state), ..self.life.clone() };
        let entered = self.entered.iter().map(|(state, at)| (stored(*state), *at)).collect();
        Self { life, entered, ..self.clone() }
    }

    /// Returns the record from the form of the ledger. A VM whose quarantine was over goes into it for a moment.
    #[must_use]
    pub fn from_stored(mut self) -> Self {
        if self.life.state == State::Stopping && self.life.quarantined_until.is_some() {
            self.life.state = State::Quarantined;
        }
        self
    }

    /// Returns the times at which it entered its states in one line, in seconds from the first.
    #[must_use]
    pub fn timeline(&self) -> String {
        let seconds = |at: Timestamp| at.duration_since(self.created_at).as_secs_f64();
        let entries = self.entered.iter().map(|(state, at)| format!("{} {:.1} s", state.as_str(), seconds(*at)));
        entries.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::{at, intent};

    #[test]
    fn a_timeline_says_when_each_state_was_entered() {
        let mut vm = intent(9100, Life::reserved(at(0)));
        vm.entered =
            vec![(State::Reserved, at(0)), (State::Cloning, at(0)), (State::Idle, at(3)), (State::Gone, at(9))];
        assert_eq!(vm.timeline(), "reserved 0.0 s, cloning 0.0 s, idle 3.0 s, gone 9.0 s");
    }
}
