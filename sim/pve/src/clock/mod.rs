//! The simulator's time: real, run faster so that tests need not sit through PVE's waits, or virtual.

pub(crate) mod virtual_time;

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use virtual_time::VirtualTime;

/// How PVE's waits (a 401 is held back 3 s, a lock is waited for 10 s, …) are lived through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// As long as the real server takes, on tokio's clock: where that is paused, waits take no time.
    Real,
    /// The simulator's clock runs this many times faster than the wall's.
    Faster(f64),
    /// So fast that a wait is not felt; for tests without guests that need real time.
    Instant,
    /// Nothing but waiting makes time pass: it jumps to the next moment somebody waits for once everybody waits.
    /// The simulator's driver takes part in that; it is meant for the replay of recordings.
    Virtual,
    /// Nothing but [`crate::Handle::pass`] makes time pass; requests come from outside, whenever they like.
    Stepped,
}

/// Start of virtual time, in seconds since the epoch: recordings are replayed alike on every day.
const VIRTUAL_START: i64 = 1_795_300_000;

#[derive(Debug, Clone)]
pub(crate) struct Clock {
    source: Source,
    /// Instant of the start.
    start: Timestamp,
    /// Requests come from outside, so that each is at work by itself.
    stepped: bool,
}

/// See [`Clock::at_work`].
#[derive(Debug)]
pub(crate) struct AtWork(Clock);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// See [`Clock::outside`].
struct Again<'a>(&'a Clock);

impl Drop for Again<'_> {
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

    /// Simulated time since the start.
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

    /// Simulated seconds since the epoch.
    pub(crate) fn seconds(&self) -> u64 {
        u64::try_from(self.instant().as_second()).unwrap_or(0)
    }

    pub(crate) async fn sleep(&self, simulated: Duration) {
        match &self.source {
            Source::Wall { factor, .. } => tokio::time::sleep(simulated.div_f64(*factor)).await,
            Source::Virtual(time) => time.park_until(time.now() + simulated).await,
        }
    }

    /// Waits until `attempt` yields something, at most `limit`. It is tried again whenever [`Clock::tell`] is called
    /// with the same `signal`.
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

    /// What somebody may wait for with [`Clock::until`] has changed.
    pub(crate) fn tell(&self, signal: &Notify) {
        signal.notify_waiters();
        if let Source::Virtual(time) = &self.source {
            time.tell();
        }
    }

    /// Something of its own is at work until what this returns is dropped, even by a panic.
    pub(crate) fn at_work(&self) -> AtWork {
        self.begin();
        AtWork(self.clone())
    }

    /// Whether time passes only when somebody says so.
    pub(crate) fn is_stepped(&self) -> bool {
        self.stepped
    }

    /// A request is at work until what this returns is dropped. Where the simulator's driver asks, the driver is
    /// at work for it.
    pub(crate) fn request(&self) -> Option<AtWork> {
        self.stepped.then(|| self.at_work())
    }

    /// Waits for something outside the simulator. Stepped time may pass meanwhile; a driver on virtual time is what is
    /// waited for, and at work itself.
    pub(crate) async fn outside<T>(&self, event: impl Future<Output = T>) -> T {
        if !self.stepped {
            return event.await;
        }
        self.end();
        // What waits may be dropped in the middle.
        let _again = Again(self);
        event.await
    }

    /// Something of its own is at work from now on: virtual time stands still while it is not waiting.
    pub(crate) fn begin(&self) {
        if let Source::Virtual(time) = &self.source {
            time.begin();
        }
    }

    /// Ends what [`Clock::begin`] began.
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
