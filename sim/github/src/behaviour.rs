//! How this GitHub behaves where the real one varies, lags, limits or lies. Each lie was seen in public and is off
//! unless a test or a person switches it on.

use std::collections::BTreeSet;

use jiff::SignedDuration;

/// A time in which something is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// When it begins, from the start of the thing.
    pub after: SignedDuration,
    /// How long it lasts.
    pub lasts: SignedDuration,
}

/// What guards the servers against bursts (documented numbers).
#[derive(Debug, Clone)]
pub struct SecondaryLimits {
    /// Requests of one caller at the same time: 100.
    pub concurrent: usize,
    /// Points per minute, endpoint and caller: 900. Reading costs 1, changing 5.
    pub points_per_minute: u64,
    /// 403 or 429; the documentation allows both.
    pub status: u16,
    /// What `retry-after` says at least.
    pub wait: SignedDuration,
}

/// How this GitHub behaves.
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
    /// Newest version of the runner program.
    pub runner_version: String,
    /// Runners below this version get no session.
    pub minimum_runner_version: String,

    /// Requests per hour and caller.
    pub rate_limit: u64,
    /// Guards against bursts.
    pub secondary: SecondaryLimits,
    /// Registrations and registration tokens per five minutes and caller (documented: 1 500).
    pub registration_limit: u64,

    /// `busy` shows a job only after this (seen: up to a minute).
    pub busy_lag: SignedDuration,
    /// `busy` is false for a while in the middle of a job (seen: many minutes into it).
    pub busy_gap: Option<Gap>,
    /// A registration is removed on request even though its runner has a job (seen in production).
    pub deletes_busy: bool,
    /// Removal is refused only while `busy` shows the job: with a lag or a gap it succeeds on a runner with a job.
    pub deletion_believes_busy: bool,
    /// An ephemeral registration stays listed this long after its job (seen: some seconds).
    pub removal_lag: SignedDuration,
    /// Idle registrations are evicted after this (seen: 2–6 min).
    pub idle_eviction: Option<SignedDuration>,
    /// A registration is used up when a job is assigned to it; where the job is then not fetched, the runner listens
    /// for ever to nobody (seen: runner#4617).
    pub ghost_listeners: bool,
    /// Lists show runs, jobs and runners as they were this long ago; single things are current.
    pub list_lag: SignedDuration,
    /// Labels that are accepted but do not register (seen: ARC#4425). Lower case.
    pub lost_labels: BTreeSet<String>,

    /// How long a job that a scale set acquired waits for a runner of that set (not published: 5 min is a guess). It
    /// doubles each time.
    pub pickup_limit: SignedDuration,
    /// How often such a job goes to a scale set again (documented: 3); then it stays queued.
    pub reassignments: u32,
    /// Jobs are given to a scale set without its asking, as the service did before it wanted `acquirejobs` again.
    pub assigns_unasked: bool,
    /// A message session that is not heard of ends after this (seen: about a minute, sometimes far longer).
    pub message_session_limit: SignedDuration,
    /// How long a message queue's token lives.
    pub queue_token_life: SignedDuration,
    /// How long an admin connection's token lives.
    pub admin_token_life: SignedDuration,
    /// A new registration token is refused by the Actions service for this long (clients retry 401 and 403).
    pub token_propagation: SignedDuration,
    /// A scale set without a session is deleted after this (documented: 7 days).
    pub dormant_limit: SignedDuration,
    /// Jobs that are run again are not announced to a scale set without runners (seen: pytorch/ci-infra#900).
    pub silent_reruns: bool,
    /// A scale set hears that a job is completed this long after its start although it runs (seen: runner#4492).
    pub early_completion: Option<SignedDuration>,

    /// Probability that a webhook is never sent (seen: "once or twice a week").
    pub webhook_loss: f64,
    /// Probability that a webhook arrives twice.
    pub webhook_duplicates: f64,
}

impl Default for SecondaryLimits {
    fn default() -> Self {
        Self { concurrent: 100, points_per_minute: 900, status: 403, wait: SignedDuration::from_secs(60) }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            requeue_after: SignedDuration::from_secs(60),
            lease: SignedDuration::from_mins(10),
            queue_limit: SignedDuration::from_hours(24),
            offline_limit: SignedDuration::from_hours(24),
            session_limit: SignedDuration::from_secs(60),
            runner_version: "2.336.0".into(),
            minimum_runner_version: "2.329.0".into(),
            rate_limit: 5_000,
            secondary: SecondaryLimits::default(),
            registration_limit: 1_500,
            busy_lag: SignedDuration::ZERO,
            busy_gap: None,
            deletes_busy: false,
            deletion_believes_busy: false,
            removal_lag: SignedDuration::ZERO,
            idle_eviction: None,
            ghost_listeners: false,
            list_lag: SignedDuration::ZERO,
            lost_labels: BTreeSet::new(),
            pickup_limit: SignedDuration::from_mins(5),
            reassignments: 3,
            assigns_unasked: false,
            message_session_limit: SignedDuration::from_secs(60),
            queue_token_life: SignedDuration::from_hours(1),
            admin_token_life: SignedDuration::from_hours(1),
            token_propagation: SignedDuration::ZERO,
            dormant_limit: SignedDuration::from_hours(7 * 24),
            silent_reruns: false,
            early_completion: None,
            webhook_loss: 0.0,
            webhook_duplicates: 0.0,
        }
    }
}
