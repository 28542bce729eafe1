//! The fleet's loop: look, decide, do; again when something happened, and anyway after a while.
//!
//! Level-triggered: an event only shortens the wait. Looking and doing happen beside the loop, in tasks that it starts and collects;
//! the loop itself waits for nothing but the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dispatcher_api::{Config, Problem, Subject};
use error_chain::Chain;
use jiff::{SignedDuration, Timestamp};
use ownership::{PoolName, RunnerName};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clients;
use crate::clock;
use crate::control::Control;
use crate::execute::{Executor, Gates, TemplateChecks};
use crate::intents::{Ledger, LedgerError};
use crate::looks::{Look, Looks};
use crate::parts::Parts;
use crate::problems::{ProblemKey, Problems};
use crate::settings::Settings;
use crate::status::{self, StatusInput};
use fleet::{Action, Claim, Intent, Observed};

/// Longest wait between two decisions: deadlines are noticed this late at most.
const TICK: Duration = Duration::from_secs(1);
/// Passes in a row that only write down, before looks and steps get their turn again.
const MOST_PASSES: usize = 4;
/// Time that running steps get when the process is asked to stop.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// Rest of VMs and registrations without a record after something was tried with them.
const REST: SignedDuration = SignedDuration::from_secs(5);

/// Why the dispatcher cannot run.
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

/// Runs the dispatcher until the stop token is cancelled. Running steps then get ten seconds to end.
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
    if let Some(simulated) = &parts.simulated {
        clock::follow_tokio(simulated.origin);
    }
    let ledger = Arc::new(Ledger::open(ledger)?);
    let mut engine = Engine::new(parts, control, ledger);
    let mut settings = engine.control.settings();
    let mut draining = engine.control.draining();
    let mut retries = engine.control.retries();
    engine.configure(settings.borrow_and_update().clone());
    loop {
        engine.pass().await;
        let wait = engine.wait();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Ok(()) = settings.changed() => {
                engine.configure(settings.borrow_and_update().clone());
                engine.forgive_all("another configuration");
            }
            Ok(()) = retries.changed() => engine.forgive_all("asked to retry"),
            Ok(()) = draining.changed() => engine.set_draining(&draining),
            Some(done) = engine.steps.join_next() => engine.step_ended(done.ok()),
            Some(look) = engine.looks.join_next() => engine.integrate(look),
            () = tick(wait) => {}
        }
    }
    engine.shut_down().await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the one place where the fleet's loop waits, together with its wake-ups")]
