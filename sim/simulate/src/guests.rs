//! Fake guests: timers boot them, a fake runner program takes one job, and every end of it powers the guest off.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use sim_backend::{
    AgentCall, AgentError, AgentReply, Backend, ContainerSetup, ContainerStart, Events, GuestEvent, GuestEventKind,
    Stream, VmStart,
};
use sim_github::ServerHandle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::runner::Runner;
use crate::watch::Watch;

const JIT_CONFIG: &str = "/run/pxci/jitconfig";
const ARMED: &str = "/run/pxci/armed";
const STATE: &str = "/run/pxci/state";
const DIAGNOSE: &str = "/run/pxci/diagnose";
const DIAGNOSTICS: &str = "/run/pxci/diagnostics";
/// Time after which Proxmox VE gives up the wait for the lock of a storage.
const STORAGE_LOCK: Duration = Duration::from_secs(10);

/// Durations of the steps of a guest's life. A pair is the shortest and the longest time in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Time for which a linked clone holds its storage.
    pub(crate) storage_held: Duration,
    /// Time that a linked clone takes besides.
    pub(crate) clone: (u64, u64),
    /// Time of a start task.
    pub(crate) start: (u64, u64),
    /// Time from the start to the first answer of the guest agent.
    pub(crate) boot: (u64, u64),
    /// Time from the arming to the session of the runner program.
    pub(crate) runner: (u64, u64),
    /// Time from the end of the runner program to the end of the guest.
    pub(crate) power_off: (u64, u64),
    /// Time of the deletion of a disk.
    pub(crate) deletion: (u64, u64),
    /// Time of every job; drawn for each job if absent.
    pub(crate) job: Option<Duration>,
    /// Probability that a guest's agent never answers.
    pub(crate) silent: f64,
    /// Time for which a call of Proxmox VE holds a daemon worker.
    pub(crate) worker: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            storage_held: Duration::from_millis(500),
            clone: (200, 1_500),
            start: (600, 2_000),
            boot: (4_000, 12_000),
            runner: (500, 3_000),
            power_off: (500, 4_000),
            deletion: (200, 1_200),
            job: None,
            silent: 0.0,
            worker: Duration::ZERO,
        }
    }
}

/// All guests of the simulated cluster.
#[derive(Clone)]
pub(crate) struct Guests {
    pub(crate) github: Arc<ServerHandle>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) chance: Chance,
    pace: Pace,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    guests: BTreeMap<u32, Guest>,
    /// Number of operations so far, for times that are left to chance.
    operations: u64,
    /// Locks of the storages, by name.
    storages: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
}

struct Guest {
    name: String,
    incarnation: u64,
    is_up: bool,
    files: BTreeMap<String, Vec<u8>>,
    events: Events,
    tasks: Vec<JoinHandle<()>>,
}

impl Guests {
    pub(crate) fn new(github: Arc<ServerHandle>, watch: Arc<Watch>, chance: Chance, pace: Pace) -> Self {
        Self { github, watch, chance, pace, state: Arc::default() }
    }

    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_guest<R>(&self, vmid: u32, act: impl FnOnce(&mut Guest) -> R) -> Option<R> {
        self.with(|state| state.guests.get_mut(&vmid).map(act))
    }

    /// Returns the time of an operation, in milliseconds between two.
    fn time(&self, of: &str, (from, to): (u64, u64)) -> Duration {
        let number = self.with(|state| {
            state.operations += 1;
            state.operations
        });
        self.chance.milliseconds(of, number, from, to)
    }

    async fn boot(self, vmid: u32, incarnation: u64, events: Events) {
        sleep(self.chance.milliseconds("boot", incarnation, self.pace.boot.0, self.pace.boot.1)).await;
        if self.chance.is_hit("silent agent", incarnation, self.pace.silent) {
            return;
        }
        self.with_guest(vmid, |guest| guest.is_up = true);
        events.send(GuestEvent { vmid, kind: GuestEventKind::AgentUp });
    }

    /// Acts as the image's unit: the runner program runs once, and every end of it powers the guest off.
    async fn run_once(self, vmid: u32) {
        let armed = self.with_guest(vmid, |guest| {
            let jit = guest.files.remove(JIT_CONFIG).unwrap_or_default();
            (jit, guest.name.clone(), guest.incarnation)
        });
        let Some((jit, name, incarnation)) = armed else { return };
        let Pace { runner: begins, power_off, .. } = self.pace;
        sleep(self.chance.milliseconds("start of the runner", incarnation, begins.0, begins.1)).await;
        if let Some(runner) = Runner::new(Arc::clone(&self.github), self.chance, self.pace.job, &jit) {
            runner.run(|word| self.note(vmid, &name, word)).await;
        }
        sleep(self.chance.milliseconds("power-off", incarnation, power_off.0, power_off.1)).await;
        let guest = self.with(|state| state.guests.remove(&vmid));
        self.watch.powered_off(vmid);
        if let Some(guest) = guest {
            guest.events.send(GuestEvent { vmid, kind: GuestEventKind::PoweredOff });
        }
    }

