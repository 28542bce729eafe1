//! Steps on one guest at PVE.

use std::time::Duration;

use dispatcher_api::RunnerPool;
use fleet::{Failure, FailureKind, Intent, Outcome, Reason, Sign, Success};
use guest::{Error, GuestState, Place, Problem, RunnerVm, Shape};
use ownership::{Kind, Marker, NodeName, Owner, PoolName, RunnerName, Vmid};

use super::{Executor, failure};

impl Executor {
    pub(super) async fn clone_vm(&self, vm: &RunnerVm, intent: &Intent, is_first: bool) -> Outcome {
        if is_first && let Some(pool) = self.pool(&intent.pool) {
            self.check_template(pool, intent.template).await.map_err(|error| failure::of_template(&error))?;
        }
        let cloned = vm.clone_from_template(is_first).await.map_err(|error| failure::of_guest(&error))?;
        self.carried.leave_proof(&intent.name, cloned);
        Ok(Success::Done)
    }

    pub(super) async fn configure(&self, vm: &RunnerVm, intent: &Intent) -> Outcome {
        let shape = self.pool(&intent.pool).map(shape_of).unwrap_or_default();
        let proof = self.carried.take_proof(&intent.name);
        let configured = vm.configure(&shape, proof).await.map_err(|error| failure::of_guest(&error))?;
        self.carried.leave_proof(&intent.name, Some(configured));
        Ok(Success::Done)
    }

    pub(super) async fn start(&self, vm: &RunnerVm, intent: &Intent) -> Outcome {
        let proof = self.carried.take_proof(&intent.name);
        let starting = vm.start(proof).await.map_err(|error| failure::of_guest(&error))?;
        self.carried.leave_start(&intent.name, starting);
        Ok(Success::Done)
    }

    /// Waits for the guest agent of a VM that was started. A drain breaks the wait off: the VM cannot have a job yet.
    pub(super) async fn await_agent(&self, vm: &RunnerVm, intent: &Intent) -> Outcome {
        let Some(starting) = self.carried.take_start(&intent.name) else {
            return Err(failure::of_kind(FailureKind::Lost, "the start of the VM is not known to this process"));
        };
        let first_question = self.boots.first_question(intent.template);
        let mut draining = self.draining.clone();
        let booted = tokio::select! {
            biased;
            Ok(_) = draining.wait_for(|is_draining| *is_draining) => {
                return Err(failure::of_kind(FailureKind::BrokenOff, "the dispatcher is being drained"));
            }
            booted = vm.wait_for_agent(starting, first_question, self.boot_time_left(intent)) => booted,
        };
        if let Some(booted) = booted.map_err(|error| failure::of_guest(&error))? {
            self.boots.learn(intent.template, booted);
        }
        Ok(Success::Done)
    }

    fn boot_time_left(&self, intent: &Intent) -> Duration {
        let limit = self.pool(&intent.pool).map_or(300, |pool| pool.boot_limit_seconds);
        let passed = Duration::try_from(self.clock.now().duration_since(intent.created_at)).unwrap_or_default();
        Duration::from_secs(u64::from(limit)).saturating_sub(passed).max(Duration::from_secs(1))
    }

    pub(super) async fn watch(&self, vm: &RunnerVm) -> Outcome {
        let is_off = vm.is_off().await.map_err(|error| failure::of_guest(&error))?;
        Ok(Success::Watched { is_off })
    }

    pub(super) async fn probe(&self, vm: &RunnerVm) -> Outcome {
        let state = vm.guest_state().await.map_err(|error| failure::of_guest(&error))?;
        Ok(Success::Probed { sign: sign(state) })
    }

    /// Powers the VM off. With `asks_first`, only if the guest says that it is not armed, or is off already.
    pub(super) async fn stop(&self, vm: &RunnerVm, intent: &Intent, asks_first: bool) -> Outcome {
        if asks_first {
            match vm.guest_state().await {
                Ok(GuestState::Unarmed) => {}
                Ok(GuestState::Waiting) => return Ok(Success::FoundArmed { job: false }),
                Ok(GuestState::Job) => return Ok(Success::FoundArmed { job: true }),
                Err(error) if is_off(&error) => {}
                Err(error) => return Err(failure::of_guest(&error)),
            }
        }
        match vm.stop().await {
            Ok(()) => Ok(Success::Done),
            Err(error) => Err(self.not_removed(vm, intent, error).await),
        }
    }

    pub(super) async fn destroy(&self, vm: &RunnerVm, intent: &Intent) -> Outcome {
        match vm.destroy().await {
            Ok(()) => Ok(Success::Done),
            Err(error) => Err(self.not_removed(vm, intent, error).await),
        }
    }

    /// Returns the failure that keeps a VM from being removed. It explains the rest of an interrupted clone.
    async fn not_removed(&self, vm: &RunnerVm, intent: &Intent, error: Error) -> Failure {
        let was_never_complete = intent.life.reason == Some(Reason::CloneFailed);
        let explain = was_never_complete && !error.is_gone();
        failure::of_guest(&if explain { vm.explain_unmade(error).await } else { error })
    }

    /// Destroys a powered-off VM that the provider lends.
    pub(super) async fn destroy_lent(&self, name: &RunnerName, pool: &PoolName, vmid: Vmid, node: NodeName) -> Outcome {
        let Some(pool) = self.pool(pool) else {
            return Err(failure::of_kind(FailureKind::Lost, "its pool is no longer configured"));
        };
        self.deregister_lent(name, pool).await;
        let installation = self.config.installation.clone();
        let marker = Marker::new(installation, Owner::Provider, Kind::Runner, vmid, name.nonce().clone());
        let place = Place {
            claimant: Owner::Dispatcher,
            node,
            range: pool.vmid_range,
            resource_pool: pool.resource_pool.clone(),
        };
        let vm = RunnerVm::new(self.pve.clone(), name.clone(), marker, place, self.cancel.clone());
        vm.destroy().await.map_err(|error| failure::of_guest(&error))?;
        tracing::info!(vm = %name, "destroyed a finished runner VM of the provider");
        Ok(Success::Done)
    }
}

/// Returns the guest's answer as a fact.
pub(super) fn sign(state: GuestState) -> Sign {
    match state {
        GuestState::Unarmed => Sign::Unarmed,
        GuestState::Waiting => Sign::Waiting,
        GuestState::Job => Sign::Job,
    }
}

/// Returns true if the guest could not be asked because it is off.
fn is_off(error: &Error) -> bool {
    matches!(&error.problem, Problem::PoweredOff)
        || matches!(&error.problem, Problem::Pve(error) if error.is_not_running())
}

fn shape_of(pool: &RunnerPool) -> Shape {
    Shape {
        cores: pool.cores,
        memory_mib: pool.memory_mib,
        bridge: pool.bridge.clone(),
        seed_iso: pool.seed_iso.clone(),
        ..Shape::default()
    }
}
