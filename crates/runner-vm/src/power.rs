//! Start, the wait for the guest agent, and the power-off.

use std::time::{Duration, Instant};

use crate::retry::{LOCK_PATIENCE, LOCK_PAUSE, Patience};
use crate::{Error, Problem, RunnerVm};

/// Pause between two questions to an agent that does not answer. Each holds one of the node's three workers for seconds.
const AGENT_PAUSE: Duration = Duration::from_secs(2);

/// How a boot went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booted {
    /// From the start to the agent's answer.
    pub took: Duration,
    /// The agent answered when it was asked first: it may have been ready before.
    pub at_first_try: bool,
}

impl RunnerVm {
    /// Starts the VM and waits until its guest agent answers; A VM that runs already is only waited for.
    ///
    /// The agent is not asked before `expected`, the time that this template usually takes.
    ///
    /// # Errors
    /// [`Problem::NotReady`] after `limit`, [`Problem::PoweredOff`] when the guest went off again.
    pub async fn boot(&self, expected: Duration, limit: Duration) -> Result<Booted, Error> {
        let begun = Instant::now();
        self.start().await.map_err(|problem| self.error("start", problem))?;
        let waited = self.wait_for_agent(expected.min(limit), limit).await;
        let at_first_try = waited.map_err(|problem| self.error("boot", problem))?;
        Ok(Booted { took: begun.elapsed(), at_first_try })
    }

    async fn start(&self) -> Result<(), Problem> {
        let patience = Patience::of(LOCK_PATIENCE);
        loop {
            match self.start_once().await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_running() => return Ok(()),
                Err(error) if error.is_locked() && !patience.is_over() => self.pause(LOCK_PAUSE).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn start_once(&self) -> Result<(), pve::Error> {
        let upid = self.qemu().start().await?;
        self.wait(&upid).await
    }

    async fn wait_for_agent(&self, expected: Duration, limit: Duration) -> Result<bool, Problem> {
        let patience = Patience::of(limit);
        self.pause(expected).await?;
        let mut first = true;
        loop {
            match self.qemu().agent().ping().await {
                Ok(()) => return Ok(first),
                Err(error) if error.is_not_running() || error.is_guest_missing() => return Err(Problem::PoweredOff),
                Err(error) if error.is_agent_unavailable() || error.is_transient() => {}
                Err(error) => return Err(error.into()),
            }
            if patience.is_over() {
                return Err(Problem::NotReady { seconds: limit.as_secs() });
            }
            first = false;
            self.pause(AGENT_PAUSE).await?;
        }
    }

    /// Powers the VM off, after the proof that it is ours. One that is off, or gone, is no error.
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
