//! The life of one runner VM as a pure state machine. No clock and no I/O: the time comes with every event.
//!
//! ```text
//! Reserved → Cloning → Configuring → Booting → Warm → Minting → Arming → Idle → Busy → (powers itself off)
//!    any failure or deadline before arming ──► Stopping → Destroying → Gone             Idle → Retiring → Fenced → …
//! ```
//!
//! A state is written down *before* the outside call that it names, and says "this call may have been made": after a
//! crash the step of that state is simply done again, and every step is idempotent. The exceptions are `Minting` and
//! `Arming`: their secret lives in memory only, so an interrupted one is given up ([`Event::Interrupted`]).
//!
//! It must never lead from a state in which a job may run to `Stopping` on one negative observation, and never back to `Warm`.

use jiff::{SignedDuration, Timestamp};
use ownership::RepositoryName;
use serde::{Deserialize, Serialize};

use crate::State;

/// Two negative observations count only this far apart: GitHub gives a runner 60 s to pick up the job assigned to it.
pub const NEGATIVES_APART: SignedDuration = SignedDuration::from_secs(75);

/// Why a VM is on its way out. Part of the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It powered itself off after its job, as it should.
    Finished,
    /// It powered itself off without a job.
    ExitedIdle,
    /// The VM stopped while its job ran, because its node lost power or something else ended it.
    CutOff,
    /// More runners than jobs, for longer than the pool allows.
    Surplus,
    /// It was cloned from a template version that is no longer current, and had no job yet.
    Superseded,
    /// The clone failed.
    CloneFailed,
    /// Somebody else took the VMID first.
    VmidTaken,
    /// It could not be configured.
    ConfigureFailed,
    /// The guest agent did not answer in time.
    BootDeadline,
    /// The registration could not be made.
    MintFailed,
    /// The registration could not be written into the guest in time.
    ArmFailed,
    /// This program was restarted while the registration existed in its memory only.
    Interrupted,
    /// The job is over, but the guest did not power itself off.
    Lingering,
    /// Deregistered, and twice found without a job.
    Ghost,
    /// The pool's declared limit for a job was exceeded.
    JobLimit,
    /// Found without a record of it.
    Orphan,
    /// It is no longer there; somebody else removed it.
    Vanished,
}

impl Reason {
    /// Whether the pool should make its next VM less eagerly.
    #[must_use]
    pub(crate) fn is_failure(self) -> bool {
        matches!(
            self,
            Self::CloneFailed | Self::ConfigureFailed | Self::BootDeadline | Self::MintFailed | Self::ArmFailed
        )
    }

    /// Returns the reason in words, for a failure whose own text is not known.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::CloneFailed => "its clone was not complete within the pool's boot limit",
            Self::ConfigureFailed => "it was not configured within the pool's boot limit",
            Self::BootDeadline => "its guest agent did not answer within the pool's boot limit",
            Self::MintFailed => "GitHub did not register it",
            Self::ArmFailed => "it did not take its registration",
            Self::Finished => "it finished its job",
            Self::ExitedIdle => "it powered itself off without a job",
            Self::CutOff => "it stopped while its job ran",
            Self::Surplus => "no job needed it",
            Self::Superseded => "its template version is no longer current",
            Self::VmidTaken => "another guest took its VMID first",
            Self::Interrupted => "the dispatcher was restarted while it was being registered",
            Self::Lingering => "it did not power itself off after its job",
            Self::Ghost => "it was deregistered and had no job",
            Self::JobLimit => "its job exceeded the pool's limit",
            Self::Orphan => "it was found without a record",
            Self::Vanished => "it was removed by something else",
        }
    }
}

