//! The dispatcher's status, computed from records and observations without I/O.

use dispatcher_api::{Config, MOST_LISTED, Machine, Phase, PoolStatus, Problem, RunnerPool, Status, WaitingJob};
use fleet::State;
use jiff::Timestamp;

use fleet::{Intent, Waiting};

/// The input of a status.
#[derive(Debug)]
pub(crate) struct StatusInput<'a> {
    pub(crate) config: Option<&'a Config>,
    pub(crate) config_hash: Option<&'a str>,
    pub(crate) intents: &'a [Intent],
    pub(crate) waiting: &'a [Waiting],
    pub(crate) problems: Vec<Problem>,
    pub(crate) draining: bool,
    /// Nothing is under way, and everything was looked at since the drain began.
    pub(crate) settled: bool,
    pub(crate) started_at: Timestamp,
    pub(crate) last_good_pass_at: Option<Timestamp>,
}

/// Returns the present status.
pub(crate) fn status(input: StatusInput<'_>) -> Status {
    let pools = input.config.map(|config| config.pools.iter().map(|pool| pool_status(pool, &input)).collect());
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        phase: phase(&input),
        installation: input.config.map(|config| config.installation.clone()),
        config_hash: input.config_hash.map(str::to_owned),
        started_at: input.started_at,
        last_good_pass_at: input.last_good_pass_at,
        pools: pools.unwrap_or_default(),
        waiting: input.waiting.iter().take(MOST_LISTED).map(waiting_job).collect(),
        machines: machines(input.intents),
        problems: input.problems,
    }
}

fn phase(input: &StatusInput<'_>) -> Phase {
    if input.config.is_none() {
        return Phase::Unconfigured;
    }
    let live = input.intents.iter().any(Intent::is_live);
    match (input.draining, input.last_good_pass_at) {
        (true, _) if !live && input.settled => Phase::Drained,
        (true, _) => Phase::Draining,
        (false, None) => Phase::Starting,
        (false, Some(_)) => Phase::Running,
    }
}

fn pool_status(pool: &RunnerPool, input: &StatusInput<'_>) -> PoolStatus {
    let count = |wanted: fn(State) -> bool| {
        let mine = input.intents.iter().filter(|intent| intent.pool == pool.name && wanted(intent.life.state));
        u32::try_from(mine.count()).unwrap_or(u32::MAX)
    };
    let queued = input.waiting.iter().filter(|waiting| waiting.pool == pool.name).count();
    PoolStatus {
        name: pool.name.clone(),
        max: pool.max,
        queued: u32::try_from(queued).unwrap_or(u32::MAX),
        preparing: count(|state| state < State::Idle),
        idle: count(|state| state == State::Idle),
        busy: count(|state| state == State::Busy),
        ending: count(|state| state > State::Busy && state != State::Gone),
    }
}

fn waiting_job(waiting: &Waiting) -> WaitingJob {
    WaitingJob {
        repository: waiting.repository.clone(),
        job: waiting.job,
        name: waiting.job_name.clone(),
        pool: waiting.pool.clone(),
        since: waiting.since,
        reason: waiting.reason.clone(),
    }
}

fn machines(intents: &[Intent]) -> Vec<Machine> {
    let mut live: Vec<&Intent> = intents.iter().filter(|intent| intent.is_live()).collect();
    live.sort_by_key(|intent| (intent.created_at, intent.vmid));
    let machine = |intent: &&Intent| Machine {
        name: intent.name.clone(),
        pool: intent.pool.clone(),
        state: intent.life.state.as_str().to_owned(),
        since: intent.life.since,
        created_at: intent.created_at,
        job: intent.life.job,
    };
    live.iter().take(MOST_LISTED).map(machine).collect()
}
