//! Defects of the fleet, each made on purpose, which the check must find.

use std::borrow::Cow;

use dispatcher_api::Config;
use jiff::Timestamp;

use super::World;
use crate::*;

/// A defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Mutant {
    /// One negative is enough to stop a fenced VM.
    OneNegative,
    /// A registration whose reply was lost counts as refused, so that it is asked for again.
    MintAgain,
    /// A VM whose record says that it is unarmed is stopped without a question.
    StopUnasked,
    /// Records without a visible guest take no slot.
    RecordsTakeNoSlot,
    /// A step that did not succeed is tried again at once.
    NoRest,
    /// A VM that is missing in one look is stopped.
    OneLook,
    /// An effect that follows a record starts before the record is on disk.
    EffectFirst,
    /// A VM counts as destroyed before it is.
    NeverDestroyed,
    /// A registration without a VM stays.
    RegistrationStays,
    /// A failed VM is stopped at once.
    NoDiagnostics,
    /// A VM goes into quarantine although it is registered.
    RegisteredQuarantine,
}

impl World {
    /// Returns the configuration of a pass, with a limit that is too high by what the mutant does not count.
    pub(super) fn config_for_pass<'a>(&self, config: &'a Config) -> Cow<'a, Config> {
        if !self.has(Mutant::RecordsTakeNoSlot) {
            return Cow::Borrowed(config);
        }
        let is_seen = |intent: &&Intent| self.fleet.facts().guest(intent.vmid).is_some();
        let unseen = self.fleet.records().filter(|intent| intent.is_live()).filter(|intent| !is_seen(intent)).count();
        let mut config = config.clone();
        config.pools[0].max += u32::try_from(unseen).unwrap_or_default();
        Cow::Owned(config)
    }

    /// Changes the outcome that the fleet takes.
    pub(super) fn tampered(&self, step: &Step, outcome: Outcome) -> Outcome {
        match (step, outcome) {
            (Step::Mint { .. }, Err(failure)) if self.has(Mutant::MintAgain) => {
                Err(Failure { kind: FailureKind::Refused, ..failure })
            }
            (_, outcome) => outcome,
        }
    }

    /// Changes the fleet's records as the defect would have.
    pub(super) fn tamper(&mut self) {
        let now: Timestamp = self.now;
        match self.rules.mutant {
            Some(Mutant::OneNegative) => {
                self.force(now, State::Fenced, |life| life.negative_at.is_some(), State::Stopping)
            }
            Some(Mutant::RegisteredQuarantine) => {
                self.force(now, State::Retiring, |_| true, State::Quarantined);
            }
            Some(Mutant::OneLook) => {
                self.force(now, State::Busy, |life| life.missing_at.is_some(), State::Stopping);
                self.force(now, State::Idle, |life| life.missing_at.is_some(), State::Stopping);
            }
            Some(Mutant::NoDiagnostics) => {
                for intent in self.fleet.records.values_mut().filter(|intent| diagnostics::has_failed(&intent.life)) {
                    intent.life.diagnosed_at.get_or_insert(now);
                }
            }
            Some(Mutant::NoRest) => {
                for intent in self.fleet.records.values_mut() {
                    intent.retry_at = None;
                }
                self.fleet.resting.clear();
            }
            _ => {}
        }
    }

    /// Moves records from a state to another without an event.
    fn force(&mut self, now: Timestamp, from: State, is_due: impl Fn(&Life) -> bool, to: State) {
        for intent in self.fleet.records.values_mut().filter(|intent| intent.life.state == from && is_due(&intent.life))
        {
            let life = Life { state: to, since: now, ..intent.life.clone() };
            intent.set_life(life, now);
            self.fleet.changes.put(intent, now);
        }
    }
}
