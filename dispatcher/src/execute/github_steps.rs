//! Steps at GitHub, and the step that hands a registration to the guest.

use dispatcher_api::RunnerPool;
use error_chain::Chain;
use fleet::{FailureKind, Intent, Outcome, Success};
use github::Scope;
use guest::{Removal, RunnerVm, deregister, mint};
use ownership::{RepositoryName, RunnerName};

use super::guest_steps::sign;
use super::{Executor, failure};

impl Executor {
    /// Registers the VM for one job. The registration stays in this process until the guest has it.
    pub(super) async fn mint(&self, intent: &Intent, repository: RepositoryName) -> Outcome {
        let Some(pool) = self.pool(&intent.pool) else {
            return Err(failure::of_kind(FailureKind::Refused, "its pool is no longer configured"));
        };
        let scope = Scope::from(repository);
        let minted = mint(&self.github, &scope, &intent.name, &pool.labels, pool.runner_group_id).await;
        let jit = minted.map_err(|error| failure::of_mint(&error))?;
        self.carried.leave_registration(&intent.name, jit.encoded);
        Ok(Success::Minted { runner_id: jit.runner.id })
    }

    pub(super) async fn arm(&self, vm: &RunnerVm, intent: &Intent) -> Outcome {
        let Some(registration) = self.carried.take_registration(&intent.name) else {
            return Err(failure::of_kind(FailureKind::Lost, "the registration is not known to this process"));
        };
        vm.arm(&registration).await.map_err(|error| failure::of_guest(&error))?;
        Ok(Success::Done)
    }

    /// Removes the registration of a VM that may still run.
    pub(super) async fn deregister(&self, intent: &Intent) -> Outcome {
        for repository in self.repositories_of(intent) {
            let removed = deregister(&self.github, &repository.into(), &intent.name, intent.life.runner_id).await;
            if removed.map_err(|error| failure::of_github(&error))? == Removal::Busy {
                return Ok(Success::RefusedBusy);
            }
        }
        Ok(Success::Done)
    }

    /// Returns the repository of the registration, or all of the pool's if it is not known.
    fn repositories_of(&self, intent: &Intent) -> Vec<RepositoryName> {
        match &intent.life.repository {
            Some(repository) => vec![repository.clone()],
            None => self.pool(&intent.pool).map(|pool| pool.repositories.clone()).unwrap_or_default(),
        }
    }

    /// Asks an adopted guest whether it was ever armed, and GitHub where it is registered.
    pub(super) async fn examine(&self, vm: &RunnerVm, intent: &Intent) -> Outcome {
        let state = vm.guest_state().await.map_err(|error| failure::of_guest(&error))?;
        let registration = self.find_registration(intent).await.map_err(|error| failure::of_github(&error))?;
        Ok(Success::Examined { sign: sign(state), registration })
    }

    async fn find_registration(&self, intent: &Intent) -> Result<Option<(RepositoryName, u64)>, github::Error> {
        for repository in self.repositories_of(intent) {
            let scope = Scope::from(repository.clone());
            if let Some(runner) = self.github.runners(&scope, Some(&intent.name)).await?.first() {
                return Ok(Some((repository, runner.id)));
            }
        }
        Ok(None)
    }

    /// Removes what GitHub has of a lent VM. Its destruction does not depend on that.
    pub(super) async fn deregister_lent(&self, name: &RunnerName, pool: &RunnerPool) {
        for scope in pool.repositories.iter().cloned().map(Scope::from) {
            if let Err(error) = deregister(&self.github, &scope, name, None).await {
                tracing::info!(vm = %name, error = %Chain(&error), "its registration stays for now");
            }
        }
    }

    /// Removes a registration whose VM is gone.
    pub(super) async fn remove_registration(
        &self,
        name: &RunnerName,
        repository: RepositoryName,
        runner_id: Option<u64>,
    ) -> Outcome {
        let scope = Scope::from(repository.clone());
        let removed = deregister(&self.github, &scope, name, runner_id).await;
        match removed.map_err(|error| failure::of_github(&error))? {
            Removal::Gone => {
                tracing::info!(runner = %name, %repository, "removed a registration without a VM");
                Ok(Success::Done)
            }
            Removal::Busy => Ok(Success::RefusedBusy),
        }
    }
}
