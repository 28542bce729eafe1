//! Deletion of runs and repositories with everything that belongs to them.

use jiff::Timestamp;

use super::World;
use super::model::{JobState, Scope};
use crate::refusal::Refusal;

impl World {
    /// Deletes a run with its jobs. A run with a job that has not ended is refused; this refusal and its text were
    /// observed but are not documented.
    pub(crate) fn delete_run(&mut self, id: u64) -> Result<(), Refusal> {
        let run = self.runs.get(&id).ok_or(Refusal::NotFound)?;
        let open = |job: &u64| self.jobs.get(job).is_some_and(|job| !matches!(job.state, JobState::Completed { .. }));
        if run.jobs.iter().any(open) {
            return Err(Refusal::Conflict("Could not delete the workflow run".into()));
        }
        for job in run.jobs.clone() {
            self.jobs.remove(&job);
        }
        self.runs.remove(&id);
        Ok(())
    }

    /// Deletes the runs that had ended before an instant, with their jobs, as GitHub does after the time for which it keeps
    /// them.
    pub fn forget_runs(&mut self, before: Timestamp) {
        let is_old = |job: &u64| {
            self.jobs.get(job).is_none_or(|job| job.completed_at.is_some_and(|completed_at| completed_at < before))
        };
        let old: Vec<u64> = self.runs.values().filter(|run| run.jobs.iter().all(is_old)).map(|run| run.id).collect();
        for id in old {
            // Only a run with a job that has not ended is refused.
            let _deleted = self.delete_run(id);
        }
    }

    /// Deletes a repository, given in its stored spelling, with its runs and runners. Its jobs that have not ended are
    /// cancelled.
    pub(crate) fn delete_repository(&mut self, name: &str, now: Timestamp) {
        let runs: Vec<u64> = self.runs.values().filter(|run| run.repository == name).map(|run| run.id).collect();
        for id in runs {
            let jobs = self.runs.remove(&id).map(|run| run.jobs).unwrap_or_default();
            for job in jobs {
                self.complete_job(job, "cancelled", now);
                self.jobs.remove(&job);
            }
        }
        let scope = Scope::Repository(name.to_owned());
        let runners: Vec<u64> = self.runners_in(&scope).map(|runner| runner.id).collect();
        for id in runners {
            self.drop_runner(id, now);
        }
        self.repositories.remove(name);
    }
}
