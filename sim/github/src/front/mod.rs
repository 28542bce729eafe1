//! The front: one listener, a task for each connection, and the handle with which tests and the demo control the world.

pub(crate) mod actions_service;
pub(crate) mod exchange;
pub(crate) mod http;
pub(crate) mod rest;
pub(crate) mod runner_program;
pub(crate) mod tls;
pub(crate) mod webhook_sender;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::behaviour::Behaviour;
use crate::world::World;
use crate::world::model::{Outgoing, RunSpec};
use sim_http::faults::Faults;
use sim_http::request_log::RequestLog;
use tls::Tls;

/// Longest time without a step of the world if nothing is due.
const IDLE_TICK: Duration = Duration::from_secs(600);

/// Options of a simulator.
#[derive(Clone)]
pub struct ServerOptions {
    /// Address to listen on. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// Root URL for guests, if it differs from the address. Port 0 in it stands for the port that was taken.
    pub external_url: Option<String>,
    /// Additional names and addresses in the certificate.
    pub names: Vec<String>,
    /// Behaviour of the simulated GitHub.
    pub behaviour: Behaviour,
    /// Seed of the world's names and secrets.
    pub seed: u64,
    /// Source of the time.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            external_url: None,
            names: Vec::new(),
            behaviour: Behaviour::default(),
            seed: rand::random(),
            clock: Arc::new(Timestamp::now),
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("listen", &self.listen)
            .field("external_url", &self.external_url)
            .finish_non_exhaustive()
    }
}

/// The GitHub simulator.
#[derive(Debug)]
pub struct Server;

/// The connection ended without a complete answer: the request may have been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection was closed without a complete answer")]
pub struct Unanswered;

/// State that the connections, the clock and the handle offer.
pub(crate) struct Shared {
    world: Mutex<World>,
    changes: watch::Sender<u64>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Root URL for guests.
    pub(crate) guests: String,
    pub(crate) log: RequestLog,
    pub(crate) faults: Faults,
    violations: Mutex<Vec<String>>,
    webhooks: UnboundedSender<Outgoing>,
}

/// The end of a request's longest wait, by the world's clock and by this machine's, because the client may use either.
pub(crate) struct Deadline {
    changes: watch::Receiver<u64>,
    world: Timestamp,
    real: Instant,
}

impl Shared {
    /// Changes the world, then carries out what is due and wakes everything that waits for a change.
    pub(crate) fn change<R>(&self, act: impl FnOnce(&mut World, Timestamp) -> R) -> R {
        let result = self.read_mut(act);
        self.changes.send_modify(|version| *version += 1);
        result
    }

