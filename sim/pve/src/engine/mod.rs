//! State that all handlers share: the cluster, the clock, tasks, guest locks and daemon workers.

pub(crate) mod handlers;
pub(crate) mod locks;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::guests::open_consoles::Consoles;
use crate::params::Params;
use crate::refusal::{Outcome, Refusal};
use crate::reply::Reply;
use crate::schema::{Route, Schema, violations};
use crate::timeline::Timeline;
use crate::world::guest::{Guest, Kind};
use crate::world::state::{State, Task};
use handlers::Handlers;
use locks::{Guard, Locks, Mode};
use sim_backend::{Backend, Events};
use sim_http::faults::{Fault, Faults};
use sim_http::request_log::RequestLog;

tokio::task_local! {
    /// Simulated microseconds that the current request or task has waited.
    pub(crate) static WAITED: Arc<AtomicU64>;
}

/// The running simulator.
pub(crate) struct Engine {
    state: Mutex<State>,
    pub(crate) clock: Clock,
    pub(crate) schema: Schema,
    pub(crate) handlers: Handlers,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) locks: Locks,
    /// Workers of pvedaemon by node, three each. They carry out the calls that the schema marks as protected.
    workers: HashMap<String, Arc<Semaphore>>,
    /// Signal that a worker is free.
    freed: Notify,
    running: Mutex<HashMap<String, CancellationToken>>,
    /// Signal that a task has ended.
    finished: Notify,
    pub(crate) held: Mutex<HashMap<u32, Guard>>,
    pub(crate) consoles: Consoles,
    pub(crate) faults: Faults,
    pub(crate) timeline: Timeline,
    /// Number of times that a node's power was cut.
    pub(crate) power_cuts: watch::Sender<u64>,
    pub(crate) log: RequestLog,
    pub(crate) events: Events,
    pub(crate) files: PathBuf,
    pub(crate) ticket_key: [u8; 32],
    pub(crate) fingerprint: String,
    /// Undeclared fields of answers, if [`Options::check_answers`](crate::Options) is set.
    pub(crate) undeclared: Option<Mutex<BTreeSet<String>>>,
}

/// Parts that an [`Engine`] is made of.
pub(crate) struct Parts {
    pub(crate) state: State,
    pub(crate) schema: Schema,
    pub(crate) handlers: Handlers,
    pub(crate) clock: Clock,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) events: Events,
    pub(crate) files: PathBuf,
    pub(crate) ticket_key: [u8; 32],
    pub(crate) fingerprint: String,
    pub(crate) log: RequestLog,
    pub(crate) faults: Faults,
    pub(crate) check_answers: bool,
}

/// Limit of a wait that has none of its own.
const NO_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Tasks that call [`Worker::middle`]. A fault ends any other task before it begins.
const TASKS_WITH_MIDDLE: [&str; 4] = ["qmclone", "qmcreate", "vzclone", "vzcreate"];

/// One of a node's three daemon workers, held until the guard is dropped.
pub(crate) struct Daemon {
    permit: Option<OwnedSemaphorePermit>,
    engine: Arc<Engine>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.engine.clock.notify(&self.engine.freed);
    }
}

/// A request that has been checked.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `user@realm`, or `user@realm!token`.
    pub(crate) caller: String,
    pub(crate) node: String,
    pub(crate) params: Params,
    pub(crate) task_fault: Option<TaskFault>,
}

/// A fault that ends a task in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskFault {
    /// The worker process is killed and cannot clean up.
    Killed,
    /// The power of the task's node is cut.
    PowerCut,
}

impl TaskFault {
    pub(crate) fn of(fault: &Fault) -> Option<Self> {
        match fault {
            Fault::KillTask => Some(Self::Killed),
            Fault::CutPower => Some(Self::PowerCut),
            _ => None,
        }
    }
}

