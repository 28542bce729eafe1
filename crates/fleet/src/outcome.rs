//! The consequence of each outcome: the event that it is in the life of a VM, and the rest before the next attempt.
//!
//! A step that leads to no event always has a rest. So no fault can make a step repeat without a pause.

use jiff::{SignedDuration, Timestamp};

use crate::effect::{Failure, FailureKind as Kind, Outcome, Sign, Step, Success};
use crate::{Event, Intent, Life, Reason, Source};

/// Rest after a step that did not succeed. It grows with the number of attempts.
const REST: SignedDuration = SignedDuration::from_secs(5);
/// Attempts after which the rest doubles.
const ATTEMPTS_PER_DOUBLING: u32 = 4;
pub(crate) const LONGEST_REST: SignedDuration = SignedDuration::from_secs(60);
/// Rest after a step that was broken off or lost its means.
const SHORT_REST: SignedDuration = SignedDuration::from_secs(1);
/// Shortest and longest pause between two questions whether a VM has powered itself off.
const WATCH: Pauses = Pauses { shortest: SignedDuration::from_secs(2), longest: SignedDuration::from_secs(60) };
/// The same for the rest of an interrupted clone, which only a person can remove.
const HALF_MADE: Pauses = Pauses { shortest: SignedDuration::from_secs(10), longest: SignedDuration::from_mins(5) };

/// Pauses that grow with the time waited.
struct Pauses {
    shortest: SignedDuration,
    longest: SignedDuration,
}

impl Pauses {
    fn next(&self, since: Timestamp, now: Timestamp) -> Timestamp {
        now + (now.duration_since(since) / 2).clamp(self.shortest, self.longest)
    }
}

/// The consequence of an outcome.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// An event in the life of the VM.
    Event(Event),
    /// An event, and a rest of the repository that refused a registration.
    Refused(Event),
    /// No event. The step may be taken again from this time on.
    Rest(Timestamp),
    /// The start of the VM is forgotten, so that it is started again from this time on.
    StartAgain(Timestamp),
}

/// Returns the consequence of a step's outcome.
pub(crate) fn consequence(intent: &Intent, step: &Step, outcome: &Outcome, now: Timestamp) -> Consequence {
    if let Some(until) = intent.life.may_appear_until().filter(|until| *until > now && is_gone(step, outcome)) {
        // Until then it keeps its slot. A second destruction finds it if it has appeared.
        return Consequence::Rest(until);
    }
    match outcome {
        Ok(success) => of_success(&intent.life, step, success, now),
        Err(failure) => of_failure(intent, step, failure, now),
    }
}

/// Returns true if the VM is destroyed or was never there.
fn is_gone(step: &Step, outcome: &Outcome) -> bool {
    match outcome {
        Ok(success) => (step, success) == (&Step::Destroy, &Success::Done),
        Err(failure) => (step, failure.kind) == (&Step::Destroy, Kind::Gone),
    }
}

fn of_success(life: &Life, step: &Step, success: &Success, now: Timestamp) -> Consequence {
    let event = match (step, success) {
        (Step::Clone { .. }, Success::Done) => Event::Cloned,
        (Step::Configure, Success::Done) => Event::Configured,
        (Step::Start, Success::Done) => Event::Started,
        (Step::AwaitAgent, Success::Done) => Event::Ready,
        (Step::Mint { .. }, Success::Minted { runner_id }) => Event::Minted { runner_id: *runner_id },
        (Step::Arm, Success::Done) => Event::Armed,
        (Step::Examine, Success::Examined { sign, registration }) => examined(*sign, registration.clone()),
        (Step::Deregister, Success::Done) => Event::Deregistered,
        (Step::Deregister, Success::RefusedBusy) => Event::RefusedBusy,
        (Step::Watch, Success::Watched { is_off: true }) => Event::PoweredOff,
        (Step::Watch, Success::Watched { is_off: false }) => {
            return Consequence::Rest(WATCH.next(life.job_over_at.unwrap_or(life.since), now));
        }
        (Step::Probe, Success::Probed { sign: Sign::Job }) => Event::JobSeen { job: None },
        (Step::Probe, Success::Probed { .. }) => Event::NoJobFound { source: Source::Guest },
        (Step::KeepDiagnostics, Success::Kept { file }) => Event::Diagnosed { kept: Some(file.clone()) },
        (Step::KeepDiagnostics, Success::NothingToKeep) => Event::Diagnosed { kept: None },
        (Step::Stop { .. }, Success::Done) => Event::Stopped,
        (Step::Stop { .. }, Success::FoundArmed { job }) => Event::FoundArmed { job: *job },
        (Step::Destroy, Success::Done) => Event::Destroyed,
        (Step::RemoveRegistration { .. }, Success::Done) => Event::RegistrationGone,
        // No executor answers so. The rest keeps a mistake from spinning.
        _ => return Consequence::Rest(now + LONGEST_REST),
    };
    Consequence::Event(event)
}

