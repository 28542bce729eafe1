//! Start, the wait for the guest agent, and the power-off.

use std::time::Duration;

use pve::Upid;
use tokio::time::Instant;

use crate::retry::{LOCK_PATIENCE, LOCK_PAUSE, Patience};
use crate::{Booted, Error, Problem, RunnerVm};

/// Pauses between two questions to an agent that does not answer. Each question holds one of the node's three workers for seconds.
const FIRST_AGENT_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_AGENT_PAUSE: Duration = Duration::from_secs(5);
/// Longest time after which a start task is assumed to have ended.
const LONGEST_ASSUMED: Duration = Duration::from_secs(5);

/// A VM that was started and whose agent was not asked yet.
#[derive(Debug)]
pub struct Starting {
    begin: Instant,
    /// The start task, while its end is only assumed because tasks of its kind have usually ended by now.
    unconfirmed: Option<Upid>,
    /// The VM ran already: its boot began at an unknown time.
    ran_before: bool,
}

impl RunnerVm {
    /// Starts the VM and waits until its guest agent answers, which is first asked `first_question` after the end of the start
    /// task ([`crate::BootTimes::first_question`]). A VM that runs already is asked at once, and nothing can be learnt from it.
    ///
    /// # Errors
    /// [`Problem::NotReady`] after `limit`, [`Problem::PoweredOff`] when the guest went off again.
    pub async fn boot(&self, first_question: Duration, limit: Duration) -> Result<Option<Booted>, Error> {
        let starting = self.start().await?;
        self.wait_for_agent(starting, first_question, limit).await
    }

    /// Starts the VM. Returns when the start task has ended; after some starts, when such a task has usually ended: then the agent
    /// tells whether it has.
    ///
    /// # Errors
    /// When Proxmox VE does not start it.
    pub async fn start(&self) -> Result<Starting, Error> {
        self.power_on().await.map_err(|problem| self.error("start", problem))
    }

    async fn power_on(&self) -> Result<Starting, Problem> {
        let patience = Patience::of(LOCK_PATIENCE);
        loop {
            match self.power_on_once().await {
                Ok(unconfirmed) => return Ok(Starting { begin: Instant::now(), unconfirmed, ran_before: false }),
                Err(Problem::Pve(error)) if error.is_running() => {
                    return Ok(Starting { begin: Instant::now(), unconfirmed: None, ran_before: true });
                }
                Err(Problem::Pve(error)) if error.is_locked() && !patience.is_over() => self.pause(LOCK_PAUSE).await?,
                Err(problem) => return Err(problem),
            }
        }
    }

    async fn power_on_once(&self) -> Result<Option<Upid>, Problem> {
        let upid = self.qemu().start().await?;
        if let Some(usual) = self.pve.usual_time(&upid) {
            self.pause(usual.min(LONGEST_ASSUMED)).await?;
            return Ok(Some(upid));
        }
        self.wait(&upid).await?;
        Ok(None)
    }

    /// Waits until the guest agent of a started VM answers. Asks for the first time after `first_question`, then at growing
    /// intervals. Returns how the boot went, where its begin is known.
    ///
    /// # Errors
    /// [`Problem::NotReady`] after `limit`, [`Problem::PoweredOff`] when the guest went off again.
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
        let patience = Patience::of(limit);
        let mut pause = FIRST_AGENT_PAUSE;
        let mut asked_in_vain = 0;
        self.pause(first_question).await?;
        loop {
            match self.qemu().agent().ping().await {
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
            if patience.is_over() {
                return Err(Problem::NotReady { seconds: limit.as_secs() });
            }
            asked_in_vain += 1;
            self.pause(pause).await?;
            pause = pause.mul_f64(1.5).min(LONGEST_AGENT_PAUSE);
        }
    }

    /// The VM does not run: its start takes longer than usual, or failed, or it went off again.
    async fn confirm_start(&self, starting: Starting) -> Result<Starting, Problem> {
        let upid = starting.unconfirmed.ok_or(Problem::PoweredOff)?;
        match self.wait(&upid).await {
            Err(error) if !error.is_running() => Err(error.into()),
            outcome => Ok(Starting { begin: Instant::now(), unconfirmed: None, ran_before: outcome.is_err() }),
        }
    }

    /// Returns whether the VM is powered off and nothing has it locked.
    ///
    /// # Errors
    /// When Proxmox VE does not say.
    pub async fn is_off(&self) -> Result<bool, Error> {
        let status = self.qemu().status().await.map_err(|error| self.error("examine", error))?;
        Ok(!status.is_running() && status.lock.is_none())
    }

    /// Powers the VM off, after the proof that it is ours. One that is off, or gone, is not an error.
    ///
    /// # Errors
    /// [`Problem::NotOurs`] and [`Problem::OtherIncarnation`]: it is left alone.
    pub async fn stop(&self) -> Result<(), Error> {
        self.power_off().await.map_err(|problem| self.error("stop", problem))
    }

    async fn power_off(&self) -> Result<(), Problem> {
        let patience = Patience::of(LOCK_PATIENCE);
        loop {
            match self.power_off_once().await {
                Err(Problem::Pve(error)) if error.is_guest_missing() => return Ok(()),
                Err(Problem::Pve(error)) if error.is_locked() && !patience.is_over() => self.pause(LOCK_PAUSE).await?,
                other => return other,
            }
        }
    }

    async fn power_off_once(&self) -> Result<(), Problem> {
        let config = self.qemu().config().await?;
        self.prove(&config).await?;
        if !self.qemu().status().await?.is_running() {
            return Ok(());
        }
        let upid = self.qemu().stop().await?;
        Ok(self.wait(&upid).await?)
    }
}
