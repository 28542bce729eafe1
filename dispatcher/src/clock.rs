//! The one place where the time is read. Decisions get it as an argument.
//!
//! The dispatcher measures all durations in *fleet time*: a timestamp that moves as a monotonic clock does and never jumps when
//! somebody sets the wall clock. The ledger stores fleet time, so that durations go on after a restart:
//!
//! | Start | Fleet time goes on from |
//! | --- | --- |
//! | nothing is stored | the wall clock |
//! | the node has not rebooted | the stored fleet time and what `CLOCK_BOOTTIME` has counted since |
//! | the node has rebooted | the stored fleet time |
//!
//! After a reboot, the only witness of the time that passed is the wall clock, and a wrong one cannot be recognised: a clock that
//! jumped forward by three hours looks like a reboot that took three hours. Adding the difference would end every job that is
//! within three hours of its limit. Without it, every deadline comes later by the time of the reboot, once. That delays an end
//! and condemns nothing, so nothing is added, however plausible the wall clock is.
//!
//! Fleet time must never be compared with a time of GitHub's or shown to people: [`Clock::wall`] converts it.

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Returns the time of the wall clock.
#[expect(clippy::disallowed_methods, reason = "the origin of fleet time, and labels for people")]
pub(crate) fn wall_now() -> Timestamp {
    Timestamp::now()
}

/// One moment on all clocks, as the ledger stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredClock {
    /// Fleet time of the moment.
    pub(crate) fleet: Timestamp,
    /// Wall time of the moment. No decision follows from it; it explains a stored fleet time to people.
    pub(crate) wall: Timestamp,
    /// Time since the node's boot, suspended time included.
    pub(crate) boottime: Duration,
    /// Kernel's id of that boot, or `None` if it cannot be read.
    pub(crate) boot_id: Option<String>,
}

/// The inputs that fleet time is made from.
trait Source: fmt::Debug + Send + Sync {
    fn wall(&self) -> Timestamp;
    fn boottime(&self) -> Duration;
    fn boot_id(&self) -> Option<String>;
    fn instant(&self) -> Instant;
}

/// A clock of fleet time. Clones are the same clock.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    source: Arc<dyn Source>,
    origin: Timestamp,
    started: Instant,
}

impl Clock {
    /// Returns the clock of this process, which goes on from the moment that the ledger stored last.
    pub(crate) fn system(stored: Option<StoredClock>) -> Self {
        Self::from_source(Arc::new(System), stored.as_ref())
    }

    /// Returns a clock for simulations, which shows `origin` at the instant `started` and moves with tokio's clock. Fleet time and
    /// wall time are the same.
    pub(crate) fn virtual_from(origin: Timestamp, started: Instant) -> Self {
        Self { source: Arc::new(Virtual { origin, started }), origin, started }
    }

    fn from_source(source: Arc<dyn Source>, stored: Option<&StoredClock>) -> Self {
        let origin = match stored {
            None => source.wall(),
            Some(stored) if is_same_boot(stored, source.boot_id()) => {
                later(stored.fleet, source.boottime().saturating_sub(stored.boottime))
            }
            Some(stored) => stored.fleet,
        };
        let started = source.instant();
        Self { source, origin, started }
    }

    /// Returns the present fleet time.
    pub(crate) fn now(&self) -> Timestamp {
        later(self.origin, self.source.instant().saturating_duration_since(self.started))
    }

    /// Converts a fleet time to a wall time for people, with the present difference between the two clocks.
    pub(crate) fn wall(&self, fleet_time: Timestamp) -> Timestamp {
        let difference = self.source.wall().duration_since(self.now());
        // Only calendar units are refused, which a difference of two timestamps does not have.
        fleet_time.saturating_add(difference).unwrap_or(fleet_time)
    }

    /// Converts a wall time, such as one of GitHub's, to fleet time, with the present difference between the two clocks.
    pub(crate) fn fleet(&self, wall_time: Timestamp) -> Timestamp {
        let difference = self.now().duration_since(self.source.wall());
        wall_time.saturating_add(difference).unwrap_or(wall_time)
    }

    /// Returns the present moment on all clocks.
    ///
    /// Every commit to the ledger should carry it. Otherwise a record may be later than the fleet time after a reboot.
    pub(crate) fn stored(&self) -> StoredClock {
        StoredClock {
            fleet: self.now(),
            wall: self.source.wall(),
            boottime: self.source.boottime(),
            boot_id: self.source.boot_id(),
        }
    }
}