/// What happened to a VM: outcomes of steps, observations, and decisions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// About to ask for the clone.
    CloneBegun,
    /// The clone is complete and carries our marker.
    Cloned,
    /// Configured.
    Configured,
    /// The guest agent answers.
    Ready,
    /// About to ask for a registration.
    MintBegun {
        /// Repository that the runner will serve.
        repository: RepositoryName,
    },
    /// The registration exists; about to write it into the guest.
    Minted {
        /// GitHub's number of the runner.
        runner_id: u64,
    },
    /// The guest has it.
    Armed,
    /// The guest was found booted and never armed.
    FoundUnarmed,
    /// GitHub was found to have a registration of this name.
    FoundRegistered {
        /// Repository that it serves.
        repository: RepositoryName,
        /// GitHub's number of the runner.
        runner_id: u64,
    },
    /// A sign of a job on this runner: GitHub names it, or the guest does.
    JobSeen {
        /// GitHub's number of the job, where known.
        job: Option<u64>,
    },
    /// GitHub says that the job of this runner is over.
    JobOver,
    /// The VM has ended, and GitHub names a job that ran on it. The reason was [`Reason::ExitedIdle`] until then.
    JobFound {
        /// GitHub's number of the job.
        job: u64,
    },
    /// The VM has ended, and GitHub says later that its job still runs, so the VM did not end by itself.
    JobCut,
    /// The guest is powered off.
    PoweredOff,
    /// Decision to remove the registration.
    Retire(Reason),
    /// The registration is gone.
    Deregistered,
    /// GitHub keeps the registration because of a job.
    RefusedBusy,
    /// Neither GitHub nor the guest knows of a job on this runner.
    NoJobFound,
    /// The step cannot succeed any more, or this process lost what it needs for it.
    Failed(Reason),
    /// [`State::Minting`] or [`State::Arming`] was interrupted: what was in memory is lost.
    Interrupted,
    /// Decision to power off although a job may run: a declared limit was exceeded. Audited.
    Condemn(Reason),
    /// The VM is powered off by us.
    Stopped,
    /// PVE confirms that there is no such VM any more.
    Vanished,
    /// VM, disks and registration are gone, or were never made.
    Destroyed,
}

/// The event does not fit the state: it is late or doubled, and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} does not apply to a runner VM that is {}", state.as_str())]
pub struct Refused {
    /// State that stays.
    pub state: State,
    /// The event.
    pub event: Event,
}

/// Everything that decisions about one VM depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Life {
    /// Where it is.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Repository of its registration, from [`State::Minting`] on.
    pub repository: Option<RepositoryName>,
    /// GitHub's number of its registration.
    pub runner_id: Option<u64>,
    /// When the guest may have got its registration: from then on a job may run in it.
    pub armed_at: Option<Timestamp>,
    /// When a job was first seen on it.
    pub busy_at: Option<Timestamp>,
    /// GitHub's number of that job.
    pub job: Option<u64>,
    /// When GitHub said that the job was over.
    pub job_over_at: Option<Timestamp>,
    /// When it was powered off, by itself or by us.
    pub ended_at: Option<Timestamp>,
    /// First of the two negative observations that a power-off needs.
    pub negative_at: Option<Timestamp>,
    /// Why it is on its way out.
    pub reason: Option<Reason>,
}

impl Life {
    /// A life that begins with a reservation.
    #[must_use]
    pub fn reserved(now: Timestamp) -> Self {
        Self::at(State::Reserved, now)
    }

    /// The life of a VM that was found without a record of it. It is taken to be armed until the guest says otherwise.
    #[must_use]
    pub fn adopted(running: bool, now: Timestamp) -> Self {
        if running {
            return Self { armed_at: Some(now), ..Self::at(State::Idle, now) };
        }
        Self { armed_at: Some(now), reason: Some(Reason::Orphan), ..Self::at(State::Destroying, now) }
    }

    fn at(state: State, now: Timestamp) -> Self {
        Self {
            state,
            since: now,
            repository: None,
            runner_id: None,
            armed_at: None,
            busy_at: None,
            job: None,
            job_over_at: None,
            ended_at: None,
            negative_at: None,
            reason: None,
        }
    }

