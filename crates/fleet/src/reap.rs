//! The ends of VMs: finished, hung, vanished, surplus. Only events are noted here; each state's step follows from them.
//!
//! It must never end a VM that may run a job on anything but: PVE's confirmation that it is off, GitHub's word that its job is over,
//! two negatives, or a declared limit.

use dispatcher_api::{Config, RunnerPool};
use jiff::{SignedDuration, Timestamp};
use ownership::{RunnerName, Vmid};

use crate::index::GithubIndex;
use crate::view::View;
use crate::{Event, Facts, Guests, Intent, JobPhase, Life, NEGATIVES_APART, Power, Reason, Source, State};
use crate::{capacity, demand::Demand};

/// Time within which an idle listener notices that its registration is gone, and exits.
const DRAIN: SignedDuration = SignedDuration::from_secs(60);
/// Time for the guest to power itself off once GitHub says that its job is over.
const LINGER: SignedDuration = SignedDuration::from_secs(120);
/// Time for which a VM without a job is kept when other jobs wait for its slot.
const PRESSED_IDLE: SignedDuration = SignedDuration::from_secs(30);
/// Time for which a booted VM without a registration is kept when nothing waits.
const WARM_KEPT: SignedDuration = SignedDuration::from_secs(60);
/// Time after a VM's end. A job that GitHub still shows as running at that time was cut off.
const SETTLED: SignedDuration = SignedDuration::from_secs(30);
/// Time within which GitHub's list of runners shows a registration and the start of a job.
const REGISTERED: SignedDuration = SignedDuration::from_secs(5);
/// Time between two lists in which a VM is missing before it counts as gone, if no job can run in it. PVE's list lags by
/// up to 10 s.
const MISSING_APART: SignedDuration = SignedDuration::from_secs(20);

/// Limits of a pool, or of one that is no longer configured.
pub(crate) struct Limits {
    boot: SignedDuration,
    idle: SignedDuration,
    job: SignedDuration,
    /// The template that new VMs are made from; `None`: no more are made.
    template: Option<Vmid>,
}

