//! The simulator's time: real, or run faster so that tests need not sit through PVE's waits.

use std::time::{Duration, Instant};

/// How PVE's waits (a 401 is held back 3 s, a lock is waited for 10 s, …) are lived through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// As long as the real server takes.
    Real,
    /// The simulator's clock runs this many times faster than the wall's.
    Faster(f64),
    /// So fast that a wait is not felt; for tests without guests that need real time.
    Instant,
}

/// Seconds since the epoch at which a simulated clock starts, unless told otherwise.
pub(crate) const EPOCH: u64 = 1_795_300_000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    factor: f64,
}

impl Clock {
    pub(crate) fn new(latency: Latency) -> Self {
        let factor = match latency {
            Latency::Real => 1.0,
            Latency::Faster(factor) => factor.max(1.0),
            Latency::Instant => 500.0,
        };
        Self { started: Instant::now(), factor }
    }

    /// Simulated time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed().mul_f64(self.factor)
    }

    /// Simulated seconds since the epoch.
    pub(crate) fn seconds(&self) -> u64 {
        EPOCH + self.now().as_secs()
    }

    /// The real time that a simulated one takes.
    pub(crate) fn real(&self, simulated: Duration) -> Duration {
        simulated.div_f64(self.factor)
    }

    pub(crate) async fn sleep(&self, simulated: Duration) {
        tokio::time::sleep(self.real(simulated)).await;
    }
}