    /// Whether GitHub may have a registration of it.
    #[must_use]
    pub fn may_be_registered(&self) -> bool {
        self.repository.is_some() || self.runner_id.is_some()
    }

    /// The life after the event.
    ///
    /// # Errors
    /// When the event does not fit the state.
    pub fn after(&self, event: &Event, now: Timestamp) -> Result<Self, Refused> {
        let state = self.next_state(event, now).ok_or_else(|| Refused { state: self.state, event: event.clone() })?;
        let mut next = self.clone();
        if state != self.state {
            next.state = state;
            next.since = now;
        }
        next.remember(event, now);
        Ok(next)
    }

    fn next_state(&self, event: &Event, now: Timestamp) -> Option<State> {
        use State as S;
        Some(match (self.state, event) {
            (S::Reserved | S::Cloning, Event::CloneBegun) => S::Cloning,
            (S::Cloning, Event::Cloned) => S::Configuring,
            (S::Configuring, Event::Configured) => S::Booting,
            (S::Booting, Event::Ready) => S::Warm,
            (S::Warm, Event::MintBegun { .. }) => S::Minting,
            (S::Minting, Event::Minted { .. }) => S::Arming,
            (S::Arming, Event::Armed) => S::Idle,
            (S::Idle, Event::FoundUnarmed) if self.runner_id.is_none() && self.busy_at.is_none() => S::Warm,
            (S::Idle, Event::FoundRegistered { .. }) => S::Idle,
            (S::Arming, Event::JobSeen { .. }) => S::Busy,
            (state, Event::JobSeen { .. }) if state.may_run_a_job() => S::Busy,
            (state, Event::JobOver) if state.expects_end_of_job() => state,
            (S::Idle, Event::Retire(_)) => S::Retiring,
            (state, Event::Interrupted | Event::Failed(_)) if state.is_being_registered() => S::Retiring,
            (S::Retiring, Event::Deregistered) if self.armed_at.is_none() => S::Stopping,
            (S::Retiring, Event::Deregistered) => S::Fenced,
            (S::Retiring, Event::RefusedBusy) => S::Busy,
            (S::Fenced, Event::NoJobFound) if self.is_second_negative(now) => S::Stopping,
            (S::Fenced, Event::NoJobFound) => S::Fenced,
            // The one decision that may end a job; each use of it is an audit row.
            (state, Event::Condemn(_)) if state.may_run_a_job() => S::Stopping,
            // Nothing was asked of PVE, or PVE says that the VMID belongs to somebody else: there is nothing to remove.
            (S::Reserved, Event::Failed(_)) | (S::Cloning, Event::Failed(Reason::VmidTaken)) => S::Gone,
            (S::Cloning | S::Configuring | S::Booting | S::Warm, Event::Failed(_)) => S::Stopping,
            (S::Arming, Event::PoweredOff) => S::Destroying,
            (state, Event::PoweredOff) if state.may_be_off() => S::Destroying,
            (S::Stopping, Event::Stopped) => S::Destroying,
            (state, Event::Vanished) if state.has_guest() => S::Destroying,
            (S::Destroying, Event::Destroyed) => S::Gone,
            // Later answers of GitHub correct the reason and nothing else.
            (state, Event::JobFound { .. }) if state.has_ended() && self.reason == Some(Reason::ExitedIdle) => state,
            (state, Event::JobCut) if state.has_ended() && self.reason == Some(Reason::Finished) => state,
            _ => return None,
        })
    }

    /// Whether a negative observation now is the second one, far enough from the first.
    fn is_second_negative(&self, now: Timestamp) -> bool {
        self.negative_at.is_some_and(|first| now.duration_since(first) >= NEGATIVES_APART)
    }

