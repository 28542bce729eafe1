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

/// Measurements of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booted {
    /// Time from the end of the start task to the agent's answer.
    pub took: Duration,
    /// Number of questions before the one that was answered.
    pub asked_in_vain: u32,
}

/// Times that recent guests of one template took to boot, from the end of their start task, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootTimes(Vec<Duration>);

impl BootTimes {
    /// Restores what [`BootTimes::recent`] returned.
    #[must_use]
    pub fn from_recent(mut recent: Vec<Duration>) -> Self {
        let surplus = recent.len().saturating_sub(REMEMBERED);
        recent.drain(..surplus);
        Self(recent)
    }

    /// Returns the remembered times, oldest first.
    #[must_use]
    pub fn recent(&self) -> &[Duration] {
        &self.0
    }

    /// Returns the time from the end of the start task to the first question.
    ///
    /// This is the second shortest time of the recent boots, so that a single slow or fast boot does not decide. With
    /// few boots, it is half of the shortest time.
    #[must_use]
    pub fn first_question(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        match sorted.as_slice() {
            [] => UNKNOWN,
            few if few.len() < FEW => few[0] / 2,
            many => many[1],
        }
    }

    /// Remembers a boot.
    pub fn learn(&mut self, booted: Booted) {
        let took = if booted.asked_in_vain == 0 { booted.took.mul_f64(PULL) } else { booted.took };
        self.0.push(took);
        *self = Self::from_recent(std::mem::take(&mut self.0));
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
    fn a_template_that_boots_slower_than_before_is_learnt_within_five_boots() {
        let mut times = BootTimes::from_recent(vec![Duration::from_secs(5); REMEMBERED]);
        for _ in 0..5 {
            boot(&mut times, Duration::from_secs(30));
        }
        assert!(times.first_question() >= Duration::from_secs(24), "{times:?}");
    }
}
