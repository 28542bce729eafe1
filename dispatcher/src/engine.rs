//! The dispatcher's loop: it feeds facts and outcomes to the fleet, writes the fleet's changes down, and starts its effects.
//!
//! ```text
//! polls, outcomes, requests ──► Fleet::take ──► Fleet::pass ──► commit ──► effects
//! ```
//!
//! It makes no decisions. Polls and effects run beside it, in tasks that it starts and collects; the loop itself waits for nothing but
//! the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use error_chain::Chain;
use fleet::{
    AuditEntry, Effect, Entry, Event, Failure, FailureKind, Fleet, Input, Outcome, Pass, Recorder, Runs, State, Waiting,
};
use jiff::{SignedDuration, Timestamp};
use ownership::{Run, RunnerName};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clients;
use crate::clock::Clock;
use crate::control::Control;
use crate::execute::{Boots, Carried, Executor, TemplateChecks};
use crate::kept::KeptLogs;
use crate::ledger::{Ledger, LedgerError, Mode, Opened};
use crate::observe::{Poll, Polls};
use crate::parts::Parts;
use crate::problems::{ProblemKey, Problems};
use crate::recording;
use crate::redaction::Redactor;
use crate::settings::Settings;
use crate::status::{self, StatusInput};
use crate::writing;

/// Longest wait between two passes: deadlines are noticed this late at most.
const TICK: Duration = Duration::from_secs(1);
/// Time that running effects get when the process is asked to stop.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// Size of the recording of the fleet's inputs, in bytes.
const RECORDED: usize = 2 << 20;
/// Interval between two copies of the recording to the state volume.
const COPIED: SignedDuration = SignedDuration::from_mins(1);
/// Interval between two deletions of old entries of the audit trail, and their age.
const PRUNED: SignedDuration = SignedDuration::from_hours(1);
const AUDITED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Reason for which the dispatcher cannot run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Its ledger cannot be used.
    #[error("the dispatcher's ledger cannot be used")]
    Ledger(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<LedgerError> for EngineError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(Box::new(error))
    }
}

/// Runs the dispatcher until the stop token is cancelled. Running effects then get ten seconds to end.
///
/// # Errors
/// When the ledger cannot be used. Later failures are problems in the status, and are retried.
pub async fn run(control: Control, ledger: &Path, stop: CancellationToken) -> Result<(), EngineError> {
    run_with(Parts::default(), control, ledger, stop).await
}

/// Runs the dispatcher as [`run`] does, in given surroundings.
///
/// # Errors
/// Those of [`run`].
pub async fn run_with(
    parts: Parts,
    control: Control,
    ledger: &Path,
    stop: CancellationToken,
) -> Result<(), EngineError> {
    let mode = if parts.simulated.is_some() { Mode::Inline } else { Mode::Thread };
    let opened = Ledger::open(ledger, parts.run_id(), mode)?;
    let mut engine = Engine::new(parts, control, opened);
    if engine.parts.simulated.is_none() {
        engine.recording = Some(recording::file_beside(ledger));
        engine.kept = Some(KeptLogs::beside(ledger));
    }
    let mut settings = engine.control.settings();
    let mut draining = engine.control.draining();
    let mut retries = engine.control.retries();
    let mut releases = engine.control.releases();
    engine.configure(settings.borrow_and_update().clone());
    loop {
        engine.pass().await;
        let wait = engine.wait();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Ok(()) = settings.changed() => engine.configure(settings.borrow_and_update().clone()),
            Ok(()) = retries.changed() => engine.retry(),
            Ok(()) = releases.changed() => engine.release(),
            Ok(()) = draining.changed() => engine.set_draining(*draining.borrow_and_update()),
            Some(ended) = engine.effects.join_next_with_id() => engine.effect_ended(ended),
            Some(poll) = engine.polls.join_next() => engine.integrate(poll),
            () = tick(wait) => {}
        }
    }
    engine.shut_down().await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the one place where the loop waits, together with its wake-ups")]
async fn tick(duration: Duration) {
    tokio::time::sleep(duration).await;
}

