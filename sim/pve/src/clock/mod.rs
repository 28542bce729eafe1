//! Simulated time: real, accelerated so that tests need not wait as long as PVE does, or virtual.

pub(crate) mod virtual_time;

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use virtual_time::VirtualTime;

/// Pace of simulated time, and with it the length of PVE's waits (3 s before each 401, 10 s for a lock, …).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// As long as the real server takes, on tokio's clock: where that is paused, waits take no time.
    Real,
    /// This number of times faster than real time.
    Faster(f64),
    /// 500 times faster than real time, for tests without guests that need real time.
    Instant,
    /// Time passes only while everything waits: the clock then jumps to the next moment that is waited for. The caller
    /// in the same process counts as part of the simulation, for the replay of recordings.
    Virtual,
    /// Time passes only in [`crate::Handle::pass`]. Requests come from other programs at any moment.
    Stepped,
}

/// Start of virtual time in seconds since the epoch. A fixed date makes recordings replay alike on every day.
const VIRTUAL_START: i64 = 1_795_300_000;

#[derive(Debug, Clone)]
pub(crate) struct Clock {
    source: Source,
    /// Instant at the simulator's start: this machine's time, or a fixed date on virtual time.
    start: Timestamp,
    /// True for [`Latency::Stepped`]: each request counts as work, because its client is outside the simulation.
    stepped: bool,
}

/// Guard of [`Clock::at_work`].
#[derive(Debug)]
pub(crate) struct AtWork(Clock);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Guard of [`Clock::outside`]. It counts the work again when dropped.
struct Resumed<'a>(&'a Clock);

impl Drop for Resumed<'_> {
    fn drop(&mut self) {
        self.0.begin();
    }
}

#[derive(Debug, Clone)]
enum Source {
    Wall { started: Instant, factor: f64 },
    Virtual(VirtualTime),
}

impl Clock {
    /// Starts a clock at an instant; by default at the machine's, and virtual time at its own.
    pub(crate) fn new(latency: Latency, start: Option<Timestamp>) -> Self {
        let start = start.unwrap_or_else(|| match latency {
            Latency::Virtual => Timestamp::constant(VIRTUAL_START, 0),
            _ => Timestamp::now(),
        });
        let factor = match latency {
            Latency::Real => 1.0,
            Latency::Faster(factor) => factor.max(1.0),
            Latency::Instant => 500.0,
            Latency::Virtual | Latency::Stepped => {
                let source = Source::Virtual(VirtualTime::default());
                return Self { source, start, stepped: latency == Latency::Stepped };
            }
        };
        Self { source: Source::Wall { started: Instant::now(), factor }, start, stepped: false }
    }

    /// Returns the simulated time since the start.
    pub(crate) fn now(&self) -> Duration {
        match &self.source {
            Source::Wall { started, factor } => started.elapsed().mul_f64(*factor),
            Source::Virtual(time) => time.now(),
        }
    }

    /// Returns the simulated instant.
    pub(crate) fn instant(&self) -> Timestamp {
        self.start.saturating_add(self.now()).unwrap_or(Timestamp::MAX)
    }

    /// Returns simulated seconds since the epoch.
    pub(crate) fn seconds(&self) -> u64 {
        u64::try_from(self.instant().as_second()).unwrap_or(0)
    }

    pub(crate) async fn sleep(&self, simulated: Duration) {
        match &self.source {
            Source::Wall { factor, .. } => tokio::time::sleep(simulated.div_f64(*factor)).await,
            Source::Virtual(time) => time.park_until(time.now() + simulated).await,
        }
    }

    /// Waits until `attempt` yields something, at most `limit`. Each [`Clock::notify`] with the same `signal` causes
    /// another attempt.
    pub(crate) async fn until<T>(
        &self,
        signal: &Notify,
        limit: Duration,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        match &self.source {
            Source::Wall { factor, .. } => {
                let tries = async {
                    loop {
                        let notified = signal.notified();
                        tokio::pin!(notified);
                        notified.as_mut().enable();
                        if let Some(got) = attempt() {
                            return got;
                        }
                        notified.await;
                    }
                };
                tokio::time::timeout(limit.div_f64(*factor), tries).await.ok()
            }
            Source::Virtual(time) => {
                let deadline = time.now().saturating_add(limit);
                loop {
                    let notified = time.listen(deadline);
                    if let Some(got) = attempt() {
                        return Some(got);
                    }
                    if time.now() >= deadline {
                        return None;
                    }
                    notified.park().await;
                }
            }
        }
    }

    /// Wakes everything that waits with [`Clock::until`] for this signal.
    pub(crate) fn notify(&self, signal: &Notify) {
        signal.notify_waiters();
        if let Source::Virtual(time) = &self.source {
            time.notify();
        }
    }

    /// Counts a piece of work until the returned guard is dropped, even by a panic.
    pub(crate) fn at_work(&self) -> AtWork {
        self.begin();
        AtWork(self.clone())
    }

    /// Returns true if time passes only on request.
    pub(crate) fn is_stepped(&self) -> bool {
        self.stepped
    }

    /// Counts a request as work until the returned guard is dropped. Returns `None` where the caller is part of the
    /// simulation, because the caller's own work already counts.
    pub(crate) fn request(&self) -> Option<AtWork> {
        self.stepped.then(|| self.at_work())
    }

    /// Waits for an event outside the simulation. Stepped time may pass meanwhile; on virtual time the event comes from
    /// the caller, whose own work counts.
    pub(crate) async fn outside<T>(&self, event: impl Future<Output = T>) -> T {
        if !self.stepped {
            return event.await;
        }
        self.end();
        // The wait may be cancelled.
        let _again = Resumed(self);
        event.await
    }

    /// Counts a piece of work. Virtual time stands still until it waits or ends.
    pub(crate) fn begin(&self) {
        if let Source::Virtual(time) = &self.source {
            time.begin();
        }
    }

    /// Ends a piece of work that [`Clock::begin`] counted.
    pub(crate) fn end(&self) {
        if let Source::Virtual(time) = &self.source {
            time.end();
        }
    }
}

impl sim_backend::WorldClock for Clock {
    fn now(&self) -> Duration {
        Self::now(self)
    }

    fn begin(&self) {
        Self::begin(self);
    }

    fn end(&self) {
        Self::end(self);
    }
}
