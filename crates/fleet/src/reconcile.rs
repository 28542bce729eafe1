//! The decision: from observations and records to the actions that come next.

use dispatcher_api::{Config, RunnerPool};
use jiff::Timestamp;

use crate::{Action, Intent, Life, Observed, State, Step, capacity, demand, orphans, placement, reap};

/// Returns the pools that make no VM for now because their last ones failed.
pub fn backing_off<'a>(
    observed: &Observed,
    intents: &[Intent],
    config: &'a Config,
    now: Timestamp,
) -> Vec<&'a RunnerPool> {
    let waits = |pool: &&RunnerPool| capacity::back_off(pool, observed, intents).is_some_and(|until| until > now);
    config.pools.iter().filter(waits).collect()
}

/// Decides what is to be done now. Notes come first, and the other actions assume that they were made.
pub fn reconcile(observed: &Observed, intents: &[Intent], config: &Config, now: Timestamp) -> Vec<Action> {
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
        State::Warm => Step::Register { repository: plan.repository_for(&intent.name)?.clone() },
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