struct Engine {
    parts: Parts,
    control: Control,
    clock: Clock,
    ledger: Ledger,
    fleet: Fleet,
    recorder: Recorder,
    /// File of the recording. Absent in simulations.
    recording: Option<PathBuf>,
    /// Files for diagnostics of failed VMs. Absent in simulations.
    kept: Option<KeptLogs>,
    copied_at: Timestamp,
    run: Run,
    problems: Problems,
    cancel: CancellationToken,
    boots: Arc<Boots>,
    carried: Arc<Carried>,
    executor: Option<Executor>,
    config_hash: String,
    polls: Polls,
    effects: JoinSet<(RunnerName, Outcome)>,
    /// Names of the running effects by their tasks, for those that panic.
    tasks: BTreeMap<Id, RunnerName>,
    /// Problems of the fleet that were logged, by what they are about.
    logged: BTreeMap<String, String>,
    started_at: Timestamp,
    draining_since: Timestamp,
    pruned_at: Timestamp,
}

impl Engine {
    fn new(parts: Parts, control: Control, opened: Opened) -> Self {
        let clock = parts.clock(opened.clock);
        let now = clock.now();
        // A ledger without history does not know which VMIDs may be taken by clones in the making.
        let is_new = opened.was_empty && opened.runs.is_empty();
        let fleet = Fleet::new(opened.records, opened.lent)
            .with_runs(Runs { own: opened.run, earlier: opened.runs.into_iter().collect() });
        let problems = Problems::default();
        if !opened.unreadable.is_empty() {
            let names = opened.unreadable.join(", ");
            let message = format!("records of the ledger that cannot be read are left alone: {names}");
            problems.raise(ProblemKey::Records, message, now);
        }
        Self {
            parts,
            control,
            ledger: opened.ledger,
            fleet: if is_new { fleet.without_history() } else { fleet },
            run: opened.run,
            recorder: Recorder::new(RECORDED),
            recording: None,
            kept: None,
            copied_at: now,
            problems,
            cancel: CancellationToken::new(),
            boots: Arc::new(Boots::restored(opened.boots)),
            carried: Arc::default(),
            executor: None,
            config_hash: String::new(),
            polls: Polls::new(),
            effects: JoinSet::new(),
            tasks: BTreeMap::new(),
            logged: BTreeMap::new(),
            started_at: now,
            draining_since: now,
            pruned_at: now,
            clock,
        }
    }

    /// Takes a new configuration over. Effects under way end with the one that they began with.
    fn configure(&mut self, settings: Option<Arc<Settings>>) {
        let Some(settings) = settings else { return };
        let now = self.clock.now();
        let made = clients::pve(&settings.config, &settings.secrets, &self.parts)
            .and_then(|pve| Ok((pve, clients::github(&settings.config, &settings.secrets, &self.parts, &self.clock)?)));
        let (pve, github) = match made {
            Ok(pair) => pair,
            Err(error) => return self.problems.raise(ProblemKey::Configuration, Chain(&error).to_string(), now),
        };
        self.problems.clear(&ProblemKey::Configuration);
        self.config_hash = settings.config.hash();
        let secrets = &settings.secrets;
        let redactor = Redactor::new([secrets.pve_token_secret.clone(), secrets.github_token.clone()]);
        self.take(Input::Configured(Box::new(settings.config.clone())), now);
        self.polls.start_over();
        self.executor = Some(Executor {
            config: Arc::new(settings.config.clone()),
            pve,
            github,
            clock: self.clock.clone(),
            run: self.run,
            boots: Arc::clone(&self.boots),
            carried: Arc::clone(&self.carried),
            templates: Arc::new(TemplateChecks::default()),
            kept: self.kept.clone(),
            redactor: Arc::new(redactor),
            cancel: self.cancel.clone(),
            draining: self.control.draining(),
        });
        let (hash, pools) = (&self.config_hash[..12], settings.config.pools.len());
        tracing::info!(hash, pools, "a configuration is in force: earlier failures no longer make anything wait");
    }

    /// Gives an input to the fleet and records it.
    fn take(&mut self, input: Input, now: Timestamp) {
        self.recorder.take(&mut self.fleet, input, now);
    }

