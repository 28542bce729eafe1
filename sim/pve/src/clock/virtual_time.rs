//! Time that passes only while everything waits.
//!
//! Pieces of work are counted; one that waits is not. When the count reaches zero, time jumps to the earliest moment
//! that is waited for, and exactly that wait ends. The speed of the machine has no influence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// Moment of a wait, and its number for waits with the same moment.
type Key = (Duration, u64);

#[derive(Debug, Clone)]
pub(crate) struct VirtualTime(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    now: Duration,
    at_work: usize,
    next: u64,
    parked: BTreeMap<Key, oneshot::Sender<()>>,
    /// Waits that [`VirtualTime::notify`] also ends.
    listening: BTreeSet<Key>,
    /// Listeners that were notified after `listen` and before `park`.
    woken: BTreeSet<Key>,
}

impl Default for VirtualTime {
    /// Counts the caller as one piece of work.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Table { at_work: 1, ..Table::default() })))
    }
}

/// A registered listener. Dropping it ends the registration.
#[derive(Debug)]
pub(crate) struct Listening {
    time: VirtualTime,
    key: Key,
}

/// A wait. Dropping it early counts the work again.
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

    /// Waits until a moment.
    pub(crate) async fn park_until(&self, moment: Duration) {
        let key = self.table().key(moment);
        self.park(key).await;
    }

    /// Registers a listener, so that a [`VirtualTime::notify`] from now on is not missed.
    pub(crate) fn listen(&self, deadline: Duration) -> Listening {
        let mut table = self.table();
        let key = table.key(deadline);
        table.listening.insert(key);
        Listening { time: self.clone(), key }
    }

    /// Wakes all listeners.
    pub(crate) fn notify(&self) {
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
    /// Waits for a notification, at most until the deadline.
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

    /// Ends the earliest wait if nothing is at work.
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
    async fn a_notified_listener_continues_and_a_dropped_wait_counts_as_work() {
        let time = VirtualTime::default();
        let listening = time.listen(Duration::from_secs(5));
        time.notify();
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
