//! Quarantine: a few failed VMs stay for a person who wants to look at them, within the quota of their pool and for a limited time.
//!
//! ```text
//! stopping ── diagnostics are read, no registration is left, the quota has room ──► quarantined
//! quarantined ── its time is over, a person releases it, or the dispatcher drains ──► stopping
//! ```
//!
//! A VM in quarantine holds its slot. It must never be one that can take a job, and a job must never outlive its declared limit in one.

use std::collections::BTreeMap;

use ownership::{PoolName, RunnerName};

use crate::view::View;
use crate::{Event, Intent, Life, Reason, State, diagnostics};

/// Returns the events that begin and end quarantines. `is_idle` says whether nothing is under way on a VM.
pub(crate) fn events<'a>(
    view: &View<'_>,
    records: impl Iterator<Item = &'a Intent> + Clone,
    is_idle: impl Fn(&Intent) -> bool,
) -> Vec<(RunnerName, Event)> {
    let mut occupied: BTreeMap<&PoolName, usize> = BTreeMap::new();
    for intent in records.clone().filter(|intent| intent.life.state == State::Quarantined) {
        *occupied.entry(&intent.pool).or_default() += 1;
    }
    let mut events = Vec::new();
    for intent in records.filter(|intent| is_idle(intent)) {
        let quarantine = view.config.pool(&intent.pool).and_then(|pool| pool.quarantine.as_ref());
        let quarantine = quarantine.filter(|_| !view.draining);
        match (intent.life.state, quarantine) {
            (State::Quarantined, None) => events.push((intent.name.clone(), Event::Released)),
            (State::Quarantined, Some(_)) if intent.life.quarantined_until.is_none_or(|until| until <= view.now) => {
                events.push((intent.name.clone(), Event::Released));
            }
            (State::Stopping, Some(quarantine)) if is_eligible(view, intent) => {
                let occupied = occupied.entry(&intent.pool).or_default();
                if *occupied < usize::try_from(quarantine.max).unwrap_or(usize::MAX) {
                    *occupied += 1;
                    let keep_for = jiff::SignedDuration::from_secs(quarantine.keep_for_seconds.into());
                    events.push((intent.name.clone(), Event::Quarantined { until: view.now + keep_for }));
                }
            }
            _ => {}
        }
    }
    events
}

/// Returns true if the VM may go into quarantine, before anybody tried to stop it.
fn is_eligible(view: &View<'_>, intent: &Intent) -> bool {
    let life = &intent.life;
    life.quarantined_until.is_none()
        && intent.attempts == 0
        && is_at_fault(life)
        && !diagnostics::is_due(life, view.now)
        && has_no_registration(view, intent)
}

/// Returns true if the VM itself is at fault. A job that exceeded its limit ends there.
fn is_at_fault(life: &Life) -> bool {
    diagnostics::has_failed(life) && life.reason != Some(Reason::JobLimit)
}

/// Returns true if GitHub has no registration of the VM, so that it cannot take a job. A registration ends with its job, which only a
/// list shows that is newer than the end of the job.
fn has_no_registration(view: &View<'_>, intent: &Intent) -> bool {
    let life = &intent.life;
    let runners = life.repository.as_ref().and_then(|repository| view.facts.runners(repository));
    let is_listed = view.github.runner(&intent.name).is_some();
    let ended_with_job = life.job_over_at.is_some_and(|over| runners.is_some_and(|runners| runners.taken_at > over));
    !is_listed && (!life.may_be_registered() || ended_with_job)
}
