//! The dispatcher's status, computed from the fleet without I/O. Its times are wall time.

use std::collections::BTreeMap;

use dispatcher_api::{
    Config, KeptLog, MOST_KEPT, MOST_LISTED, Machine, Phase, PoolStatus, Problem, QuarantinedVm, RunnerPool, Status,
    Subject, WaitingJob,
};
use fleet::{Concern, Fleet, Hindrance, Intent, Reason, State, Waiting};
use jiff::Timestamp;

use crate::clock::Clock;

/// Most problems that a status lists one by one: it has to fit into a message.
const MOST_PROBLEMS: usize = 50;

/// The input of a status.
#[derive(Debug)]
pub(crate) struct StatusInput<'a> {
    pub(crate) config: Option<&'a Config>,
    pub(crate) config_hash: Option<&'a str>,
    pub(crate) fleet: &'a Fleet,
    pub(crate) waiting: &'a [Waiting],
    /// Problems of the dispatcher itself, of its polls and of its ledger.
    pub(crate) problems: Vec<Problem>,
    pub(crate) hindrances: &'a [Hindrance],
    pub(crate) started_at: Timestamp,
    pub(crate) draining_since: Timestamp,
    pub(crate) clock: &'a Clock,
}

/// Returns the present status.
pub(crate) fn status(input: &StatusInput<'_>) -> Status {
    let pools = input.config.map(|config| config.pools.iter().map(|pool| pool_status(pool, input)).collect());
    let last_good_pass_at = input.config.and_then(|config| last_good_pass(input.fleet, config));
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        phase: phase(input, last_good_pass_at),
        installation: input.config.map(|config| config.installation.clone()),
        config_hash: input.config_hash.map(str::to_owned),
        started_at: input.clock.wall(input.started_at),
        last_good_pass_at: last_good_pass_at.map(|at| input.clock.wall(at)),
        pools: pools.unwrap_or_default(),
        waiting: input.waiting.iter().take(MOST_LISTED).map(|waiting| waiting_job(waiting, input.clock)).collect(),
        machines: machines(input),
        quarantined: quarantined(input),
        kept: kept(input),
        problems: problems(input),
    }
}

fn phase(input: &StatusInput<'_>, last_good_pass_at: Option<Timestamp>) -> Phase {
    let Some(config) = input.config else { return Phase::Unconfigured };
    let is_looked_at = last_good_pass_at.is_some_and(|at| at > input.draining_since);
    match (input.fleet.is_draining(), last_good_pass_at) {
        (true, _) if is_looked_at && input.fleet.is_drained(config, input.clock.now()) => Phase::Drained,
        (true, _) => Phase::Draining,
        (false, None) => Phase::Starting,
        (false, Some(_)) => Phase::Running,
    }
}

/// Returns the time of the oldest fact; `None` until there was one of each.
fn last_good_pass(fleet: &Fleet, config: &Config) -> Option<Timestamp> {
    let facts = fleet.facts();
    let mut oldest = facts.guests.as_ref()?.taken_at;
    for repository in config.pools.iter().flat_map(|pool| &pool.repositories) {
        oldest = oldest.min(facts.repositories.get(repository)?.jobs.as_ref()?.taken_at);
    }
    Some(oldest)
}

