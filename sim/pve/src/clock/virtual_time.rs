//! Time that only passes while everybody waits.
//!
//! Whatever is at work is counted; waiting takes it out of the count. When nothing is left, time jumps to the earliest
//! moment that somebody waits for, and exactly that one goes on. How fast the machine is does not come into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// A moment and, for equal ones, the order of arrival.
type Key = (Duration, u64);

#[derive(Debug, Clone)]
pub(crate) struct VirtualTime(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    now: Duration,
    at_work: usize,
    next: u64,
    parked: BTreeMap<Key, oneshot::Sender<()>>,
    /// Those who also go on when somebody calls [`VirtualTime::tell`].
    listening: BTreeSet<Key>,
    /// Listeners that were woken between beginning to listen and parking.
    woken: BTreeSet<Key>,
}

impl Default for VirtualTime {
    /// The driver is at work.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Table { at_work: 1, ..Table::default() })))
    }
}

/// Somebody who listens; dropped, it listens no more.
#[derive(Debug)]
pub(crate) struct Listening {
    time: VirtualTime,
    key: Key,
}

/// Somebody who is parked; dropped early, it is at work again.
struct Parked<'a> {
    time: &'a VirtualTime,
    key: Key,
}

impl VirtualTime {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        self.table().now
    }

    pub(crate) fn begin(&self) {
        self.table().at_work += 1;
    }

    pub(crate) fn end(&self) {
        let mut table = self.table();
        table.at_work = table.at_work.saturating_sub(1);
        table.advance();
    }

    /// Waits for a moment.
    pub(crate) async fn park_until(&self, moment: Duration) {
        let key = self.table().key(moment);
        self.park(key).await;
    }

    /// From now on a [`VirtualTime::tell`] is not missed.
    pub(crate) fn listen(&self, deadline: Duration) -> Listening {
        let mut table = self.table();
        let key = table.key(deadline);
        table.listening.insert(key);
        Listening { time: self.clone(), key }
    }

    /// Everybody who listens tries again.
    pub(crate) fn tell(&self) {
        let mut table = self.table();
        for key in std::mem::take(&mut table.listening) {
            match table.parked.remove(&key) {
                Some(parked) => {
                    table.at_work += 1;
                    let _ = parked.send(());
                }
                None => {
                    table.woken.insert(key);
                }
            }
        }
    }

    async fn park(&self, key: Key) {
        let (wake, woken) = oneshot::channel();
        {
            let mut table = self.table();
            if table.woken.remove(&key) {
                return;
            }
            table.parked.insert(key, wake);
            table.at_work = table.at_work.saturating_sub(1);
            table.advance();
        }
        let _parked = Parked { time: self, key };
        let _ = woken.await;
    }
}

impl Listening {
    /// Waits until woken, or for the deadline.
    pub(crate) async fn park(self) {
        self.time.park(self.key).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut table = self.time.table();
        table.listening.remove(&self.key);
        table.woken.remove(&self.key);
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        let mut table = self.time.table();
        if table.parked.remove(&self.key).is_some() {
            table.at_work += 1;
        }
    }
}

impl Table {
    fn key(&mut self, moment: Duration) -> Key {
        self.next += 1;
        (moment, self.next)
    }

    /// With nobody at work, the earliest of those who wait goes on.
    fn advance(&mut self) {
        while self.at_work == 0 {
            let Some(((moment, _), parked)) = self.parked.pop_first() else { return };
            self.now = self.now.max(moment);
            if parked.send(()).is_ok() {
                self.at_work += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_end_in_the_order_of_their_moments_and_take_no_time() {
        let time = VirtualTime::default();
        let order: Arc<Mutex<Vec<u64>>> = Arc::default();
        for seconds in [30, 10, 20] {
            let (time, order) = (time.clone(), order.clone());
            time.begin();
            tokio::spawn(async move {
                time.park_until(Duration::from_secs(seconds)).await;
                order.lock().expect("the order").push(seconds);
                time.end();
            });
        }
        time.park_until(Duration::from_secs(3600)).await;
        assert_eq!(*order.lock().expect("the order"), [10, 20, 30]);
        assert_eq!(time.now(), Duration::from_secs(3600));
    }

    #[tokio::test]
    async fn a_listener_goes_on_when_woken_and_a_dropped_wait_counts_as_work() {
        let time = VirtualTime::default();
        let listening = time.listen(Duration::from_secs(5));
        time.tell();
        listening.park().await;
        assert_eq!(time.now(), Duration::ZERO);
        let waited = tokio::time::timeout(Duration::ZERO, async {
            time.begin();
            time.park_until(Duration::from_secs(5)).await;
        });
        assert!(waited.await.is_err());
        assert_eq!(time.table().at_work, 2);
    }
}
