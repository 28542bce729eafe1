//! The life of one runner VM as a pure state machine. No clock and no I/O: the time comes with every event.
//!
//! ```text
//! Reserved → Cloning → Configuring → Booting → Warm → Minting → Arming → Idle → Busy → (powers itself off)
//!    any failure or deadline before arming ──► Stopping → Destroying → Gone             Idle → Retiring → Fenced → …
//!                                         failed: Stopping ⇄ Quarantined, once
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

/// Time after which a request for a clone whose reply never came is considered lost. Not measured: it is longer than
/// any wait for a lock that was seen on a server.
pub(crate) const LATEST_CLONE: SignedDuration = SignedDuration::from_secs(120);

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
    /// Returns true if the pool should make its next VM less eagerly. A registration that GitHub did not make is the fault of
    /// the repository, which rests by itself.
    #[must_use]
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::CloneFailed | Self::ConfigureFailed | Self::BootDeadline | Self::ArmFailed)
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

/// Source of a negative observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// GitHub's list of jobs.
    Github,
    /// The guest itself.
    Guest,
}

/// An event in the life of a VM: outcomes of steps, observations, and decisions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// About to ask for the clone.
    CloneBegun,
    /// The clone was not asked for, because its template is not the right one.
    CloneRefused,
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
    /// A source that was asked after the registration was removed knows of no job on this runner.
    NoJobFound {
        /// The source.
        source: Source,
    },
    /// The step cannot succeed any more, or this process lost what it needs for it.
    Failed(Reason),
    /// [`State::Minting`] or [`State::Arming`] was interrupted: what was in memory is lost.
    Interrupted,
    /// GitHub refused the registration, and so made none.
    MintRefused,
    /// The start task has ended, or is assumed to have ended; the guest agent does not answer yet.
    Started,
    /// The guest that was about to be stopped as unarmed says that it is armed, and whether it has a job.
    FoundArmed {
        /// True if a job has started.
        job: bool,
    },
    /// Decision to power off although a job may run: a declared limit was exceeded. Audited.
    Condemn(Reason),
    /// The VM is powered off by us.
    Stopped,
    /// One look in which the whole cluster does not know the VMID.
    Missing,
    /// The guest is there after a list in which it was missing, or runs although it was taken to be gone.
    Reappeared,
    /// The VM was off for good and runs, so somebody started it again.
    RunsAgain,
    /// PVE confirms that there is no such VM any more.
    Vanished,
    /// GitHub lists no registration of an ended VM any more.
    RegistrationGone,
    /// Decision to remove the registration of a runner that did not connect in time.
    NeverOnline,
    /// The diagnostics of a failed VM were read, or reading them was given up.
    Diagnosed {
        /// File that holds them, if there were any.
        kept: Option<String>,
    },
    /// Decision to keep the failed VM for a person.
    Quarantined {
        /// Time at which its quarantine ends.
        until: Timestamp,
    },
    /// The quarantine is over.
    Released,
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

