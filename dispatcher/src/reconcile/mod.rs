//! The fleet's decisions: from what is observed and what is written down to what is to be done next.
//!
//! [`reconcile`] is a pure function: no clock, no I/O, no randomness, no memory. It looks at levels, not at events, so that
//! calling it twice, late, or after a crash leads to the same place. Its answer is safe against what it did not see: the steps
//! that it asks for are idempotent, prove ownership again before they destroy, and are written down before they are made.
//!
//! It must never decide on a negative observation that is older than the fact which it contradicts.

mod capacity;
mod demand;
mod explain;
mod observed;
mod orphans;
mod placement;
mod reap;
#[cfg(test)]
mod tests;

use dispatcher_api::{Config, RunnerPool};
use jiff::Timestamp;
use ownership::PoolName;
use runner_vm::{Event, Life, State};
use serde::{Deserialize, Serialize};

pub(crate) use explain::{Waiting, explain, troubles};
pub(crate) use observed::{
    Claim, GuestSeen, Guests, JobPhase, JobSeen, Jobs, Observed, Power, RepositorySeen, RunnerSeen, Runners,
};

/// What is written down about one incarnation of a VMID.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// Name of the VM and of its runner: `{installation}-{pool}-{vmid}-{nonce}`.
    pub(crate) name: String,
    /// Pool that it was made for.
    pub(crate) pool: PoolName,
    /// Its VMID.
    pub(crate) vmid: u32,
    /// Node that it is made on.
    pub(crate) node: String,
    /// Template that it is cloned from.
    pub(crate) template: u32,
    /// PVE resource pool that it is put into.
    pub(crate) resource_pool: String,
    /// When it was reserved, or found.
    pub(crate) created_at: Timestamp,
    /// Its life so far.
    pub(crate) life: Life,
    /// Not to be acted on before this time: the last step did not succeed.
    #[serde(skip)]
    pub(crate) retry_at: Option<Timestamp>,
    /// Failure of the last step that did not succeed, with its cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// One thing to do. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Write down what was observed or decided. No outside call.
    Note { name: String, event: Event },
    /// Set a VMID and a slot aside, under a name that is drawn when this is carried out. No outside call.
    Reserve { pool: PoolName, vmid: u32 },
    /// Write down a VM of ours that was found without a record. No outside call.
    Adopt { pool: PoolName, vmid: u32 },
    /// Carry one VM a step further.
    Step { name: String, step: Step },
    /// Destroy a powered-off VM that the provider lends us, with proof.
    DestroyLent { pool: PoolName, vmid: u32 },
    /// Remove a registration of ours whose VM is gone.
    RemoveRegistration { repository: String, runner_id: u64, name: String },
}

/// What is to be done with one VM. The executor writes down what it is about to do, does it, and writes down how it went.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Ask for the linked clone, or find out how the one asked for ended.
    Clone,
    /// Set size, network, seed and protection.
    Configure,
    /// Start it and wait for its guest agent.
    Boot,
    /// Register it for one job of this repository and hand it the registration.
    Register { repository: String },
    /// Ask a running guest that was adopted whether it was ever armed.
    Examine,
    /// Remove its registration.
    Deregister,
    /// Ask whether the VM, whose job is over, has powered itself off.
    Watch,
    /// Look for signs of a job, at GitHub and in the guest.
    Probe,
    /// Power it off.
    Stop,
    /// Remove what is left of its registration, then destroy it with proof.
    Destroy,
}

impl Step {
    /// Whether the step belongs to the state.
    pub(crate) fn fits(&self, state: State) -> bool {
        match self {
            Self::Clone => matches!(state, State::Reserved | State::Cloning),
            Self::Configure => state == State::Configuring,
            Self::Boot => state == State::Booting,
            Self::Register { .. } => state == State::Warm,
            Self::Examine => state == State::Idle,
            Self::Watch => matches!(state, State::Idle | State::Busy),
            Self::Deregister => state == State::Retiring,
            Self::Probe => state == State::Fenced,
            Self::Stop => state == State::Stopping,
            Self::Destroy => state == State::Destroying,
        }
    }
}

