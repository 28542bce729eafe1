//! One run, from an empty farm to an empty farm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use dispatcher::control::Control;
use dispatcher::logs::LogRing;
use dispatcher::parts::{Parts, Simulated};
use dispatcher::settings::Settings;
use dispatcher::{EngineError, run_with};
use jiff::{SignedDuration, Timestamp};
use ownership::{Nonce, RunId};
use rand::Rng as _;
use sim_github::{Behaviour, Event, EventKind, JobState, ServerHandle, ServerOptions, Token};
use sim_pve::{Handle, Latency};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::digest::Digest;
use crate::farm::{self, POOLS};
use crate::guests::Guests;
use crate::network::{ToGithub, ToPve};
use crate::watch::{Counts, Watch};
use crate::{demand, disturb};

/// Wall time at the start of every run.
const BEGINS: Timestamp = Timestamp::constant(1_800_000_000, 0);
/// Time between two checks of what goes on.
const CHECK: Duration = Duration::from_secs(10);
/// Time after which GitHub forgets a run that has ended. A real one keeps it longer; the dispatcher reads open runs only.
const RUNS_KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Time within which everything is over once the last job is queued.
const END: Duration = Duration::from_secs(12 * 3600);

/// Settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Number of jobs.
    pub jobs: usize,
    /// Source of everything that is left to chance.
    pub seed: u64,
    /// Whether requests, nodes, guests and the dispatcher itself fail now and then.
    pub is_disturbed: bool,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Simulated time.
    pub time: Duration,
    /// Number of ended jobs by conclusion.
    pub conclusions: BTreeMap<String, usize>,
    /// Number of requests of the dispatcher to PVE.
    pub pve_requests: u64,
    /// Number of requests of the dispatcher to GitHub.
    pub github_requests: u64,
    /// Most requests within ten seconds, to PVE and to GitHub.
    pub most_at_once: [usize; 2],
    /// Longest time from the queuing of a job to its start.
    pub longest_wait: Duration,
    /// Most VMs that existed at a time, by pool.
    pub most_vms: Vec<usize>,
    /// Number of jobs that were lost because their node lost its power.
    pub jobs_lost_with_their_node: u64,
    /// Number of jobs that were ended at the pool's limit.
    pub jobs_ended_at_limit: u64,
    /// Number of requests that met a fault.
    pub faults: usize,
    /// Number of times the dispatcher was killed.
    pub kills: u64,
    /// Breaches of invariants; none are expected.
    pub breaches: Vec<String>,
    /// Number of recorded events: requests to both simulators, tasks, ended jobs.
    pub events: u64,
    /// SHA-256 of all recorded events.
    pub digest: String,
}

/// Runs a simulation to its end.
///
/// # Errors
/// When it cannot be set up. Breaches of invariants are in the report.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    // Without I/O: a socket would be a panic.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async { Simulation::start(*options)?.finish().await })
}

struct Simulation {
    options: Options,
    pve: Arc<Handle>,
    github: Arc<ServerHandle>,
    watch: Arc<Watch>,
    chance: Chance,
    settings: Settings,
    parts: Parts,
    /// Directory of the ledger, which goes with the simulation.
    directory: tempfile::TempDir,
    began: Instant,
    records: Records,
}

/// The record of a run so far.
#[derive(Default)]
struct Records {
    digest: Digest,
    conclusions: BTreeMap<String, usize>,
    longest_wait: SignedDuration,
}

/// The dispatcher while it runs.
struct Running {
    task: JoinHandle<Result<(), EngineError>>,
    stop: CancellationToken,
    /// When it is killed.
    ends: Option<Instant>,
}

