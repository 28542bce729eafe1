//! One run, from an empty farm to an empty farm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use sim_github::{Behaviour, Event, EventKind, JobState};
use tokio::time::{Instant, sleep};

use crate::digest::Digest;
use crate::farm::Farm;
use crate::guests::Pace;
use crate::site::{Running, Site};
use crate::watch::Counts;
use crate::{demand, disturb};

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
    /// Number of commits to the ledger.
    pub commits: u64,
    /// Number of those that were synchronised.
    pub synchronised: u64,
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
    site: Site,
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
struct Life {
    running: Running,
    /// Time at which it is killed.
    ends: Option<Instant>,
}

impl Simulation {
    fn start(options: Options) -> anyhow::Result<Self> {
        let behaviour = if options.is_disturbed { disturb::behaviour() } else { Behaviour::default() };
        let silent = if options.is_disturbed { disturb::SILENT } else { 0.0 };
        let pace = Pace { silent, ..Pace::default() };
        let site = Site::new(&Farm::of_simulation(), pace, behaviour, options.seed)?;
        Ok(Self { options, site, records: Records::default() })
    }

    async fn finish(mut self) -> anyhow::Result<Report> {
        self.disturb();
        let queued: Arc<Mutex<Vec<u64>>> = Arc::default();
        let (farm, github) = (self.site.farm.clone(), Arc::clone(&self.site.github));
        let demand = tokio::spawn(demand::queue(farm, github, self.site.chance, self.options, Arc::clone(&queued)));
        let (mut open, mut last_queued_at) = (BTreeSet::new(), Instant::now());
        let (mut kills, mut dispatcher) = (0, self.start_dispatcher(0));
        loop {
            sleep(CHECK).await;
            open.extend(queued.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
            self.record(&mut open);
            if !demand.is_finished() {
                last_queued_at = Instant::now();
            } else if (open.is_empty() && self.site.is_clean()) || self.is_overdue(last_queued_at, &open) {
                break;
            }
            if !self.site.watch.breaches().is_empty() {
                break;
            }
            if dispatcher.running.task.is_finished() {
                self.site.watch.breach(format!("the dispatcher ended: {:?}", dispatcher.running.task.await));
                return Ok(self.report(kills));
            }
            if dispatcher.ends.is_some_and(|ends| Instant::now() >= ends) {
                kills += 1;
                dispatcher = self.replace(dispatcher, kills).await;
            }
        }
        dispatcher.running.stop.cancel();
        let _ended = dispatcher.running.task.await;
        self.record(&mut open);
        Ok(self.report(kills))
    }

    /// Lets things fail from now on, if they are to fail.
    fn disturb(&self) {
        let Site { pve, github, watch, chance, farm, .. } = &self.site;
        if self.options.is_disturbed {
            disturb::requests(pve, github);
            tokio::spawn(disturb::person(farm.clone(), Arc::clone(pve)));
            tokio::spawn(disturb::nodes(farm.clone(), Arc::clone(pve), Arc::clone(watch), *chance));
        }
    }

    fn start_dispatcher(&self, number: u64) -> Life {
        let ends = self.options.is_disturbed.then(|| Instant::now() + disturb::life(self.site.chance, number).0);
        Life { running: self.site.start_dispatcher(), ends }
    }

    /// Kills the dispatcher, and starts it again after a while.
    async fn replace(&self, killed: Life, kills: u64) -> Life {
        killed.running.kill().await;
        sleep(disturb::life(self.site.chance, kills - 1).1).await;
        self.start_dispatcher(kills)
    }

    fn record(&mut self, open: &mut BTreeSet<u64>) {
        let entries = [self.site.pve.requests().take(), self.site.github.requests().take()].concat();
        entries.iter().for_each(|entry| {
            self.records.digest.add(entry);
            self.site.watch.requested(entry);
        });
        self.site.pve.take_timeline().iter().for_each(|happening| self.records.digest.add(happening));
        let ended = self.site.github.inspect(|world, _| {
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
        self.site.github.world(|world, now| world.forget_runs(now - RUNS_KEPT));
    }

    /// Notes what is left, if there was more than enough time for all of it to end.
    fn is_overdue(&self, last_queued_at: Instant, open: &BTreeSet<u64>) -> bool {
        if last_queued_at.elapsed() < END {
            return false;
        }
        let runners = self.site.github.inspect(|world, _| world.leftovers());
        self.site.watch.breach(format!(
            "I3, I7: {} jobs have not ended; left at Proxmox VE: {:?}, at GitHub: {runners:?}",
            open.len(),
            self.site.pve.leftovers()
        ));
        true
    }

    fn report(self, kills: u64) -> Report {
        for violation in self.site.github.violations() {
            self.site.watch.breach(format!("GitHub's description does not allow it: {violation}"));
        }
        self.site.watch.compare(self.options.jobs, self.site.began.elapsed());
        let Counts {
            pve_requests,
            github_requests,
            most_at_once,
            most_vms,
            jobs_ended_at_limit,
            jobs_lost_with_their_node,
        } = self.site.watch.counts();
        let (events, digest) = self.records.digest.finish();
        Report {
            time: self.site.began.elapsed(),
            conclusions: self.records.conclusions,
            pve_requests,
            github_requests,
            most_at_once,
            longest_wait: self.records.longest_wait.unsigned_abs(),
            most_vms,
            jobs_lost_with_their_node,
            jobs_ended_at_limit,
            faults: self.site.pve.fired().len() + self.site.github.faults().fired().len(),
            kills,
            commits: self.site.commits[0].load(Ordering::Relaxed),
            synchronised: self.site.commits[1].load(Ordering::Relaxed),
            breaches: self.site.watch.breaches(),
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
        writeln!(f, "commits to the ledger: {}, synchronised: {}", self.commits, self.synchronised)?;
        writeln!(f, "events: {}, digest: {}", self.events, self.digest)?;
        self.breaches.iter().try_for_each(|breach| writeln!(f, "BREACH {breach}"))
    }
}