/// A running task.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) engine: Arc<Engine>,
    pub(crate) upid: String,
    /// Work to do if a user stops the task.
    cleanup: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
    node: String,
    task_fault: Option<TaskFault>,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Self {
        let workers = parts.state.nodes.keys().map(|node| (node.clone(), Arc::new(Semaphore::new(3)))).collect();
        Self {
            workers,
            state: Mutex::new(parts.state),
            clock: parts.clock.clone(),
            schema: parts.schema,
            handlers: parts.handlers,
            backend: parts.backend,
            locks: Locks::new(parts.clock.clone()),
            finished: Notify::new(),
            freed: Notify::new(),
            running: Mutex::default(),
            held: Mutex::default(),
            consoles: Consoles::default(),
            faults: parts.faults,
            timeline: Timeline::default(),
            power_cuts: watch::Sender::default(),
            log: parts.log,
            events: parts.events,
            files: parts.files,
            ticket_key: parts.ticket_key,
            fingerprint: parts.fingerprint,
            undeclared: parts.check_answers.then(Mutex::default),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a free worker of a node. Returns `None` for a node that does not exist.
    pub(crate) async fn daemon(self: &Arc<Self>, node: &str) -> Option<Daemon> {
        let workers = self.workers.get(node)?;
        let permit = self.clock.until(&self.freed, NO_LIMIT, || workers.clone().try_acquire_owned().ok()).await?;
        Some(Daemon { permit: Some(permit), engine: self.clone() })
    }

    /// Records the fields of an answer that the call's schema does not declare.
    pub(crate) fn check_answer(&self, method: &str, route: &Route, answer: &Reply) {
        let (Some(undeclared), Some(shape)) = (&self.undeclared, &route.returns) else { return };
        let data = match answer {
            Reply::Data(data, _) => Cow::Borrowed(data),
            Reply::RawJson(data) => Cow::Owned(serde_json::from_str(data.get()).unwrap_or_default()),
            Reply::Text(_) => return,
        };
        let found = violations(shape, &data).into_iter().map(|what| format!("{method} {} {what}", route.path));
        undeclared.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    /// Waits, and counts the wait for the current request or task.
    pub(crate) async fn wait(&self, simulated: Duration) {
        self.clock.sleep(simulated).await;
        count_wait(simulated);
    }

    /// Acquires a guest's lock within `limit` simulated seconds. The error is PVE's text.
    pub(crate) async fn lock(&self, kind: Kind, vmid: u32, mode: Mode, limit: u64) -> Result<Guard, String> {
        if let Some(guard) = self.locks.try_acquire(vmid, mode) {
            return Ok(guard);
        }
        let limit = Duration::from_secs(limit);
        let began = self.clock.now();
        let got = self.locks.acquire(vmid, mode, limit).await;
        count_wait(if got.is_some() { self.clock.now().saturating_sub(began).min(limit) } else { limit });
        got.ok_or_else(|| format!("can't lock file '{}' - got timeout", kind.lock_file(vmid)))
    }

    /// Acquires a guest's lock for a call that answers without a task.
    pub(crate) async fn lock_now(&self, kind: Kind, vmid: u32) -> Outcome<Guard> {
        self.lock(kind, vmid, Mode::Exclusive, 10).await.map_err(Refusal::fault)
    }

    /// Starts a task. The task's status is the result of `work`.
    pub(crate) fn spawn<F, W>(self: &Arc<Self>, call: &Call, kind: &str, id: &str, work: W) -> String
    where
        W: FnOnce(Worker) -> F,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let upid = self.open_task(call, kind, id);
        let cancel = CancellationToken::new();
        let cleanup = Arc::default();
        self.tasks().insert(upid.clone(), cancel.clone());
        let (node, task_fault) = (call.node.clone(), call.task_fault);
        let worker = Worker { engine: self.clone(), upid: upid.clone(), cleanup, node, task_fault };
        let future = work(worker.clone());
        let starts = worker.clone();
        let at_once = task_fault.is_some() && !TASKS_WITH_MIDDLE.contains(&kind);
        let waited = Arc::new(AtomicU64::new(0));
        let at_work = self.clock.at_work();
        tokio::spawn(WAITED.scope(waited.clone(), async move {
            let _at_work = at_work;
            let result = tokio::select! {
                biased;
                result = async {
                    if at_once {
                        starts.middle().await;
                    }
                    future.await
                } => result,
                () = cancel.cancelled() => {
                    if !worker.is_lost() {
                        worker.undo().await;
                    }
                    Err(worker.interrupt_text())
                }
            };
            worker.close(result, Duration::from_micros(waited.load(Ordering::Relaxed)));
        }));
        upid
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_task(&self, call: &Call, kind: &str, id: &str) -> String {
        let start = self.clock.seconds();
        let pstart = u64::try_from(self.clock.now().as_millis() / 10).unwrap_or(0) + 100_000;
        let mut state = self.state();
        let pid = state.pid();
        let node = &call.node;
        let upid = format!("UPID:{node}:{pid:08X}:{pstart:08X}:{start:08X}:{kind}:{id}:{}:", call.caller);
        let task = Task {
            upid: upid.clone(),
            node: node.clone(),
            pid,
            pstart,
            start,
            kind: kind.to_owned(),
            id: id.to_owned(),
            user: call.caller.clone(),
            log: Vec::new(),
            end: None,
            warnings: 0,
            waited: Duration::ZERO,
            interrupt: "received interrupt".to_owned(),
            lost: false,
        };
        state.tasks.push(task);
        drop(state);
        self.timeline.note(self.clock.now(), "task_start", &format!("{kind} {id}"));
        upid
    }

    /// Stops a task as a user does. Returns false if it has ended.
    pub(crate) fn interrupt(&self, upid: &str) -> bool {
        let mut tasks = self.tasks();
        let Some(running) = tasks.remove(upid) else { return false };
        // The task is woken and counts as work until `Worker::close` ends it.
        self.clock.begin();
        running.cancel();
        true
    }

    /// Kills a task's worker process, which cannot clean up. Returns false if the task has ended.
    pub(crate) fn kill(&self, upid: &str) -> bool {
        let running = |task: &&mut Task| task.upid == upid && task.end.is_none();
        if let Some(task) = self.state().tasks.iter_mut().rev().find(running) {
            task.lost = true;
        }
        self.interrupt(upid)
    }

    /// Waits for the end of a task. Returns false if it is still running after `limit`.
    pub(crate) async fn ended_within(&self, upid: &str, limit: Duration) -> bool {
        let done = || self.state().tasks.iter().rev().find(|t| t.upid == upid).is_none_or(|t| t.end.is_some());
        self.clock.until(&self.finished, limit, || done().then_some(())).await.is_some()
    }

    pub(crate) async fn ended(&self, upid: &str) {
        self.ended_within(upid, NO_LIMIT).await;
    }

    /// Runs a piece of background work that is not a task.
    pub(crate) fn spawn_background(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let at_work = self.clock.at_work();
        tokio::spawn(async move {
            let _at_work = at_work;
            work.await;
        });
    }

    /// Returns a guest, or refuses with PVE's text for a missing configuration.
    pub(crate) fn guest(&self, kind: Kind, vmid: u32, node: &str) -> Outcome<Guest> {
        let state = self.state();
        match state.guests.get(&vmid) {
            Some(guest) if guest.kind == kind && guest.node == node => Ok(guest.clone()),
            _ => Err(Refusal::fault(missing(kind, vmid, node))),
        }
    }

    /// Changes a guest, if it still exists.
    pub(crate) fn with_guest<T>(&self, vmid: u32, change: impl FnOnce(&mut Guest) -> T) -> Option<T> {
        self.state().guests.get_mut(&vmid).map(change)
    }
}

pub(crate) fn missing(kind: Kind, vmid: u32, node: &str) -> String {
    format!("Configuration file 'nodes/{node}/{}/{vmid}.conf' does not exist", kind.directory())
}

fn count_wait(simulated: Duration) {
    let _ = WAITED.try_with(|waited| {
        waited.fetch_add(u64::try_from(simulated.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    });
}

impl Worker {
    pub(crate) fn log(&self, line: impl Into<String>) {
        let line = line.into();
        self.with_task(|task| task.log.push(line));
    }

    /// Returns the number of the task's process.
    pub(crate) fn process(&self) -> u32 {
        self.with_task(|task| task.pid).unwrap_or_default()
    }

    pub(crate) fn warn(&self, text: &str) {
        self.with_task(|task| {
            task.warnings += 1;
            task.log.push(format!("WARN: {text}"));
        });
    }

    fn with_task<T>(&self, change: impl FnOnce(&mut Task) -> T) -> Option<T> {
        self.engine.state().tasks.iter_mut().rev().find(|task| task.upid == self.upid).map(change)
    }

    /// Acquires a guest's lock, and logs PVE's lines if the task has to wait.
    pub(crate) async fn lock(&self, kind: Kind, vmid: u32, mode: Mode, limit: u64) -> Result<Guard, String> {
        if let Some(guard) = self.engine.locks.try_acquire(vmid, mode) {
            return Ok(guard);
        }
        self.log("trying to acquire lock...");
        let guard = self.engine.lock(kind, vmid, mode, limit).await?;
        self.log(" OK");
        Ok(guard)
    }

    /// Sets the work to do if a user stops the task.
    pub(crate) fn on_stop(&self, cleanup: impl Future<Output = ()> + Send + 'static) {
        *self.cleanup.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(cleanup));
    }

    /// Keeps the results of the task even if a user stops it.
    pub(crate) fn keep(&self) {
        *self.cleanup.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Marks the middle of a task, where an injected fault ends it.
    pub(crate) async fn middle(&self) {
        let engine = self.engine.clone();
        match self.task_fault {
            None => return,
            Some(TaskFault::Killed) => {
                engine.kill(&self.upid);
            }
            Some(TaskFault::PowerCut) => {
                let node = self.node.clone();
                self.engine.spawn_background(async move {
                    engine.node_away(&node).await;
                });
            }
        }
        // The task ends here: see `Engine::spawn`.
        std::future::pending::<()>().await;
    }

    pub(crate) fn set_interrupt_text(&self, text: String) {
        self.with_task(|task| task.interrupt = text);
    }

    fn interrupt_text(&self) -> String {
        self.with_task(|task| task.interrupt.clone()).unwrap_or_default()
    }

    fn is_lost(&self) -> bool {
        self.with_task(|task| task.lost) == Some(true)
    }

    async fn undo(&self) {
        let cleanup = self.cleanup.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(cleanup) = cleanup {
            cleanup.await;
        }
    }

    fn close(&self, result: Result<(), String>, waited: Duration) {
        let interrupted = self.engine.tasks().remove(&self.upid).is_none();
        let now = self.engine.clock.seconds();
        let ended = self.with_task(|task| {
            let status = match result {
                Ok(()) if task.warnings > 0 => format!("WARNINGS: {}", task.warnings),
                Ok(()) => "OK".to_owned(),
                // PVE reads this from a log that stops in the middle.
                Err(_) if task.lost => "unexpected status".to_owned(),
                Err(text) => text.trim_end_matches('\n').to_owned(),
            };
            if task.lost && status == "unexpected status" {
                task.end = Some((now, status.clone()));
                return format!("{} {}: {status}", task.kind, task.id);
            }
            task.log.push(match status.as_str() {
                "OK" => "TASK OK".to_owned(),
                warnings if warnings.starts_with("WARNINGS: ") => format!("TASK {warnings}"),
                error => format!("TASK ERROR: {error}"),
            });
            task.waited = waited;
            task.end = Some((now, status.clone()));
            format!("{} {}: {status}", task.kind, task.id)
        });
        if let Some(text) = ended {
            self.engine.timeline.note(self.engine.clock.now(), "task_end", &text);
        }
        self.engine.clock.notify(&self.engine.finished);
        if interrupted {
            self.engine.clock.end();
        }
    }
}

impl Call {
    pub(crate) fn vmid(&self) -> u32 {
        self.params.vmid()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.params.text(name)
    }

    /// Refuses options that only `root@pam` itself may use.
    pub(crate) fn root_only(&self, names: &[&str]) -> Outcome<()> {
        let set = |name: &&&str| self.text(name).is_some_and(|value| !matches!(value, "" | "0"));
        match names.iter().find(set).filter(|_| self.caller != "root@pam") {
            Some(name) => Err(Refusal::parameter(name, "Only root may use this option.")),
            None => Ok(()),
        }
    }
}
