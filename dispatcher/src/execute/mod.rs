//! Carries out what was decided: writes down what it is about to do, does it, and writes down how it went.
//!
//! Every step may be interrupted at any point and done again. It must never write a secret down, and never report a success that an
//! outside system did not confirm.

mod gates;
mod registrations;
mod steps;
mod template;

use std::sync::Arc;

use dispatcher_api::{Config, RunnerPool};
use error_chain::Chain;
use fleet::{Event, Life};
use guest::{Place, RunnerVm};
use jiff::{SignedDuration, Timestamp};
use ownership::{Kind, Marker, Owner, PoolName, RunnerName, Vmid, VmidRange};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use gates::Gates;
pub(crate) use template::TemplateChecks;

use crate::clock;
use crate::intents::{AuditRow, Ledger, LedgerError};
use crate::parts::Parts;
use crate::problems::{ProblemKey, Problems};
use fleet::{Action, Claim, Guests, Intent};

/// Rest after a step that PVE or GitHub did not carry out, before it is tried again.
const REST: SignedDuration = SignedDuration::from_secs(5);

/// What executing needs, for one configuration. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Executor {
    pub(crate) parts: Parts,
    pub(crate) config: Arc<Config>,
    pub(crate) pve: pve::Client,
    pub(crate) github: github::Client,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) problems: Arc<Problems>,
    pub(crate) gates: Gates,
    pub(crate) templates: Arc<TemplateChecks>,
    pub(crate) cancel: CancellationToken,
    /// True while the dispatcher is being drained.
    pub(crate) draining: watch::Receiver<bool>,
}

impl Executor {
    /// Carries out an action that only writes down. `false`: it is one that takes time, for [`Executor::run`].
    pub(crate) async fn write_down(&self, action: &Action, guests: Option<&Guests>) -> bool {
        match action {
            Action::Note { name, event } => {
                self.note(name, event.clone()).await;
            }
            Action::Reserve { pool, vmid } => self.reserve(pool, *vmid).await,
            Action::Adopt { pool, vmid } => self.adopt(pool, *vmid, guests).await,
            Action::Step { .. } | Action::DestroyLent { .. } | Action::RemoveRegistration { .. } => return false,
        }
        true
    }

    /// Carries out an action that takes time.
    pub(crate) async fn run(&self, action: Action, guests: Option<Arc<Guests>>) {
        match action {
            Action::Step { name, step } => {
                if let Some(intent) = self.ledger.intent(&name) {
                    self.step(intent, step).await;
                }
            }
            Action::DestroyLent { pool, vmid } => self.destroy_lent(&pool, vmid, guests.as_deref()).await,
            Action::RemoveRegistration { repository, runner_id, name } => {
                self.remove_registration(&repository, runner_id, &name).await
            }
            Action::Note { .. } | Action::Reserve { .. } | Action::Adopt { .. } => {}
        }
    }

    fn pool(&self, name: &PoolName) -> Option<&RunnerPool> {
        self.config.pool(name)
    }

    async fn reserve(&self, pool: &PoolName, vmid: Vmid) {
        let Some(pool) = self.pool(pool) else { return };
        let nonce = self.parts.nonce();
        let now = clock::now();
        let intent = Intent {
            name: RunnerName::new(&self.config.installation, &pool.name, vmid, nonce),
            pool: pool.name.clone(),
            vmid,
            node: pool.template.node.clone(),
            template: pool.template.vmid,
            resource_pool: pool.resource_pool.clone(),
            created_at: now,
            life: Life::reserved(now),
            retry_at: None,
            failure: None,
        };
        self.add(intent, "reserved").await;
    }

    /// Takes over a VM of ours that nobody wrote down.
    async fn adopt(&self, pool: &PoolName, vmid: Vmid, guests: Option<&Guests>) {
        let Some(guest) = guests.and_then(|guests| guests.seen.get(&vmid)) else { return };
        let (Claim::Ours { name, .. }, Some(pool)) = (&guest.claim, self.pool(pool)) else { return };
        let now = clock::now();
        let intent = Intent {
            name: name.clone(),
            pool: pool.name.clone(),
            vmid,
            node: pool.template.node.clone(),
            template: pool.template.vmid,
            resource_pool: pool.resource_pool.clone(),
            created_at: now,
            life: Life::adopted(guest.power == fleet::Power::Running, now),
            retry_at: None,
            failure: None,
        };
        tracing::info!(vm = %intent.name, "taking over a VM of ours that nobody wrote down");
        self.add(intent, "adopted").await;
    }

