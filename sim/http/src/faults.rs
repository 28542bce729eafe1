//! Injected and random faults for both simulators.
//!
//! A [`Rule`] selects calls and defines their fault and when it comes. Randomness comes from a seed: the seed, the
//! rule's number and n alone decide if the n-th call of a rule is hit, so the order of other calls has no influence.
//! [`Fired`] lists each fault that fired; [`Faults::repetition`] turns the list into rules that hit exactly the same
//! calls again.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

/// Prefix of the paths that only the simulated runner program calls.
const STAND_IN: &str = "/_sim/";

/// The effect of a fault on a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The call is refused with this status and text and not carried out.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Reason phrase and message.
        text: String,
    },
    /// The call is carried out after this simulated time.
    Delay(Duration),
    /// The connection is closed without an answer. The call is not carried out.
    DropRequest,
    /// The call is carried out. The connection is closed without an answer.
    DropReply,
    /// The call is carried out. The connection is closed after this number of bytes of the body.
    Cut {
        /// Number of bytes of the body that arrive.
        after: usize,
    },
    /// The server closes all its connections, as at a restart. The call is not carried out.
    Restart,
    /// The node's pvedaemon is stopped, so Proxmox VE answers `595 Connection refused`. The call is not carried out.
    /// Calls that do not need pvedaemon are not affected.
    DaemonStopped,
    /// The call is carried out; then pvedaemon dies, so Proxmox VE answers `596 Connection reset by peer`. Calls that
    /// do not need pvedaemon are not affected.
    DaemonDies,
    /// The call is carried out; the worker process of its task is killed and cannot clean up. A task that creates or
    /// clones a guest ends after the disks exist, any other task before it does anything.
    KillTask,
    /// As [`Fault::KillTask`], but the power of the task's node is cut.
    CutPower,
}

impl Fault {
    /// Returns true for faults of Proxmox VE only.
    pub fn needs_proxmox_ve(&self) -> bool {
        self.needs_daemon() || matches!(self, Self::KillTask | Self::CutPower)
    }

    /// Returns true for faults of pvedaemon.
    pub fn needs_daemon(&self) -> bool {
        matches!(self, Self::DaemonStopped | Self::DaemonDies)
    }
}

/// Selection of the calls that are hit, from those that match a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// This number of next calls.
    Next(u32),
    /// Each call with this probability, 0 to 1.
    Chance(f64),
    /// The calls with these ordinals, from 1.
    Calls(BTreeSet<u64>),
}

/// A fault with its matching calls and its selection.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// HTTP method, or `*`.
    pub method: String,
    /// Path without query; `*` stands for any text. Only a path that starts with `/_sim/` matches calls below it.
    pub path: String,
    /// The effect.
    pub fault: Fault,
    /// Selection of the matching calls.
    pub when: When,
}

/// A fault that fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the rule in the order of addition, from 0.
    pub rule: usize,
    /// Ordinal of the call among those that match the rule.
    pub ordinal: u64,
    /// HTTP method of the call.
    pub method: String,
    /// Path of the call.
    pub path: String,
    /// Fault.
    pub fault: Fault,
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, rule, ordinal, method, path, fault } = self;
        write!(f, "{method} {path}: {fault:?} (seed {seed}, rule {rule}, call {ordinal})")
    }
}

#[derive(Debug)]
struct State {
    seed: u64,
    rules: Vec<(Rule, u64)>,
    fired: Vec<Fired>,
}

/// The rules of one server. Clones share them.
#[derive(Debug, Clone)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    restarts: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Faults {
    /// Creates a set without rules and with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State { seed, rules: Vec::new(), fired: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)), restarts: watch::Sender::new(0) }
    }

    /// Adds a rule. If several rules hit a call, the oldest one applies, and all count the call.
    pub fn add(&self, rule: Rule) {
        self.state().rules.push((rule, 0));
    }

    /// Returns the seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.state().seed
    }

    /// Returns the rules in the order of addition, each with its number of matching calls so far.
    #[must_use]
    pub fn rules(&self) -> Vec<(Rule, u64)> {
        self.state().rules.clone()
    }

    /// Removes all rules. The list of fired faults is kept.
    pub fn clear(&self) {
        self.state().rules.iter_mut().for_each(|(rule, _)| rule.when = When::Next(0));
    }

    /// Returns the faults that fired so far, oldest first.
    #[must_use]
    pub fn fired(&self) -> Vec<Fired> {
        self.state().fired.clone()
    }

    /// Returns rules that hit exactly the calls that were hit so far.
    #[must_use]
    pub fn repetition(&self) -> Vec<Rule> {
        let state = self.state();
        let hit = |index: usize| {
            state.fired.iter().filter(move |fired| fired.rule == index).map(|fired| fired.ordinal).collect()
        };
        let rules = state.rules.iter().enumerate();
        rules.map(|(index, (rule, _))| Rule { when: When::Calls(hit(index)), ..rule.clone() }).collect()
    }

    /// Counts a call and returns its fault. A rule with a fault that the call cannot have does not match.
    pub fn take(&self, method: &str, path: &str, can_have: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut state = self.state();
        let seed = state.seed;
        let mut found = None;
        for (index, (rule, calls)) in state.rules.iter_mut().enumerate() {
            if !rule.concerns(method, path) || !can_have(&rule.fault) {
                continue;
            }
            *calls += 1;
            if found.is_none() && rule.when.hits(seed, index, *calls) {
                let (method, path, fault) = (method.to_owned(), path.to_owned(), rule.fault.clone());
                found = Some(Fired { seed, rule: index, ordinal: *calls, method, path, fault });
            }
        }
        let fired = found?;
        let fault = fired.fault.clone();
        state.fired.push(fired);
        drop(state);
        if fault == Fault::Restart {
            self.restarts.send_modify(|count| *count += 1);
        }
        Some(fault)
    }

    /// Returns a receiver that changes when the server restarts.
    pub fn restarts(&self) -> watch::Receiver<u64> {
        self.restarts.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    /// Clients have no calls like those of the simulated runner program, so a rule for any path does not match them.
    fn concerns(&self, method: &str, path: &str) -> bool {
        let spared = path.starts_with(STAND_IN) && !self.path.starts_with(STAND_IN);
        (self.method == "*" || self.method == method) && !spared && fits(&self.path, path)
    }
}