async fn tick(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// A step that ended, by the name it is known under, and whether its VM has a record.
#[derive(Debug)]
struct Done {
    name: RunnerName,
    recorded: bool,
}

struct Engine {
    parts: Parts,
    control: Control,
    ledger: Arc<Ledger>,
    problems: Arc<Problems>,
    cancel: CancellationToken,
    gates: Gates,
    executor: Option<Executor>,
    config_hash: String,
    observed: Observed,
    looks: Looks,
    steps: JoinSet<Done>,
    under_way: BTreeSet<RunnerName>,
    resting: BTreeMap<RunnerName, Timestamp>,
    started_at: Timestamp,
    draining_since: Timestamp,
    forgotten_at: Timestamp,
}

impl Engine {
    fn new(parts: Parts, control: Control, ledger: Arc<Ledger>) -> Self {
        let now = clock::now();
        Self {
            parts,
            control,
            looks: Looks::new(ledger.was_empty),
            ledger,
            problems: Arc::default(),
            cancel: CancellationToken::new(),
            gates: Gates::default(),
            executor: None,
            config_hash: String::new(),
            observed: Observed::default(),
            steps: JoinSet::new(),
            under_way: BTreeSet::new(),
            resting: BTreeMap::new(),
            started_at: now,
            draining_since: now,
            forgotten_at: now,
        }
    }

    /// Takes a new configuration over. Steps under way end with the one that they began with.
    fn configure(&mut self, settings: Option<Arc<Settings>>) {
        let Some(settings) = settings else { return };
        let made = clients::pve(&settings.config, &settings.secrets, &self.parts)
            .and_then(|pve| Ok((pve, clients::github(&settings.config, &settings.secrets, &self.parts)?)));
        let (pve, github) = match made {
            Ok(pair) => pair,
            Err(error) => {
                return self.problems.raise(ProblemKey::Configuration, Chain(&error).to_string(), clock::now());
            }
        };
        self.problems.clear(&ProblemKey::Configuration);
        self.config_hash = settings.config.hash();
        let forgiven = std::mem::take(&mut self.observed.forgiven);
        self.observed = Observed { draining: self.observed.draining, forgiven, ..Observed::default() };
        self.looks.start_over();
        self.executor = Some(Executor {
            parts: self.parts.clone(),
            config: Arc::new(settings.config.clone()),
            pve,
            github,
            ledger: Arc::clone(&self.ledger),
            problems: Arc::clone(&self.problems),
            gates: self.gates.clone(),
            templates: Arc::new(TemplateChecks::default()),
            cancel: self.cancel.clone(),
            draining: self.control.draining(),
        });
        tracing::info!(
            hash = &self.config_hash[..12],
            pools = settings.config.pools.len(),
            "a configuration is in force"
        );
    }

    fn set_draining(&mut self, draining: &watch::Receiver<bool>) {
        self.observed.draining = *draining.borrow();
        self.draining_since = clock::now();
        self.looks.hurry();
        tracing::info!(draining = self.observed.draining, "drain mode");
    }

    /// Ends every wait that follows from a failure, because the cause may have been removed.
    fn forgive_all(&mut self, why: &str) {
        let pools = self.executor.iter().flat_map(|executor| &executor.config.pools);
        let pools: Vec<_> = pools.map(|pool| pool.name.clone()).collect();
        self.ledger.hurry();
        self.resting.clear();
        self.looks.hurry();
        self.forgive(&pools, why);
    }

    fn forgive(&mut self, pools: &[PoolName], why: &str) {
        let now = clock::now();
        for pool in pools {
            tracing::info!(%pool, why, "its failures no longer make it wait");
            self.observed.forgiven.insert(pool.clone(), now);
        }
    }

    fn step_ended(&mut self, done: Option<Done>) {
        let Some(done) = done else { return };
        self.under_way.remove(&done.name);
        if !done.recorded {
            self.resting.insert(done.name, clock::now() + REST);
        }
    }

    /// Takes over the result of a poll.
    fn integrate(&mut self, look: Look) {
        match look {
            Look::Guests(Ok(guests)) => {
                self.problems.clear(&ProblemKey::Guests);
                self.observed.guests = Some(guests);
            }
            Look::Guests(Err(error)) => {
                self.problems.raise(ProblemKey::Guests, Chain(&error).to_string(), clock::now())
            }
            Look::Repository { name, seen, problem } => {
                let key = ProblemKey::Repository(name.clone());
                match problem {
                    None => self.problems.clear(&key),
                    Some(error) => self.problems.raise(key, Chain(&error).to_string(), clock::now()),
                }
                self.observed.repositories.insert(name, seen);
            }
            Look::Changed(pools) => self.forgive(&pools, "its template or storage changed"),
            Look::Outdated => {}
        }
    }

    /// Takes one turn: decides, starts actions, and starts the polls that are due.
    async fn pass(&mut self) {
        let Some(executor) = self.executor.clone() else { return self.publish(&[]) };
        self.forget(clock::now());
        for _ in 0..MOST_PASSES {
            let now = clock::now();
            self.resting.retain(|_, until| *until > now);
            self.observed.in_flight = self.under_way.iter().chain(self.resting.keys()).cloned().collect();
            let intents = self.ledger.intents();
            let actions = fleet::reconcile(&self.observed, &intents, &executor.config, now);
            if !self.act(&executor, actions).await {
                break;
            }
        }
        let intents = self.ledger.intents();
        self.looks.start_due(&executor, &self.observed, &intents, clock::now());
        self.publish(&intents);
    }

    /// Writes down at once, and starts what takes time. Returns whether anything was written down.
    async fn act(&mut self, executor: &Executor, actions: Vec<Action>) -> bool {
        let mut written = false;
        for action in actions {
            if executor.write_down(&action, self.observed.guests.as_ref()).await {
                written = true;
            } else {
                self.start(executor, action);
            }
        }
        written
    }

    fn start(&mut self, executor: &Executor, action: Action) {
        let Some(done) = self.key(&action) else { return };
        if !self.under_way.insert(done.name.clone()) {
            return;
        }
        let (executor, guests) = (executor.clone(), self.observed.guests.clone().map(Arc::new));
        self.steps.spawn(async move {
            executor.run(action, guests).await;
            done
        });
    }

    fn key(&self, action: &Action) -> Option<Done> {
        match action {
            Action::Step { name, .. } => Some(Done { name: name.clone(), recorded: true }),
            Action::RemoveRegistration { name, .. } => Some(Done { name: name.clone(), recorded: false }),
            Action::DestroyLent { vmid, .. } => match &self.observed.guest(*vmid)?.claim {
                Claim::Lent { name, .. } => Some(Done { name: name.clone(), recorded: false }),
                _ => None,
            },
            Action::Note { .. } | Action::Reserve { .. } | Action::Adopt { .. } => None,
        }
    }

    fn forget(&mut self, now: Timestamp) {
        if now.duration_since(self.forgotten_at) < SignedDuration::from_mins(1) {
            return;
        }
        self.forgotten_at = now;
        if let Err(error) = self.ledger.forget(now) {
            self.problems.raise(ProblemKey::Ledger, Chain(&error).to_string(), now);
        }
    }

    fn publish(&self, intents: &[Intent]) {
        let config: Option<&Config> = self.executor.as_ref().map(|executor| &*executor.config);
        let now = clock::now();
        let waiting = config.map(|config| fleet::explain(&self.observed, intents, config, now)).unwrap_or_default();
        let last_good_pass_at = config.and_then(|config| last_good_pass(&self.observed, config));
        let settled = self.under_way.is_empty() && last_good_pass_at.is_some_and(|at| at > self.draining_since);
        self.control.publish(status::status(StatusInput {
            config,
            config_hash: config.is_some().then_some(self.config_hash.as_str()),
            intents,
            waiting: &waiting,
            problems: self.all_problems(intents, config),
            draining: self.observed.draining,
            settled,
            started_at: self.started_at,
            last_good_pass_at,
        }));
    }

    /// Returns the problems that hinder the dispatcher now, and the reasons why pools' last VMs failed.
    fn all_problems(&self, intents: &[Intent], config: Option<&Config>) -> Vec<Problem> {
        let mut problems = self.problems.all();
        let troubles = config.map(|config| fleet::troubles(&self.observed, intents, config)).unwrap_or_default();
        problems.extend(troubles.into_iter().map(|trouble| Problem {
            subject: Subject::Pool,
            message: trouble.message,
            since: trouble.since,
        }));
        problems
    }

    fn wait(&self) -> Duration {
        TICK.min(self.looks.until_due(clock::now()))
    }

    /// Waits a bounded time for running steps. The next start continues those that are cut off.
    async fn shut_down(&mut self) {
        self.cancel.cancel();
        let ended = tokio::time::timeout(SHUTDOWN, async { while self.steps.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(steps = self.steps.len(), "steps are cut off; the next start picks them up");
        }
        self.steps.shutdown().await;
    }
}

/// Returns the time of the oldest part of the observation; `None` until everything was observed once.
fn last_good_pass(observed: &Observed, config: &Config) -> Option<Timestamp> {
    let mut oldest = observed.guests.as_ref()?.taken_at;
    for repository in config.pools.iter().flat_map(|pool| &pool.repositories) {
        let seen = observed.repositories.get(repository)?;
        oldest = oldest.min(seen.jobs.as_ref()?.taken_at);
    }
    Some(oldest)
}