fn pool_status(pool: &RunnerPool, input: &StatusInput<'_>) -> PoolStatus {
    let count = |wanted: fn(State) -> bool| {
        let mine = input.fleet.records().filter(|intent| intent.pool == pool.name && wanted(intent.life.state));
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

fn waiting_job(waiting: &Waiting, clock: &Clock) -> WaitingJob {
    WaitingJob {
        repository: waiting.repository.clone(),
        job: waiting.job,
        name: waiting.job_name.clone(),
        pool: waiting.pool.clone(),
        since: waiting.since.map(|since| clock.wall(since)),
        reason: waiting.reason.clone(),
    }
}

fn machines(input: &StatusInput<'_>) -> Vec<Machine> {
    let mut live: Vec<&Intent> = input.fleet.records().filter(|intent| intent.is_live()).collect();
    live.sort_by_key(|intent| (intent.created_at, intent.vmid));
    let machine = |intent: &&Intent| Machine {
        name: intent.name.clone(),
        pool: intent.pool.clone(),
        state: intent.life.state.as_str().to_owned(),
        since: input.clock.wall(intent.life.since),
        created_at: input.clock.wall(intent.created_at),
        job: intent.life.job,
    };
    live.iter().take(MOST_LISTED).map(machine).collect()
}

/// Returns the VMs in quarantine, those whose quarantine ends first first.
fn quarantined(input: &StatusInput<'_>) -> Vec<QuarantinedVm> {
    let kept = |intent: &Intent| {
        let life = &intent.life;
        let until = life.quarantined_until.filter(|_| life.state == State::Quarantined)?;
        Some(QuarantinedVm {
            vm: intent.name.clone(),
            vmid: intent.vmid,
            node: intent.node.clone(),
            until: input.clock.wall(until),
            reason: life.reason.map_or("", Reason::explanation).to_owned(),
        })
    };
    let mut quarantined: Vec<QuarantinedVm> = input.fleet.records().filter_map(kept).collect();
    quarantined.sort_by(|one, other| (one.until, &one.vm).cmp(&(other.until, &other.vm)));
    quarantined.truncate(MOST_KEPT);
    quarantined
}

/// Returns the logs of VMs that the fleet remembers, newest first.
fn kept(input: &StatusInput<'_>) -> Vec<KeptLog> {
    let log = |intent: &Intent| {
        let life = &intent.life;
        Some(KeptLog {
            vm: intent.name.clone(),
            pool: intent.pool.clone(),
            at: input.clock.wall(life.diagnosed_at?),
            reason: life.reason.map_or("", Reason::explanation).to_owned(),
            file: life.kept.clone()?,
        })
    };
    let mut kept: Vec<KeptLog> = input.fleet.records().filter_map(log).collect();
    kept.sort_by(|one, other| (other.at, &other.vm).cmp(&(one.at, &one.vm)));
    kept.truncate(MOST_KEPT);
    kept
}

/// Returns the problems of the dispatcher, then those of the fleet, as many as fit into a message.
fn problems(input: &StatusInput<'_>) -> Vec<Problem> {
    let own = input.problems.iter().cloned();
    let of_fleet = input.hindrances.iter().map(|hindrance| Problem {
        subject: subject(&hindrance.concern),
        message: hindrance.message.clone(),
        since: hindrance.since,
    });
    let mut problems: Vec<Problem> = own.chain(of_fleet).collect();
    for problem in &mut problems {
        problem.since = input.clock.wall(problem.since);
    }
    let more = problems.len().saturating_sub(MOST_PROBLEMS);
    if let Some(last) = problems.get(MOST_PROBLEMS).cloned() {
        problems.truncate(MOST_PROBLEMS);
        problems.push(Problem { subject: Subject::Dispatcher, message: format!("and {more} more"), ..last });
    }
    problems
}

fn subject(concern: &Concern) -> Subject {
    match concern {
        Concern::Pool(_) | Concern::Vm(_) => Subject::Pool,
        Concern::Repository(_) => Subject::Github,
        Concern::Rival => Subject::Dispatcher,
    }
}

/// Logs problems of the fleet that are new or have changed, and those that are over.
pub(crate) fn log_changes(logged: &mut BTreeMap<String, String>, hindrances: &[Hindrance]) {
    let present: BTreeMap<String, &str> =
        hindrances.iter().map(|hindrance| (format!("{:?}", hindrance.concern), hindrance.message.as_str())).collect();
    logged.retain(|concern, message| {
        let lasts = present.contains_key(concern);
        if !lasts {
            tracing::info!("no longer: {message}");
        }
        lasts
    });
    for (concern, message) in present {
        if logged.get(&concern).is_none_or(|known| known != message) {
            tracing::warn!("{message}");
            logged.insert(concern, message.to_owned());
        }
    }
}
