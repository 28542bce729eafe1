//! File locks of guests: shared or exclusive, acquired with a time limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

#[derive(Debug, Default)]
struct Held {
    readers: u32,
    writer: bool,
}

#[derive(Debug)]
struct Table {
    clock: Clock,
    held: Mutex<BTreeMap<u32, Held>>,
    freed: Notify,
}

/// The locks of all guests.
#[derive(Debug, Clone)]
pub(crate) struct Locks(Arc<Table>);

/// A lock that is held until the guard is dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    table: Arc<Table>,
    vmid: u32,
    mode: Mode,
}

impl Locks {
    pub(crate) fn new(clock: Clock) -> Self {
        Self(Arc::new(Table { clock, held: Mutex::default(), freed: Notify::new() }))
    }

    pub(crate) fn try_acquire(&self, vmid: u32, mode: Mode) -> Option<Guard> {
        let mut all = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = all.entry(vmid).or_default();
        let free = !held.writer && (mode == Mode::Shared || held.readers == 0);
        if !free {
            return None;
        }
        match mode {
            Mode::Shared => held.readers += 1,
            Mode::Exclusive => held.writer = true,
        }
        Some(Guard { table: self.0.clone(), vmid, mode })
    }

    /// Acquires the lock, waiting at most `limit`.
    pub(crate) async fn acquire(&self, vmid: u32, mode: Mode, limit: Duration) -> Option<Guard> {
        self.0.clock.until(&self.0.freed, limit, || self.try_acquire(vmid, mode)).await
    }

    /// Returns the guests whose lock is held.
    pub(crate) fn held(&self) -> Vec<u32> {
        let all = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(_, held)| held.writer || held.readers > 0).map(|(vmid, _)| *vmid).collect()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut all = self.table.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = all.get_mut(&self.vmid) {
            match self.mode {
                Mode::Shared => held.readers = held.readers.saturating_sub(1),
                Mode::Exclusive => held.writer = false,
            }
        }
        drop(all);
        self.table.clock.notify(&self.table.freed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Latency;

    #[tokio::test]
    async fn readers_share_and_a_writer_waits_for_them() {
        let locks = Locks::new(Clock::new(Latency::Virtual, None));
        let first = locks.try_acquire(1, Mode::Shared).expect("free");
        let second = locks.try_acquire(1, Mode::Shared).expect("shared");
        assert!(locks.acquire(1, Mode::Exclusive, Duration::from_secs(10)).await.is_none());
        drop((first, second));
        assert!(locks.acquire(1, Mode::Exclusive, Duration::from_secs(10)).await.is_some());
        assert!(locks.held().is_empty());
    }
}