/// Returns true if the stored boot is the present one. A boot without an id is never the same.
fn is_same_boot(stored: &StoredClock, present: Option<String>) -> bool {
    stored.boot_id.is_some() && stored.boot_id == present
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The clocks of the kernel.
#[derive(Debug)]
struct System;

impl Source for System {
    fn wall(&self) -> Timestamp {
        wall_now()
    }

    fn boottime(&self) -> Duration {
        // The kernel counts this clock from zero.
        Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
    }

    fn boot_id(&self) -> Option<String> {
        let text = fs::read_to_string(BOOT_ID).ok()?;
        Some(text.trim().to_owned()).filter(|id| !id.is_empty())
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// Clocks that all move with the time of the tokio runtime.
#[derive(Debug)]
struct Virtual {
    origin: Timestamp,
    started: Instant,
}

impl Source for Virtual {
    fn wall(&self) -> Timestamp {
        later(self.origin, self.boottime())
    }

    fn boottime(&self) -> Duration {
        self.started.elapsed()
    }

    fn boot_id(&self) -> Option<String> {
        Some("simulation".to_owned())
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::SignedDuration;

    use super::*;

    /// Clocks that a test sets.
    #[derive(Debug, Clone)]
    struct Hands {
        wall: Timestamp,
        boottime: Duration,
        boot_id: Option<String>,
        instant: Instant,
    }

    #[derive(Debug)]
    struct Fake(Mutex<Hands>);

    impl Fake {
        fn booted(boot_id: &str) -> Arc<Self> {
            let hands = Hands {
                wall: at(0),
                boottime: Duration::from_secs(500),
                boot_id: Some(boot_id.to_owned()),
                instant: Instant::now(),
            };
            Arc::new(Self(Mutex::new(hands)))
        }

        fn set(&self, change: impl FnOnce(&mut Hands)) {
            change(&mut self.0.lock().unwrap());
        }

        /// Lets time pass on all clocks.
        fn pass(&self, seconds: u64) {
            let passed = Duration::from_secs(seconds);
            self.set(|hands| {
                hands.wall += passed;
                hands.boottime += passed;
                hands.instant += passed;
            });
        }

        fn hands(&self) -> Hands {
            self.0.lock().unwrap().clone()
        }
    }

    impl Source for Fake {
        fn wall(&self) -> Timestamp {
            self.hands().wall
        }

        fn boottime(&self) -> Duration {
            self.hands().boottime
        }

        fn boot_id(&self) -> Option<String> {
            self.hands().boot_id
        }

        fn instant(&self) -> Instant {
            self.hands().instant
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn clock(source: &Arc<Fake>, stored: Option<&StoredClock>) -> Clock {
        Clock::from_source(Arc::clone(source) as Arc<dyn Source>, stored)
    }

    #[test]
    fn the_first_start_takes_the_wall_clock() {
        let source = Fake::booted("a");
        let clock = clock(&source, None);
        source.pass(7);
        assert_eq!((clock.now(), clock.wall(clock.now())), (at(7), at(7)));
    }

    #[test]
    fn fleet_time_does_not_follow_a_jump_of_the_wall_clock_and_labels_do() {
        let source = Fake::booted("a");
        let clock = clock(&source, None);
        source.pass(10);
        for jump in [SignedDuration::from_hours(20), SignedDuration::from_hours(-50)] {
            source.set(|hands| hands.wall += jump);
            assert_eq!(clock.now(), at(10));
            assert_eq!(clock.wall(at(4)), source.wall() - SignedDuration::from_secs(6));
        }
    }

    #[test]
    fn a_restart_within_one_boot_counts_exactly_whatever_the_wall_clock_says() {
        let source = Fake::booted("a");
        let stored = clock(&source, None).stored();
        assert_eq!((stored.fleet, stored.boottime), (at(0), Duration::from_secs(500)));
        source.pass(30);
        source.set(|hands| hands.wall += SignedDuration::from_hours(-5));
        let restarted = clock(&source, Some(&stored));
        assert_eq!(restarted.now(), at(30));
        source.pass(2);
        assert_eq!(restarted.now(), at(32));
    }

    #[test]
    fn a_boottime_that_runs_backwards_within_one_boot_adds_nothing() {
        let source = Fake::booted("a");
        let stored = clock(&source, None).stored();
        source.set(|hands| hands.boottime = Duration::ZERO);
        assert_eq!(clock(&source, Some(&stored)).now(), at(0));
    }

    #[test]
    fn durations_count_on_from_now_after_a_reboot_and_no_wall_clock_condemns_anything() {
        let stored = clock(&Fake::booted("a"), None).stored();
        for hours in [-30, 0, 3, 23, 24 * 365] {
            let source = Fake::booted("b");
            source.set(|hands| hands.wall += SignedDuration::from_hours(hours));
            let clock = clock(&source, Some(&stored));
            assert_eq!(clock.now(), at(0), "{hours}");
            assert_eq!(clock.wall(clock.now()), source.wall(), "{hours}");
            source.pass(5);
            assert_eq!(clock.now(), at(5), "{hours}");
        }
    }

    #[test]
    fn a_boot_that_cannot_be_identified_counts_as_another_one() {
        let source = Fake::booted("a");
        source.set(|hands| hands.boot_id = None);
        let stored = clock(&source, None).stored();
        source.pass(60);
        assert_eq!(clock(&source, Some(&stored)).now(), at(0));
    }

    #[test]
    fn fleet_time_never_runs_backwards_over_several_restarts_and_reboots() {
        let source = Fake::booted("a");
        let mut stored = clock(&source, None).stored();
        for (boot, jump) in [("a", -9_000), ("b", 9_000), ("b", -90_000), ("c", 0)] {
            source.pass(10);
            source.set(|hands| {
                hands.boot_id = Some(boot.to_owned());
                hands.wall += SignedDuration::from_secs(jump);
            });
            let next = clock(&source, Some(&stored));
            assert!(next.now() >= stored.fleet, "{boot} {jump}");
            source.pass(1);
            assert!(next.now() > stored.fleet, "{boot} {jump}");
            stored = next.stored();
        }
    }

    #[test]
    fn the_kernel_has_all_clocks() {
        let stored = Clock::system(None).stored();
        assert_eq!(stored.boot_id.as_ref().map(String::len), Some(36));
        assert!(stored.boottime > Duration::ZERO);
        let restarted = Clock::system(Some(stored.clone()));
        assert!(restarted.now() >= stored.fleet);
    }

    #[tokio::test(start_paused = true)]
    async fn virtual_time_moves_with_the_runtime_only() {
        let clock = Clock::virtual_from(at(0), Instant::now());
        assert_eq!(clock.now(), at(0));
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!((clock.now(), clock.wall(at(60)), clock.stored().fleet), (at(3_600), at(60), at(3_600)));
    }
}
