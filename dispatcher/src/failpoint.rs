//! Boundaries at which a test kills this process, as `kill -9` does: before and after each outside call and each commit.
//!
//! The feature `failpoints` builds this module and the calls of it. Only the tests of this package turn it on
//! (`xtask/tests/dependency_arrows.rs` holds this), so a released program has none of it.
//!
//! The crate `fail` is not used. None of its actions kills the process, so each point would need a callback of ours, and it brings
//! a second version of `rand` into the tree of the released program.

use std::fmt;

use clap::ValueEnum;
use fleet::{Intent, State, Step};
use rustix::process::{Signal, getpid, kill_process};

/// Environment variable with the boundary at which the process is killed, for example `mint.after`.
pub const VARIABLE: &str = "PXCI_KILLED_AT";

/// An outside call, or a commit that some outside call or slot waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the actions have the names of the fleet's steps and states")]
pub enum Action {
    Clone,
    CloneAgain,
    Configure,
    Start,
    AwaitAgent,
    Mint,
    Arm,
    Examine,
    Deregister,
    Watch,
    Probe,
    KeepDiagnostics,
    AskAndStop,
    Stop,
    Destroy,
    DestroyLent,
    RemoveRegistration,
    CommitCloning,
    CommitMinting,
    CommitArming,
    CommitDestroying,
    CommitGone,
}

impl Action {
    /// Returns all actions.
    #[must_use]
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Returns the action of a step. The compiler asks for the action of a new step here.
    pub(crate) fn of_step(step: &Step) -> Self {
        match step {
            Step::Clone { is_first: true } => Self::Clone,
            Step::Clone { is_first: false } => Self::CloneAgain,
            Step::Configure => Self::Configure,
            Step::Start => Self::Start,
            Step::AwaitAgent => Self::AwaitAgent,
            Step::Mint { .. } => Self::Mint,
            Step::Arm => Self::Arm,
            Step::Examine => Self::Examine,
            Step::Deregister => Self::Deregister,
            Step::Watch => Self::Watch,
            Step::Probe => Self::Probe,
            Step::KeepDiagnostics => Self::KeepDiagnostics,
            Step::Stop { asks_first: true } => Self::AskAndStop,
            Step::Stop { asks_first: false } => Self::Stop,
            Step::Destroy => Self::Destroy,
            Step::DestroyLent { .. } => Self::DestroyLent,
            Step::RemoveRegistration { .. } => Self::RemoveRegistration,
        }
    }

    /// Returns the actions of a commit that writes these records.
    pub(crate) fn of_commit(records: &[Intent]) -> Vec<Self> {
        records.iter().filter_map(|record| Self::of_commit_in(record.life.state)).collect()
    }

    /// Returns the action of a commit that is written because of a VM in this state. All other states are written together
    /// with these, or some seconds later.
    fn of_commit_in(state: State) -> Option<Self> {
        match state {
            State::Cloning => Some(Self::CommitCloning),
            State::Minting => Some(Self::CommitMinting),
            State::Arming => Some(Self::CommitArming),
            State::Destroying => Some(Self::CommitDestroying),
            State::Gone => Some(Self::CommitGone),
            State::Reserved
            | State::Configuring
            | State::Booting
            | State::Warm
            | State::Idle
            | State::Busy
            | State::Retiring
            | State::Fenced
            | State::Quarantined
            | State::Stopping => None,
        }
    }
}

/// A side of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// The action was decided and has not started.
    Before,
    /// The action has ended, and nobody knows its outcome.
    After,
}

impl Side {
    /// Both sides.
    pub const BOTH: [Self; 2] = [Self::Before, Self::After];
}

/// A boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary {
    /// The action.
    pub action: Action,
    /// The side of it.
    pub side: Side,
}

impl fmt::Display for Boundary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = (self.action.to_possible_value(), self.side.to_possible_value());
        let (Some(action), Some(side)) = words else { return Err(fmt::Error) };
        write!(formatter, "{}.{}", action.get_name(), side.get_name())
    }
}

/// Kills this process if the environment names this boundary.
pub(crate) fn reach(action: Action, side: Side) {
    let boundary = Boundary { action, side };
    if std::env::var(VARIABLE).is_ok_and(|named| named == boundary.to_string()) {
        // The kernel delivers this signal before the call returns. It refuses no process a signal to itself.
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

/// Kills this process if the environment names the boundary of one of these actions.
pub(crate) fn reach_each(actions: &[Action], side: Side) {
    actions.iter().for_each(|action| reach(*action, side));
}