fn examined(sign: Sign, registration: Option<(ownership::RepositoryName, u64)>) -> Event {
    match (sign, registration) {
        (Sign::Unarmed, None) => Event::FoundUnarmed,
        (Sign::Job, _) => Event::JobSeen { job: None },
        // Nobody has the secret of a registration that the guest never got.
        (Sign::Unarmed, Some(_)) | (Sign::Waiting, None) => Event::Retire(Reason::Orphan),
        (Sign::Waiting, Some((repository, runner_id))) => Event::FoundRegistered { repository, runner_id },
    }
}

fn of_failure(intent: &Intent, step: &Step, failure: &Failure, now: Timestamp) -> Consequence {
    match (step, failure.kind) {
        (_, Kind::BrokenOff) => Consequence::Rest(now + SHORT_REST),
        // The VM goes without them.
        (Step::KeepDiagnostics, _) => Consequence::Event(Event::Diagnosed { kept: None }),
        (Step::AwaitAgent, Kind::Lost) => Consequence::StartAgain(now + SHORT_REST),
        (Step::Arm, Kind::Lost) => Consequence::Event(Event::Interrupted),
        (Step::Mint { .. }, Kind::Refused) => Consequence::Refused(Event::MintRefused),
        (Step::Clone { is_first: true }, Kind::Refused) => Consequence::Refused(Event::CloneRefused),
        // The VM cannot be registered under the same name again. The repository rests, so that its fault costs no further VM.
        (Step::Mint { .. }, _) => Consequence::Refused(Event::Failed(Reason::MintFailed)),
        (Step::Arm, _) => Consequence::Event(Event::Failed(Reason::ArmFailed)),
        (Step::Clone { .. }, Kind::VmidTaken) => Consequence::Event(Event::Failed(Reason::VmidTaken)),
        (Step::Clone { .. }, Kind::Lasting) => Consequence::Event(Event::Failed(Reason::CloneFailed)),
        (Step::Configure, Kind::Lasting) => Consequence::Event(Event::Failed(Reason::ConfigureFailed)),
        (Step::Start | Step::AwaitAgent, Kind::Lasting) => Consequence::Event(Event::Failed(Reason::BootDeadline)),
        (Step::Configure | Step::Start | Step::AwaitAgent | Step::Stop { .. }, Kind::Gone) => {
            Consequence::Event(Event::Vanished)
        }
        // A job may run: one look is not enough.
        (Step::Watch | Step::Probe | Step::Examine, Kind::Gone) if intent.life.missing_at.is_none() => {
            Consequence::Event(Event::Missing)
        }
        (Step::Destroy, Kind::Gone) => Consequence::Event(Event::Destroyed),
        (Step::Destroy, Kind::StillRunning) => Consequence::Event(runs_although_ended(&intent.life)),
        (_, Kind::HalfMade) => Consequence::Rest(HALF_MADE.next(intent.life.since, now)),
        _ => Consequence::Rest(failure.retry_at.unwrap_or(now).max(now + rest(intent.attempts))),
    }
}

fn runs_although_ended(life: &Life) -> Event {
    match life.reason {
        Some(Reason::Vanished | Reason::Orphan) => Event::Reappeared,
        // Its one job is over and its registration is used up.
        _ => Event::RunsAgain,
    }
}

/// Returns the rest after this many failed attempts.
pub(crate) fn rest(attempts: u32) -> SignedDuration {
    let doublings = (attempts / ATTEMPTS_PER_DOUBLING).min(8);
    REST.saturating_mul(2_i32.saturating_pow(doublings)).min(LONGEST_REST)
}
