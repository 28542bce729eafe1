//! Time of the first question to the agent of a booting guest. A late question delays the VM, and one that is too
//! early occupies a worker of the node.

use std::time::Duration;

/// Time of the first question if no boot of the guest's template has been seen.
const UNKNOWN: Duration = Duration::from_millis(500);
/// Number of boots that are remembered.
const REMEMBERED: usize = 5;
/// Number of boots that an estimate needs. With fewer, any of them may have been unusually slow.
const FEW: usize = 3;
/// Factor by which the next guest is asked sooner than a guest that answered the first question, because that guest may
/// have been ready earlier.
const PULL: f64 = 0.92;
/// The same factor while no question of any boot came too early. Such guests may have been ready from the start.
const STRONG_PULL: f64 = 0.5;

/// Measurements of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booted {
    /// Time from the end of the start task to the agent's answer.
    pub took: Duration,
    /// Number of questions before the one that was answered.
    pub asked_in_vain: u32,
}

/// Times that recent guests of one template took to boot, from the end of their start task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootTimes {
    /// Recent boots, oldest first.
    recent: Vec<Boot>,
    /// True if any question was in vain, and if that is not known.
    was_early: bool,
}

/// A remembered boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Boot {
    took: Duration,
    first_question: FirstQuestion,
}

/// Outcome of the first question to a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstQuestion {
    /// The agent answered, so the guest may have been ready earlier.
    Answered,
    /// The guest was not ready. A later question was answered, seconds after the guest was ready at worst.
    InVain,
    /// The outcome was not stored. The stored time takes it into account.
    Unknown,
}

impl Boot {
    /// Returns the time at which to ask the next guest, as far as this boot shows.
    fn next(self, pull: f64) -> Duration {
        if self.first_question == FirstQuestion::Answered { self.took.mul_f64(pull) } else { self.took }
    }
}

impl BootTimes {
    /// Restores the result of [`BootTimes::recent`].
    #[must_use]
    pub fn from_recent(recent: Vec<Duration>) -> Self {
        let was_early = !recent.is_empty();
        let recent = recent.into_iter().map(|took| Boot { took, first_question: FirstQuestion::Unknown }).collect();
        let mut times = Self { recent, was_early };
        times.forget();
        times
    }

