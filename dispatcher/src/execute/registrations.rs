//! The steps of a VM's life at GitHub, and the clearing away of what others left there.

use error_chain::Chain;
use fleet::{Event, Reason};
use github::Scope;
use guest::{GuestState, Place, Removal, RunnerVm, deregister, mint};
use ownership::{Kind, Marker, Owner, PoolName, RepositoryName, RunnerName, Vmid};

use super::Executor;
use crate::clock;
use crate::problems::ProblemKey;
use fleet::{Claim, Guests, Intent};

impl Executor {
    /// Registers the VM for one job and hands it the registration, which stands in no place but this function's memory.
    pub(super) async fn register(&self, vm: &RunnerVm, intent: &Intent, repository: RepositoryName) {
        let Some(pool) = self.pool(&intent.pool) else { return };
        let scope = Scope::from(repository.clone());
        if self.note(&intent.name, Event::MintBegun { repository }).await.is_none() {
            return;
        }
        let minted = mint(&self.github, &scope, &intent.name, &pool.labels, pool.runner_group_id).await;
        let jit = match minted {
            Ok(jit) => jit,
            Err(error) => return self.registration_failed(intent, &error, Reason::MintFailed).await,
        };
        // Written down before the guest gets it: from here on a job may run there.
        if self.note(&intent.name, Event::Minted { runner_id: jit.runner.id }).await.is_none() {
            return;
        }
        match vm.arm(&jit.encoded).await {
            Ok(()) => self.went_well(intent, Event::Armed).await,
            Err(error) => self.registration_failed(intent, &error, Reason::ArmFailed).await,
        }
    }

    async fn registration_failed(&self, intent: &Intent, error: &(dyn std::error::Error + Sync), reason: Reason) {
        self.failed(&intent.name, error);
        self.note(&intent.name, Event::Failed(reason)).await;
    }

    /// Removes the registration of a VM that may still run. One of an unknown repository is looked for in all of the pool's.
    pub(super) async fn deregister(&self, intent: &Intent) {
        match self.deregister_everywhere(intent).await {
            Ok(Removal::Gone) => self.went_well(intent, Event::Deregistered).await,
            Ok(Removal::Busy) => self.went_well(intent, Event::RefusedBusy).await,
            Err(error) => self.postpone(&intent.name, &error, error.retry_at()),
        }
    }

    async fn deregister_everywhere(&self, intent: &Intent) -> Result<Removal, github::Error> {
        for repository in self.repositories_of(intent) {
            let scope = Scope::from(repository);
            if deregister(&self.github, &scope, &intent.name, intent.life.runner_id).await? == Removal::Busy {
                return Ok(Removal::Busy);
            }
        }
        Ok(Removal::Gone)
    }

    fn repositories_of(&self, intent: &Intent) -> Vec<RepositoryName> {
        match &intent.life.repository {
            Some(repository) => vec![repository.clone()],
            None => self.pool(&intent.pool).map(|pool| pool.repositories.clone()).unwrap_or_default(),
        }
    }

    /// The VM is off. What GitHub does not remove now is removed later as a registration without a VM: it must not keep the VM.
    pub(super) async fn remove_what_is_left_at_github(&self, intent: &Intent) {
        // GitHub removes the registration of a runner that took its job by itself.
        if !intent.life.may_be_registered() || intent.life.reason == Some(Reason::Finished) {
            return;
        }
        if let Err(error) = self.deregister_everywhere(intent).await {
            tracing::info!(vm = %intent.name, error = %Chain(&error), "its registration stays for now");
        }
    }

    /// Asks an adopted guest whether it was ever armed, and GitHub where it is registered.
    pub(super) async fn examine(&self, vm: &RunnerVm, intent: &Intent) {
        let state = match vm.guest_state().await {
            Ok(state) => state,
            Err(error) => return self.postpone(&intent.name, &error, None),
        };
        let found = match self.find_registration(intent).await {
            Ok(found) => found,
            Err(error) => return self.postpone(&intent.name, &error, error.retry_at()),
        };
        let event = match (state, found) {
            (GuestState::Unarmed, None) => Event::FoundUnarmed,
            (GuestState::Job, _) => Event::JobSeen { job: None },
            // Made for a guest that never got it: nobody has its secret any more.
            (GuestState::Unarmed, Some(_)) | (GuestState::Waiting, None) => Event::Retire(Reason::Orphan),
            (GuestState::Waiting, Some((repository, runner_id))) => Event::FoundRegistered { repository, runner_id },
        };
        self.went_well(intent, event).await;
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

    /// Destroys a powered-off VM that the provider lends us.
    pub(super) async fn destroy_lent(&self, pool: &PoolName, vmid: Vmid, guests: Option<&Guests>) {
        let guest = guests.and_then(|guests| guests.seen.get(&vmid));
        let (Some(pool), Some(Claim::Lent { name, .. })) = (self.pool(pool), guest.map(|guest| &guest.claim)) else {
            return;
        };
        let key = ProblemKey::Vm(name.clone());
        for scope in pool.repositories.iter().cloned().map(Scope::from) {
            if let Err(error) = deregister(&self.github, &scope, name, None).await {
                tracing::info!(vm = %name, error = %Chain(&error), "its registration stays for now");
            }
        }
        let installation = self.config.installation.clone();
        let marker = Marker::new(installation, Owner::Provider, Kind::Runner, vmid, name.nonce().clone());
        let place = Place {
            claimant: Owner::Dispatcher,
            node: pool.template.node.clone(),
            range: pool.vmid_range,
            resource_pool: pool.resource_pool.clone(),
        };
        let vm = RunnerVm::new(self.pve.clone(), name.clone(), marker, place, self.cancel.clone());
        match vm.destroy().await {
            Ok(()) => {
                tracing::info!(vm = %name, "destroyed a finished runner VM of the provider");
                self.problems.clear(&key);
            }
            Err(error) => self.problems.raise(key, Chain(&error).to_string(), clock::now()),
        }
    }

    /// Removes a registration whose VM is gone.
    pub(super) async fn remove_registration(&self, repository: &RepositoryName, runner_id: u64, name: &RunnerName) {
        let scope = Scope::from(repository.clone());
        match deregister(&self.github, &scope, name, Some(runner_id)).await {
            Ok(removal) => tracing::info!(
                runner = name.as_str(),
                repository = repository.as_str(),
                ?removal,
                "a registration without a VM"
            ),
            Err(error) => tracing::info!(
                runner = name.as_str(),
                repository = repository.as_str(),
                error = %Chain(&error),
                "a registration without a VM stays for now"
            ),
        }
    }
}
