//! Which runner gets which job, and what the passing of time does.

use jiff::{SignedDuration, Timestamp};

use super::model::{Event, EventKind, Job, JobState, Runner};
use super::world::World;

const LOST: &str = "The self-hosted runner lost communication with the server.";

impl World {
    /// Carries out what is due at `now`.
    pub fn step(&mut self, now: Timestamp) {
        self.requeue(now);
        self.expire_jobs(now);
        self.close_silent_sessions(now);
        self.remove_runners(now);
        self.assign(now);
    }

    /// When [`World::step`] next has something to do by the clock alone.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let jobs = self.jobs.values().filter_map(|job| self.job_deadline(job));
        let runners = self.runners.values().filter(|runner| runner.job.is_none());
        let runners = runners.flat_map(|runner| self.runner_deadlines(runner).chain(self.silent_until(runner)));
        jobs.chain(runners).min()
    }

    fn job_deadline(&self, job: &Job) -> Option<Timestamp> {
        match &job.state {
            JobState::Queued => Some(job.created_at + self.behaviour.queue_limit),
            JobState::Assigned { since } => Some(*since + self.behaviour.requeue_after),
            JobState::InProgress { lease_until } => Some(*lease_until),
            JobState::Completed { .. } => None,
        }
    }

    fn runner_deadlines(&self, runner: &Runner) -> impl Iterator<Item = Timestamp> {
        let offline = (!runner.online()).then(|| runner.seen_at + self.behaviour.offline_limit);
        let evicted = runner.idle_since.zip(self.behaviour.idle_eviction).map(|(since, after)| since + after);
        [runner.remove_at, offline, evicted].into_iter().flatten()
    }

    fn silent_until(&self, runner: &Runner) -> Option<Timestamp> {
        let silent = runner.online() && !runner.listening && runner.job.is_none();
        silent.then(|| runner.seen_at + self.behaviour.session_limit)
    }

    fn close_silent_sessions(&mut self, now: Timestamp) {
        let due = |runner: &&Runner| self.silent_until(runner).is_some_and(|at| at <= now);
        let silent: Vec<u64> = self.runners.values().filter(due).map(|runner| runner.id).collect();
        for id in silent {
            self.close_session(id, now);
        }
    }

    fn requeue(&mut self, now: Timestamp) {
        let after = self.behaviour.requeue_after;
        for job in self.jobs.values_mut() {
            let JobState::Assigned { since } = job.state else { continue };
            let runner = job.runner_id.and_then(|id| self.runners.get_mut(&id));
            if since + after > now && runner.is_some() {
                continue;
            }
            if let Some(runner) = runner {
                runner.job = None;
            }
            release(job, now);
        }
    }

    fn expire_jobs(&mut self, now: Timestamp) {
        let due = |job: &&Job| matches!(job.state, JobState::Queued | JobState::InProgress { .. });
        let late: Vec<u64> = self
            .jobs
            .values()
            .filter(due)
            .filter(|job| self.job_deadline(job) <= Some(now))
            .map(|job| job.id)
            .collect();
        for id in late {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let conclusion = match job.state {
                JobState::Queued => "cancelled",
                _ => {
                    job.log.push_str(LOST);
                    job.log.push('\n');
                    "failure"
                }
            };
            self.complete_job(id, conclusion, now);
        }
    }

    fn remove_runners(&mut self, now: Timestamp) {
        let due = |runner: &Runner| runner.job.is_none() && self.runner_deadlines(runner).any(|at| at <= now);
        let gone: Vec<u64> = self.runners.values().filter(|runner| due(runner)).map(|runner| runner.id).collect();
        for id in gone {
            self.runners.remove(&id);
        }
    }

    /// Jobs in the order in which they were queued; the runner that waits longest gets the first that fits.
    fn assign(&mut self, now: Timestamp) {
        let queued: Vec<u64> =
            self.jobs.values().filter(|job| job.state == JobState::Queued).map(|job| job.id).collect();
        for id in queued {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let free = |runner: &&mut Runner| runner.listening && runner.job.is_none() && runner.remove_at.is_none();
            let fitting = self.runners.values_mut().filter(free).filter(|runner| fits(runner, job));
            let Some(runner) = fitting.min_by_key(|runner| (runner.idle_since, runner.id)) else { continue };
            runner.job = Some(id);
            runner.idle_since = None;
            job.state = JobState::Assigned { since: now };
            job.runner_id = Some(runner.id);
            job.record(now, EventKind::Assigned(runner.name.clone()));
        }
    }

    pub(super) fn lease_from(&self, now: Timestamp) -> Timestamp {
        now + self.behaviour.lease
    }

    /// Whether `busy` tells of a job that started at `started`.
    pub(super) fn shows_busy(&self, started: Option<Timestamp>, now: Timestamp) -> bool {
        started.is_some_and(|started| now.duration_since(started) >= self.behaviour.busy_lag.max(SignedDuration::ZERO))
    }
}

/// Puts an assigned job back into the queue.
pub(super) fn release(job: &mut Job, now: Timestamp) {
    let Some(Event { kind: EventKind::Assigned(name), .. }) = job.events.last() else { return };
    let name = name.clone();
    job.state = JobState::Queued;
    job.runner_id = None;
    job.record(now, EventKind::Requeued(name));
}

/// A runner must have all labels of the job; case does not matter.
fn fits(runner: &Runner, job: &Job) -> bool {
    let has = |wanted: &String| runner.labels.iter().any(|label| label.eq_ignore_ascii_case(wanted));
    !job.labels.is_empty() && runner.scope.covers(&job.repository) && job.labels.iter().all(has)
}
