//! Jobs and runners of one repository at GitHub.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use github::{Client, Job, JobStatus, Repository, Scope, WorkflowRun};
use jiff::{SignedDuration, Timestamp};
use ownership::{Installation, RunnerName};

use crate::clock;
use crate::reconcile::{JobPhase, JobSeen, Jobs, RepositorySeen, RunnerSeen, Runners};

/// GitHub gives a queued job up after a day; older runs without an end are ghosts.
const OLDEST_RUN: SignedDuration = SignedDuration::from_hours(36);
/// How often to look for registrations of ours when none is expected.
const SWEEP: SignedDuration = SignedDuration::from_mins(5);
/// Runs whose jobs are asked for at a time.
const AT_ONCE: usize = 4;

/// What one look at a repository needs to know.
#[derive(Debug)]
pub(crate) struct RepositoryQuestion<'a> {
    /// `owner/name`.
    pub(crate) repository: &'a str,
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
}

impl RepositoryObserver {
    /// One look. What fails keeps its last answer, which says how old it is.
    pub(crate) async fn look(
        &mut self,
        github: &Client,
        question: &RepositoryQuestion<'_>,
    ) -> (RepositorySeen, Option<github::Error>) {
        let Ok(repository) = question.repository.parse::<Repository>() else { return (self.seen.clone(), None) };
        let mut problem = None;
        match jobs(github, &repository, &question.jobs_of_ours).await {
            Ok(jobs) => self.seen.jobs = Some(jobs),
            Err(error) => problem = Some(error),
        }
        if self.are_runners_due(question, clock::now()) {
            match runners(github, &repository.into(), question.installation).await {
                Ok(runners) => self.seen.runners = Some(runners),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        (self.seen.clone(), problem)
    }

    fn are_runners_due(&self, question: &RepositoryQuestion<'_>, now: Timestamp) -> bool {
        let Some(runners) = &self.seen.runners else { return true };
        question.registrations_expected || !runners.list.is_empty() || now.duration_since(runners.taken_at) >= SWEEP
    }
}

async fn jobs(github: &Client, repository: &Repository, of_ours: &BTreeSet<u64>) -> Result<Jobs, github::Error> {
    let taken_at = clock::now();
    let runs = github.runs_not_completed(repository).await?;
    let is_young = |run: &WorkflowRun| taken_at.duration_since(run.created_at) < OLDEST_RUN;
    let runs = runs.into_iter().filter(is_young);
    let lists =
        stream::iter(runs).map(|run| async move { github.jobs_of_run(repository, run.id).await }).buffered(AT_ONCE);
    let mut list: Vec<JobSeen> = lists.try_collect::<Vec<_>>().await?.into_iter().flatten().map(job_seen).collect();
    for id in of_ours.iter().filter(|id| !list.iter().any(|job| job.id == **id)).copied().collect::<Vec<_>>() {
        match github.job(repository, id).await {
            Ok(job) => list.push(job_seen(job)),
            // A deleted run takes its jobs along; that says nothing about the runner.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Jobs { taken_at, list })
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
    let ours = all.into_iter().filter(|runner| RunnerName::parse(installation, &runner.name).is_ok());
    let list = ours.map(|runner| RunnerSeen {
        id: runner.id,
        online: runner.status == github::RunnerStatus::Online,
        busy: runner.busy,
        name: runner.name,
    });
    Ok(Runners { taken_at, list: list.collect() })
}