impl Limits {
    pub(crate) fn of(intent: &Intent, config: &Config) -> Self {
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

    /// Returns the time for which a silent guest counts as armed.
    fn armed(&self) -> SignedDuration {
        self.idle + self.job
    }
}

/// Returns the event that the facts are in the life of this VM, if any.
pub(crate) fn observation(
    facts: &Facts,
    github: &GithubIndex<'_>,
    intent: &Intent,
    limits: &Limits,
    now: Timestamp,
) -> Option<Event> {
    let life = &intent.life;
    if life.state.has_ended() {
        return afterwards(facts, github, intent).or_else(|| reappearance(facts, intent));
    }
    if life.state.is_being_registered() && !intent.holds_registration {
        // Not under way in this process: the registration's secret went with the process that made it.
        return Some(Event::Interrupted);
    }
    if life.state == State::Retiring && life.armed_at.is_none() {
        return Some(Event::Failed(life.reason.unwrap_or(Reason::Interrupted)));
    }
    job_sign(github, intent)
        .or_else(|| end_of_guest(facts, intent))
        .or_else(|| negative_of_github(facts, github, intent))
        .or_else(|| overdue(life, intent.created_at, limits, now))
}

/// Signs of a job's begin or end.
fn job_sign(github: &GithubIndex<'_>, intent: &Intent) -> Option<Event> {
    let life = &intent.life;
    if !life.state.may_run_a_job() {
        return None;
    }
    match github.job_of(&intent.name).map(|job| (job.phase, job.id)) {
        Some((JobPhase::Completed, id)) if life.busy_at.is_none() => return Some(Event::JobSeen { job: Some(id) }),
        Some((JobPhase::Completed, _)) if life.job_over_at.is_none() && life.state.expects_end_of_job() => {
            return Some(Event::JobOver);
        }
        Some((JobPhase::Running, id)) if life.state != State::Busy || life.job.is_none() => {
            return Some(Event::JobSeen { job: Some(id) });
        }
        _ => {}
    }
    let says_busy = github.runner(&intent.name).is_some_and(|runner| runner.busy);
    (says_busy && life.state != State::Busy && life.job_over_at.is_none()).then_some(Event::JobSeen { job: None })
}

/// Returns GitHub's negative about a fenced VM: a list of jobs that was asked for long enough after the registration was removed
/// and names no job of this runner.
fn negative_of_github(facts: &Facts, github: &GithubIndex<'_>, intent: &Intent) -> Option<Event> {
    let life = &intent.life;
    if life.state != State::Fenced || life.negative_from == Some(Source::Github) {
        return None;
    }
    let jobs = facts.jobs(life.repository.as_ref()?)?;
    let is_new = is_past(life.negative_at.unwrap_or(life.since), REGISTERED, jobs.taken_at);
    let names_it = github.job_of(&intent.name).is_some_and(|job| job.phase != JobPhase::Completed);
    (is_new && !names_it).then_some(Event::NoJobFound { source: Source::Github })
}

/// Returns the event that corrects the record of a VM that has ended, from what GitHub says later.
fn afterwards(facts: &Facts, github: &GithubIndex<'_>, intent: &Intent) -> Option<Event> {
    let life = &intent.life;
    let repository = life.repository.as_ref()?;
    if let Some(job) = github.job_of(&intent.name) {
        match (life.reason, job.phase) {
            (Some(Reason::ExitedIdle), JobPhase::Running | JobPhase::Completed) => {
                return Some(Event::JobFound { job: job.id });
            }
            // A runner reports the end of its job before its VM powers itself off.
            (Some(Reason::Finished), JobPhase::Running) if life.job_over_at.is_none() => {
                let jobs = facts.jobs(repository)?;
                if is_past(life.ended_at?, SETTLED, jobs.taken_at) {
                    return Some(Event::JobCut);
                }
            }
            _ => {}
        }
    }
    let asked_at = facts.runners(repository)?.taken_at;
    let is_settled = life.state == State::Gone && life.may_be_registered() && is_past(life.since, REGISTERED, asked_at);
    (is_settled && github.runner(&intent.name).is_none()).then_some(Event::RegistrationGone)
}

/// Returns true if the VM is about to power itself off, so that PVE is asked about it. GitHub then says that the job is
/// over, or no longer has the registration, which ends with the job. The question is the only consequence.
pub(crate) fn is_end_expected(life: &Life, name: &RunnerName, facts: &Facts, github: &GithubIndex<'_>) -> bool {
    if life.job_over_at.is_some() {
        return true;
    }
    let Some(repository) = &life.repository else { return false };
    facts
        .runners(repository)
        .is_some_and(|runners| is_past(life.since, REGISTERED, runners.taken_at) && github.runner(name).is_none())
}

/// Returns PVE's list if it was asked for after the record last changed.
fn newer_guests<'a>(facts: &'a Facts, life: &Life) -> Option<&'a Guests> {
    facts.guests.as_ref().filter(|guests| guests.taken_at > life.since)
}

/// Returns PVE's confirmed word that the guest is off or gone, if it is newer than the record.
fn end_of_guest(facts: &Facts, intent: &Intent) -> Option<Event> {
    let life = &intent.life;
    let guests = newer_guests(facts, life)?;
    if guests.absent.contains(&intent.vmid) && life.state.has_guest() {
        return absence(life, guests.taken_at);
    }
    let guest = guests.seen.get(&intent.vmid)?;
    if life.state.may_be_off() && guest.power == Power::Off && !guest.locked {
        return Some(Event::PoweredOff);
    }
    let was_missing = life.missing_at.is_some_and(|missing| guests.taken_at > missing);
    was_missing.then_some(Event::Reappeared)
}

/// Two lists, far enough apart, show that a guest is gone.
fn absence(life: &Life, taken_at: Timestamp) -> Option<Event> {
    let apart = if life.state.may_run_a_job() { NEGATIVES_APART } else { MISSING_APART };
    match life.missing_at {
        None => Some(Event::Missing),
        Some(first) => is_past(first, apart, taken_at).then_some(Event::Vanished),
    }
}