    fn set_draining(&mut self, draining: bool) {
        self.draining_since = self.clock.now();
        self.take(Input::Draining(draining), self.draining_since);
        self.polls.hurry();
        tracing::info!(draining, "drain mode");
    }

    /// Ends every wait that follows from a failure, because the cause may have been removed.
    fn retry(&mut self) {
        tracing::info!("asked to retry: earlier failures no longer make anything wait");
        self.take(Input::Retry, self.clock.now());
        self.polls.hurry();
    }

    /// Ends the quarantines that people asked to end.
    fn release(&mut self) {
        for name in self.control.take_releases() {
            tracing::info!(vm = %name, "asked to release it from quarantine");
            self.take(Input::Release(name), self.clock.now());
        }
    }

    fn effect_ended(&mut self, ended: Result<(Id, (RunnerName, Outcome)), JoinError>) {
        let (name, outcome) = match ended {
            Ok((id, ended)) => {
                self.tasks.remove(&id);
                ended
            }
            Err(error) => {
                let Some(name) = self.tasks.remove(&error.id()) else { return };
                tracing::error!(vm = %name, %error, "a step failed in the dispatcher itself");
                let message = "the dispatcher failed in this step; its log says where".to_owned();
                (name, Err(Failure { kind: FailureKind::Passing, message, retry_at: None }))
            }
        };
        // GitHub's times are wall time.
        let to_fleet_time = |failure: Failure| {
            let retry_at = failure.retry_at.map(|at| self.clock.fleet(at));
            Failure { retry_at, ..failure }
        };
        let outcome = outcome.map_err(to_fleet_time);
        self.take(Input::Ended(name, outcome), self.clock.now());
    }

    /// Takes over the result of a poll.
    fn integrate(&mut self, poll: Poll) {
        let now = self.clock.now();
        match poll {
            Poll::Guests(Ok(guests)) => {
                self.problems.clear(&ProblemKey::Guests);
                self.take(Input::Guests(guests), now);
            }
            Poll::Guests(Err(error)) => self.problems.raise(ProblemKey::Guests, Chain(&error).to_string(), now),
            Poll::Repository { name, seen, problem } => {
                let key = ProblemKey::Repository(name.clone());
                match problem {
                    None => self.problems.clear(&key),
                    Some(error) => self.problems.raise(key, Chain(&error).to_string(), now),
                }
                self.take(Input::Repository(name, seen), now);
            }
            Poll::Mended(pools) => {
                for pool in &pools {
                    tracing::info!(%pool, "its template or storage changed, so its failures no longer make it wait");
                }
                self.take(Input::Mended(pools), now);
            }
            Poll::Outdated => {}
        }
    }

    /// Takes one turn: decides, writes changes down, starts effects, and starts the polls that are due.
    async fn pass(&mut self) {
        let Some(executor) = self.executor.clone() else { return self.publish(None, &[]) };
        let parts = self.parts.clone();
        let now = self.clock.now();
        let pass = self.recorder.pass(&mut self.fleet, &executor.config, &mut || parts.nonce(), now);
        self.log(&pass.events);
        let Pass { start, commit, start_after_commit, waiting, .. } = pass;
        self.start(&executor, start);
        if self.commit(commit).await {
            self.start(&executor, start_after_commit);
        }
        if now.duration_since(self.copied_at) >= COPIED {
            self.copy_recording().await;
        }
        self.polls.start_due(&executor, &self.fleet, self.clock.now());
        self.publish(Some(&executor), &waiting);
    }

    /// Copies the recording of the fleet's inputs to the state volume. A full volume costs nothing but the recording.
    async fn copy_recording(&mut self) {
        self.copied_at = self.clock.now();
        let Some(path) = self.recording.clone() else { return };
        let lines: Vec<Arc<str>> = self.recorder.lines().cloned().collect();
        match tokio::task::spawn_blocking(move || recording::write(&path, &lines)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the recording is not on the state volume"),
            Err(error) => tracing::debug!(%error, "the recording is not on the state volume"),
        }
    }

