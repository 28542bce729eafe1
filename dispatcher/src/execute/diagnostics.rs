//! The step that keeps the diagnostics of a failed VM.

use std::fmt::Write as _;
use std::time::Duration;

use error_chain::Chain;
use fleet::{FailureKind, Intent, Outcome, Success};
use guest::{Diagnostics, RunnerVm};

use super::{Executor, failure};
use crate::redaction::Redactor;

/// Longest time for all requests of the step. The VM waits for its end meanwhile.
const LIMIT: Duration = Duration::from_secs(25);

impl Executor {
    pub(super) async fn keep_diagnostics(&self, vm: &RunnerVm, intent: &Intent) -> Outcome {
        let life = &intent.life;
        let has_agent = life.ready_at.is_some() || life.armed_at.is_some();
        let read = self.cancel.run_until_cancelled(tokio::time::timeout(LIMIT, vm.diagnostics(has_agent)));
        let diagnostics = match read.await {
            Some(Ok(read)) => read.map_err(|error| failure::of_guest(&error))?,
            Some(Err(_)) => {
                return Err(failure::of_kind(FailureKind::Passing, "its diagnostics were not read in time"));
            }
            None => return Err(failure::of_kind(FailureKind::BrokenOff, "the dispatcher is ending")),
        };
        for (source, problem) in &diagnostics.missing {
            tracing::info!(vm = %intent.name, error = %Chain(problem), "unable to read {source}");
        }
        let Some(kept) = self.kept.clone().filter(|_| !diagnostics.parts.is_empty()) else {
            return Ok(Success::NothingToKeep);
        };
        let redactor = self.redactor.with(self.carried.registration_of(&intent.name));
        let (name, text) = (intent.name.clone(), self.text(&diagnostics, intent, &redactor));
        let written = tokio::task::spawn_blocking(move || kept.keep(&name, &text)).await;
        match written {
            Ok(Ok(file)) => {
                tracing::info!(vm = %intent.name, file, "kept the log of a failed VM");
                Ok(Success::Kept { file })
            }
            Ok(Err(error)) => Err(failure::of_kind(FailureKind::Passing, &error.to_string())),
            Err(error) => Err(failure::of_kind(FailureKind::Passing, &error.to_string())),
        }
    }

    /// Returns the contents of the file: the life of the VM, then each part without secrets.
    fn text(&self, diagnostics: &Diagnostics, intent: &Intent, redactor: &Redactor) -> String {
        let now = self.clock.wall(self.clock.now());
        let reason = intent.life.reason.map_or("", fleet::Reason::explanation);
        let place = format!("pool {}, VMID {} on node {}", intent.pool, intent.vmid, intent.node);
        let mut text = format!("{}: {place}\nkept {now:.0}: {reason}\nstates: {}\n", intent.name, intent.timeline());
        // Writing into a String cannot fail.
        if let Some(failure) = &intent.failure {
            let _ = writeln!(text, "last failure: {}", redactor.redact(failure.as_bytes()));
        }
        for part in &diagnostics.parts {
            let _ = write!(text, "\n=== {}\n{}\n", part.source, redactor.redact(&part.content));
        }
        text
    }
}
