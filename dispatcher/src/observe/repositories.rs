//! Jobs and runners of one repository at GitHub.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use github::{Client, Job, JobStatus, Scope, WorkflowRun};
use jiff::{SignedDuration, Timestamp};
use ownership::{Installation, RepositoryName, RunnerName};

use crate::clock;
use fleet::{JobPhase, JobSeen, Jobs, RepositorySeen, RunnerSeen, Runners};

/// GitHub gives a queued job up after a day; older runs without an end are ghosts.
const OLDEST_RUN: SignedDuration = SignedDuration::from_hours(36);
/// How often to look for registrations of ours when none is expected.
const SWEEP: SignedDuration = SignedDuration::from_mins(5);
/// Time for which jobs of completed runs are remembered. The audit of their VMs is settled by then.
const ENDED_REMEMBERED: SignedDuration = SignedDuration::from_mins(10);
/// Runs whose jobs are asked for at a time.
const AT_ONCE: usize = 4;

/// What one look at a repository needs to know.
#[derive(Debug)]
pub(crate) struct RepositoryQuestion<'a> {
    /// The repository.
    pub(crate) repository: &'a RepositoryName,
    /// Only runners whose names are of this installation are reported.
    pub(crate) installation: &'a Installation,
    /// Jobs on runners of ours, which are looked up when the list does not show them any more.
    pub(crate) jobs_of_ours: BTreeSet<u64>,
    /// There are, or may be, registrations of ours.
    pub(crate) registrations_expected: bool,
}

/// Looks at one repository again and again.
#[derive(Debug, Default)]
pub(crate) struct RepositoryObserver {
    seen: RepositorySeen,
    /// Runs that were not completed at the last poll.
    open_runs: BTreeSet<u64>,
    /// Jobs of completed runs that ran on runners of ours, each with the time at which it was found. GitHub's list of
    /// runs no longer leads to them.
    ended: Vec<(JobSeen, Timestamp)>,
}

impl RepositoryObserver {
    /// One look. What fails keeps its last answer, which says how old it is.
    pub(crate) async fn look(
        &mut self,
        github: &Client,
        question: &RepositoryQuestion<'_>,
    ) -> (RepositorySeen, Option<github::Error>) {
        let mut problem = None;
        match self.jobs(github, question).await {
            Ok(jobs) => self.seen.jobs = Some(jobs),
            Err(error) => problem = Some(error),
        }
        if self.are_runners_due(question, clock::now()) {
            match runners(github, &question.repository.clone().into(), question.installation).await {
                Ok(runners) => self.seen.runners = Some(runners),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        (self.seen.clone(), problem)
    }

    async fn jobs(&mut self, github: &Client, question: &RepositoryQuestion<'_>) -> Result<Jobs, github::Error> {
        let repository = question.repository;
        let taken_at = clock::now();
        let runs = github.runs_not_completed(repository).await?;
        let is_young = |run: &&WorkflowRun| taken_at.duration_since(run.created_at) < OLDEST_RUN;
        let open: BTreeSet<u64> = runs.iter().filter(is_young).map(|run| run.id).collect();
        let mut list = jobs_of(github, repository, &open).await?;
        let completed: BTreeSet<u64> = self.open_runs.difference(&open).copied().collect();
        let ended = jobs_of(github, repository, &completed).await?;
        self.open_runs = open;
        self.remember(ended, question.installation, taken_at);
        let is_new = |job: &JobSeen| !list.iter().any(|listed| listed.id == job.id);
        let ended: Vec<JobSeen> = self.ended.iter().map(|(job, _)| job).filter(|job| is_new(job)).cloned().collect();
        list.extend(ended);
        for id in &question.jobs_of_ours {
            if list.iter().any(|job| job.id == *id) {
                continue;
            }
            match github.job(repository, *id).await {
                Ok(job) => list.push(job_seen(job)),
                // A deleted run takes its jobs along, which says nothing about the runner.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Jobs { taken_at, list })
    }

    fn remember(&mut self, ended: Vec<JobSeen>, installation: &Installation, now: Timestamp) {
        self.ended.retain(|(_, since)| now.duration_since(*since) < ENDED_REMEMBERED);
        let is_ours = |job: &JobSeen| {
            let runner = job.runner_name.as_deref();
            job.phase == JobPhase::Completed && runner.is_some_and(|name| RunnerName::parse(installation, name).is_ok())
        };
        self.ended.extend(ended.into_iter().filter(is_ours).map(|job| (job, now)));
    }

    fn are_runners_due(&self, question: &RepositoryQuestion<'_>, now: Timestamp) -> bool {
        let Some(runners) = &self.seen.runners else { return true };
        question.registrations_expected || !runners.list.is_empty() || now.duration_since(runners.taken_at) >= SWEEP
    }
}

/// Returns the jobs of these runs. A deleted run has none.
async fn jobs_of(
    github: &Client,
    repository: &RepositoryName,
    runs: &BTreeSet<u64>,
) -> Result<Vec<JobSeen>, github::Error> {
    let jobs = |run: u64| async move {
        match github.jobs_of_run(repository, run).await {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            outcome => outcome,
        }
    };
    let lists = stream::iter(runs.iter().copied()).map(jobs).buffered(AT_ONCE);
    Ok(lists.try_collect::<Vec<_>>().await?.into_iter().flatten().map(job_seen).collect())
}

fn job_seen(job: Job) -> JobSeen {
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
        created_at: job.created_at,
    }
}

async fn runners(github: &Client, scope: &Scope, installation: &Installation) -> Result<Runners, github::Error> {
    let taken_at = clock::now();
    let all = github.runners(scope, None).await?;
    let list = all.into_iter().filter_map(|runner| {
        let name = RunnerName::parse(installation, &runner.name).ok()?;
        let online = runner.status == github::RunnerStatus::Online;
        Some(RunnerSeen { id: runner.id, name, online, busy: runner.busy })
    });
    Ok(Runners { taken_at, list: list.collect() })
}
