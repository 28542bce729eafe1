//! Workflow runs and their jobs.

use std::collections::BTreeMap;

use ownership::RepositoryName;
use serde::Deserialize;

use crate::calls::Operation;
use crate::client::Client;
use crate::error::Error;
use crate::model::{Job, WorkflowRun};
use crate::permission::ACTIONS_READ;
use crate::scope::repository_path;

/// The states of a run that is not completed, in the order in which a run passes through them. A run that changes its
/// state between two of the requests is therefore seen twice, and not missed.
const NOT_COMPLETED: [&str; 5] = ["requested", "waiting", "pending", "queued", "in_progress"];

#[derive(Deserialize)]
struct Runs {
    workflow_runs: Vec<WorkflowRun>,
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<Job>,
}

impl Client {
    /// Returns all runs of `repository` that are not completed, by ascending number.
    ///
    /// Each of these runs may have a queued job, because a run with one running and one queued job may have either
    /// state. GitHub filters by one state per request, so this needs five requests. Unchanged answers do not count
    /// against the primary limit.
    ///
    /// # Errors
    /// Those of [`Error`]. [`Error::NotFound`] also if the token may not see a private repository.
    pub async fn runs_not_completed(&self, repository: &RepositoryName) -> Result<Vec<WorkflowRun>, Error> {
        let operation = Operation::new(format!("list workflow runs of {repository}"), ACTIONS_READ);
        let mut runs = BTreeMap::new();
        for status in NOT_COMPLETED {
            let path = format!("{}/actions/runs?status={status}&per_page=100", repository_path(repository));
            let page = self.list(&operation, &path, |runs: Runs| runs.workflow_runs).await?;
            runs.extend(page.into_iter().map(|run| (run.id, run)));
        }
        Ok(runs.into_values().collect())
    }

    /// Returns the jobs of a run's latest attempt.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn jobs_of_run(&self, repository: &RepositoryName, run_id: u64) -> Result<Vec<Job>, Error> {
        let operation = Operation::new(format!("list jobs of run {run_id} of {repository}"), ACTIONS_READ);
        let path = format!("{}/actions/runs/{run_id}/jobs?filter=latest&per_page=100", repository_path(repository));
        self.list(&operation, &path, |jobs: Jobs| jobs.jobs).await
    }

    /// Returns one job, for example to find out whether it is still queued.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn job(&self, repository: &RepositoryName, job_id: u64) -> Result<Job, Error> {
        let operation = Operation::new(format!("read job {job_id} of {repository}"), ACTIONS_READ);
        self.get(&operation, &format!("{}/actions/jobs/{job_id}", repository_path(repository))).await
    }
}
