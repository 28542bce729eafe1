//! Workflow runs and their jobs.

use jiff::Timestamp;

use super::scale_sets::Offer;

/// A workflow run to be queued.
#[derive(Debug, Clone)]
pub struct RunSpec {
    /// Repository as `owner/name`.
    pub repository: String,
    /// Event that triggers the run: `push`, `pull_request`, `workflow_dispatch`, …
    pub event: String,
    /// Fork as `owner/name` that a pull request comes from.
    pub fork: Option<String>,
    /// Jobs, which are queued at once.
    pub jobs: Vec<JobSpec>,
}

/// A job to be queued.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// Name as shown to people.
    pub name: String,
    /// Labels that the job's runner must have.
    pub labels: Vec<String>,
    /// Steps, in their order.
    pub steps: Vec<JobStep>,
}

/// A step of a job.
#[derive(Debug, Clone)]
pub struct JobStep {
    /// Shell script.
    pub script: String,
    /// Condition under which the step runs.
    pub condition: Condition,
}

impl JobStep {
    /// Returns a step that runs under a condition of its own.
    #[must_use]
    pub fn under(condition: Condition, script: &str) -> Self {
        Self { script: script.to_owned(), condition }
    }
}

/// Makes a step that runs as long as no step has failed.
impl From<&str> for JobStep {
    fn from(script: &str) -> Self {
        Self::under(Condition::Success, script)
    }
}

/// Makes a step that runs as long as no step has failed.
impl From<String> for JobStep {
    fn from(script: String) -> Self {
        Self { script, condition: Condition::Success }
    }
}

/// A step's `if:`. The runner judges it for each step, also after a step has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// No step has failed: the condition of a step that declares none.
    Success,
    /// A step has failed.
    Failure,
    /// The job was cancelled.
    Cancelled,
    /// Always, but not once the runner itself shuts down.
    Always,
}

impl Condition {
    /// Returns the condition as a workflow file spells it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Success => "success()",
            Self::Failure => "failure()",
            Self::Cancelled => "cancelled()",
            Self::Always => "always()",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) repository: String,
    pub(crate) event: String,
    pub(crate) fork: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) number: u64,
    /// Numbers of the jobs of all attempts, oldest first.
    pub(crate) jobs: Vec<u64>,
    pub(crate) attempt: u64,
}

/// A job with its history.
#[derive(Debug, Clone)]
pub struct Job {
    /// Number of the job.
    pub id: u64,
    /// Number of the run.
    pub run_id: u64,
    /// Repository as `owner/name`.
    pub repository: String,
    /// Name as shown to people.
    pub name: String,
    /// Labels that the job's runner must have.
    pub labels: Vec<String>,
    /// Steps, in their order.
    pub steps: Vec<JobStep>,
    /// Progress.
    pub state: JobState,
    /// Name of the job's runner.
    pub runner_name: Option<String>,
    /// Output of the runner.
    pub log: String,
    /// Events, oldest first.
    pub events: Vec<Event>,
    pub(crate) runner_id: Option<u64>,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) cancel_requested: bool,
    /// Number of the attempt, from 1.
    pub(crate) attempt: u64,
    /// Number and name of the runner's group.
    pub(crate) runner_group: Option<(u64, String)>,
    /// Scale set that the job is offered to or acquired by.
    pub(crate) offer: Option<Offer>,
    /// Number of times that a scale set acquired the job and no runner fetched it.
    pub(crate) unfetched: u32,
    /// Time before which no scale set gets the job.
    pub(crate) not_before: Timestamp,
    /// Number of events that were sent to webhooks and scale sets.
    pub(crate) reported: usize,
}

/// The progress of a [`Job`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Waiting for a runner.
    Queued,
    /// Assigned to a runner that has not fetched it.
    Assigned {
        /// Time of the assignment.
        since: Timestamp,
    },
    /// Running.
    InProgress {
        /// Time before which its runner must give a sign.
        lease_until: Timestamp,
    },
    /// Ended.
    Completed {
        /// Conclusion: `success`, `failure` or `cancelled`.
        conclusion: String,
    },
}

/// An event in the history of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Time.
    pub at: Timestamp,
    /// Kind.
    pub kind: EventKind,
}

/// The kind of an [`Event`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The job was queued.
    Queued,
    /// The job was assigned to the runner of this name.
    Assigned(String),
    /// The runner of this name did not fetch the job, which returned to the queue.
    Requeued(String),
    /// The runner of this name started the job.
    Started(String),
    /// The job ended with this conclusion.
    Completed(String),
}

impl Job {
    /// Returns the job as it was at `at`, or `None` if it did not exist yet.
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
