//! Settings for delays, limits and false answers of this GitHub. Each false answer was observed in public and is off by
//! default.

use std::collections::BTreeSet;

use jiff::SignedDuration;

/// A period in which something is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Time until it begins, from the start of the thing.
    pub after: SignedDuration,
    /// Length.
    pub lasts: SignedDuration,
}

/// Guards of the servers against bursts (documented numbers).
#[derive(Debug, Clone)]
pub struct SecondaryLimits {
    /// Largest number of simultaneous requests of one caller: 100.
    pub concurrent: usize,
    /// Points per minute, endpoint and caller: 900. A read costs 1, a change 5.
    pub points_per_minute: u64,
    /// Status of the refusal: 403 or 429. The documentation allows both.
    pub status: u16,
    /// Lowest value of `retry-after`.
    pub wait: SignedDuration,
}

/// The behaviour of a simulated GitHub.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Time after which an assigned job that its runner does not fetch returns to the queue (documented: 60 s).
    pub requeue_after: SignedDuration,
    /// Time without a sign from its runner after which a job fails (observed: 10 min).
    pub lease: SignedDuration,
    /// Time after which a queued job ends (documented: 24 h).
    pub queue_limit: SignedDuration,
    /// Time after which an offline runner is removed (documented for ephemeral ones: 1 day).
    pub offline_limit: SignedDuration,
    /// Time without a sign from its runner after which an open session counts as closed.
    pub session_limit: SignedDuration,
    /// Newest version of the runner program.
    pub runner_version: String,
    /// Lowest version of the runner program that gets a session.
    pub minimum_runner_version: String,

    /// Requests per hour and caller.
    pub rate_limit: u64,
    /// Guards against bursts.
    pub secondary: SecondaryLimits,
    /// Registrations and registration tokens per five minutes and caller (documented: 1 500).
    pub registration_limit: u64,

    /// Delay with which `busy` shows a job (observed: up to a minute).
    pub busy_lag: SignedDuration,
    /// Period in the middle of a job in which `busy` is false (observed: many minutes into a job).
    pub busy_gap: Option<Gap>,
    /// True if a registration is removed on request although its runner has a job (observed in production).
    pub deletes_busy: bool,
    /// True if removal is refused only while `busy` shows the job. With a delay or a gap it then succeeds on a runner
    /// with a job.
    pub deletion_believes_busy: bool,
    /// Time for which an ephemeral registration stays listed after its job (observed: some seconds).
    pub removal_lag: SignedDuration,
    /// Time after which idle registrations are evicted (observed: 2–6 min).
    pub idle_eviction: Option<SignedDuration>,
    /// True if a registration is used up when a job is assigned to it. If the job is not fetched, the runner then waits
    /// forever for messages that do not come (observed: runner#4617).
    pub ghost_listeners: bool,
    /// Age of the runs, jobs and runners in lists. Single reads are current.
    pub list_lag: SignedDuration,
    /// Labels that are accepted but not registered (observed: ARC#4425). Lower case.
    pub lost_labels: BTreeSet<String>,

    /// Time for which a job that a scale set acquired waits for a runner of that set (not published: 5 min is a guess).
    /// It doubles each time.
    pub pickup_limit: SignedDuration,
    /// Number of times that such a job is assigned to a scale set again (documented: 3). Then it stays queued.
    pub reassignments: u32,
    /// True if jobs are assigned to a scale set without `acquirejobs`, as the service did for some time.
    pub assigns_unasked: bool,
    /// Time without a poll after which a message session ends (observed: about a minute, sometimes far longer).
    pub message_session_limit: SignedDuration,
    /// Lifetime of a message queue's token.
    pub queue_token_life: SignedDuration,
    /// Lifetime of an admin connection's token.
    pub admin_token_life: SignedDuration,
    /// Time for which the Actions service refuses a new registration token (clients retry 401 and 403).
    pub token_propagation: SignedDuration,
    /// Time after which a scale set without a session is deleted (documented: 7 days).
    pub dormant_limit: SignedDuration,
    /// True if jobs that are run again are not announced to a scale set without runners (observed:
    /// pytorch/ci-infra#900).
    pub silent_reruns: bool,
    /// Time after the start of a running job at which its scale set receives a false message that the job is completed
    /// (observed: runner#4492).
    pub early_completion: Option<SignedDuration>,

    /// Probability that a webhook is never sent (observed: "once or twice a week").
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