    /// Changes the world like [`Shared::change`], but wakes nothing.
    pub(crate) fn read_mut<R>(&self, act: impl FnOnce(&mut World, Timestamp) -> R) -> R {
        let now = (self.clock)();
        let mut world = self.lock();
        let before = world.next_deadline();
        let result = act(&mut world, now);
        world.step(now);
        let after = world.next_deadline();
        let (outgoing, complaints) = (world.take_outgoing(), std::mem::take(&mut world.payload_deviations));
        drop(world);
        self.note_violations(complaints);
        for next in outgoing {
            // Without a receiver the server is ending, and no webhooks are sent.
            let _unsent = self.webhooks.send(next);
        }
        // The clock's task must wake earlier if this call made something due earlier.
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.changes.send_modify(|version| *version += 1);
        }
        result
    }

    pub(crate) fn read<R>(&self, inspect: impl FnOnce(&World, Timestamp) -> R) -> R {
        let now = (self.clock)();
        inspect(&self.lock(), now)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until this time has passed in the world.
    pub(crate) async fn wait(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let mut changes = self.changes();
        let until = (self.clock)().saturating_add(time).unwrap_or(Timestamp::MAX);
        loop {
            let left = until.duration_since((self.clock)());
            let Ok(left) = Duration::try_from(left) else { return };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                biased;
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Returns the deadline of a wait that begins now.
    pub(crate) fn deadline(&self, limit: Duration) -> Deadline {
        Deadline {
            changes: self.changes(),
            world: (self.clock)().saturating_add(limit).unwrap_or(Timestamp::MAX),
            real: Instant::now() + limit,
        }
    }

    /// Waits for a change of the world. Returns false if the deadline came first.
    pub(crate) async fn changed(&self, deadline: &mut Deadline) -> bool {
        // A step of virtual time is a change of the world too.
        if (self.clock)() >= deadline.world {
            return false;
        }
        matches!(tokio::time::timeout_at(deadline.real, deadline.changes.changed()).await, Ok(Ok(())))
    }

    pub(crate) fn note_violations(&self, found: Vec<String>) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Starts a simulator with an empty world.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(options: ServerOptions) -> io::Result<ServerHandle> {
        let listener = TcpListener::bind(options.listen).await?;
        let external_host = options.external_url.as_deref().and_then(host_of);
        let own_host = (!options.listen.ip().is_unspecified()).then(|| options.listen.ip().to_string());
        let Tls { acceptor, authority } = Tls::make(external_host.into_iter().chain(own_host).chain(options.names))?;
        let mut address = listener.local_addr()?;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let url = format!("http://{address}");
        let external_url = options.external_url.map(|url| match url.trim_end_matches('/').strip_suffix(":0") {
            Some(host) => format!("{host}:{}", address.port()),
            None => url.trim_end_matches('/').to_owned(),
        });
        let guests = external_url.unwrap_or_else(|| url.clone());
        let (shared, stop, mut tasks) = assemble(options.behaviour, options.seed, options.clock, guests);
        let serving = accept(listener, acceptor, Arc::clone(&shared));
        tasks.push(tokio::spawn(stop.clone().run_until_cancelled_owned(serving)));
        Ok(ServerHandle { url, authority, shared, stop, tasks })
    }

    /// Starts a front over an empty world that listens nowhere: [`ServerHandle::answer`] takes its requests, and its URL is
    /// a name only. Everything in it happens on the runtime of the caller; two runs of a seed are alike if the clock is.
    #[must_use]
    pub fn in_process(options: ServerOptions) -> ServerHandle {
        let url = options.external_url.unwrap_or_else(|| "https://github.example".to_owned());
        let (shared, stop, tasks) = assemble(options.behaviour, options.seed, options.clock, url.clone());
        ServerHandle { url, authority: String::new(), shared, stop, tasks }
    }
}

type Tasks = Vec<JoinHandle<Option<()>>>;

fn assemble(
    behaviour: Behaviour,
    seed: u64,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    guests: String,
) -> (Arc<Shared>, CancellationToken, Tasks) {
    let (webhooks, outgoing) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        world: Mutex::new(World::new(behaviour, seed)),
        changes: watch::Sender::new(0),
        clock,
        guests,
        log: RequestLog::default(),
        faults: Faults::new(seed),
        violations: Mutex::default(),
        webhooks,
    });
    let stop = CancellationToken::new();
    let tasks = vec![
        tokio::spawn(stop.clone().run_until_cancelled_owned(tick(Arc::clone(&shared)))),
        tokio::spawn(stop.clone().run_until_cancelled_owned(webhook_sender::run(Arc::clone(&shared), outgoing))),
    ];
    (shared, stop, tasks)
}

/// A running simulator. Dropping the handle stops it.
pub struct ServerHandle {
    url: String,
    authority: String,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Option<()>>>,
}

