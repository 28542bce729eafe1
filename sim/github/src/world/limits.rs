//! Rate limits: per hour, for registrations, and against bursts.

use jiff::{SignedDuration, Timestamp};

use super::World;
use super::model::{Cost, LimitKey, RateState};
use crate::refusal::Refusal;

/// Requests per hour without a token.
const ANONYMOUS_LIMIT: u64 = 60;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const FIVE_MINUTES: SignedDuration = SignedDuration::from_mins(5);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

impl World {
    /// Counts one request. Refusals contain the state of the limit too.
    pub(crate) fn count(
        &mut self,
        who: &LimitKey,
        cost: Cost<'_>,
        now: Timestamp,
    ) -> Result<RateState, (Refusal, RateState)> {
        let limit = if *who == LimitKey::Nobody { ANONYMOUS_LIMIT } else { self.behaviour.rate_limit };
        let (secondary, registration_limit) = (self.behaviour.secondary.clone(), self.behaviour.registration_limit);
        let usage = self.usages.entry(who.clone()).or_default();
        let core = *usage.core.at(now, HOUR);
        let core_state = |used| RateState { resource: "core", limit, used, reset_at: core.reset_at };
        let wait = |length: SignedDuration| u64::try_from(length.as_secs()).unwrap_or_default().max(1);
        let throttled = |wait_seconds| Refusal::SecondaryLimit { wait_seconds, status: secondary.status };
        if let Some(until) = usage.throttled_until.filter(|until| now < *until) {
            return Err((throttled(wait(until.duration_since(now))), core_state(core.used)));
        }
        if core.used >= limit {
            return Err((Refusal::PrimaryLimit(who.clone()), core_state(limit)));
        }
        while usage.points.front().is_some_and(|(at, ..)| *at + MINUTE <= now) {
            usage.points.pop_front();
        }
        let spent: u64 =
            usage.points.iter().filter(|(_, endpoint, _)| endpoint == cost.endpoint).map(|(.., points)| points).sum();
        let price = if cost.changes { 5 } else { 1 };
        if usage.in_flight > secondary.concurrent || spent + price > secondary.points_per_minute {
            usage.throttled_until = Some(now + secondary.wait);
            return Err((throttled(wait(secondary.wait)), core_state(core.used)));
        }
        if cost.registers {
            let window = usage.registrations.at(now, FIVE_MINUTES);
            let state = |used| RateState {
                resource: "actions_runner_registration",
                limit: registration_limit,
                used,
                reset_at: window.reset_at,
            };
            if window.used >= registration_limit {
                return Err((Refusal::PrimaryLimit(who.clone()), state(window.used)));
            }
            window.used += 1;
        }
        usage.points.push_back((now, cost.endpoint.to_owned(), price));
        usage.core.used += 1;
        Ok(core_state(usage.core.used))
    }

    /// Takes one request back, because "not modified" is not counted.
    pub(crate) fn uncount(&mut self, who: &LimitKey) -> u64 {
        let Some(usage) = self.usages.get_mut(who) else { return 0 };
        usage.core.used = usage.core.used.saturating_sub(1);
        usage.core.used
    }

    /// Counts the beginning or the end of a request.
    pub(crate) fn in_flight(&mut self, who: &LimitKey, begins: bool) {
        let usage = self.usages.entry(who.clone()).or_default();
        usage.in_flight = if begins { usage.in_flight + 1 } else { usage.in_flight.saturating_sub(1) };
    }

    pub(crate) fn limit_until(&mut self, who: &LimitKey, until: Timestamp) {
        self.usages.entry(who.clone()).or_default().throttled_until = Some(until);
    }

    /// Returns the states of both limits for `GET /rate_limit`, without counting.
    pub(crate) fn rate_states(&mut self, who: &LimitKey, now: Timestamp) -> [RateState; 2] {
        let (limit, registration_limit) = (self.behaviour.rate_limit, self.behaviour.registration_limit);
        let usage = self.usages.entry(who.clone()).or_default();
        let core = *usage.core.at(now, HOUR);
        let registrations = *usage.registrations.at(now, FIVE_MINUTES);
        [
            RateState { resource: "core", limit, used: core.used, reset_at: core.reset_at },
            RateState {
                resource: "actions_runner_registration",
                limit: registration_limit,
                used: registrations.used,
                reset_at: registrations.reset_at,
            },
        ]
    }
}
