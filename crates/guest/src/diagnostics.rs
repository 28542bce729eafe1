//! Diagnostics of a running VM that failed: the guest's own logs, or its serial console.
//!
//! ```text
//! host ── /run/pxci/diagnose ──► pxci-diagnostics.path ──► /run/pxci/diagnostics ──► host
//! ```
//!
//! The guest's agent may neither list directories nor execute programs for the dispatcher, so a unit of the image collects the logs when a
//! file appears. If the agent does not answer, the serial console is left. PVE keeps no past output, so the console shows
//! what the guest writes after a pressed Enter key.
//!
//! A hostile job controls all of this. It is read with limits and is never parsed.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::arm::STATE;
use crate::{Error, OwnedVm, Problem, RunnerVm};

const REQUEST: &str = "/run/pxci/diagnose";
const ANSWER: &str = "/run/pxci/diagnostics";

/// Most bytes of one part. The last ones count.
const LARGEST_PART: usize = 64 * 1024;
/// Pause before each question for the guest's answer, and the number of questions.
const ANSWER_PAUSE: Duration = Duration::from_secs(1);
const MOST_QUESTIONS: u32 = 6;
/// Time for which the console is read.
const CONSOLE_TIME: Duration = Duration::from_secs(4);

/// The diagnostics of one VM.
#[derive(Debug, Default)]
pub struct Diagnostics {
    /// The parts that were read.
    pub parts: Vec<DiagnosticPart>,
    /// The parts that could not be read, each with the reason.
    pub missing: Vec<(&'static str, Problem)>,
}

/// One part of the diagnostics.
#[derive(Debug, PartialEq, Eq)]
pub struct DiagnosticPart {
    /// Source of the part, in words.
    pub source: &'static str,
    /// Last bytes of the source, 64 KiB at most.
    pub content: Vec<u8>,
}

impl RunnerVm {
    /// Reads the diagnostics of the VM, after the proof that it is ours. A VM that is off has none. `asks_agent` is false if the guest
    /// agent never answered. Makes twelve requests at most.
    ///
    /// # Errors
    /// When the VM cannot be proved, or PVE does not say whether it runs.
    pub async fn diagnostics(&self, asks_agent: bool) -> Result<Diagnostics, Error> {
        let vm = self.candidate.prove().await?;
        let mut diagnostics = Diagnostics::default();
        if !vm.is_running().await? {
            return Ok(diagnostics);
        }
        if asks_agent {
            diagnostics.take("the guest's logs", logs(&vm).await);
        }
        if diagnostics.parts.is_empty() {
            diagnostics.take("the serial console", serial_console(&vm).await);
        }
        Ok(diagnostics)
    }
}

impl Diagnostics {
    fn take(&mut self, source: &'static str, read: Result<Vec<u8>, Problem>) {
        match read {
            Ok(content) if content.trim_ascii().is_empty() => {}
            Ok(content) => self.parts.push(DiagnosticPart { source, content: last_bytes(content) }),
            Err(problem) => self.missing.push((source, problem)),
        }
    }
}

/// Lets the guest collect its logs, and reads them. An image without the unit for that has the state of its runner only.
async fn logs(vm: &OwnedVm) -> Result<Vec<u8>, Problem> {
    let agent = vm.agent();
    agent.file_write(REQUEST, b"logs\n").await?;
    for _ in 0..MOST_QUESTIONS {
        sleep(ANSWER_PAUSE).await;
        match agent.file_read(ANSWER).await {
            Err(error) if error.is_guest_file_missing() => {}
            outcome => return Ok(outcome?),
        }
    }
    match agent.file_read(STATE).await {
        Err(error) if error.is_guest_file_missing() => Ok(Vec::new()),
        outcome => Ok(outcome?),
    }
}

/// Presses Enter on the serial console, and reads what it shows for a few seconds.
async fn serial_console(vm: &OwnedVm) -> Result<Vec<u8>, Problem> {
    if vm.config().get("serial0").is_none() {
        return Ok(Vec::new());
    }
    let mut console = vm.serial_console().await?;
    console.send(b"\r").await?;
    let end = Instant::now() + CONSOLE_TIME;
    let mut shown = Vec::new();
    while shown.len() < LARGEST_PART {
        match timeout_at(end, console.recv()).await {
            Ok(Ok(Some(bytes))) => shown.extend_from_slice(&bytes),
            // A connection that breaks has shown what it has shown.
            Ok(Ok(None) | Err(_)) | Err(_) => break,
        }
    }
    Ok(shown)
}

fn last_bytes(mut content: Vec<u8>) -> Vec<u8> {
    content.split_off(content.len().saturating_sub(LARGEST_PART))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_of_a_long_log_are_kept() {
        let mut long = vec![b'a'; LARGEST_PART];
        long.extend(b"the end");
        let mut diagnostics = Diagnostics::default();
        diagnostics.take("a log", Ok(long));
        let content = &diagnostics.parts[0].content;
        assert_eq!(content.len(), LARGEST_PART);
        assert!(content.ends_with(b"athe end"));
    }

    #[test]
    fn a_source_that_says_nothing_is_not_a_part() {
        let mut diagnostics = Diagnostics::default();
        diagnostics.take("a log", Ok(b" \r\n".to_vec()));
        diagnostics.take("another", Err(Problem::PoweredOff));
        assert!(diagnostics.parts.is_empty());
        assert_eq!(diagnostics.missing.len(), 1);
    }
}
