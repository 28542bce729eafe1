//! Fake guests of the simulated VMs: they boot at once, take their files as the image's scripts would, run one job at the
//! simulated GitHub, and power themselves off.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use sim_backend::{
    AgentCall, AgentError, AgentReply, Backend, ContainerSetup, ContainerStart, Events, GuestEvent, GuestEventKind,
    Stream, VmStart,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const RUNNER_VERSION: &str = "2.336.0";

/// Durations of the steps of a guest's life.
#[derive(Debug, Clone, Copy)]
struct Pace {
    clone: Duration,
    start: Duration,
    boot: Duration,
    job: Duration,
    deletion: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let (none, boot, job) = (Duration::ZERO, Duration::from_millis(200), Duration::from_millis(300));
        Self { clone: none, start: none, boot, job, deletion: none }
    }
}

/// All guests of one simulated PVE.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guests {
    pace: Pace,
    /// True once jobs may end. Absent where they end by themselves.
    may_end: Option<watch::Sender<bool>>,
    /// True if no guest's agent ever answers.
    silent: bool,
    shared: Arc<Mutex<HashMap<u32, Guest>>>,
    /// Every JIT configuration that any guest was handed, to look for where it must not be.
    pub(crate) secrets: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug, Default)]
struct Guest {
    name: String,
    up: bool,
    files: HashMap<String, Vec<u8>>,
    events: Option<Events>,
    tasks: Vec<JoinHandle<()>>,
}

impl Guests {
    /// Returns guests at the pace of a real server, a small one with a fast disk.
    pub(crate) fn of_a_real_server() -> Self {
        let pace = Pace {
            clone: Duration::from_millis(1500),
            start: Duration::from_millis(1800),
            boot: Duration::from_secs(6),
            job: Duration::from_secs(5),
            deletion: Duration::from_millis(1200),
        };
        Self { pace, ..Self::default() }
    }

    /// Returns guests whose jobs do not end before [`Guests::end_jobs`].
    pub(crate) fn with_long_jobs() -> Self {
        Self { may_end: Some(watch::Sender::new(false)), ..Self::default() }
    }

    /// Ends the jobs of [`Guests::with_long_jobs`], and lets later ones end at once.
    pub(crate) fn end_jobs(&self) {
        if let Some(may_end) = &self.may_end {
            may_end.send_replace(true);
        }
    }

    async fn job_ends(&self) {
        match &self.may_end {
            // The sender lives as long as the guests.
            Some(may_end) => drop(may_end.subscribe().wait_for(|may_end| *may_end).await),
            None => tokio::time::sleep(self.pace.job).await,
        }
    }

    /// Returns guests whose agents never answer.
    pub(crate) fn without_agents() -> Self {
        Self { silent: true, ..Self::default() }
    }

