//! Performs effects: one outside call each, with its outcome as a value. It knows no states, makes no decisions and keeps no
//! records. `fleet` says what follows from an outcome.
//!
//! Every effect may be interrupted at any point and done again. It must never report a success that an outside system did not
//! confirm, and never write a secret down.

mod boots;
mod carried;
mod diagnostics;
mod failure;
mod github_steps;
mod guest_steps;
mod template;

use std::sync::Arc;

use dispatcher_api::{Config, RunnerPool};
use fleet::{Effect, Failure, FailureKind, Intent, Outcome, Step};
use guest::{Place, RunnerVm};
use ownership::{Kind, Marker, Owner, PoolName, Run, VmidRange};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use boots::Boots;
pub(crate) use carried::Carried;
pub(crate) use template::TemplateChecks;

use crate::clock::Clock;
#[cfg(feature = "failpoints")]
use crate::failpoint::{self, Action, Side};
use crate::kept::KeptLogs;
use crate::redaction::Redactor;

/// The means of performing effects, for one configuration. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Executor {
    pub(crate) config: Arc<Config>,
    pub(crate) pve: pve::Client,
    pub(crate) github: github::Client,
    pub(crate) clock: Clock,
    /// This start of the dispatcher, which the markers of new VMs name.
    pub(crate) run: Run,
    pub(crate) boots: Arc<Boots>,
    pub(crate) carried: Arc<Carried>,
    pub(crate) templates: Arc<TemplateChecks>,
    /// Files for diagnostics of failed VMs. Absent in simulations.
    pub(crate) kept: Option<KeptLogs>,
    /// Knows the secrets of the configuration.
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) cancel: CancellationToken,
    /// True while the dispatcher is being drained.
    pub(crate) draining: watch::Receiver<bool>,
}

impl Executor {
    /// Performs an effect on the VM of this record, or on a thing without a record.
    pub(crate) async fn perform(&self, effect: Effect, intent: Option<Intent>) -> Outcome {
        #[cfg(feature = "failpoints")]
        let action = Action::of_step(&effect.step);
        #[cfg(feature = "failpoints")]
        failpoint::reach(action, Side::Before);
        let outcome = self.attempt(effect, intent).await;
        #[cfg(feature = "failpoints")]
        failpoint::reach(action, Side::After);
        outcome
    }

    async fn attempt(&self, effect: Effect, intent: Option<Intent>) -> Outcome {
        match (effect.step, intent) {
            (Step::DestroyLent { pool, vmid, node }, _) => self.destroy_lent(&effect.name, &pool, vmid, node).await,
            (Step::RemoveRegistration { repository, runner_id }, _) => {
                self.remove_registration(&effect.name, repository, runner_id).await
            }
            (step, Some(intent)) => self.perform_on_vm(step, &intent).await,
            (_, None) => Err(failure::of_kind(FailureKind::Lost, "the VM has no record")),
        }
    }

    async fn perform_on_vm(&self, step: Step, intent: &Intent) -> Outcome {
        let vm = self.vm(intent)?;
        match step {
            Step::Clone { is_first } => self.clone_vm(&vm, intent, is_first).await,
            Step::Configure => self.configure(&vm, intent).await,
            Step::Start => self.start(&vm, intent).await,
            Step::AwaitAgent => self.await_agent(&vm, intent).await,
            Step::Mint { repository } => self.mint(intent, repository).await,
            Step::Arm => self.arm(&vm, intent).await,
            Step::Examine => self.examine(&vm, intent).await,
            Step::Deregister => self.deregister(intent).await,
            Step::Watch => self.watch(&vm).await,
            Step::Probe => self.probe(&vm).await,
            Step::KeepDiagnostics => self.keep_diagnostics(&vm, intent).await,
            Step::Stop { asks_first } => self.stop(&vm, intent, asks_first).await,
            Step::Destroy => self.destroy(&vm, intent).await,
            Step::DestroyLent { .. } | Step::RemoveRegistration { .. } => {
                Err(failure::of_kind(FailureKind::Lost, "the step is not one on a VM with a record"))
            }
        }
    }

    fn pool(&self, name: &PoolName) -> Option<&RunnerPool> {
        self.config.pool(name)
    }

    /// Returns the VM of a record. It may destroy what the record says, and nothing else.
    fn vm(&self, intent: &Intent) -> Result<RunnerVm, Failure> {
        let installation = &self.config.installation;
        if intent.name.pool(installation).is_none() {
            let message = format!("{} belongs to another installation than \"{installation}\"", intent.name);
            return Err(failure::of_kind(FailureKind::Passing, &message));
        }
        let nonce = intent.name.nonce().clone();
        let mut marker = Marker::new(installation.clone(), Owner::Dispatcher, Kind::Runner, intent.vmid, nonce);
        marker.template = Some(intent.template);
        marker.pool = Some(intent.pool.clone());
        marker.run = Some(self.run);
        let range = self.pool(&intent.pool).map(|pool| pool.vmid_range).filter(|range| range.contains(intent.vmid));
        let place = Place {
            claimant: Owner::Dispatcher,
            node: intent.node.clone(),
            range: range.unwrap_or_else(|| VmidRange::single(intent.vmid)),
            resource_pool: intent.resource_pool.clone(),
        };
        Ok(RunnerVm::new(self.pve.clone(), intent.name.clone(), marker, place, self.cancel.clone()))
    }
}