impl ServerHandle {
    /// Returns the root URL of the REST API for this machine, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the certificate of the CA for `https` on the same port, in PEM form. It is empty for a
    /// simulator that listens nowhere.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.authority
    }

    /// Answers a request, whose URI is absolute, as over a connection of its own, with the same checks, faults and request
    /// log. Dropping the future is what closing the connection is.
    ///
    /// # Errors
    /// When the connection is closed before the answer is complete.
    pub async fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Unanswered> {
        let (mut head, body) = request.into_parts();
        let scheme = head.uri.scheme_str().unwrap_or("https").to_owned();
        let host = head.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        head.headers.extend(host.map(|host| (HOST, host)));
        let request = Request::from_parts(head, Full::new(body));
        let mut restarts = self.shared.faults.restarts();
        let response = tokio::select! {
            biased;
            _ = restarts.changed() => return Err(Unanswered),
            response = http::answer(&self.shared, request, &scheme, Instant::now()) => response.map_err(|_| Unanswered)?,
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| Unanswered)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// Reads or changes the world, then carries out what is due and wakes waiting runners.
    pub fn world<R>(&self, act: impl FnOnce(&mut World, Timestamp) -> R) -> R {
        self.shared.change(act)
    }

    /// Reads the world without waking anything.
    pub fn inspect<R>(&self, inspect: impl FnOnce(&World, Timestamp) -> R) -> R {
        self.shared.read(inspect)
    }

    /// Queues a run. Returns the numbers of its jobs.
    pub fn queue_run(&self, spec: RunSpec) -> Vec<u64> {
        self.world(|world, now| world.queue_run(spec, now))
    }

    /// Waits until `inspect` returns a value. Returns `None` if that has not happened within `limit`.
    pub async fn wait_for<R>(&self, limit: Duration, mut inspect: impl FnMut(&World) -> Option<R>) -> Option<R> {
        let mut changes = self.shared.changes();
        let search = async {
            loop {
                if let Some(found) = self.shared.read(|world, _| inspect(world)) {
                    return Some(found);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(limit, search).await.ok().flatten()
    }

    /// Returns the request log, including the simulated runner's own calls (`/_sim/…`).
    #[must_use]
    pub fn requests(&self) -> RequestLog {
        self.shared.log.clone()
    }

    /// Returns the fault rules. Their paths are below the API's root.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Returns the requests and answers that GitHub's published description does not allow. A correct run has none.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.shared.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops listening and cuts all connections.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            // A task that panicked has ended too.
            let _ended = task.await;
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("url", &self.url).finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    // Dropping the set with this task closes the connections.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(serve(stream, tls.clone(), Arc::clone(&shared)))),
            // No file descriptors are left until others close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) {
    let mut restarts = shared.faults.restarts();
    tokio::select! {
        () = detect_tls(stream, tls, shared) => {}
        _ = restarts.changed() => {}
    }
}

async fn detect_tls(stream: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) {
    let served = match tls::client_uses_tls(&stream).await {
        Ok(true) => match tls.accept(stream).await {
            Ok(stream) => serve_stream(TokioIo::new(stream), "https", shared).await,
            Err(error) => Err(error.into()),
        },
        Ok(false) => serve_stream(TokioIo::new(stream), "http", shared).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the GitHub simulator failed");
    }
}

async fn serve_stream<I>(
    stream: I,
    scheme: &'static str,
    shared: Arc<Shared>,
) -> Result<(), Box<dyn Error + Send + Sync>>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { http::answer(&shared, request, scheme, Instant::now()).await }
    });
    Ok(http1::Builder::new().timer(TokioTimer::new()).serve_connection(stream, service).await?)
}

fn host_of(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(|host| host.trim_matches(['[', ']']).to_owned())
}

/// Carries out what is due as time passes.
async fn tick(shared: Arc<Shared>) {
    let mut changes = shared.changes();
    loop {
        let due = shared.read(|world, now| {
            let left = world.next_deadline()?.duration_since(now);
            Some(Duration::try_from(left).unwrap_or_default().max(Duration::from_millis(10)))
        });
        tokio::select! {
            biased;
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(due.unwrap_or(IDLE_TICK)) => shared.change(|_, _| ()),
        }
    }
}
