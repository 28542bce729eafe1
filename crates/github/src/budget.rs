//! The rest of GitHub's rate limit, as GitHub's answers report it.

use http::header::HeaderMap;
use jiff::{SignedDuration, Timestamp};

/// Wait after a secondary limit without `Retry-After`. GitHub's documentation asks for at least one minute.
const SECONDARY_WAIT: SignedDuration = SignedDuration::from_secs(60);

/// Share of the hourly limit that is kept for registrations and their removal.
const RESERVED_SHARE: u64 = 20;

/// The primary limit, as the last answer that counted reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Requests per hour. `None` if the server has no limit, as GitHub Enterprise Server by default.
    pub limit: Option<u64>,
    /// Requests left until `reset_at`.
    pub remaining: Option<u64>,
    /// Begin of the next hour.
    pub reset_at: Option<Timestamp>,
    /// End of a primary or secondary limit, before which nothing is sent.
    pub blocked_until: Option<Timestamp>,
}

impl Budget {
    /// Updates the budget from the headers of an answer.
    pub(crate) fn observe(&mut self, headers: &HeaderMap) {
        if let Some(resource) = text(headers, "x-ratelimit-resource")
            && resource != "core"
        {
            return;
        }
        self.limit = number(headers, "x-ratelimit-limit").or(self.limit);
        self.remaining = number(headers, "x-ratelimit-remaining").or(self.remaining);
        self.reset_at = reset(headers).or(self.reset_at);
    }

    /// Blocks requests until this time, if an earlier answer does not block them for longer. A secondary limit is short and must
    /// not end the wait for a primary one.
    pub(crate) fn block(&mut self, until: Timestamp) {
        self.blocked_until = self.blocked_until.max(Some(until));
    }

    /// Returns true if the rest of the limit is reserved for requests that a runner waits for, so that polls should
    /// pause.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        matches!((self.limit, self.remaining), (Some(limit), Some(remaining)) if remaining < limit / RESERVED_SHARE)
    }

    /// Returns the end of the rate limit if this answer (403 or 429) reports one. GitHub marks a primary limit by a
    /// `remaining` of 0, and a secondary limit by `Retry-After` or by its message.
    pub(crate) fn limited(headers: &HeaderMap, message: &str, now: Timestamp) -> Option<Timestamp> {
        if let Some(seconds) = number(headers, "retry-after") {
            return now.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok();
        }
        if number(headers, "x-ratelimit-remaining") == Some(0) {
            return reset(headers).or_else(|| now.checked_add(SECONDARY_WAIT).ok());
        }
        let secondary = message.to_ascii_lowercase().contains("rate limit");
        secondary.then(|| now.checked_add(SECONDARY_WAIT).ok()).flatten()
    }
}

fn reset(headers: &HeaderMap) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(number(headers, "x-ratelimit-reset")?).ok()?).ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_primary_limit_ends_at_its_reset() {
        let headers = headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "5000")]);
        assert_eq!(Budget::limited(&headers, "API rate limit exceeded", at(4000)), Some(at(5000)));
    }

    #[test]
    fn a_secondary_limit_lasts_as_long_as_it_says_or_a_minute() {
        let reported = headers(&[("retry-after", "7"), ("x-ratelimit-remaining", "4000")]);
        assert_eq!(Budget::limited(&reported, "", at(100)), Some(at(107)));
        let untold = headers(&[("x-ratelimit-remaining", "4000")]);
        let message = "You have exceeded a secondary rate limit.";
        assert_eq!(Budget::limited(&untold, message, at(100)), Some(at(160)));
    }

    #[test]
    fn a_shorter_limit_does_not_end_a_longer_one() {
        let mut budget = Budget::default();
        budget.block(at(5000));
        budget.block(at(160));
        assert_eq!(budget.blocked_until, Some(at(5000)));
        budget.block(at(6000));
        assert_eq!(budget.blocked_until, Some(at(6000)));
    }

    #[test]
    fn the_last_twentieth_of_the_limit_is_reserved() {
        let budget = |limit, remaining| Budget { limit, remaining, ..Budget::default() };
        assert!(budget(Some(5000), Some(249)).is_reserved());
        assert!(!budget(Some(5000), Some(250)).is_reserved());
        assert!(!budget(None, Some(0)).is_reserved(), "a server without a limit");
    }

    #[test]
    fn a_plain_refusal_is_not_a_limit() {
        let headers = headers(&[("x-ratelimit-remaining", "4000")]);
        assert_eq!(Budget::limited(&headers, "Resource not accessible", at(100)), None);
    }

    #[test]
    fn the_budget_of_another_resource_is_left_alone() {
        let mut budget = Budget::default();
        budget.observe(&headers(&[("x-ratelimit-remaining", "12"), ("x-ratelimit-resource", "core")]));
        budget.observe(&headers(&[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-resource", "actions_runner_registration"),
        ]));
        assert_eq!(budget.remaining, Some(12));
    }
}
