//! Assignment of jobs to runners, and changes that become due as time passes.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::World;
use super::model::{Event, EventKind, Job, JobState, Runner};
use crate::behaviour::Gap;

const LOST_RUNNER: &str = "The self-hosted runner lost communication with the server.";

impl World {
    /// Carries out everything that is due at `now`.
    pub fn step(&mut self, now: Timestamp) {
        self.requeue(now);
        self.expire_jobs(now);
        self.close_silent_sessions(now);
        self.remove_runners(now);
        self.end_silent_queues(now);
        self.assign(now);
        if !self.service.sets.is_empty() {
            self.offer_jobs(now);
            self.assign(now);
        }
        self.publish(now);
    }

    /// Sends the events since the last call to webhooks and scale sets.
    fn publish(&mut self, now: Timestamp) {
        let news = |job: &&mut Job| job.reported < job.events.len();
        let mut reported = Vec::new();
        for job in self.jobs.values_mut().filter(news) {
            reported.extend(job.events[job.reported..].iter().map(|event| (job.id, event.kind.clone())));
            job.reported = job.events.len();
        }
        for (id, kind) in reported {
            self.announce(id, &kind, now);
            let acquired = |job: &Job| job.offer.as_ref().is_some_and(|offer| offer.acquired_at.is_some());
            let Some(job) = self.jobs.get(&id).filter(|job| acquired(job)) else { continue };
            match kind {
                EventKind::Started(name) => {
                    let more = json!({ "runnerId": job.runner_id.unwrap_or(0), "runnerName": name });
                    self.queue_message(id, "JobStarted", more);
                }
                EventKind::Completed(conclusion) => self.send_completed(id, result_of(&conclusion)),
                _ => {}
            }
        }
    }

    /// Returns the time at which [`World::step`] next has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let jobs = self.jobs.values().filter_map(|job| self.job_deadline(job));
        let runners = self.runners.values().filter(|runner| runner.job.is_none());
        let runners = runners.flat_map(|runner| self.runner_deadlines(runner).chain(self.silent_until(runner)));
        jobs.chain(runners).chain(self.offer_deadlines()).min()
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
                if self.behaviour.ghost_listeners && runner.ephemeral {
                    self.ghost_runners.insert(runner.id);
                }
            }
            release(job, now);
        }
        for id in self.ghost_runners.clone() {
            self.drop_runner(id, now);
        }
        let shown = now - self.behaviour.list_lag;
        self.removed_runners.retain(|(at, _)| *at > shown);
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
                    job.log.push_str(LOST_RUNNER);
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
            self.drop_runner(id, now);
        }
    }

    /// Assigns jobs in the order in which they were queued. Of the matching runners, the one that has waited longest
    /// gets the job.
    fn assign(&mut self, now: Timestamp) {
        let queued: Vec<u64> =
            self.jobs.values().filter(|job| job.state == JobState::Queued).map(|job| job.id).collect();
        for id in queued {
            let Some(job) = self.jobs.get(&id) else { continue };
            let free = |runner: &&Runner| runner.listening && runner.job.is_none() && runner.remove_at.is_none();
            let fitting = self.runners.values().filter(free).filter(|runner| self.fits(runner, job));
            let Some(runner) = fitting.min_by_key(|runner| (runner.idle_since, runner.id)).map(|runner| runner.id)
            else {
                continue;
            };
            let (Some(job), Some(runner)) = (self.jobs.get_mut(&id), self.runners.get_mut(&runner)) else { continue };
            if runner.scale_set.is_none() {
                job.offer = None;
            }
            runner.job = Some(id);
            runner.idle_since = None;
            job.state = JobState::Assigned { since: now };
            job.runner_id = Some(runner.id);
            job.record(now, EventKind::Assigned(runner.name.clone()));
        }
    }

    pub(crate) fn lease_from(&self, now: Timestamp) -> Timestamp {
        now + self.behaviour.lease
    }

    /// Returns true if `busy` shows a runner's job.
    pub(crate) fn shows_busy(&self, runner: &Runner, now: Timestamp) -> bool {
        let started = runner.job.and_then(|id| self.jobs.get(&id)).and_then(|job| job.started_at);
        let Some(since) = started.map(|started| now.duration_since(started)) else { return false };
        let hidden = |gap: Gap| since >= gap.after && since < gap.after + gap.lasts;
        since >= self.behaviour.busy_lag.max(SignedDuration::ZERO) && !self.behaviour.busy_gap.is_some_and(hidden)
    }

    /// Returns true if a runner can get a job. Jobs that a scale set acquired are for its runners, regardless of
    /// labels. All other jobs are for other runners, which must have all labels of the job, regardless of case.
    fn fits(&self, runner: &Runner, job: &Job) -> bool {
        let acquired_by = job.offer.as_ref().filter(|offer| offer.acquired_at.is_some()).map(|offer| offer.set);
        let has = |wanted: &String| runner.labels.iter().any(|label| label.eq_ignore_ascii_case(wanted));
        let labelled = !job.labels.is_empty() && job.labels.iter().all(has);
        runner.scale_set == acquired_by
            && (acquired_by.is_some() || labelled)
            && self.group_serves(&runner.scope, runner.group, &job.repository)
    }
}

/// Puts an assigned job back into the queue.
pub(crate) fn release(job: &mut Job, now: Timestamp) {
    let Some(Event { kind: EventKind::Assigned(name), .. }) = job.events.last() else { return };
    let name = name.clone();
    job.state = JobState::Queued;
    job.runner_id = None;
    job.record(now, EventKind::Requeued(name));
}

/// Returns the Actions service's word for a conclusion.
fn result_of(conclusion: &str) -> &'static str {
    match conclusion {
        "success" => "succeeded",
        "cancelled" => "canceled",
        _ => "failed",
    }
}
