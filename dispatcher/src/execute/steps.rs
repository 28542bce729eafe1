//! The steps of a VM's life at PVE.

use std::time::Duration;

use dispatcher_api::RunnerPool;
use runner_vm::{Booted, Error, Event, GuestState, Problem, Reason, RunnerVm, Shape, State};

use super::Executor;
use crate::clock;
use crate::reconcile::{Intent, Step};

/// Before the first boot of a template was seen, its agent is not asked sooner than this.
const FIRST_BOOT: Duration = Duration::from_secs(3);

impl Executor {
    pub(super) async fn step(&self, intent: Intent, step: Step) {
        // A note that could not be written down must have no consequence.
        if !step.fits(intent.life.state) {
            return;
        }
        let Some(vm) = self.vm(&intent) else { return };
        match step {
            Step::Clone => self.clone_vm(&vm, &intent).await,
            Step::Configure => self.configure(&vm, &intent).await,
            Step::Boot => self.boot(&vm, &intent).await,
            Step::Register { repository } => self.register(&vm, &intent, repository).await,
            Step::Examine => self.examine(&vm, &intent).await,
            Step::Deregister => self.deregister(&intent).await,
            Step::Probe => self.probe(&vm, &intent).await,
            Step::Stop => self.stop(&vm, &intent).await,
            Step::Destroy => self.destroy(&vm, &intent).await,
        }
    }

    async fn clone_vm(&self, vm: &RunnerVm, intent: &Intent) {
        let Some(_slot) = self.gates.clone_slot().await else { return };
        let first = intent.life.state == State::Reserved;
        if first
            && let Some(pool) = self.pool(&intent.pool)
            && let Err(error) = self.check_template(pool, intent.template).await
        {
            self.postpone(&intent.name, &error, None);
            return;
        }
        if self.note(&intent.name, Event::CloneBegun).await.is_none() {
            return;
        }
        match vm.clone_from_template(first).await {
            Ok(()) => self.went_well(intent, Event::Cloned).await,
            Err(Error { problem: Problem::VmidTaken, .. }) => {
                self.went_well(intent, Event::Failed(Reason::VmidTaken)).await
            }
            Err(error) => self.went_wrong(intent, &error, Reason::CloneFailed).await,
        }
    }

    async fn configure(&self, vm: &RunnerVm, intent: &Intent) {
        let shape = self.pool(&intent.pool).map(shape_of).unwrap_or_default();
        match vm.configure(&shape).await {
            Ok(()) => self.went_well(intent, Event::Configured).await,
            Err(error) if is_gone(&error) => self.went_well(intent, Event::Vanished).await,
            Err(error) => self.went_wrong(intent, &error, Reason::ConfigureFailed).await,
        }
    }

    async fn boot(&self, vm: &RunnerVm, intent: &Intent) {
        let Some(slot) = self.gates.power_slot().await else { return };
        let expected = self.ledger.boot_time(intent.template).unwrap_or(FIRST_BOOT);
        match vm.boot(expected, self.boot_time_left(intent)).await {
            Ok(booted) => {
                drop(slot);
                if let Err(error) = self.ledger.learn_boot_time(intent.template, next_expectation(expected, booted)) {
                    self.ledger_failed(&intent.name, &error);
                }
                self.went_well(intent, Event::Ready).await;
            }
            Err(error) if is_gone(&error) => self.went_well(intent, Event::Vanished).await,
            Err(error) => self.went_wrong(intent, &error, Reason::BootDeadline).await,
        }
    }

    fn boot_time_left(&self, intent: &Intent) -> Duration {
        let limit = self.pool(&intent.pool).map_or(300, |pool| pool.boot_limit_seconds);
        let passed = Duration::try_from(clock::now().duration_since(intent.created_at)).unwrap_or_default();
        Duration::from_secs(u64::from(limit)).saturating_sub(passed).max(Duration::from_secs(1))
    }

    /// Looks for signs of a job in a guest that ought to have powered itself off. That GitHub knows of none was seen before.
    async fn probe(&self, vm: &RunnerVm, intent: &Intent) {
        match vm.guest_state().await {
            Ok(GuestState::Job) => self.went_well(intent, Event::JobSeen { job: None }).await,
            Ok(GuestState::Waiting | GuestState::Unarmed) => self.went_well(intent, Event::NoJobFound).await,
            Err(error) => self.postpone(&intent.name, &error, None),
        }
    }

    async fn stop(&self, vm: &RunnerVm, intent: &Intent) {
        let Some(_slot) = self.gates.power_slot().await else { return };
        match vm.stop().await {
            Ok(()) => self.went_well(intent, Event::Stopped).await,
            Err(error) if is_gone(&error) => self.went_well(intent, Event::Vanished).await,
            Err(error) => self.postpone(&intent.name, &error, None),
        }
    }

    async fn destroy(&self, vm: &RunnerVm, intent: &Intent) {
        self.remove_what_is_left_at_github(intent).await;
        let Some(_slot) = self.gates.power_slot().await else { return };
        match vm.destroy().await {
            Ok(()) => self.went_well(intent, Event::Destroyed).await,
            Err(error) if is_gone(&error) => self.went_well(intent, Event::Destroyed).await,
            // Its one job is over and its registration is used up: somebody started it again.
            Err(Error { problem: Problem::StillRunning, .. }) => {
                if let Err(error) = vm.stop().await {
                    self.postpone(&intent.name, &error, None);
                }
            }
            Err(error) => self.postpone(&intent.name, &error, None),
        }
    }

    pub(super) async fn went_well(&self, intent: &Intent, event: Event) {
        self.problems.clear(&format!("vm:{}", intent.name));
        self.note(&intent.name, event).await;
    }

    /// Another try where that can help; else the VM is given up.
    async fn went_wrong(&self, intent: &Intent, error: &Error, reason: Reason) {
        self.postpone(&intent.name, error, None);
        if !error.is_transient() {
            self.note(&intent.name, Event::Failed(reason)).await;
        }
    }
}

/// Asked too early, the agent costs one of the node's workers; asked too late, it costs time. So the wait shrinks while the agent
/// answers at once, and becomes what the boot took when it did not.
fn next_expectation(expected: Duration, booted: Booted) -> Duration {
    if booted.at_first_try { expected.mul_f64(0.8) } else { booted.took.mul_f64(0.9) }
}

fn shape_of(pool: &RunnerPool) -> Shape {
    Shape {
        cores: pool.cores,
        memory_mib: pool.memory_mib,
        bridge: pool.bridge.clone(),
        seed_iso: pool.seed_iso.clone(),
    }
}

/// The VMID is free, or carries another incarnation: ours is gone.
fn is_gone(error: &Error) -> bool {
    match &error.problem {
        Problem::OtherIncarnation => true,
        Problem::Pve(error) => error.is_guest_missing(),
        _ => false,
    }
}