    /// Returns the remembered times, oldest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Duration> {
        self.recent.iter().map(|boot| boot.next(PULL)).collect()
    }

    /// Returns the time from the end of the start task to the first question.
    ///
    /// While no question was in vain, this is half of the shortest time. Later it is the second shortest time of the
    /// recent boots, so that a single slow or fast boot does not decide. With few boots, it is the shortest time at
    /// which a guest answered the first question, or half of the shortest time if none did.
    #[must_use]
    pub fn first_question(&self) -> Duration {
        let shortest = self.recent.iter().map(|boot| boot.took).min();
        let Some(shortest) = shortest else { return UNKNOWN };
        if !self.was_early {
            return shortest.mul_f64(STRONG_PULL);
        }
        let pull = self.pull();
        if self.recent.len() < FEW {
            let answered = self.recent.iter().filter(|boot| boot.first_question == FirstQuestion::Answered);
            return answered.map(|boot| boot.next(pull)).min().unwrap_or(shortest / 2);
        }
        let mut sorted: Vec<Duration> = self.recent.iter().map(|boot| boot.next(pull)).collect();
        sorted.sort_unstable();
        sorted[1]
    }

    /// Returns [`PULL`], or no pull while a recent guest was asked too early.
    fn pull(&self) -> f64 {
        let was_early = self.recent.iter().any(|boot| boot.first_question == FirstQuestion::InVain);
        if was_early { 1.0 } else { PULL }
    }

    /// Remembers a boot.
    pub fn learn(&mut self, booted: Booted) {
        let is_early = booted.asked_in_vain > 0;
        let first_question = if is_early { FirstQuestion::InVain } else { FirstQuestion::Answered };
        self.was_early |= is_early;
        self.recent.push(Boot { took: booted.took, first_question });
        self.forget();
    }

    fn forget(&mut self) {
        let surplus = self.recent.len().saturating_sub(REMEMBERED);
        self.recent.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(3);
    const PAUSE: Duration = Duration::from_secs(1);

    /// Boots a guest that is ready after `ready`. Returns the time of the first question, and the delay with which the
    /// guest was found ready.
    fn boot(times: &mut BootTimes, ready: Duration) -> (Duration, Duration) {
        let first = times.first_question();
        let (mut now, mut asked_in_vain) = (first, 0);
        while now < ready {
            now += HOLD + PAUSE;
            asked_in_vain += 1;
        }
        times.learn(Booted { took: now, asked_in_vain });
        (first, now - ready)
    }

    #[test]
    fn the_first_guest_is_asked_soon() {
        assert!(BootTimes::default().first_question() <= Duration::from_secs(1));
    }

    #[test]
    fn one_slow_first_boot_does_not_delay_the_next_ones() {
        let mut times = BootTimes::default();
        boot(&mut times, Duration::from_secs(33));
        let late: Vec<Duration> = (0..6).map(|_| boot(&mut times, Duration::from_secs(10)).1).collect();
        assert!(late[0] < Duration::from_secs(9), "{late:?}");
        assert!(late[1..].iter().all(|late| *late < Duration::from_secs(9)), "{late:?}");
    }

    #[test]
    fn one_slow_boot_among_others_changes_nothing() {
        let mut times = BootTimes::default();
        for _ in 0..10 {
            boot(&mut times, Duration::from_secs(10));
        }
        let before = times.first_question();
        times.learn(Booted { took: Duration::from_secs(60), asked_in_vain: 6 });
        assert!(times.first_question() <= before.max(Duration::from_secs(14)), "{times:?}");
    }

    #[test]
    fn answers_at_the_first_question_pull_the_next_question_down() {
        let mut times = BootTimes::from_recent(vec![Duration::from_secs(30); REMEMBERED]);
        let asked: Vec<Duration> = (0..40).map(|_| boot(&mut times, Duration::from_secs(5)).0).collect();
        assert!(asked.last() < Some(&Duration::from_secs(10)), "{asked:?}");
    }

    #[test]
    fn guests_that_are_ready_at_once_are_soon_asked_at_once() {
        let mut times = BootTimes::default();
        let asked: Vec<Duration> = (0..6).map(|_| boot(&mut times, Duration::ZERO).0).collect();
        assert!(asked.last() < Some(&Duration::from_millis(20)), "{asked:?}");
    }

    #[test]
    fn after_a_question_in_vain_the_next_guests_are_asked_when_the_others_had_answered() {
        let mut times = BootTimes::default();
        let late: Vec<Duration> = (0..20).map(|_| boot(&mut times, Duration::from_millis(400)).1).collect();
        let in_vain = late.iter().filter(|late| **late > HOLD).count();
        assert!(in_vain <= 5, "{late:?}");
        assert!(times.first_question() >= Duration::from_millis(350), "{times:?}");
    }

    #[test]
    fn a_restored_history_is_pulled_down_slowly() {
        let restored = BootTimes::from_recent(vec![Duration::from_secs(10); REMEMBERED]);
        let mut times = restored.clone();
        boot(&mut times, Duration::from_secs(1));
        boot(&mut times, Duration::from_secs(1));
        assert!(times.first_question() >= restored.first_question().mul_f64(PULL), "{times:?}");
    }

    #[test]
    fn a_template_that_boots_slower_than_before_is_learnt_within_five_boots() {
        let mut times = BootTimes::from_recent(vec![Duration::from_secs(5); REMEMBERED]);
        for _ in 0..5 {
            boot(&mut times, Duration::from_secs(30));
        }
        assert!(times.first_question() >= Duration::from_secs(24), "{times:?}");
    }
}