/// The part of a record that decisions about one VM depend on.
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
    /// Time of the first of the two negative observations that a power-off needs.
    pub negative_at: Option<Timestamp>,
    /// Source of that observation. Absent in records of release 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_from: Option<Source>,
    /// Time at which its guest agent first answered. Until then nobody can have armed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<Timestamp>,
    /// Time at which this process started it.
    #[serde(skip)]
    pub started_at: Option<Timestamp>,
    /// Time of the first look in which the whole cluster did not know the VMID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_at: Option<Timestamp>,
    /// True once GitHub is known to have no registration of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_deregistered: bool,
    /// True if its runner did not connect in time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_offline: bool,
    /// Time at which its diagnostics were read, or at which reading them was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosed_at: Option<Timestamp>,
    /// File that holds its diagnostics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// Time at which its quarantine ends or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined_until: Option<Timestamp>,
    /// Last time at which its clone was asked for again, or given up, although an earlier request may still have been on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_unanswered_at: Option<Timestamp>,
    /// Reason for which it is on its way out.
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
            negative_from: None,
            ready_at: None,
            started_at: None,
            missing_at: None,
            is_deregistered: false,
            is_offline: false,
            diagnosed_at: None,
            kept: None,
            quarantined_until: None,
            clone_unanswered_at: None,
            reason: None,
        }
    }

    /// Returns true if GitHub may have a registration of it.
    #[must_use]
    pub fn may_be_registered(&self) -> bool {
        (self.repository.is_some() || self.runner_id.is_some()) && !self.is_deregistered
    }

    /// Returns true if there may be a guest of which no process has seen a sign.
    #[must_use]
    pub(crate) fn never_answered(&self) -> bool {
        let has_guest = (State::Cloning..=State::Booting).contains(&self.state);
        let is_ending = matches!(self.state, State::Quarantined | State::Stopping);
        (has_guest || is_ending) && self.armed_at.is_none() && self.ready_at.is_none()
    }

    /// Returns the time until which a request for its clone that nobody waits for may still be carried out. The VM then appears
    /// although it was not there before.
    #[must_use]
    pub(crate) fn may_appear_until(&self) -> Option<Timestamp> {
        self.clone_unanswered_at.map(|unanswered| unanswered + LATEST_CLONE)
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
        if (self.state, state) == (State::Cloning, State::Stopping) {
            next.clone_unanswered_at = Some(now);
        }
        next.remember(event, now);
        Ok(next)
    }

    fn next_state(&self, event: &Event, now: Timestamp) -> Option<State> {
        use State as S;
        Some(match (self.state, event) {
            (S::Reserved | S::Cloning, Event::CloneBegun) => S::Cloning,
            (S::Cloning, Event::CloneRefused) => S::Reserved,
            (S::Cloning, Event::Cloned) => S::Configuring,
            (S::Configuring, Event::Configured) => S::Booting,
            (S::Booting, Event::Ready) => S::Warm,
            (S::Booting, Event::Started) => S::Booting,
            (S::Warm, Event::MintBegun { .. }) => S::Minting,
            (S::Minting, Event::MintRefused) if self.runner_id.is_none() => S::Warm,
            (S::Minting, Event::Minted { .. }) => S::Arming,
            (S::Arming, Event::Armed) => S::Idle,
            (S::Idle, Event::FoundUnarmed) if self.runner_id.is_none() && self.busy_at.is_none() => S::Warm,
            (S::Idle, Event::FoundRegistered { .. }) => S::Idle,
            (S::Arming, Event::JobSeen { .. }) => S::Busy,
            (state, Event::JobSeen { .. }) if state.may_run_a_job() => S::Busy,
            (state, Event::JobOver) if state.expects_end_of_job() => state,
            (S::Idle, Event::Retire(_) | Event::NeverOnline) => S::Retiring,
            (state @ (S::Retiring | S::Stopping), Event::Diagnosed { .. }) if self.diagnosed_at.is_none() => state,
            // A VM that was never armed needs no GitHub to end. What GitHub may have of it is removed afterwards.
            (S::Minting | S::Retiring, Event::Interrupted | Event::Failed(_)) if self.armed_at.is_none() => S::Stopping,
            (S::Arming, Event::Interrupted | Event::Failed(_)) => S::Retiring,
            (S::Retiring, Event::Deregistered) if self.armed_at.is_none() => S::Stopping,
            (S::Retiring, Event::Deregistered) => S::Fenced,
            (S::Retiring, Event::RefusedBusy) => S::Busy,
            (S::Fenced, Event::NoJobFound { source }) if self.is_second_negative(*source, now) => S::Stopping,
            (S::Fenced, Event::NoJobFound { .. }) => S::Fenced,
            (S::Stopping, Event::Quarantined { .. }) if self.quarantined_until.is_none() => S::Quarantined,
            (S::Quarantined, Event::Released) => S::Stopping,
            (S::Stopping, Event::FoundArmed { job }) if self.armed_at.is_none() => {
                if *job {
                    S::Busy
                } else {
                    S::Idle
                }
            }
            (state, Event::Missing) if state.has_guest() => state,
            (S::Destroying, Event::Reappeared) if self.may_reappear() => self.state_of_reappeared(),
            (S::Destroying, Event::RunsAgain) if !self.may_reappear() => S::Stopping,
            (state, Event::Reappeared) if state.has_guest() && self.missing_at.is_some() => state,
            (state, Event::RegistrationGone) if state.has_ended() && !self.is_deregistered => state,
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

    /// Returns true if a negative observation now is the second one: from the other source, and far enough from the first.
    fn is_second_negative(&self, source: Source, now: Timestamp) -> bool {
        // A negative of release 0.1 came from the guest.
        let first_source = self.negative_from.unwrap_or(Source::Guest);
        self.negative_at.is_some_and(|first| now.duration_since(first) >= NEGATIVES_APART) && first_source != source
    }

    /// Returns true if its end is known from nothing but its absence, or from one look at a VM without a record.
    fn may_reappear(&self) -> bool {
        matches!(self.reason, Some(Reason::Vanished | Reason::Orphan))
    }

    /// Returns the state of a VM that was taken to be gone and runs: it counts as armed unless no agent ever answered.
    fn state_of_reappeared(&self) -> State {
        match (self.armed_at, self.ready_at, self.busy_at) {
            (None, None, _) => State::Stopping,
            (_, _, Some(_)) => State::Busy,
            (_, _, None) => State::Idle,
        }
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
                self.is_deregistered = false;
            }
            Event::JobSeen { job } => self.remember_job(*job, now),
            Event::RefusedBusy => self.remember_job(None, now),
            Event::JobOver => {
                self.job_over_at.get_or_insert(now);
            }
            Event::NoJobFound { source } => {
                if self.state == State::Stopping {
                    self.reason = Some(Reason::Ghost);
                } else if self.negative_at.is_none() {
                    (self.negative_at, self.negative_from) = (Some(now), Some(*source));
                }
            }
            Event::Started => self.started_at = Some(now),
            Event::Ready => self.ready_at = Some(now),
            Event::MintRefused => self.repository = None,
            Event::FoundArmed { job } => {
                self.armed_at = Some(now);
                self.reason = None;
                if *job {
                    self.remember_job(None, now);
                }
            }
            Event::Missing => {
                self.missing_at.get_or_insert(now);
            }
            Event::Reappeared => self.forget_absence(now),
            Event::Deregistered | Event::RegistrationGone => self.is_deregistered = true,
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
            other => self.remember_failure(other, now),
        }
    }

    fn remember_failure(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::NeverOnline => (self.reason, self.is_offline) = (Some(Reason::Surplus), true),
            Event::Diagnosed { kept } => (self.diagnosed_at, self.kept) = (Some(now), kept.clone()),
            Event::Quarantined { until } => self.quarantined_until = Some(*until),
            // A restart in this moment must not begin the quarantine again.
            Event::Released => self.quarantined_until = Some(now),
            _ => {}
        }
    }

    fn forget_absence(&mut self, now: Timestamp) {
        self.missing_at = None;
        if self.may_reappear() {
            (self.reason, self.ended_at) = (None, None);
            if self.state.may_run_a_job() {
                self.armed_at.get_or_insert(now);
            }
        }
    }

    fn remember_job(&mut self, job: Option<u64>, now: Timestamp) {
        self.busy_at.get_or_insert(now);
        self.job = self.job.or(job);
        // Evidence of a job makes every earlier "no job" worthless, and the reason for retiring it void.
        (self.negative_at, self.negative_from) = (None, None);
        self.reason = None;
        // The VM works. If it fails later, its diagnostics are others.
        (self.is_offline, self.diagnosed_at, self.quarantined_until) = (false, None, None);
    }
}

#[cfg(test)]
mod tests;