impl Simulation {
    fn start(options: Options) -> anyhow::Result<Self> {
        let (chance, watch, began) = (Chance::from_seed(options.seed), Arc::new(Watch::new()), Instant::now());
        let clock = move || BEGINS + SignedDuration::try_from(began.elapsed()).unwrap_or(SignedDuration::MAX);
        let behaviour = if options.is_disturbed { disturb::behaviour() } else { Behaviour::default() };
        let github = Arc::new(sim_github::Server::in_process(ServerOptions {
            external_url: Some(farm::GITHUB.to_owned()),
            behaviour,
            seed: options.seed,
            clock: Arc::new(clock),
            ..ServerOptions::default()
        }));
        let token = github.world(|world, _| {
            POOLS.iter().flat_map(|pool| pool.repositories).for_each(|name| world.add_repository(name));
            world.add_token(Token::for_repository_runners())
        });
        let silent = if options.is_disturbed { disturb::SILENT } else { 0.0 };
        let guests = Guests::new(Arc::clone(&github), Arc::clone(&watch), chance, silent);
        let cluster =
            sim_pve::Options { latency: Latency::Real, seed: options.seed, begins: Some(BEGINS), ..Default::default() };
        let pve = Arc::new(sim_pve::Server::in_process(&farm::world()?, Arc::new(guests), &cluster)?);
        watch.attach(&pve);
        let secret = pve.token_secret(farm::TOKEN).context("the dispatcher's token of Proxmox VE")?;
        let simulated = Simulated {
            pve: Arc::new(ToPve::new(Arc::clone(&pve), Arc::clone(&watch), chance)),
            github: Arc::new(ToGithub::new(Arc::clone(&github), Arc::clone(&watch), chance)),
            origin: (BEGINS, began),
            run_id: RunId::from(u32::try_from(options.seed % u64::from(u32::MAX)).unwrap_or_default()),
            nonces: nonces(chance),
        };
        Ok(Self {
            options,
            settings: farm::settings(&secret, &token)?,
            parts: Parts { simulated: Some(simulated) },
            directory: tempfile::tempdir().context("making a directory for the ledger")?,
            records: Records::default(),
            pve,
            github,
            watch,
            chance,
            began,
        })
    }

