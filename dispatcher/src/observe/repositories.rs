//! Jobs and runners of one repository at GitHub.

use std::collections::{BTreeMap, BTreeSet};

use fleet::{JobPhase, JobSeen, Jobs, RepositorySeen, RunnerSeen, Runners};
use futures::{StreamExt as _, stream};
use github::{Client, Job, JobStatus, Scope, WorkflowRun};
use jiff::{SignedDuration, Timestamp};
use ownership::{Installation, RepositoryName, RunnerName};

use crate::clock::Clock;

/// Age from which a run without an end is a ghost, counted from its last change. GitHub gives a queued job up after a day.
const OLDEST_RUN: SignedDuration = SignedDuration::from_hours(36);
/// Time between two searches for registrations of ours when none is expected.
const SWEEP: SignedDuration = SignedDuration::from_mins(5);
/// Time for which jobs of completed runs are remembered. The audit of their VMs is settled by then.
const ENDED_REMEMBERED: SignedDuration = SignedDuration::from_mins(10);
/// Runs whose jobs are asked for at a time.
const AT_ONCE: usize = 4;

/// The question about a repository.
#[derive(Debug)]
pub(crate) struct RepositoryQuestion<'a> {
    /// The repository.
    pub(crate) repository: &'a RepositoryName,
    /// Installation whose runners are reported.
    pub(crate) installation: &'a Installation,
    /// Jobs on runners of ours, which are looked up when the list does not show them any more.
    pub(crate) jobs_of_ours: BTreeSet<u64>,
    /// True if there are, or may be, registrations of ours.
    pub(crate) registrations_expected: bool,
}

/// Polls one repository. It keeps what need not be asked again.
#[derive(Debug, Default)]
pub(crate) struct RepositoryObserver {
    seen: RepositorySeen,
    /// Runs that were not completed at the last poll, with their jobs of that time.
    open_runs: BTreeMap<u64, Vec<JobSeen>>,
    /// Jobs of completed runs that ran on runners of ours, each with the time at which it was found. GitHub's list of
    /// runs no longer leads to them.
    ended: Vec<(JobSeen, Timestamp)>,
}