    /// Writes changes down. Returns true if what waits for them may start.
    async fn commit(&mut self, changes: Option<fleet::Changes>) -> bool {
        let Some(changes) = changes else { return true };
        let mut commit = writing::commit(changes, self.boots.take_changed(), self.clock.stored());
        let now = self.clock.now();
        if now.duration_since(self.pruned_at) >= PRUNED {
            self.pruned_at = now;
            commit.audit_before = Some(now - AUDITED);
        }
        let is_synchronised = commit.is_synchronised;
        match self.ledger.commit(commit).await {
            Ok(()) => {
                self.parts.committed(is_synchronised);
                self.problems.clear(&ProblemKey::Ledger);
                self.take(Input::Committed, now);
                true
            }
            Err(error) => {
                self.problems.raise(ProblemKey::Ledger, Chain(&error).to_string(), now);
                self.take(Input::NotCommitted, now);
                false
            }
        }
    }

    fn start(&mut self, executor: &Executor, effects: Vec<Effect>) {
        for effect in effects {
            let (executor, intent) = (executor.clone(), self.fleet.record(&effect.name).cloned());
            let name = effect.name.clone();
            let task = async move {
                let name = effect.name.clone();
                let outcome = executor.perform(effect, intent).await;
                (name, outcome)
            };
            let handle = self.effects.spawn(task);
            self.tasks.insert(handle.id(), name);
        }
    }

    /// Logs events in the lives of VMs. The end of a VM comes with its whole life in one line.
    fn log(&self, events: &[AuditEntry]) {
        for AuditEntry { vm, entry, state, .. } in events {
            match entry {
                Entry::Reserved => tracing::info!(vm = vm.as_str(), "reserved"),
                Entry::Adopted => tracing::info!(vm = vm.as_str(), "took over a VM of ours that had no record"),
                Entry::Event(event) => tracing::info!(vm = vm.as_str(), state = state.as_str(), ?event, "noted"),
            }
            let is_late = matches!(entry, Entry::Event(Event::RegistrationGone));
            let gone = self.fleet.record(vm).filter(|_| *state == State::Gone && !is_late);
            if let Some(intent) = gone {
                let (reason, job) = (intent.life.reason, intent.life.job);
                tracing::info!(vm = vm.as_str(), ?reason, ?job, "gone: {}", intent.timeline());
            }
        }
        if events.iter().any(|entry| entry.state == State::Gone) {
            self.carried.retain(|name| self.fleet.record(name).is_some_and(fleet::Intent::is_live));
        }
    }

    fn publish(&mut self, executor: Option<&Executor>, waiting: &[Waiting]) {
        let config = executor.map(|executor| &*executor.config);
        let now = self.clock.now();
        let hindrances = config.map(|config| self.fleet.hindrances(config, now)).unwrap_or_default();
        status::log_changes(&mut self.logged, &hindrances);
        let status = status::status(&StatusInput {
            config,
            config_hash: config.is_some().then_some(self.config_hash.as_str()),
            fleet: &self.fleet,
            waiting,
            problems: self.problems.all(),
            hindrances: &hindrances,
            started_at: self.started_at,
            draining_since: self.draining_since,
            clock: &self.clock,
        });
        self.control.publish(status);
    }

    /// Returns the time until the next pass, if nothing wakes the loop before.
    fn wait(&self) -> Duration {
        match self.executor {
            Some(_) => TICK.min(self.polls.until_due(self.clock.now())),
            None => TICK,
        }
    }

    /// Waits a bounded time for running effects. The next start repeats those that are cut off.
    async fn shut_down(&mut self) {
        self.cancel.cancel();
        let ended = tokio::time::timeout(SHUTDOWN, async {
            while let Some(ended) = self.effects.join_next_with_id().await {
                self.effect_ended(ended);
            }
        });
        if ended.await.is_err() {
            tracing::warn!(steps = self.effects.len(), "steps are cut off; the next start repeats them");
        }
        self.effects.shutdown().await;
        // The last outcomes save the next start their repetition.
        let changes = self.fleet.take_changes();
        self.commit(changes).await;
        self.copy_recording().await;
        let (commits, synchronised) = (self.ledger.commits(), self.ledger.synchronised_commits());
        tracing::info!(commits, synchronised, "the ledger is closed");
    }
}