    fn with<R>(&self, act: impl FnOnce(&mut HashMap<u32, Guest>) -> R) -> R {
        act(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The guest powers itself off.
    pub(crate) fn power_off(&self, vmid: u32) {
        if let Some(events) = self.end(vmid).and_then(|guest| guest.events) {
            events.send(GuestEvent { vmid, kind: GuestEventKind::PoweredOff });
        }
    }

    /// Host names of the guests that run.
    pub(crate) fn running(&self) -> Vec<String> {
        self.with(|guests| guests.values().map(|guest| guest.name.clone()).collect())
    }

    fn file(&self, vmid: u32, path: &str) -> Option<Vec<u8>> {
        self.with(|guests| guests.get(&vmid)?.files.get(path).cloned())
    }

    fn note(&self, vmid: u32, word: &str) {
        self.with(|guests| {
            if let Some(guest) = guests.get_mut(&vmid) {
                guest.files.entry("/run/pxci/state".into()).or_default().extend(format!("{word}\n").into_bytes());
            }
        });
    }

    fn end(&self, vmid: u32) -> Option<Guest> {
        let guest = self.with(|guests| guests.remove(&vmid));
        guest.inspect(|guest| guest.tasks.iter().for_each(JoinHandle::abort))
    }

    async fn boot(self, vmid: u32, events: Events) {
        tokio::time::sleep(self.pace.boot).await;
        if self.silent {
            return;
        }
        self.with(|guests| guests.get_mut(&vmid).map(|guest| guest.up = true));
        events.send(GuestEvent { vmid, kind: GuestEventKind::AgentUp });
    }

    /// Acts as the image's run-once unit: one job, then power-off, whatever happens.
    async fn run_once(self, vmid: u32) {
        let jit = self.file(vmid, "/run/pxci/jitconfig").unwrap_or_default();
        self.with(|guests| guests.get_mut(&vmid).map(|guest| guest.files.remove("/run/pxci/jitconfig")));
        let ended = self.listen(vmid, &jit).await;
        tracing::debug!(vmid, ?ended, "the runner ended");
        let events = self.with(|guests| guests.get(&vmid).and_then(|guest| guest.events.clone()));
        self.with(|guests| guests.remove(&vmid));
        if let Some(events) = events {
            events.send(GuestEvent { vmid, kind: GuestEventKind::PoweredOff });
        }
    }

    async fn listen(&self, vmid: u32, jit: &[u8]) -> Option<()> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).push(String::from_utf8_lossy(jit).into_owned());
        let files: Value = serde_json::from_slice(&STANDARD.decode(jit).ok()?).ok()?;
        let file = |name: &str| -> Option<Value> {
            serde_json::from_slice(&STANDARD.decode(files[name].as_str()?).ok()?).ok()
        };
        let server = file(".runner")?["serverUrl"].as_str()?.to_owned();
        let secret = file(".credentials_rsaparams")?["sharedSecret"].as_str()?.to_owned();
        let http = reqwest::Client::builder().no_proxy().build().ok()?;
        let call = |method: reqwest::Method, path: String| {
            let request = http.request(method, format!("{server}/_sim/runner/{path}"));
            request.bearer_auth(&secret).header("X-Runner-Version", RUNNER_VERSION)
        };
        let opened = call(reqwest::Method::POST, "sessions".into()).send().await.ok()?.error_for_status().ok()?;
        let session = opened.text().await.ok()?;
        self.note(vmid, "listening");
        let message = loop {
            let answer = call(reqwest::Method::GET, format!("sessions/{session}/message")).send().await.ok()?;
            match answer.status().as_u16() {
                200 => break answer.text().await.ok()?,
                202 => {}
                _ => return None,
            }
        };
        let job = message.lines().find_map(|line| line.strip_prefix("job="))?.to_owned();
        call(reqwest::Method::POST, format!("jobs/{job}/acquire")).send().await.ok()?.error_for_status().ok()?;
        self.note(vmid, "job");
        self.job_ends().await;
        call(reqwest::Method::POST, format!("jobs/{job}/finish")).body("success").send().await.ok()?;
        Some(())
    }

    /// Answers with logs that hold all that a guest knows, its registration included.
    fn leak(&self, vmid: u32) {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).join(" ");
        let log =
            format!("--- Runner.log\nINFO Listener] Running job\nACTIONS_RUNNER_INPUT_JITCONFIG={secrets}\nthe end\n");
        self.with(|guests| {
            let guest = guests.get_mut(&vmid)?;
            guest.files.insert("/run/pxci/diagnostics".into(), log.into_bytes())
        });
    }

    fn answer(&self, vmid: u32, call: AgentCall) -> Result<AgentReply, AgentError> {
        if !self.with(|guests| guests.get(&vmid).is_some_and(|guest| guest.up)) {
            return Err(AgentError::NotRunning);
        }
        match call {
            AgentCall::FileRead { path } => {
                self.file(vmid, &path).map(AgentReply::Content).ok_or_else(|| missing(&path))
            }
            AgentCall::FileWrite { path, content } => {
                self.with(|guests| guests.get_mut(&vmid).map(|guest| guest.files.insert(path.clone(), content)));
                if path == "/run/pxci/armed" {
                    let running = tokio::spawn(self.clone().run_once(vmid));
                    self.with(|guests| guests.get_mut(&vmid).map(|guest| guest.tasks.push(running)));
                }
                if path == "/run/pxci/diagnose" {
                    self.leak(vmid);
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

    fn disk_clone<'a>(&'a self, _: &'a str, _: &'a str, _: bool) -> BoxFuture<'a, io::Result<()>> {
        tokio::time::sleep(self.pace.clone).map(Ok).boxed()
    }

    fn disk_rename<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, io::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }

    fn disk_delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<()>> {
        tokio::time::sleep(self.pace.deletion).map(Ok).boxed()
    }

    fn vm_start<'a>(&'a self, start: VmStart, events: Events) -> BoxFuture<'a, Result<(), String>> {
        let started = async move {
            tokio::time::sleep(self.pace.start).await;
            let booting = tokio::spawn(self.clone().boot(start.vmid, events.clone()));
            let guest = Guest { name: start.name, events: Some(events), tasks: vec![booting], ..Guest::default() };
            self.with(|guests| guests.insert(start.vmid, guest));
            Ok(())
        };
        started.boxed()
    }

    fn vm_shutdown(&self, _: u32) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn vm_stop(&self, vmid: u32) -> BoxFuture<'_, ()> {
        self.end(vmid);
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
