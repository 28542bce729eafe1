//! How VMs end: finished, hung, vanished, surplus. Only notes are made here; what follows from them is each state's step.
//!
//! It must never end a VM that may run a job on anything but: PVE's confirmation that it is off, GitHub's word that its job is over,
//! or a declared limit.

use crate::{Event, Life, NEGATIVES_APART, Reason, State};
use dispatcher_api::Config;
use jiff::{SignedDuration, Timestamp};
use ownership::{RunnerName, Vmid};

use crate::{Action, Intent, JobPhase, Observed, Power, capacity, demand};

/// An idle listener notices within a minute that its registration is gone, and exits.
const DRAIN: SignedDuration = SignedDuration::from_secs(60);
/// Time for the guest to power itself off once GitHub says that its job is over.
const LINGER: SignedDuration = SignedDuration::from_secs(120);
/// How long a VM without a job is kept when other jobs wait for its slot.
const PRESSED_IDLE: SignedDuration = SignedDuration::from_secs(30);
/// How long a booted VM without a registration is kept when nothing waits.
const WARM_KEPT: SignedDuration = SignedDuration::from_secs(60);
/// Time after a VM's end. A job that GitHub still shows as running at that time was cut off.
const SETTLED: SignedDuration = SignedDuration::from_secs(30);
/// Time within which GitHub's list of runners shows a registration and the start of a job.
const REGISTERED: SignedDuration = SignedDuration::from_secs(5);
/// Notes that one VM can get in one pass: a bound, so that a mistake here cannot spin.
const MOST_NOTES: usize = 4;

/// Limits of a pool, or of one that is no longer configured.
struct Limits {
    boot: SignedDuration,
    idle: SignedDuration,
    job: SignedDuration,
    /// The template that new VMs are made from; `None`: no more are made.
    template: Option<Vmid>,
}

impl Limits {
    fn of(intent: &Intent, config: &Config) -> Self {
        let seconds = |seconds: u32| SignedDuration::from_secs(i64::from(seconds));
        match config.pool(&intent.pool) {
            Some(pool) => Self {
                boot: seconds(pool.boot_limit_seconds),
                idle: seconds(pool.idle_limit_seconds),
                job: seconds(pool.job_limit_seconds),
                template: Some(pool.template.vmid),
            },
            // GitHub's own limit for a job on a self-hosted runner is five days.
            None => Self {
                boot: seconds(300),
                idle: SignedDuration::ZERO,
                job: SignedDuration::from_hours(5 * 24),
                template: None,
            },
        }
    }
}

/// Notes what the observation says about each VM, and applies it to `intents`.
pub(super) fn note_observations(
    observed: &Observed,
    intents: &mut [Intent],
    config: &Config,
    now: Timestamp,
) -> Vec<Action> {
    let mut actions = Vec::new();
    for intent in intents.iter_mut().filter(|intent| !observed.in_flight.contains(&intent.name)) {
        let limits = Limits::of(intent, config);
        for _ in 0..MOST_NOTES {
            let Some(event) = observation(observed, intent, &limits, now) else { break };
            let Some(action) = note(intent, event, now) else { break };
            actions.push(action);
        }
    }
    actions
}

fn note(intent: &mut Intent, event: Event, now: Timestamp) -> Option<Action> {
    intent.life = intent.life.after(&event, now).ok()?;
    intent.retry_at = None;
    Some(Action::Note { name: intent.name.clone(), event })
}

fn observation(observed: &Observed, intent: &Intent, limits: &Limits, now: Timestamp) -> Option<Event> {
    let life = &intent.life;
    if life.state.has_ended() {
        return afterwards(observed, intent);
    }
    if life.state.is_being_registered() {
        // Not under way in this process: the registration's secret went with the process that made it.
        return Some(Event::Interrupted);
    }
    job_sign(observed, intent)
        .or_else(|| end_of_guest(observed, intent))
        .or_else(|| overdue(life, intent.created_at, limits, now))
}

/// Signs of a job's begin or end.
fn job_sign(observed: &Observed, intent: &Intent) -> Option<Event> {
    let life = &intent.life;
    if !life.state.may_run_a_job() {
        return None;
    }
    let repository = life.repository.as_ref();
    let job = observed.job_of(repository, &intent.name);
    match job.map(|job| (job.phase, job.id)) {
        Some((JobPhase::Completed, id)) if life.busy_at.is_none() => return Some(Event::JobSeen { job: Some(id) }),
        Some((JobPhase::Completed, _)) if life.job_over_at.is_none() && life.state.expects_end_of_job() => {
            return Some(Event::JobOver);
        }
        Some((JobPhase::Running, id)) if life.state != State::Busy || life.job.is_none() => {
            return Some(Event::JobSeen { job: Some(id) });
        }
        _ => {}
    }
    let says_busy = observed.runner(repository, &intent.name).is_some_and(|runner| runner.busy);
    (says_busy && life.state != State::Busy && life.job_over_at.is_none()).then_some(Event::JobSeen { job: None })
}

/// Returns the event that corrects the reason of a VM that has ended, from GitHub's information about its job.
fn afterwards(observed: &Observed, intent: &Intent) -> Option<Event> {
    let life = &intent.life;
    let repository = life.repository.as_ref()?;
    let job = observed.job_of(Some(repository), &intent.name)?;
    match (life.reason, job.phase) {
        (Some(Reason::ExitedIdle), JobPhase::Running | JobPhase::Completed) => Some(Event::JobFound { job: job.id }),
        // A runner reports the end of its job before its VM powers itself off.
        (Some(Reason::Finished), JobPhase::Running) if life.job_over_at.is_none() => {
            let jobs = observed.repositories.get(repository)?.jobs.as_ref()?;
            is_past(life.ended_at?, SETTLED, jobs.taken_at).then_some(Event::JobCut)
        }
        _ => None,
    }
}