    async fn finish(mut self) -> anyhow::Result<Report> {
        if self.options.is_disturbed {
            disturb::requests(&self.pve, &self.github);
            tokio::spawn(disturb::person(Arc::clone(&self.pve)));
            tokio::spawn(disturb::nodes(Arc::clone(&self.pve), Arc::clone(&self.watch), self.chance));
        }
        let queued: Arc<Mutex<Vec<u64>>> = Arc::default();
        let demand = demand::queue(Arc::clone(&self.github), self.chance, self.options, Arc::clone(&queued));
        let demand = tokio::spawn(demand);
        let (mut open, mut last_queued_at) = (BTreeSet::new(), Instant::now());
        let (mut kills, mut dispatcher) = (0, self.start_dispatcher(0));
        loop {
            sleep(CHECK).await;
            open.extend(queued.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
            self.record(&mut open);
            if !demand.is_finished() {
                last_queued_at = Instant::now();
            } else if (open.is_empty() && self.is_clean()) || self.is_overdue(last_queued_at, &open) {
                break;
            }
            if !self.watch.breaches().is_empty() {
                break;
            }
            if dispatcher.task.is_finished() {
                self.watch.breach(format!("the dispatcher ended: {:?}", dispatcher.task.await));
                return Ok(self.report(kills));
            }
            if dispatcher.ends.is_some_and(|ends| Instant::now() >= ends) {
                kills += 1;
                dispatcher = self.replace(dispatcher, kills).await;
            }
        }
        dispatcher.stop.cancel();
        let _ended = dispatcher.task.await;
        self.record(&mut open);
        Ok(self.report(kills))
    }

    fn start_dispatcher(&self, number: u64) -> Running {
        let control = Control::new(Some(self.settings.clone()), None, LogRing::default());
        let (stop, parts) = (CancellationToken::new(), self.parts.clone());
        let (stopping, ledger) = (stop.clone(), self.directory.path().join("ledger.sqlite"));
        let task = tokio::spawn(async move { run_with(parts, control, &ledger, stopping).await });
        let ends = self.options.is_disturbed.then(|| Instant::now() + disturb::life(self.chance, number).0);
        Running { task, stop, ends }
    }

    /// Kills the dispatcher, and starts it again after a while.
    async fn replace(&self, killed: Running, kills: u64) -> Running {
        killed.task.abort();
        let _killed = killed.task.await;
        sleep(disturb::life(self.chance, kills - 1).1).await;
        self.start_dispatcher(kills)
    }

    fn record(&mut self, open: &mut BTreeSet<u64>) {
        let entries = [self.pve.requests().take(), self.github.requests().take()].concat();
        entries.iter().for_each(|entry| {
            self.records.digest.add(entry);
            self.watch.requested(entry);
        });
        self.pve.take_timeline().iter().for_each(|happening| self.records.digest.add(happening));
        let ended = self.github.inspect(|world, _| {
            let ended =
                |id: &u64| world.job(*id).filter(|job| matches!(job.state, JobState::Completed { .. })).cloned();
            open.iter().filter_map(ended).collect::<Vec<_>>()
        });
        for job in ended {
            open.remove(&job.id);
            let JobState::Completed { conclusion } = job.state else { continue };
            self.records.digest.add(&(job.id, &conclusion, &job.runner_name));
            *self.records.conclusions.entry(conclusion).or_default() += 1;
            self.records.longest_wait = self.records.longest_wait.max(wait_of(&job.events));
        }
        self.github.world(|world, now| world.forget_runs(now - RUNS_KEPT));
    }

    fn is_clean(&self) -> bool {
        self.pve.leftovers().is_empty() && self.github.inspect(|world, _| world.runner_names().is_empty())
    }

    /// Notes what is left, if there was more than enough time for all of it to end.
    fn is_overdue(&self, last_queued_at: Instant, open: &BTreeSet<u64>) -> bool {
        if last_queued_at.elapsed() < END {
            return false;
        }
        let runners = self.github.inspect(|world, _| world.leftovers());
        self.watch.breach(format!(
            "I3, I7: {} jobs have not ended; left at Proxmox VE: {:?}, at GitHub: {runners:?}",
            open.len(),
            self.pve.leftovers()
        ));
        true
    }

    fn report(self, kills: u64) -> Report {
        for violation in self.github.violations() {
            self.watch.breach(format!("GitHub's description does not allow it: {violation}"));
        }
        self.watch.compare(self.options.jobs, self.began.elapsed());
        let Counts {
            pve_requests,
            github_requests,
            most_at_once,
            most_vms,
            jobs_ended_at_limit,
            jobs_lost_with_their_node,
        } = self.watch.counts();
        let (events, digest) = self.records.digest.finish();
        Report {
            time: self.began.elapsed(),
            conclusions: self.records.conclusions,
            pve_requests,
            github_requests,
            most_at_once,
            longest_wait: self.records.longest_wait.unsigned_abs(),
            most_vms: most_vms.to_vec(),
            jobs_lost_with_their_node,
            jobs_ended_at_limit,
            faults: self.pve.fired().len() + self.github.faults().fired().len(),
            kills,
            breaches: self.watch.breaches(),
            events,
            digest,
        }
    }
}

/// Returns the time from the queuing of a job to its last start.
fn wait_of(events: &[Event]) -> SignedDuration {
    let started = events.iter().rev().find(|event| matches!(event.kind, EventKind::Started(_)));
    match (events.first(), started) {
        (Some(queued), Some(started)) => started.at.duration_since(queued.at),
        _ => SignedDuration::ZERO,
    }
}

/// Returns a source of nonces: six of `a-z0-9`, by the seed.
fn nonces(chance: Chance) -> Arc<dyn Fn() -> Nonce + Send + Sync> {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let drawn = AtomicU64::new(0);
    Arc::new(move || {
        let mut random = chance.of("nonce", drawn.fetch_add(1, Ordering::Relaxed));
        loop {
            let text: String = (0..6).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect();
            if let Ok(nonce) = text.parse() {
                return nonce;
            }
        }
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs: usize = self.conclusions.values().sum();
        let hours = self.time.as_secs_f64() / 3600.0;
        writeln!(f, "jobs ended: {jobs} {:?}, in {hours:.1} simulated hours", self.conclusions)?;
        writeln!(
            f,
            "lost with their node: {}, ended at the limit: {}",
            self.jobs_lost_with_their_node, self.jobs_ended_at_limit
        )?;
        writeln!(f, "longest wait of a job: {:.0} s", self.longest_wait.as_secs_f64())?;
        writeln!(
            f,
            "requests: {} to Proxmox VE, {} to GitHub; most in 10 s: {:?}",
            self.pve_requests, self.github_requests, self.most_at_once
        )?;
        writeln!(f, "faults: {}, dispatcher killed: {}, most VMs: {:?}", self.faults, self.kills, self.most_vms)?;
        writeln!(f, "events: {}, digest: {}", self.events, self.digest)?;
        self.breaches.iter().try_for_each(|breach| writeln!(f, "BREACH {breach}"))
    }
}