/// Returns the event that brings a VM back which was taken to be gone and is shown as running.
fn reappearance(facts: &Facts, intent: &Intent) -> Option<Event> {
    let life = &intent.life;
    if life.state != State::Destroying || life.reason != Some(Reason::Vanished) {
        return None;
    }
    // Its destruction asks Proxmox VE about this one VM, which is worth more than a list that lags.
    let guests = newer_guests(facts, life).filter(|guests| is_past(life.since, MISSING_APART, guests.taken_at))?;
    let guest = guests.seen.get(&intent.vmid)?;
    (guest.power == Power::Running && !guest.locked).then_some(Event::Reappeared)
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
    // A job that nobody saw can have started no later than the registration could wait for one.
    let (started_at, allowed) = match life.busy_at {
        Some(busy_at) => (busy_at, limits.job),
        None => (life.armed_at?, limits.armed()),
    };
    is_past(started_at, allowed, now).then_some(Reason::JobLimit)
}

pub(crate) fn is_past(begin: Timestamp, allowed: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(begin) >= allowed
}

/// Returns true if it is time to look for signs of a job in a VM that ought to have powered itself off. GitHub's negative comes
/// first.
pub(crate) fn is_probe_due(life: &Life, now: Timestamp) -> bool {
    let github_knows_none = life.negative_from == Some(Source::Github);
    let is_apart = life.negative_at.is_some_and(|first| is_past(first, NEGATIVES_APART, now));
    github_knows_none && is_apart && is_past(life.since, DRAIN, now)
}

/// Returns true if the guest is to be asked before it is stopped. Its record alone does not show that it is unarmed: another
/// process may have armed it. A guest that stays silent counts as armed until the limit of an armed one. A guest that never
/// answered is silent because it does not boot, so its silence counts for a short time, and only if an earlier process left it.
pub(crate) fn asks_before_stop(life: &Life, is_inherited: bool, limits: &Limits, now: Timestamp) -> bool {
    let silence = match (life.armed_at, life.ready_at) {
        (None, Some(_)) => limits.armed(),
        (None, None) if is_inherited => NEGATIVES_APART,
        _ => return false,
    };
    !is_past(life.since, silence, now)
}

/// Returns true if jobs wait for a slot while all slots are taken.
pub(crate) fn is_pressed(pool: &RunnerPool, demand: &Demand<'_>, view: &View<'_>) -> bool {
    demand.missing(&pool.name) > 0 && matches!(capacity::free(pool, view), Err(capacity::Hold::Full { .. }))
}

/// The need for one VM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// True if a queued job counts on the VM.
    pub(crate) is_needed: bool,
    /// True if other jobs wait for the slots of the pool.
    pub(crate) is_pressed: bool,
    /// True if the dispatcher is being drained.
    pub(crate) draining: bool,
    /// True if the runner did not connect in time.
    pub(crate) is_unconnected: bool,
}

/// Returns the event that releases a VM which nobody needs.
pub(crate) fn surplus(intent: &Intent, limits: &Limits, need: Need, now: Timestamp) -> Option<Event> {
    let life = &intent.life;
    let superseded = limits.template != Some(intent.template);
    let kept = if need.is_pressed { PRESSED_IDLE } else { WARM_KEPT };
    match life.state {
        State::Reserved if superseded => Some(Event::Failed(Reason::Superseded)),
        State::Reserved if !need.is_needed => Some(Event::Failed(Reason::Surplus)),
        // Without a registration it has no job, so its end need not wait for its boot.
        State::Cloning | State::Configuring | State::Booting if need.draining => Some(Event::Failed(Reason::Surplus)),
        State::Warm if superseded => Some(Event::Failed(Reason::Superseded)),
        State::Warm if need.draining => Some(Event::Failed(Reason::Surplus)),
        State::Warm if !need.is_needed && is_past(life.since, kept, now) => Some(Event::Failed(Reason::Surplus)),
        State::Idle if superseded => Some(Event::Retire(Reason::Superseded)),
        State::Idle if need.draining => Some(Event::Retire(Reason::Surplus)),
        State::Idle if need.is_unconnected => Some(Event::NeverOnline),
        State::Idle if need.is_pressed && !need.is_needed && is_past(life.since, PRESSED_IDLE, now) => {
            Some(Event::Retire(Reason::Surplus))
        }
        _ => None,
    }
}