impl When {
    fn hits(&mut self, seed: u64, rule: usize, ordinal: u64) -> bool {
        match self {
            Self::Next(0) => false,
            Self::Next(left) => {
                *left -= 1;
                true
            }
            Self::Chance(probability) => {
                let mut key = [0; 32];
                key[..8].copy_from_slice(&seed.to_le_bytes());
                key[8..16].copy_from_slice(&(rule as u64).to_le_bytes());
                key[16..24].copy_from_slice(&ordinal.to_le_bytes());
                StdRng::from_seed(key).random_bool(probability.clamp(0.0, 1.0))
            }
            Self::Calls(ordinals) => ordinals.contains(&ordinal),
        }
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(tail) = path.strip_prefix(head) else { return false };
    (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| fits(rest, &tail[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(faults: &Faults, method: &str, path: &str) -> Option<Fault> {
        faults.take(method, path, |_| true)
    }

    fn rule(method: &str, path: &str, fault: Fault, when: When) -> Rule {
        Rule { method: method.into(), path: path.into(), fault, when }
    }

    #[test]
    fn a_rule_fires_as_often_as_asked_and_is_listed() {
        let faults = Faults::default();
        faults.add(rule("POST", "/nodes/*/qemu/*/clone", Fault::DropReply, When::Next(1)));
        assert_eq!(taken(&faults, "GET", "/nodes/pve1/qemu/9/clone"), None);
        assert_eq!(taken(&faults, "POST", "/nodes/pve1/qemu/9/clone"), Some(Fault::DropReply));
        assert_eq!(taken(&faults, "POST", "/nodes/pve1/qemu/9/clone"), None);
        let fired: Vec<String> = faults.fired().iter().map(ToString::to_string).collect();
        assert_eq!(fired, ["POST /nodes/pve1/qemu/9/clone: DropReply (seed 0, rule 0, call 1)"]);
    }

    fn chances(faults: &Faults) -> Vec<Option<Fault>> {
        (0..200).map(|n| taken(faults, "GET", if n % 3 == 0 { "/a" } else { "/b" })).collect()
    }

    #[test]
    fn a_seed_decides_and_what_fired_can_be_repeated_without_it() {
        let started = |seed| {
            let faults = Faults::new(seed);
            faults.add(rule("*", "/a", Fault::DropRequest, When::Chance(0.3)));
            faults.add(rule("GET", "*", Fault::Restart, When::Chance(0.1)));
            faults
        };
        let (one, same, other) = (started(7), started(7), started(8));
        let hits = chances(&one);
        assert_eq!(hits, chances(&same));
        assert_ne!(hits, chances(&other));
        assert!(hits.contains(&Some(Fault::DropRequest)) && hits.contains(&Some(Fault::Restart)));
        let again = Faults::new(99);
        one.repetition().into_iter().for_each(|rule| again.add(rule));
        assert_eq!(hits, chances(&again));
    }

    #[test]
    fn a_call_that_another_rule_hit_still_counts() {
        let faults = Faults::default();
        faults.add(rule("GET", "/a", Fault::DropRequest, When::Next(1)));
        faults.add(rule("GET", "/a", Fault::DropReply, When::Calls([2].into())));
        let hits = [taken(&faults, "GET", "/a"), taken(&faults, "GET", "/a"), taken(&faults, "GET", "/a")];
        assert_eq!(hits, [Some(Fault::DropRequest), Some(Fault::DropReply), None]);
    }

    #[test]
    fn a_rule_for_any_path_spares_the_stand_in_for_the_runner_program() {
        let faults = Faults::default();
        faults.add(rule("*", "*", Fault::DropRequest, When::Chance(1.0)));
        assert_eq!(taken(&faults, "POST", "/_sim/runner/jobs/1/renew"), None);
        assert_eq!(taken(&faults, "GET", "/repos/acme/tools"), Some(Fault::DropRequest));
        faults.add(rule("*", "/_sim/runner/*", Fault::DropReply, When::Next(1)));
        assert_eq!(taken(&faults, "POST", "/_sim/runner/jobs/1/renew"), Some(Fault::DropReply));
    }

    #[test]
    fn what_is_cleared_hits_no_more() {
        let faults = Faults::default();
        faults.add(rule("*", "*", Fault::DropReply, When::Chance(1.0)));
        assert!(taken(&faults, "GET", "/").is_some());
        faults.clear();
        assert_eq!((taken(&faults, "GET", "/"), faults.fired().len()), (None, 1));
    }

    #[test]
    fn a_rule_does_not_concern_calls_that_cannot_have_its_fault() {
        let faults = Faults::default();
        faults.add(rule("*", "*", Fault::DaemonStopped, When::Next(1)));
        assert_eq!(faults.take("GET", "/a", |fault| !fault.needs_daemon()), None);
        assert_eq!(faults.rules()[0].1, 0);
        assert_eq!(taken(&faults, "GET", "/b"), Some(Fault::DaemonStopped));
    }
}
