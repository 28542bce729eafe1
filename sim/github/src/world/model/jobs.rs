//! Workflow runs and their jobs.

use jiff::Timestamp;

use super::scale_sets::Share;

/// A workflow run to be queued.
#[derive(Debug, Clone)]
pub struct RunSpec {
    /// `owner/name` of the repository.
    pub repository: String,
    /// What triggers it: `push`, `pull_request`, `workflow_dispatch`, …
    pub event: String,
    /// `owner/name` of the fork that a pull request comes from.
    pub fork: Option<String>,
    /// Its jobs, queued at once.
    pub jobs: Vec<JobSpec>,
}

/// A job to be queued.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// Name as shown to people.
    pub name: String,
    /// Labels that its runner must all have.
    pub labels: Vec<String>,
    /// Shell scripts, run one after the other until one fails.
    pub steps: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) repository: String,
    pub(crate) event: String,
    pub(crate) fork: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) number: u64,
    /// Jobs of all attempts, oldest first.
    pub(crate) jobs: Vec<u64>,
    pub(crate) attempt: u64,
}

/// A job and what became of it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Number of the job.
    pub id: u64,
    /// Number of its run.
    pub run_id: u64,
    /// `owner/name` of its repository.
    pub repository: String,
    /// Name as shown to people.
    pub name: String,
    /// Labels that its runner must all have.
    pub labels: Vec<String>,
    /// Its scripts.
    pub steps: Vec<String>,
    /// How far it is.
    pub state: JobState,
    /// Name of the runner that took it.
    pub runner_name: Option<String>,
    /// What its runner wrote.
    pub log: String,
    /// What happened to it, oldest first.
    pub events: Vec<Event>,
    pub(crate) runner_id: Option<u64>,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) cancel_requested: bool,
    /// 1 for the first attempt of its run.
    pub(crate) attempt: u64,
    /// Number and name of the group of the runner that took it.
    pub(crate) runner_group: Option<(u64, String)>,
    /// Whose scale set has it.
    pub(crate) share: Option<Share>,
    /// How often a scale set had it and let it lie.
    pub(crate) let_lie: u32,
    /// No scale set gets it before this.
    pub(crate) not_before: Timestamp,
    /// Number of its events that were sent to webhooks and scale sets.
    pub(crate) reported: usize,
}

/// How far a [`Job`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Waits for a runner.
    Queued,
    /// Handed to a runner that has not fetched it.
    Assigned {
        /// When.
        since: Timestamp,
    },
    /// Runs.
    InProgress {
        /// Its runner must give a sign before this.
        lease_until: Timestamp,
    },
    /// Ended.
    Completed {
        /// `success`, `failure`, `cancelled`.
        conclusion: String,
    },
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// See [`Event`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// It waits for a runner.
    Queued,
    /// It was handed to the runner of this name.
    Assigned(String),
    /// The runner of this name did not fetch it; it waits again.
    Requeued(String),
    /// The runner of this name runs it.
    Started(String),
    /// It ended with this conclusion.
    Completed(String),
}

impl Job {
    /// The job as it was at `at`; nothing where it was not there yet.
    pub(crate) fn as_of(&self, at: Timestamp) -> Option<Self> {
        let events: Vec<Event> = self.events.iter().filter(|event| event.at <= at).cloned().collect();
        let last = events.last()?;
        let mut then = self.clone();
        let (started, ended) = (self.started_at.is_some_and(|t| t <= at), self.completed_at.is_some_and(|t| t <= at));
        then.state = match &last.kind {
            _ if ended => self.state.clone(),
            EventKind::Started(_) => JobState::InProgress { lease_until: at },
            EventKind::Assigned(_) => JobState::Assigned { since: last.at },
            _ => JobState::Queued,
        };
        if !started {
            (then.started_at, then.runner_name, then.runner_group) = (None, None, None);
        }
        then.completed_at = self.completed_at.filter(|_| ended);
        then.events = events;
        Some(then)
    }

    pub(crate) fn completed(&self) -> bool {
        matches!(self.state, JobState::Completed { .. })
    }

    pub(crate) fn failed(&self) -> bool {
        matches!(&self.state, JobState::Completed { conclusion } if conclusion != "success")
    }

    pub(crate) fn record(&mut self, at: Timestamp, kind: EventKind) {
        self.events.push(Event { at, kind });
    }
}