    fn remember(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::MintBegun { repository } => self.repository = Some(repository.clone()),
            Event::Minted { runner_id } => {
                self.runner_id = Some(*runner_id);
                self.armed_at = Some(now);
            }
            Event::FoundUnarmed => self.armed_at = None,
            Event::FoundRegistered { repository, runner_id } => {
                self.repository = Some(repository.clone());
                self.runner_id = Some(*runner_id);
            }
            Event::JobSeen { job } => self.remember_job(*job, now),
            Event::RefusedBusy => self.remember_job(None, now),
            Event::JobOver => {
                self.job_over_at.get_or_insert(now);
            }
            Event::NoJobFound => {
                self.negative_at.get_or_insert(now);
                if self.state == State::Stopping {
                    self.reason = Some(Reason::Ghost);
                }
            }
            Event::Retire(reason) | Event::Condemn(reason) | Event::Failed(reason) => self.reason = Some(*reason),
            Event::Interrupted => self.reason = Some(Reason::Interrupted),
            Event::PoweredOff => {
                self.ended_at = Some(now);
                self.reason.get_or_insert(if self.busy_at.is_some() { Reason::Finished } else { Reason::ExitedIdle });
            }
            Event::JobFound { job } => {
                self.job = Some(*job);
                self.reason = Some(Reason::Finished);
            }
            Event::JobCut => self.reason = Some(Reason::CutOff),
            Event::Stopped => self.ended_at = Some(now),
            Event::Vanished => {
                self.ended_at = Some(now);
                self.reason.get_or_insert(Reason::Vanished);
            }
            _ => {}
        }
    }

    fn remember_job(&mut self, job: Option<u64>, now: Timestamp) {
        self.busy_at.get_or_insert(now);
        self.job = self.job.or(job);
        // Evidence of a job makes every earlier "no job" worthless, and the reason for retiring it void.
        self.negative_at = None;
        self.reason = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn live(events: &[Event]) -> Life {
        let mut life = Life::reserved(at(0));
        for (second, event) in (1..).zip(events) {
            life = life.after(event, at(second)).unwrap();
        }
        life
    }

    fn to_idle() -> Vec<Event> {
        let repository = "acme/tools".parse().unwrap();
        vec![
            Event::CloneBegun,
            Event::Cloned,
            Event::Configured,
            Event::Ready,
            Event::MintBegun { repository },
            Event::Minted { runner_id: 7 },
            Event::Armed,
        ]
    }

    fn every_event() -> Vec<Event> {
        let mut events = to_idle();
        events.extend([
            Event::FoundUnarmed,
            Event::FoundRegistered { repository: "acme/tools".parse().unwrap(), runner_id: 8 },
            Event::JobSeen { job: Some(1) },
            Event::JobOver,
            Event::JobFound { job: 2 },
            Event::JobCut,
            Event::PoweredOff,
            Event::Retire(Reason::Surplus),
            Event::Deregistered,
            Event::RefusedBusy,
            Event::NoJobFound,
            Event::Failed(Reason::CloneFailed),
            Event::Interrupted,
            Event::Condemn(Reason::JobLimit),
            Event::Stopped,
            Event::Vanished,
            Event::Destroyed,
        ]);
        events
    }

    #[test]
    fn a_job_from_the_reservation_to_the_end() {
        let mut events = to_idle();
        events.extend([Event::JobSeen { job: Some(3) }, Event::PoweredOff, Event::Destroyed]);
        let life = live(&events);
        assert_eq!((life.state, life.reason, life.job), (State::Gone, Some(Reason::Finished), Some(3)));
    }

    /// I1: once a registration may have been made for it, a VM never becomes available for another.
    #[test]
    fn i1_no_state_leads_back_to_warm_after_a_mint() {
        let mut seen = vec![live(&to_idle()[..5])];
        let mut index = 0;
        while index < seen.len() {
            for event in every_event() {
                let Ok(next) = seen[index].after(&event, at(500)) else { continue };
                assert!(next.state > State::Warm, "{:?} by {event:?}", seen[index].state);
                if !seen.iter().any(|life| {
                    life.state == next.state && life.runner_id == next.runner_id && life.armed_at == next.armed_at
                }) {
                    seen.push(next);
                }
            }
            index += 1;
        }
        assert!(seen.len() > 5);
    }

    /// I5: from every state in which a job may run, only the declared limit or a second negative leads to a power-off by us.
    #[test]
    fn i5_one_negative_never_stops_a_vm_that_may_run_a_job() {
        for state in [State::Idle, State::Busy, State::Retiring, State::Fenced] {
            let life = Life { state, ..live(&to_idle()) };
            for event in every_event() {
                let stops = life.after(&event, at(10_000)).is_ok_and(|next| next.state == State::Stopping);
                assert_eq!(stops, matches!(event, Event::Condemn(_)), "{state:?} by {event:?}");
            }
        }
    }

    #[test]
    fn i5_two_negatives_count_only_when_far_enough_apart() {
        let mut events = to_idle();
        events.extend([Event::Retire(Reason::Surplus), Event::Deregistered]);
        let fenced = live(&events).after(&Event::NoJobFound, at(100)).unwrap();
        assert_eq!(fenced.after(&Event::NoJobFound, at(174)).unwrap().state, State::Fenced);
        let stopping = fenced.after(&Event::NoJobFound, at(175)).unwrap();
        assert_eq!((stopping.state, stopping.reason), (State::Stopping, Some(Reason::Ghost)));
        let busy = fenced.after(&Event::JobSeen { job: None }, at(101)).unwrap();
        assert_eq!((busy.state, busy.negative_at), (State::Busy, None));
    }

    #[test]
    fn a_job_that_github_names_after_the_end_corrects_the_reason_once() {
        let mut events = to_idle();
        events.extend([Event::PoweredOff, Event::Destroyed]);
        let gone = live(&events);
        assert_eq!((gone.reason, gone.job), (Some(Reason::ExitedIdle), None));
        let found = gone.after(&Event::JobFound { job: 9 }, at(60)).unwrap();
        assert_eq!((found.state, found.since), (State::Gone, gone.since));
        assert_eq!((found.reason, found.job), (Some(Reason::Finished), Some(9)));
        assert!(found.after(&Event::JobFound { job: 10 }, at(61)).is_err());
    }

    #[test]
    fn a_vm_whose_job_still_runs_after_its_end_was_cut_off() {
        let mut events = to_idle();
        events.extend([Event::JobSeen { job: Some(3) }, Event::PoweredOff]);
        let ended = live(&events);
        assert_eq!(ended.after(&Event::JobCut, at(90)).unwrap().reason, Some(Reason::CutOff));
        let idle_exit = live(&[to_idle(), vec![Event::PoweredOff]].concat());
        assert!(idle_exit.after(&Event::JobCut, at(90)).is_err());
    }

    #[test]
    fn an_interrupted_registration_is_given_up() {
        let minting = live(&to_idle()[..5]).after(&Event::Interrupted, at(9)).unwrap();
        assert_eq!(minting.after(&Event::Deregistered, at(10)).unwrap().state, State::Stopping);
        let arming = live(&to_idle()[..6]).after(&Event::Interrupted, at(9)).unwrap();
        assert_eq!(arming.after(&Event::Deregistered, at(10)).unwrap().state, State::Fenced);
    }

    #[test]
    fn a_vmid_taken_by_somebody_else_is_never_cleaned_up() {
        let taken = live(&to_idle()[..1]).after(&Event::Failed(Reason::VmidTaken), at(2)).unwrap();
        assert_eq!(taken.state, State::Gone);
    }

    #[test]
    fn the_end_is_the_end() {
        for reason in [None, Some(Reason::Finished), Some(Reason::ExitedIdle), Some(Reason::Ghost)] {
            let gone = Life { state: State::Gone, reason, ..live(&to_idle()) };
            for event in every_event() {
                let corrects = matches!(event, Event::JobFound { .. } | Event::JobCut);
                let after = gone.after(&event, at(100));
                assert!(after.is_err() || corrects && after.is_ok_and(|life| life.state == State::Gone), "{event:?}");
            }
        }
    }
}