/// Returns true if the VM is about to power itself off, so that PVE is asked about it. GitHub then says that the job is
/// over, or no longer has the registration, which ends with the job. The question is the only consequence.
pub(super) fn is_end_expected(life: &Life, name: &RunnerName, observed: &Observed) -> bool {
    if life.job_over_at.is_some() {
        return true;
    }
    let Some(repository) = &life.repository else { return false };
    let runners = observed.repositories.get(repository).and_then(|seen| seen.runners.as_ref());
    runners.is_some_and(|runners| {
        is_past(life.since, REGISTERED, runners.taken_at) && !runners.list.iter().any(|runner| runner.name == *name)
    })
}

/// PVE's confirmed word that the guest is off or gone, if it is newer than what is written down.
fn end_of_guest(observed: &Observed, intent: &Intent) -> Option<Event> {
    let guests = observed.guests.as_ref().filter(|guests| guests.taken_at > intent.life.since)?;
    if guests.absent.contains(&intent.vmid) && intent.life.state.has_guest() {
        return Some(Event::Vanished);
    }
    let guest = guests.seen.get(&intent.vmid)?;
    (intent.life.state.may_be_off() && guest.power == Power::Off && !guest.locked).then_some(Event::PoweredOff)
}

/// Deadlines and declared limits.
fn overdue(life: &Life, created_at: Timestamp, limits: &Limits, now: Timestamp) -> Option<Event> {
    match life.state {
        State::Cloning => is_past(created_at, limits.boot, now).then_some(Event::Failed(Reason::CloneFailed)),
        State::Configuring => is_past(created_at, limits.boot, now).then_some(Event::Failed(Reason::ConfigureFailed)),
        State::Booting => is_past(created_at, limits.boot, now).then_some(Event::Failed(Reason::BootDeadline)),
        State::Idle if is_past(life.armed_at.unwrap_or(life.since), limits.idle, now) => {
            Some(Event::Retire(Reason::Surplus))
        }
        State::Busy | State::Retiring | State::Fenced => condemned(life, limits, now).map(Event::Condemn),
        _ => None,
    }
}

fn condemned(life: &Life, limits: &Limits, now: Timestamp) -> Option<Reason> {
    if life.job_over_at.is_some_and(|over| is_past(over, LINGER, now)) {
        return Some(Reason::Lingering);
    }
    // A job that nobody saw can have begun no later than the registration could wait for one.
    let (begun, allowed) = match life.busy_at {
        Some(busy_at) => (busy_at, limits.job),
        None => (life.armed_at?, limits.idle + limits.job),
    };
    is_past(begun, allowed, now).then_some(Reason::JobLimit)
}

fn is_past(begin: Timestamp, allowed: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(begin) >= allowed
}

/// Whether it is time to look for signs of a job on a VM that ought to have powered itself off.
pub(super) fn is_probe_due(life: &Life, now: Timestamp) -> bool {
    match life.negative_at {
        None => is_past(life.since, DRAIN, now),
        Some(first) => is_past(first, NEGATIVES_APART, now),
    }
}

/// Notes which VMs nobody needs, and applies it to `intents`.
pub(super) fn note_surplus(
    observed: &Observed,
    intents: &mut [Intent],
    plan: &demand::Plan<'_>,
    config: &Config,
    now: Timestamp,
) -> Vec<Action> {
    let pressed: Vec<_> = config
        .pools
        .iter()
        .filter(|pool| is_pressed(pool, plan, observed, intents, now))
        .map(|pool| pool.name.clone())
        .collect();
    let mut actions = Vec::new();
    for intent in intents.iter_mut().filter(|intent| !observed.in_flight.contains(&intent.name)) {
        let limits = Limits::of(intent, config);
        let needed = plan.needs(&intent.name) && !observed.draining;
        let event = surplus(intent, &limits, needed, pressed.contains(&intent.pool), observed.draining, now);
        actions.extend(event.and_then(|event| note(intent, event, now)));
    }
    actions
}

/// Whether jobs wait for a slot while all slots are taken.
fn is_pressed(
    pool: &dispatcher_api::RunnerPool,
    plan: &demand::Plan<'_>,
    observed: &Observed,
    intents: &[Intent],
    now: Timestamp,
) -> bool {
    let full = matches!(capacity::free(pool, observed, intents, now), Err(capacity::Hold::Full { .. }));
    full && plan.missing(&pool.name) > 0
}

fn surplus(
    intent: &Intent,
    limits: &Limits,
    needed: bool,
    pressed: bool,
    draining: bool,
    now: Timestamp,
) -> Option<Event> {
    let life = &intent.life;
    let superseded = limits.template != Some(intent.template);
    match life.state {
        State::Reserved if superseded => Some(Event::Failed(Reason::Superseded)),
        State::Reserved if !needed => Some(Event::Failed(Reason::Surplus)),
        // Without a registration it has no job, so its end need not wait for its boot.
        State::Cloning | State::Configuring | State::Booting if draining => Some(Event::Failed(Reason::Surplus)),
        State::Warm if superseded => Some(Event::Failed(Reason::Superseded)),
        State::Warm if draining => Some(Event::Failed(Reason::Surplus)),
        State::Warm if !needed && is_past(life.since, if pressed { PRESSED_IDLE } else { WARM_KEPT }, now) => {
            Some(Event::Failed(Reason::Surplus))
        }
        State::Idle if superseded => Some(Event::Retire(Reason::Superseded)),
        State::Idle if draining || (pressed && !needed && is_past(life.since, PRESSED_IDLE, now)) => {
            Some(Event::Retire(Reason::Surplus))
        }
        _ => None,
    }
}
