//! The thread that owns the database, and its replacement in simulations.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::LedgerError;
use super::store::Store;

type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// Runs jobs on the database, one after the other, in the order of their calls.
#[derive(Debug)]
pub(super) enum Writer {
    Thread(Worker),
    Inline(Mutex<Store>),
}

impl Writer {
    pub(super) fn thread(store: Store) -> io::Result<Self> {
        Worker::start(store).map(Self::Thread)
    }

    pub(super) fn inline(store: Store) -> Self {
        Self::Inline(Mutex::new(store))
    }

    /// Runs a job and returns its result. The job also runs if this call is dropped before it ends.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`] when this job or an earlier one panicked on the thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        match self {
            Self::Thread(worker) => worker.run(job).await,
            // A transaction that a panic interrupted was rolled back, so the database is as it was.
            Self::Inline(store) => Ok(job(&mut store.lock().unwrap_or_else(PoisonError::into_inner))),
        }
    }
}

/// A thread with the database. Ends, and closes the database, when dropped.
pub(super) struct Worker {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(mut store: Store) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let work = move || queue.into_iter().for_each(|job| job(&mut store));
        let thread = thread::Builder::new().name("ledger".to_owned()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (reply, result) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            // A caller that is gone does not need the result.
            let _ = reply.send(job(store));
        });
        let jobs = self.jobs.as_ref().ok_or(LedgerError::Stopped)?;
        jobs.send(job).map_err(|_| LedgerError::Stopped)?;
        result.await.map_err(|_| LedgerError::Stopped)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // A thread that panicked has closed the database already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Worker").finish_non_exhaustive()
    }
}
