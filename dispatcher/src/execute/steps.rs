//! The steps of a VM's life at PVE.

use std::time::Duration;

use dispatcher_api::RunnerPool;
use fleet::{Event, Reason, State};
use guest::{Booted, Error, GuestState, OwnedVm, Problem, RunnerVm, Shape, Starting};
use jiff::{SignedDuration, Timestamp};

use super::Executor;
use crate::clock;
use crate::problems::ProblemKey;
use fleet::{Intent, Step};

/// Shortest and longest pause between two checks whether a VM has powered itself off.
const WATCH_PAUSES: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(2), SignedDuration::from_secs(60));
/// The same for the rest of an interrupted clone, which only a person can remove.
const HALF_MADE_PAUSES: (SignedDuration, SignedDuration) =
    (SignedDuration::from_secs(10), SignedDuration::from_mins(5));

impl Executor {
    pub(super) async fn step(&self, intent: Intent, step: Step) {
        // A note that could not be written down must have no consequence.
        if !step.fits(intent.life.state) {
            return;
        }
        let Some(vm) = self.vm(&intent) else { return };
        match step {
            Step::Clone => self.clone_vm(&vm, &intent).await,
            Step::Configure => self.configure(&vm, &intent, None).await,
            Step::Boot => self.boot(&vm, &intent, None).await,
            Step::Register { repository } => self.register(&vm, &intent, repository).await,
            Step::Examine => self.examine(&vm, &intent).await,
            Step::Deregister => self.deregister(&intent).await,
            Step::Watch => self.watch(&vm, &intent).await,
            Step::Probe => self.probe(&vm, &intent).await,
            Step::Stop => self.stop(&vm, &intent).await,
            Step::Destroy => self.destroy(&vm, &intent).await,
        }
    }

    async fn clone_vm(&self, vm: &RunnerVm, intent: &Intent) {
        let Some(slot) = self.gates.clone_slot().await else { return };
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
            Ok(known) => {
                drop(slot);
                self.problems.clear(&ProblemKey::Vm(intent.name.clone()));
                // The next step takes over the proof that was just read.
                if self.note(&intent.name, Event::Cloned).await.is_some() && known.is_some() {
                    self.configure(vm, intent, known).await;
                }
            }
            Err(Error { problem: Problem::VmidTaken, .. }) => {
                self.went_well(intent, Event::Failed(Reason::VmidTaken)).await
            }
            Err(error) => self.went_wrong(intent, &error, Reason::CloneFailed).await,
        }
    }

    async fn configure(&self, vm: &RunnerVm, intent: &Intent, known: Option<OwnedVm>) {
        let shape = self.pool(&intent.pool).map(shape_of).unwrap_or_default();
        match vm.configure(&shape, known).await {
            Ok(proved) => {
                self.problems.clear(&ProblemKey::Vm(intent.name.clone()));
                let noted = self.note(&intent.name, Event::Configured).await;
                if noted.is_some() && !*self.draining.borrow() {
                    self.boot(vm, intent, Some(proved)).await;
                }
            }
            Err(error) if is_gone(&error) => self.went_well(intent, Event::Vanished).await,
            Err(error) => self.went_wrong(intent, &error, Reason::ConfigureFailed).await,
        }
    }

    /// Starts the VM and waits for its agent. A drain ends the wait without an outcome: the VM cannot have a job yet.
    async fn boot(&self, vm: &RunnerVm, intent: &Intent, known: Option<OwnedVm>) {
        let outcome = match self.start(vm, known).await {
            Ok(starting) => {
                let mut draining = self.draining.clone();
                tokio::select! {
                    biased;
                    Ok(_) = draining.wait_for(|is_draining| *is_draining) => return,
                    outcome = self.agent_answers(vm, intent, starting) => outcome,
                }
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(booted) => {
                if let Some(Err(error)) = booted.map(|booted| self.ledger.learn_boot(intent.template, booted)) {
                    self.ledger_failed(&intent.name, &error);
                }
                self.went_well(intent, Event::Ready).await;
            }
            Err(error) if is_gone(&error) => self.went_well(intent, Event::Vanished).await,
            Err(error) => self.went_wrong(intent, &error, Reason::BootDeadline).await,
        }
    }

    /// Starts the VM. The slot is given back before the wait for its agent, because a booting guest needs nothing of PVE.
    async fn start(&self, vm: &RunnerVm, known: Option<OwnedVm>) -> Result<Starting, Error> {
        let _slot = self.gates.power_slot().await;
        vm.start(known).await
    }

    async fn agent_answers(&self, vm: &RunnerVm, intent: &Intent, starting: Starting) -> Result<Option<Booted>, Error> {
        let first_question = self.ledger.boot_times(intent.template).first_question();
        vm.wait_for_agent(starting, first_question, self.boot_time_left(intent)).await
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
            Err(error) => self.not_removed(vm, intent, error).await,
        }
    }

    /// Asks whether a VM whose job is over has powered itself off. The pauses between the questions grow.
    async fn watch(&self, vm: &RunnerVm, intent: &Intent) {
        let expected_since = intent.life.job_over_at.unwrap_or(intent.life.since);
        match vm.is_off().await {
            Ok(true) => self.went_well(intent, Event::PoweredOff).await,
            Ok(false) => self.ledger.postpone(&intent.name, later(expected_since, WATCH_PAUSES)),
            Err(error) if is_gone(&error) => self.went_well(intent, Event::Vanished).await,
            Err(error) => self.postpone(&intent.name, &error, None),
        }
    }

    /// Reports the problem that keeps a VM from being removed. Only a person can remove the rest of an interrupted
    /// clone.
    async fn not_removed(&self, vm: &RunnerVm, intent: &Intent, error: Error) {
        let never_complete = intent.life.reason == Some(Reason::CloneFailed);
        let error = if never_complete { vm.explain_unmade(error).await } else { error };
        let half_made = matches!(error.problem, Problem::HalfMade { .. });
        let until = half_made.then(|| later(intent.life.since, HALF_MADE_PAUSES));
        self.postpone(&intent.name, &error, until);
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
            Err(error) => self.not_removed(vm, intent, error).await,
        }
    }

    pub(super) async fn went_well(&self, intent: &Intent, event: Event) {
        self.problems.clear(&ProblemKey::Vm(intent.name.clone()));
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

/// Returns the time of the next question about something that has been awaited since `since`. The pause grows with the
/// time waited.
fn later(since: Timestamp, (shortest, longest): (SignedDuration, SignedDuration)) -> Timestamp {
    let now = clock::now();
    now + (now.duration_since(since) / 2).clamp(shortest, longest)
}

fn shape_of(pool: &RunnerPool) -> Shape {
    Shape {
        cores: pool.cores,
        memory_mib: pool.memory_mib,
        bridge: pool.bridge.clone(),
        seed_iso: pool.seed_iso.clone(),
        protection: false,
    }
}

/// The VMID is free in the whole cluster, or carries another incarnation: ours is gone.
fn is_gone(error: &Error) -> bool {
    error.is_gone() || matches!(error.problem, Problem::OtherIncarnation)
}