impl Intent {
    /// Whether it holds its pool's slot.
    pub(crate) fn is_live(&self) -> bool {
        self.life.state.holds_slot()
    }

    /// Whether a step may be begun now.
    fn is_actionable(&self, observed: &Observed, now: Timestamp) -> bool {
        !observed.in_flight.contains(&self.name) && self.retry_at.is_none_or(|at| at <= now)
    }
}

/// Returns the pools that make no VM for now because their last ones failed.
pub(crate) fn backing_off<'a>(
    observed: &Observed,
    intents: &[Intent],
    config: &'a Config,
    now: Timestamp,
) -> Vec<&'a RunnerPool> {
    let waits = |pool: &&RunnerPool| capacity::back_off(pool, observed, intents).is_some_and(|until| until > now);
    config.pools.iter().filter(waits).collect()
}

/// The pool of that name, unless it was taken out of the configuration.
fn pool_named<'a>(config: &'a Config, name: &PoolName) -> Option<&'a RunnerPool> {
    config.pools.iter().find(|pool| pool.name == *name)
}

/// Decides what is to be done now. Notes come first, and the other actions assume that they were made.
pub(crate) fn reconcile(observed: &Observed, intents: &[Intent], config: &Config, now: Timestamp) -> Vec<Action> {
    let mut intents = intents.to_vec();
    let mut actions = reap::note_observations(observed, &mut intents, config, now);
    let noted = intents.clone();
    let plan = demand::plan(observed, &noted, config, now);
    actions.extend(reap::note_surplus(observed, &mut intents, &plan, config, now));
    actions.extend(intents.iter().filter_map(|intent| step_of(intent, observed, &plan, now)));
    actions.extend(reservations(observed, &intents, &plan, config, now));
    actions.extend(orphans::find(observed, &intents, config, now));
    actions
}

/// The step that a VM's state calls for.
fn step_of(intent: &Intent, observed: &Observed, plan: &demand::Plan<'_>, now: Timestamp) -> Option<Action> {
    if !intent.is_actionable(observed, now) {
        return None;
    }
    let step = match intent.life.state {
        State::Reserved | State::Cloning => Step::Clone,
        State::Configuring => Step::Configure,
        State::Booting => Step::Boot,
        State::Warm => Step::Register { repository: plan.repository_for(&intent.name)?.to_owned() },
        State::Idle if is_unexamined(&intent.life) => Step::Examine,
        State::Idle | State::Busy if reap::is_end_expected(&intent.life, &intent.name, observed) => Step::Watch,
        State::Retiring => Step::Deregister,
        State::Fenced if reap::is_probe_due(&intent.life, now) => Step::Probe,
        State::Stopping => Step::Stop,
        State::Destroying => Step::Destroy,
        State::Minting | State::Arming | State::Idle | State::Busy | State::Fenced | State::Gone => return None,
    };
    Some(Action::Step { name: intent.name.clone(), step })
}

/// Adopted, and not known to be registered or busy.
fn is_unexamined(life: &Life) -> bool {
    life.runner_id.is_none() && life.repository.is_none() && life.busy_at.is_none()
}

fn reservations(
    observed: &Observed,
    intents: &[Intent],
    plan: &demand::Plan<'_>,
    config: &Config,
    now: Timestamp,
) -> Vec<Action> {
    let mut actions = Vec::new();
    for pool in &config.pools {
        let wanted = plan.missing(&pool.name);
        let granted = capacity::grant(wanted, pool, observed, intents, now);
        let vmids = placement::choose(granted, pool, observed, intents, now);
        actions.extend(vmids.into_iter().map(|vmid| Action::Reserve { pool: pool.name.clone(), vmid }));
    }
    actions
}