impl RepositoryObserver {
    /// Polls once. A part that fails keeps its last answer, which says how old it is.
    pub(crate) async fn poll(
        &mut self,
        github: &Client,
        clock: &Clock,
        question: &RepositoryQuestion<'_>,
    ) -> (RepositorySeen, Option<github::Error>) {
        let mut problem = None;
        match self.jobs(github, clock, question, &mut problem).await {
            Ok(jobs) => self.seen.jobs = Some(jobs),
            Err(error) => problem = Some(error),
        }
        if self.are_runners_due(question, clock.now()) {
            match runners(github, clock, question).await {
                Ok(runners) => self.seen.runners = Some(runners),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        (self.seen.clone(), problem)
    }

    /// Returns the jobs of all open runs. A run whose jobs cannot be had keeps its last ones and does not hold up the others.
    async fn jobs(
        &mut self,
        github: &Client,
        clock: &Clock,
        question: &RepositoryQuestion<'_>,
        problem: &mut Option<github::Error>,
    ) -> Result<Jobs, github::Error> {
        let repository = question.repository;
        let taken_at = clock.now();
        let runs = github.runs_not_completed(repository).await?;
        let open: BTreeMap<u64, Timestamp> = runs
            .iter()
            .map(|run| (run.id, renewed_at(run, clock)))
            .filter(|(_, renewed)| taken_at.duration_since(*renewed) < OLDEST_RUN)
            .collect();
        let earlier = std::mem::take(&mut self.open_runs);
        let completed: Vec<u64> = earlier.keys().filter(|run| !open.contains_key(run)).copied().collect();
        let mut list = Vec::new();
        for (run, answer) in jobs_of(github, repository, open.keys().copied()).await {
            let jobs = match answer {
                Ok(jobs) => jobs.into_iter().map(|job| job_seen(job, open.get(&run).copied(), clock)).collect(),
                Err(error) => {
                    problem.get_or_insert(error);
                    earlier.get(&run).cloned().unwrap_or_default()
                }
            };
            list.extend(jobs.iter().cloned());
            self.open_runs.insert(run, jobs);
        }
        for (run, answer) in jobs_of(github, repository, completed.into_iter()).await {
            match answer {
                Ok(jobs) => self.remember(jobs, question.installation, clock),
                // The next poll asks again.
                Err(error) => {
                    problem.get_or_insert(error);
                    self.open_runs.insert(run, earlier.get(&run).cloned().unwrap_or_default());
                }
            }
        }
        self.add_ended(&mut list, taken_at);
        add_jobs_of_ours(github, clock, question, &mut list).await?;
        Ok(Jobs { taken_at, list })
    }

    fn remember(&mut self, ended: Vec<Job>, installation: &Installation, clock: &Clock) {
        let now = clock.now();
        let is_ours = |job: &JobSeen| {
            let runner = job.runner_name.as_deref();
            job.phase == JobPhase::Completed && runner.is_some_and(|name| RunnerName::parse(installation, name).is_ok())
        };
        let ended = ended.into_iter().map(|job| job_seen(job, None, clock)).filter(is_ours);
        self.ended.extend(ended.map(|job| (job, now)));
    }

    fn add_ended(&mut self, list: &mut Vec<JobSeen>, now: Timestamp) {
        self.ended.retain(|(_, since)| now.duration_since(*since) < ENDED_REMEMBERED);
        let known: BTreeSet<u64> = list.iter().map(|job| job.id).collect();
        list.extend(self.ended.iter().map(|(job, _)| job).filter(|job| !known.contains(&job.id)).cloned());
    }

    fn are_runners_due(&self, question: &RepositoryQuestion<'_>, now: Timestamp) -> bool {
        let Some(runners) = &self.seen.runners else { return true };
        question.registrations_expected || !runners.list.is_empty() || now.duration_since(runners.taken_at) >= SWEEP
    }
}

/// Returns the time at which a run was last started, started again or changed, as fleet time.
fn renewed_at(run: &WorkflowRun, clock: &Clock) -> Timestamp {
    let latest = [run.run_started_at, run.updated_at].into_iter().flatten().fold(run.created_at, Timestamp::max);
    clock.fleet(latest)
}

/// Looks up the jobs of ours that no list shows any more.
async fn add_jobs_of_ours(
    github: &Client,
    clock: &Clock,
    question: &RepositoryQuestion<'_>,
    list: &mut Vec<JobSeen>,
) -> Result<(), github::Error> {
    let known: BTreeSet<u64> = list.iter().map(|job| job.id).collect();
    for id in question.jobs_of_ours.difference(&known) {
        match github.job(question.repository, *id).await {
            Ok(job) => list.push(job_seen(job, None, clock)),
            // A deleted run takes its jobs along, which says nothing about the runner.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns the jobs of each of these runs. A deleted run has none.
async fn jobs_of(
    github: &Client,
    repository: &RepositoryName,
    runs: impl Iterator<Item = u64>,
) -> Vec<(u64, Result<Vec<Job>, github::Error>)> {
    let jobs = |run: u64| async move {
        let answer = match github.jobs_of_run(repository, run).await {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            answer => answer,
        };
        (run, answer)
    };
    stream::iter(runs).map(jobs).buffered(AT_ONCE).collect().await
}

fn job_seen(job: Job, renewed_at: Option<Timestamp>, clock: &Clock) -> JobSeen {
    let phase = match job.status {
        JobStatus::Queued => JobPhase::Queued,
        JobStatus::InProgress => JobPhase::Running,
        JobStatus::Completed => JobPhase::Completed,
        JobStatus::Waiting | JobStatus::Requested | JobStatus::Pending | JobStatus::Other(_) => JobPhase::Held,
    };
    JobSeen {
        id: job.id,
        name: job.name,
        labels: job.labels,
        phase,
        runner_name: job.runner_name,
        created_at: job.created_at.map(|at| clock.fleet(at)),
        renewed_at,
    }
}

async fn runners(github: &Client, clock: &Clock, question: &RepositoryQuestion<'_>) -> Result<Runners, github::Error> {
    let taken_at = clock.now();
    let all = github.runners(&Scope::from(question.repository.clone()), None).await?;
    let list = all.into_iter().filter_map(|runner| {
        let name = RunnerName::parse(question.installation, &runner.name).ok()?;
        let online = runner.status == github::RunnerStatus::Online;
        Some(RunnerSeen { id: runner.id, name, online, busy: runner.busy })
    });
    Ok(Runners { taken_at, list: list.collect() })
}