    async fn add(&self, intent: Intent, why: &'static str) {
        let name = intent.name.clone();
        let ledger = Arc::clone(&self.ledger);
        let added = self.parts.on_disk(move || ledger.add(intent, why)).await;
        if let Some(Err(error)) = added {
            self.ledger_failed(&name, &error);
        }
    }

    /// Writes down what happened. `None`: it could not be written, or came too late; then nothing may follow from it.
    async fn note(&self, name: &RunnerName, event: Event) -> Option<Life> {
        let (ledger, vm, now) = (Arc::clone(&self.ledger), name.clone(), clock::now());
        let noted = self.parts.on_disk(move || (ledger.note(&vm, &event, now), event)).await;
        match noted {
            Some((Ok(life), event)) => {
                tracing::info!(vm = name.as_str(), state = life.state.as_str(), ?event, "noted");
                self.problems.clear(&ProblemKey::Ledger);
                if !life.state.holds_slot() {
                    self.tell_life(name, &life);
                    // Nobody clears it any more.
                    self.problems.clear(&ProblemKey::Vm(name.clone()));
                }
                Some(life)
            }
            Some((Err(error), _)) => {
                self.ledger_failed(name, &error);
                None
            }
            None => None,
        }
    }

    /// The whole life of a VM in one line, from its audit trail.
    fn tell_life(&self, name: &RunnerName, life: &Life) {
        match self.ledger.audit_of(name) {
            Ok(rows) => {
                tracing::info!(vm = name.as_str(), reason = ?life.reason, job = ?life.job, "gone: {}", timeline(&rows))
            }
            Err(error) => self.ledger_failed(name, &error),
        }
    }

    fn ledger_failed(&self, name: &RunnerName, error: &LedgerError) {
        match error {
            LedgerError::Refused(refused) => tracing::debug!(vm = name.as_str(), %refused, "an event came too late"),
            error => self.problems.raise(ProblemKey::Ledger, Chain(error).to_string(), clock::now()),
        }
    }

    /// Says what went wrong with a VM, and lets it rest.
    fn postpone(&self, name: &RunnerName, error: &(dyn std::error::Error + Sync), until: Option<Timestamp>) {
        self.failed(name, error);
        self.ledger.postpone(name, until.unwrap_or(clock::now() + REST));
    }

    /// Says what went wrong with a VM.
    fn failed(&self, name: &RunnerName, error: &(dyn std::error::Error + Sync)) {
        let text = Chain(error).to_string();
        self.ledger.keep_failure(name, text.clone());
        self.problems.raise(ProblemKey::Vm(name.clone()), text, clock::now());
    }

    /// The VM of a record. What it may destroy is what the record says, and nothing beside it.
    fn vm(&self, intent: &Intent) -> Option<RunnerVm> {
        let installation = &self.config.installation;
        // A record of another installation is not ours.
        intent.name.pool(installation)?;
        let nonce = intent.name.nonce().clone();
        let mut marker = Marker::new(installation.clone(), Owner::Dispatcher, Kind::Runner, intent.vmid, nonce);
        marker.template = Some(intent.template);
        marker.pool = Some(intent.pool.clone());
        let range = self.pool(&intent.pool).map(|pool| pool.vmid_range).filter(|range| range.contains(intent.vmid));
        let range = range.unwrap_or_else(|| VmidRange::single(intent.vmid));
        let place = Place {
            claimant: Owner::Dispatcher,
            node: intent.node.clone(),
            range,
            resource_pool: intent.resource_pool.clone(),
        };
        Some(RunnerVm::new(self.pve.clone(), intent.name.clone(), marker, place, self.cancel.clone()))
    }
}

/// When each state was entered, in seconds from the first.
fn timeline(rows: &[AuditRow]) -> String {
    let Some(begin) = rows.first().map(|row| row.at) else { return String::new() };
    let mut entered: Vec<(&str, f64)> = Vec::new();
    for row in rows {
        if entered.last().is_none_or(|(state, _)| *state != row.state) {
            entered.push((&row.state, row.at.duration_since(begin).as_secs_f64()));
        }
    }
    entered.iter().map(|(state, second)| format!("{state} {second:.1} s")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_told_by_the_states_that_it_entered() {
        let row = |milliseconds, state: &str| AuditRow {
            at: Timestamp::from_millisecond(milliseconds).unwrap(),
            state: state.to_owned(),
        };
        let rows =
            [row(1_000, "reserved"), row(1_040, "cloning"), row(2_500, "idle"), row(3_000, "idle"), row(9_000, "gone")];
        assert_eq!(timeline(&rows), "reserved 0.0 s, cloning 0.0 s, idle 1.5 s, gone 8.0 s");
    }
}