    /// Writes a line into the guest's state file.
    fn note(&self, vmid: u32, name: &str, word: &str) {
        self.with_guest(vmid, |guest| {
            guest.files.entry(STATE.to_owned()).or_default().extend(format!("{word}\n").into_bytes())
        });
        self.watch.runner_says(vmid, name, word);
    }

    fn answer(&self, vmid: u32, call: AgentCall) -> Result<AgentReply, AgentError> {
        if self.with_guest(vmid, |guest| guest.is_up) != Some(true) {
            return Err(AgentError::NotRunning);
        }
        match call {
            AgentCall::FileRead { path } => {
                let content = self.with_guest(vmid, |guest| guest.files.get(&path).cloned()).flatten();
                content.map(AgentReply::Content).ok_or_else(|| missing(&path))
            }
            AgentCall::FileWrite { path, content } => {
                let is_armed = self.with_guest(vmid, |guest| guest.files.contains_key(ARMED)) == Some(true);
                self.with_guest(vmid, |guest| guest.files.insert(path.clone(), content));
                if path == DIAGNOSE {
                    self.with_guest(vmid, |guest| guest.files.insert(DIAGNOSTICS.to_owned(), b"a log".to_vec()));
                }
                if path == ARMED && !is_armed {
                    let running = tokio::spawn(self.clone().run_once(vmid));
                    self.with_guest(vmid, |guest| guest.tasks.push(running));
                }
                Ok(AgentReply::Done)
            }
            AgentCall::Interfaces | AgentCall::OsInfo => Ok(AgentReply::Json(Value::Array(Vec::new()))),
            AgentCall::Exec { .. } | AgentCall::ExecStatus { .. } => Err(AgentError::Refused("not here".into())),
        }
    }
}

fn missing(path: &str) -> AgentError {
    AgentError::Refused(format!("failed to open file '{path}' (mode: 'r'): No such file or directory"))
}

impl Backend for Guests {
    fn disk_create<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }

    fn disk_clone<'a>(&'a self, _: &'a str, to: &'a str, _: bool) -> BoxFuture<'a, io::Result<()>> {
        let more = self.time("clone", self.pace.clone);
        let name = to.split(':').next().unwrap_or_default().to_owned();
        let storage = self.with(|state| Arc::clone(state.storages.entry(name.clone()).or_default()));
        async move {
            let Ok(held) = tokio::time::timeout(STORAGE_LOCK, storage.lock()).await else {
                let file = format!("/var/lock/pve-manager/pve-storage-{name}");
                return Err(io::Error::other(format!("can't lock file '{file}' - got timeout")));
            };
            sleep(self.pace.storage_held).await;
            drop(held);
            sleep(more).await;
            Ok(())
        }
        .boxed()
    }

    fn disk_rename<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, io::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }

    fn disk_delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<()>> {
        sleep(self.time("deletion", self.pace.deletion)).map(Ok).boxed()
    }

    fn vm_start<'a>(&'a self, start: VmStart, events: Events) -> BoxFuture<'a, Result<(), String>> {
        let takes = self.time("start", self.pace.start);
        async move {
            sleep(takes).await;
            let incarnation = self.with(|state| {
                state.operations += 1;
                state.operations
            });
            let booting = tokio::spawn(self.clone().boot(start.vmid, incarnation, events.clone()));
            let (name, files) = (start.name, BTreeMap::new());
            let guest = Guest { name, incarnation, is_up: false, files, events, tasks: vec![booting] };
            self.with(|state| state.guests.insert(start.vmid, guest));
            Ok(())
        }
        .boxed()
    }

    fn vm_shutdown(&self, _: u32) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn vm_stop(&self, vmid: u32) -> BoxFuture<'_, ()> {
        if let Some(guest) = self.with(|state| state.guests.remove(&vmid)) {
            guest.tasks.iter().for_each(JoinHandle::abort);
            self.watch.stopped(vmid, &guest.name);
        }
        std::future::ready(()).boxed()
    }

    fn vm_key<'a>(&'a self, _: u32, _: &'a str) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }

    fn agent(&self, vmid: u32, call: AgentCall) -> BoxFuture<'_, Result<AgentReply, AgentError>> {
        std::future::ready(self.answer(vmid, call)).boxed()
    }

    fn container_create<'a>(&'a self, _: &'a str, _: PathBuf, _: ContainerSetup) -> BoxFuture<'a, Result<(), String>> {
        std::future::ready(Err("no containers here".into())).boxed()
    }

    fn container_start<'a>(&'a self, _: ContainerStart, _: Events) -> BoxFuture<'a, Result<(), String>> {
        std::future::ready(Err("no containers here".into())).boxed()
    }

    fn container_stop(&self, _: u32) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn container_console(&self, _: u32) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        std::future::ready(Err(io::ErrorKind::Unsupported.into())).boxed()
    }
}
