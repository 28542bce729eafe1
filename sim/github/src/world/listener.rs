//! Calls of the runner program: opening its session, waiting for a job, fetching it, reporting its progress.

use jiff::Timestamp;

use super::World;
use super::model::{EventKind, Job, JobState};

/// Answer to a request for a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Session {
    Opened(String),
    /// The registration does not exist.
    Gone,
    /// Another session of the same runner is open.
    Conflict,
    /// The program is too old.
    Deprecated,
}

/// Message to a waiting runner.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Job(u64),
    Nothing,
    /// The registration no longer exists.
    Gone,
}

/// Instruction to a runner with a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    GoOn,
    Cancel,
    /// The job is not, or no longer, this runner's.
    NotAssigned,
}

impl World {
    pub(crate) fn runner_of_secret(&self, secret: &str) -> Option<u64> {
        self.runner_secrets.get(secret).copied()
    }

    pub(crate) fn open_session(&mut self, runner_id: u64, version: &str, now: Timestamp) -> Session {
        if older(version, &self.behaviour.minimum_runner_version) {
            return Session::Deprecated;
        }
        let session = self.random(20);
        let Some(runner) = self.runners.get_mut(&runner_id) else { return Session::Gone };
        if runner.session.is_some() {
            return Session::Conflict;
        }
        runner.session = Some(session.clone());
        runner.version = Some(version.to_owned());
        runner.seen_at = now;
        Session::Opened(session)
    }

    pub(crate) fn close_session(&mut self, runner_id: u64, now: Timestamp) {
        let Some(runner) = self.runners.get_mut(&runner_id) else { return };
        runner.session = None;
        runner.seen_at = now;
        runner.idle_since = None;
    }

    /// Records that the runner waits for a job.
    pub(crate) fn listen(&mut self, runner_id: u64, session: &str, now: Timestamp) -> Message {
        if self.ghost_runners.contains(&runner_id) {
            return Message::Nothing;
        }
        let Some(runner) = self.runners.get_mut(&runner_id) else { return Message::Gone };
        if runner.session.as_deref() != Some(session) {
            return Message::Gone;
        }
        runner.listening = true;
        runner.seen_at = now;
        if runner.job.is_none() {
            runner.idle_since.get_or_insert(now);
        }
        self.step(now);
        match self.runners.get(&runner_id) {
            Some(runner) => runner.job.map_or(Message::Nothing, Message::Job),
            None => Message::Gone,
        }
    }

    /// Records the end of the runner's wait, by an answer or a disconnection.
    pub(crate) fn stop_listening(&mut self, runner_id: u64, now: Timestamp) {
        if let Some(runner) = self.runners.get_mut(&runner_id) {
            runner.listening = false;
            runner.seen_at = now;
        }
    }

    /// Hands a job to its runner. Returns false if the job was given to another runner in the meantime.
    pub(crate) fn acquire(&mut self, runner_id: u64, job_id: u64, now: Timestamp) -> bool {
        let lease_until = self.lease_from(now);
        let Some(runner) = self.runners.get(&runner_id).filter(|runner| runner.job == Some(job_id)) else {
            return false;
        };
        let group = self.group(&runner.scope, runner.group).map(|group| (group.id, group.name)).ok();
        let Some(job) = self.jobs.get_mut(&job_id) else { return false };
        if !matches!(job.state, JobState::Assigned { .. }) || job.runner_id != Some(runner_id) {
            return false;
        }
        job.state = JobState::InProgress { lease_until };
        job.started_at = Some(now);
        job.runner_name = Some(runner.name.clone());
        job.runner_group = group;
        job.record(now, EventKind::Started(runner.name.clone()));
        true
    }

    /// Records a sign of life of a running job.
    pub(crate) fn renew(&mut self, runner_id: u64, job_id: u64, now: Timestamp) -> Control {
        let until = self.lease_from(now);
        let Some(job) = self.running_job(runner_id, job_id) else { return Control::NotAssigned };
        job.state = JobState::InProgress { lease_until: until };
        if job.cancel_requested { Control::Cancel } else { Control::GoOn }
    }

    pub(crate) fn append_log(&mut self, runner_id: u64, job_id: u64, text: &str) -> bool {
        let Some(job) = self.running_job(runner_id, job_id) else { return false };
        job.log.push_str(text);
        true
    }

    /// Records the end of a job.
    pub(crate) fn finish(&mut self, runner_id: u64, job_id: u64, conclusion: &str, now: Timestamp) -> bool {
        if self.running_job(runner_id, job_id).is_none() {
            return false;
        }
        self.complete_job(job_id, conclusion, now);
        self.step(now);
        true
    }

    fn running_job(&mut self, runner_id: u64, job_id: u64) -> Option<&mut Job> {
        let job = self.jobs.get_mut(&job_id)?;
        (job.runner_id == Some(runner_id) && matches!(job.state, JobState::InProgress { .. })).then_some(job)
    }
}

/// Returns true if the dotted version `one` is lower than `other`. Parts that are not numbers count as 0.
fn older(one: &str, other: &str) -> bool {
    let parts = |text: &str| text.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u64>>();
    parts(one) < parts(other)
}
