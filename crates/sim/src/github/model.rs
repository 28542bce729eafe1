//! What the world consists of.

use jiff::{SignedDuration, Timestamp};

/// Where a runner is registered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A repository, as `owner/name`.
    Repository(String),
    /// An organization, by login.
    Organization(String),
}

impl Scope {
    /// Whether a job of `repository` may run on a runner of this scope.
    pub(super) fn covers(&self, repository: &str) -> bool {
        match self {
            Self::Repository(own) => own.eq_ignore_ascii_case(repository),
            Self::Organization(login) => {
                repository.split_once('/').is_some_and(|(owner, _)| owner.eq_ignore_ascii_case(login))
            }
        }
    }
}

/// How this GitHub behaves where the real one varies, lags or errs.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// An assigned job that its runner does not fetch goes back to the queue after this (documented: 60 s).
    pub requeue_after: SignedDuration,
    /// A job whose runner gives no sign fails after this (seen: 10 min).
    pub lease: SignedDuration,
    /// A queued job ends after this (documented: 24 h).
    pub queue_limit: SignedDuration,
    /// A runner that is offline is removed after this (documented for ephemeral ones: 1 day).
    pub offline_limit: SignedDuration,
    /// An open session of a runner that is not heard of counts as closed after this.
    pub session_limit: SignedDuration,
    /// `busy` shows a job only after this (seen: up to a minute).
    pub busy_lag: SignedDuration,
    /// An ephemeral registration stays listed this long after its job (seen: some seconds).
    pub removal_lag: SignedDuration,
    /// Idle registrations are evicted after this (seen: 2–6 min).
    pub idle_eviction: Option<SignedDuration>,
    /// A registration is removed on request even though its runner has a job (seen in production).
    pub deletes_busy: bool,
    /// Newest version of the runner program.
    pub runner_version: String,
    /// Runners below this version get no session.
    pub minimum_runner_version: String,
    /// Requests per hour and token.
    pub rate_limit: u64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            requeue_after: SignedDuration::from_secs(60),
            lease: SignedDuration::from_mins(10),
            queue_limit: SignedDuration::from_hours(24),
            offline_limit: SignedDuration::from_hours(24),
            session_limit: SignedDuration::from_secs(60),
            busy_lag: SignedDuration::ZERO,
            removal_lag: SignedDuration::ZERO,
            idle_eviction: None,
            deletes_busy: false,
            runner_version: "2.336.0".into(),
            minimum_runner_version: "2.329.0".into(),
            rate_limit: 5_000,
        }
    }
}

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
pub(super) struct Run {
    pub(super) id: u64,
    pub(super) repository: String,
    pub(super) event: String,
    pub(super) fork: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) number: u64,
    pub(super) jobs: Vec<u64>,
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
    pub(super) runner_id: Option<u64>,
    pub(super) created_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) completed_at: Option<Timestamp>,
    pub(super) cancel_requested: bool,
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

/// A registered runner.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) scope: Scope,
    pub(super) labels: Vec<String>,
    pub(super) ephemeral: bool,
    pub(super) version: Option<String>,
    pub(super) session: Option<String>,
    /// Whether it waits for a job right now.
    pub(super) listening: bool,
    /// When it was last heard of; first, when it was registered.
    pub(super) seen_at: Timestamp,
    /// When it began to wait for a job.
    pub(super) idle_since: Option<Timestamp>,
    pub(super) job: Option<u64>,
    /// Set once its one job is done: when the registration goes.
    pub(super) remove_at: Option<Timestamp>,
}

impl Runner {
    pub(super) fn online(&self) -> bool {
        self.session.is_some()
    }
}

impl Job {
    pub(super) fn completed(&self) -> bool {
        matches!(self.state, JobState::Completed { .. })
    }

    pub(super) fn record(&mut self, at: Timestamp, kind: EventKind) {
        self.events.push(Event { at, kind });
    }
}
