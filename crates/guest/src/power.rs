//! The start of a VM, and the wait for its guest agent.

use std::time::Duration;

use pve::Upid;
use tokio::time::Instant;

use crate::removal::is_busy;
use crate::{Booted, Error, OwnedVm, Problem, RunnerVm};

/// First pause between two questions to an agent that does not answer. Each question holds one of the node's three
/// workers for seconds.
const FIRST_AGENT_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
const LONGEST_AGENT_PAUSE: Duration = Duration::from_secs(5);
/// Longest time after which a start task is assumed to have ended.
const LONGEST_ASSUMED: Duration = Duration::from_secs(5);

/// A VM of ours that was started, and whose agent has not been asked yet.
#[derive(Debug)]
pub struct Starting {
    vm: OwnedVm,
    begin: Instant,
    /// Start task whose end is only assumed, because such tasks have usually ended by now.
    unconfirmed: Option<Upid>,
    /// True if the VM ran already, so that its boot began at an unknown time.
    ran_before: bool,
}

impl RunnerVm {
    /// Starts the VM and waits until its guest agent answers. `known` is the VM as [`RunnerVm::configure`] proved it. The
    /// agent is asked for the first time `first_question` after the end of the start task
    /// ([`crate::BootTimes::first_question`]). The agent of a VM that runs already is asked at once, and nothing can be
    /// learnt from its answer.
    ///
    /// # Errors
    /// [`Problem::NotReady`] after `limit`, [`Problem::PoweredOff`] if the guest powered off.
    pub async fn boot(
        &self,
        known: Option<OwnedVm>,
        first_question: Duration,
        limit: Duration,
    ) -> Result<Option<Booted>, Error> {
        let starting = self.start(known).await?;
        self.wait_for_agent(starting, first_question, limit).await
    }

    /// Starts the VM, after the proof that it is ours or with the fresh proof of the step before, which is `known`
    /// (docs/adr/0025). Returns when the start task has ended. Once the usual duration of such tasks is known, the end
    /// is assumed after that time, and the guest agent's answer confirms it.
    ///
    /// # Errors
    /// When PVE does not start it.
    pub async fn start(&self, known: Option<OwnedVm>) -> Result<Starting, Error> {
        self.candidate.attempt("start", known, is_busy, |vm| self.start_once(vm)).await
    }

    async fn start_once(&self, vm: OwnedVm) -> Result<Starting, Problem> {
        match power_on(&vm).await {
            Ok(unconfirmed) => Ok(Starting { vm, begin: Instant::now(), unconfirmed, ran_before: false }),
            Err(Problem::Pve(error)) if error.is_running() => {
                Ok(Starting { vm, begin: Instant::now(), unconfirmed: None, ran_before: true })
            }
            Err(problem) => Err(problem),
        }
    }

    /// Starts the VM like [`RunnerVm::start`] and waits for the end of the task. Succeeds if it runs already.
    ///
    /// # Errors
    /// When PVE does not start it.
    pub async fn power_on(&self, known: Option<OwnedVm>) -> Result<(), Error> {
        let start = |vm: OwnedVm| async move { vm.start().await.map_err(|error| error.problem) };
        self.candidate.attempt("start", known, is_busy, start).await
    }

    /// Waits until the guest agent of a started VM answers. Asks for the first time after `first_question`, then at growing
    /// intervals. Returns the measurements of the boot if the time of its start is known.
    ///
    /// # Errors
    /// [`Problem::NotReady`] after `limit`, [`Problem::PoweredOff`] if the guest powered off.
    pub async fn wait_for_agent(
        &self,
        starting: Starting,
        first_question: Duration,
        limit: Duration,
    ) -> Result<Option<Booted>, Error> {
        let first_question = if starting.ran_before { Duration::ZERO } else { first_question.min(limit) };
        self.ask_agent(starting, first_question, limit).await.map_err(|problem| self.error("boot", problem))
    }

    async fn ask_agent(
        &self,
        mut starting: Starting,
        first_question: Duration,
        limit: Duration,
    ) -> Result<Option<Booted>, Problem> {
        let end = Instant::now() + limit;
        let mut pause = FIRST_AGENT_PAUSE;
        let mut asked_in_vain = 0;
        self.pause(first_question).await?;
        loop {
            match starting.vm.agent().ping(asked_in_vain).await {
                Ok(()) => {
                    let booted = Booted { took: starting.begin.elapsed(), asked_in_vain };
                    return Ok((!starting.ran_before).then_some(booted));
                }
                Err(error) if error.is_not_running() || error.is_guest_missing() => {
                    starting = self.confirm_start(starting).await?;
                    self.pause(first_question).await?;
                    continue;
                }
                Err(error) if error.is_agent_unavailable() || error.is_transient() => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= end {
                return Err(Problem::NotReady { seconds: limit.as_secs() });
            }
            asked_in_vain += 1;
            self.pause(pause).await?;
            pause = pause.mul_f64(1.5).min(LONGEST_AGENT_PAUSE);
        }
    }

    /// Waits for the start task of a VM that does not run. The task may take longer than usual or have failed, or the VM
    /// may have powered off.
    async fn confirm_start(&self, starting: Starting) -> Result<Starting, Problem> {
        let upid = starting.unconfirmed.ok_or(Problem::PoweredOff)?;
        let ran_before = match starting.vm.wait(&upid).await {
            Err(error) if error.is_running() => true,
            outcome => outcome.map(|()| false)?,
        };
        Ok(Starting { vm: starting.vm, begin: Instant::now(), unconfirmed: None, ran_before })
    }

    /// Waits for this time. Fails if the caller cancels meanwhile.
    async fn pause(&self, duration: Duration) -> Result<(), Problem> {
        let slept = self.candidate.wait.cancel.run_until_cancelled(tokio::time::sleep(duration)).await;
        slept.ok_or(Problem::Cancelled)
    }
}

/// Starts the VM. Returns the start task if its end is only assumed.
async fn power_on(vm: &OwnedVm) -> Result<Option<Upid>, Problem> {
    let upid = vm.raw.start().await?;
    let Some(usual) = vm.candidate.pve.usual_time(&upid) else {
        vm.wait(&upid).await?;
        return Ok(None);
    };
    let usual = usual.min(LONGEST_ASSUMED);
    let slept = vm.candidate.wait.cancel.run_until_cancelled(tokio::time::sleep(usual)).await;
    slept.map(|()| Some(upid)).ok_or(Problem::Cancelled)
}
