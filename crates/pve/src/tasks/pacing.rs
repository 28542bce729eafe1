//! Times of the polls of a task. Each poll is a request, and a late poll delays the caller.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ownership::NodeName;

use crate::upid::Upid;

/// Shortest pause between two polls, and pause before the first poll if no task of the kind has ended yet.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Latest time of the first poll. Uploads and full clones take between a second and a minute.
const LATEST_FIRST_POLL: Duration = Duration::from_secs(3);
/// Number of tasks of a kind that are remembered.
const REMEMBERED: usize = 8;
/// Factor by which the next task is polled sooner than a task that had ended at its first poll, because that task may
/// have ended earlier.
const PULL: f64 = 0.97;
/// The same factor if no poll of the remembered tasks came too early. The usual duration may then be far shorter.
const STRONG_PULL: f64 = 0.8;

/// Durations of recent tasks, by node and kind.
#[derive(Debug, Default)]
pub(crate) struct TaskTimes {
    recent: Mutex<HashMap<(NodeName, String), VecDeque<Took>>>,
    expected: HashMap<&'static str, Duration>,
}

/// One task that was waited for.
#[derive(Debug, Clone, Copy)]
struct Took {
    time: Duration,
    polled_too_early: bool,
}

impl TaskTimes {
    /// Starts with the usual durations of kinds of tasks in `expected`, which apply until a task of the kind has been
    /// seen.
    pub(crate) fn expecting(expected: &[(&'static str, Duration)]) -> Self {
        Self { recent: Mutex::default(), expected: expected.iter().copied().collect() }
    }

    /// Returns the polls of a task that begins now.
    pub(crate) fn polls(&self, upid: &Upid) -> Polls {
        Polls::after(self.usual(upid).or_else(|| self.expected.get(upid.kind()).copied()))
    }

    /// Returns the usual duration of tasks of this kind, or `None` if none has been seen.
    pub(crate) fn usual(&self, upid: &Upid) -> Option<Duration> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.get(&key(upid)).and_then(usual)
    }

    /// Remembers that a task was found ended after this time.
    pub(crate) fn record(&self, upid: &Upid, took: Duration, polls: &Polls) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = recent.entry(key(upid)).or_default();
        recent.push_back(Took { time: took, polled_too_early: polls.made > 1 });
        if recent.len() > REMEMBERED {
            recent.pop_front();
        }
    }
}

/// The polls of one task.
#[derive(Debug)]
pub(crate) struct Polls {
    made: u32,
    pause: Duration,
    is_known: bool,
}

impl Polls {
    fn after(usual: Option<Duration>) -> Self {
        let pause = usual.map_or(SHORTEST_PAUSE, |usual| usual.min(LATEST_FIRST_POLL));
        Self { made: 0, pause, is_known: usual.is_some() }
    }

    /// Returns the pause before the next poll.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.made += 1;
        self.pause = match (self.is_known, self.made) {
            // The first pause was the whole usual duration, so a quarter of it is a fair second pause.
            (true, 1) => pause / 4,
            (true, _) => pause.mul_f64(1.5),
            (false, _) => pause * 2,
        }
        .clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        pause
    }
}

fn key(upid: &Upid) -> (NodeName, String) {
    (upid.node().clone(), upid.kind().to_owned())
}

/// Returns the time of the next task's first poll, by which three quarters of the recent tasks had ended. If no poll
/// came too early, the time is shorter than that of any of them.
fn usual(recent: &VecDeque<Took>) -> Option<Duration> {
    if recent.iter().all(|took| !took.polled_too_early) {
        return recent.iter().map(|took| took.time.mul_f64(STRONG_PULL)).min();
    }
    let pulled = |took: &Took| if took.polled_too_early { took.time } else { took.time.mul_f64(PULL) };
    let mut times: Vec<Duration> = recent.iter().map(pulled).collect();
    times.sort_unstable();
    times.get(times.len() * 3 / 4).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clone_task() -> Upid {
        Upid::parse("UPID:pve1:000002E8:0002A2C8:6B02BFC8:qmclone:9000:ci@pve!t1:").unwrap()
    }

    /// Waits for a task of this duration, as [`crate::Client::wait`] does. Returns the number of polls and the delay of
    /// the last one.
    fn wait(times: &TaskTimes, takes: Duration) -> (u32, Duration) {
        let upid = clone_task();
        let mut polls = times.polls(&upid);
        let mut now = Duration::ZERO;
        while now < takes || polls.made == 0 {
            now += polls.next_pause();
        }
        times.record(&upid, now, &polls);
        (polls.made, now - takes)
    }

    #[test]
    fn the_second_task_of_a_kind_is_polled_when_the_first_one_had_ended() {
        let times = TaskTimes::default();
        let (first, _) = wait(&times, Duration::from_secs(2));
        assert!(first <= 6, "{first} polls");
        let (later, late): (Vec<_>, Vec<_>) = (0..40).map(|_| wait(&times, Duration::from_secs(2))).unzip();
        assert!(later.iter().sum::<u32>() <= 56, "{later:?}");
        assert!(late.iter().all(|late| *late < Duration::from_millis(1200)), "{late:?}");
    }

    #[test]
    fn one_slow_task_does_not_delay_the_next() {
        let times = TaskTimes::default();
        for _ in 0..4 {
            wait(&times, Duration::from_secs(1));
        }
        wait(&times, Duration::from_secs(40));
        let (_, late) = wait(&times, Duration::from_secs(1));
        assert!(late < Duration::from_millis(600), "{late:?}");
    }

    #[test]
    fn no_first_poll_is_later_than_three_seconds() {
        let times = TaskTimes::default();
        for _ in 0..3 {
            wait(&times, Duration::from_secs(90));
        }
        assert_eq!(times.polls(&clone_task()).next_pause(), LATEST_FIRST_POLL);
    }

    #[test]
    fn an_expectation_counts_until_a_task_was_seen_and_is_soon_corrected() {
        let times = TaskTimes::expecting(&[("qmclone", Duration::from_secs(2))]);
        assert_eq!(times.polls(&clone_task()).next_pause(), Duration::from_secs(2));
        for _ in 0..12 {
            wait(&times, Duration::from_millis(50));
        }
        assert!(times.polls(&clone_task()).next_pause() < Duration::from_millis(300));
    }

    #[test]
    fn kinds_of_tasks_and_nodes_are_distinguished() {
        let times = TaskTimes::default();
        wait(&times, Duration::from_secs(2));
        for other in ["UPID:pve1:1:2:3:qmstart:9000:ci@pve!t1:", "UPID:pve2:1:2:3:qmclone:9000:ci@pve!t1:"] {
            assert_eq!(times.polls(&Upid::parse(other).unwrap()).next_pause(), SHORTEST_PAUSE);
        }
    }
}
