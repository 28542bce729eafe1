//! Files below `/run/pxci` in the guest, a directory on tmpfs that only root may enter. The host writes the registration
//! there, and the guest writes how far its runner is.
//!
//! A hostile job controls the guest's answers. They are read with a size limit, never parsed beyond single words, and
//! never decide about any other VM.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::attempts::attempts;
use crate::{Error, OwnedVm, Problem, RunnerVm};

const HOSTNAME: &str = "/run/pxci/hostname";
const JIT_CONFIG: &str = "/run/pxci/jitconfig";
const ARMED: &str = "/run/pxci/armed";
pub(crate) const STATE: &str = "/run/pxci/state";

/// Longest time from the first answer of the agent until the guest has made the directory and taken the files.
const ARM_DEADLINE: Duration = Duration::from_secs(30);
const ARM_PAUSE: Duration = Duration::from_millis(500);
/// Longest state file in bytes that the image's own programs write.
const STATE_LIMIT: usize = 64 * 1024;

/// Progress of the runner, as the guest reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestState {
    /// The guest has never had a registration.
    Unarmed,
    /// The guest has a registration, and no job has started.
    Waiting,
    /// A job has started.
    Job,
}

impl RunnerVm {
    /// Writes the guest's host name and its registration into the guest, and lets the runner start. Each attempt begins
    /// with the proof that the VM is ours. Another call with the same registration is harmless.
    ///
    /// The image needs all three files: `pxci-runner.path` waits for `armed`, whose content may be incomplete when
    /// systemd sees it, so the runner reads its name and its registration from files that were complete before.
    ///
    /// # Errors
    /// When the guest does not take the files in time.
    pub async fn arm(&self, jit_config: &SecretString) -> Result<(), Error> {
        let once = || async { self.write_files(&self.candidate.proven_soon().await?, jit_config).await };
        let pause_after = |problem: &Problem| is_worth_another_try(problem).then_some(ARM_PAUSE);
        let armed = attempts(&self.candidate.wait.cancel, ARM_DEADLINE, once, pause_after).await;
        armed.map_err(|problem| self.error("arm", problem))
    }

    async fn write_files(&self, vm: &OwnedVm, jit_config: &SecretString) -> Result<(), Problem> {
        let files =
            [(HOSTNAME, self.name.as_str()), (JIT_CONFIG, jit_config.expose_secret()), (ARMED, self.name.as_str())];
        for (path, content) in files {
            vm.agent().file_write(path, content.as_bytes()).await.map_err(|error| match error {
                error if error.is_not_running() => Problem::PoweredOff,
                error => error.into(),
            })?;
        }
        Ok(())
    }

    /// Returns the state of the runner as the guest reports it, after the proof that the VM is ours.
    ///
    /// # Errors
    /// When the guest does not answer. That allows no conclusion.
    pub async fn guest_state(&self) -> Result<GuestState, Error> {
        self.read_state().await.map_err(|problem| self.error("examine", problem))
    }

    async fn read_state(&self) -> Result<GuestState, Problem> {
        let agent = self.candidate.proven().await?.agent();
        match agent.file_read(STATE).await {
            Ok(content) => return Ok(state_in(&content)),
            Err(error) if !error.is_guest_file_missing() => return Err(error.into()),
            Err(_) => {}
        }
        match agent.file_read(ARMED).await {
            Ok(_) => Ok(GuestState::Waiting),
            Err(error) if error.is_guest_file_missing() => Ok(GuestState::Unarmed),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_worth_another_try(problem: &Problem) -> bool {
    match problem {
        Problem::Pve(error) => error.is_guest_file_missing() || error.is_agent_unavailable() || error.is_transient(),
        Problem::Unseen => true,
        _ => false,
    }
}

fn state_in(content: &[u8]) -> GuestState {
    let text = String::from_utf8_lossy(&content[..content.len().min(STATE_LIMIT)]);
    let has_job = text.lines().any(|line| line.split_whitespace().next() == Some("job"));
    // A state file of any content shows that the guest was used.
    if has_job || content.len() > STATE_LIMIT { GuestState::Job } else { GuestState::Waiting }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_word_of_a_line_counts() {
        assert_eq!(state_in(b"starting\nlistening\n"), GuestState::Waiting);
        assert_eq!(state_in(b"starting\nlistening\njob build\n"), GuestState::Job);
        assert_eq!(state_in(b"starting no job\n"), GuestState::Waiting);
        assert_eq!(state_in(b""), GuestState::Waiting);
    }

    #[test]
    fn a_file_beyond_the_limit_counts_as_a_job() {
        assert_eq!(state_in(&vec![b'x'; STATE_LIMIT + 1]), GuestState::Job);
    }
}
