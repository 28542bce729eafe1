//! Start of the simulator.

mod drive;
mod handle;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use handle::{Served, snapshot};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Latency};
use crate::engine::{Engine, Parts};
use crate::front::http::Front;
use crate::front::routes;
use crate::line::Line;
use crate::schema::Schema;
use crate::world::World;
pub use drive::TaskReport;
pub use handle::Handle;
use sim_backend::{Backend, Events, GuestEvent};
use sim_http::authority::Identity;
use sim_http::faults::Faults;
use sim_http::request_log::RequestLog;

/// Options of a simulator.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// Additional names in the certificate, apart from `localhost` and the address.
    pub names: Vec<String>,
    /// Pace of simulated time.
    pub latency: Latency,
    /// Line of PVE. By default the line of the world's version, or 9.
    pub line: Option<Line>,
    /// Seed of MAC addresses, UUIDs, secrets and faults.
    pub seed: u64,
    /// Simulated instant of the start; by default the machine's.
    pub begins: Option<Timestamp>,
    /// True if a statistics round updates the lists every ten simulated seconds.
    pub statistics: bool,
    /// True if answers are compared with PVE's schema ([`Handle::undeclared`]).
    pub check_answers: bool,
    /// Time for which each call that PVE's schema marks as protected holds one of the node's three daemon workers, in addition
    /// to the waits of the call.
    pub worker_time: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            names: Vec::new(),
            latency: Latency::Real,
            line: None,
            seed: 1,
            begins: None,
            statistics: true,
            check_answers: false,
            worker_time: Duration::ZERO,
        }
    }
}

/// Error that prevents a simulator from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The simulator cannot listen, or cannot make a temporary directory.
    #[error("the simulator cannot listen on {address}")]
    Listen {
        /// Address to listen on.
        address: SocketAddr,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The certificate cannot be made.
    #[error("the simulator's certificate cannot be made")]
    Certificate(#[source] rcgen::Error),
    /// The checked-in schema of the line cannot be read.
    #[error("the simulator's API schema cannot be read")]
    Schema(#[source] serde_json::Error),
    /// The TLS library rejected the certificate.
    #[error("the simulator's TLS set-up was refused")]
    Tls(#[source] rustls::Error),
}

/// A simulator of a Proxmox VE cluster's API servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts a simulator of `world` whose guests are run by `backend`.
    ///
    /// # Errors
    /// When it cannot listen or cannot make its certificate.
    pub async fn start(world: &World, backend: Arc<dyn Backend>, options: Options) -> Result<Handle, StartError> {
        let failed = |source| StartError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let identity = identity(&options, address)?;
        let fingerprint: [u8; 32] = Sha256::digest(&identity.certificate).into();
        let tls = TlsAcceptor::from(Arc::new(identity.server_config().map_err(StartError::Tls)?));
        let served = Served { address, ca_pem: identity.authority, fingerprint, tls: tls.clone() };
        let handle = assemble(world, backend, &options, Some(served))?;
        let first = handle.engine.state().first_node.clone();
        tokio::spawn(accept(handle.engine.clone(), first, listener, tls, handle.stop.clone()));
        Ok(handle)
    }

    /// Starts a simulator that listens nowhere: [`Handle::answer`] takes its requests. Everything in it happens on the
    /// runtime of the caller. With [`Latency::Real`] on a paused runtime of one thread, and with [`Options::begins`], two
    /// runs of a seed are alike.
    ///
    /// # Errors
    /// When it cannot make its scratch directory.
    pub fn in_process(world: &World, backend: Arc<dyn Backend>, options: &Options) -> Result<Handle, StartError> {
        assemble(world, backend, options, None)
    }
}

fn assemble(
    world: &World,
    backend: Arc<dyn Backend>,
    options: &Options,
    served: Option<Served>,
) -> Result<Handle, StartError> {
    let failed = |source| StartError::Listen { address: options.listen, source };
    let files = tempfile::Builder::new().prefix("pxci-sim-").tempdir().map_err(failed)?;
    let (events, happened) = mpsc::unbounded_channel();
    let fingerprint = served.as_ref().map_or([0; 32], |served| served.fingerprint);
    let shown: Vec<String> = fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    let clock = Clock::new(options.latency, options.begins);
    let line = options.line.or_else(|| world.line()).unwrap_or_default();
    let schema = Schema::of(line).map_err(StartError::Schema)?;
    let engine = Arc::new(Engine::new(Parts {
        state: world.build(options.seed, &schema, clock.seconds()),
        handlers: routes::handlers(&schema),
        schema,
        clock: clock.clone(),
        backend,
        events: Events::on(events, Arc::new(clock)),
        files: files.path().to_owned(),
        ticket_key: StdRng::seed_from_u64(options.seed).random(),
        fingerprint: shown.join(":"),
        log: RequestLog::default(),
        faults: Faults::new(options.seed),
        check_answers: options.check_answers,
        worker_time: options.worker_time,
    }));
    engine.statistics_round();
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(watch(engine.clone(), happened)));
    if options.statistics {
        tokio::spawn(rounds(engine.clone(), stop.clone()));
    }
    let baseline = snapshot(&engine);
    Ok(Handle { engine, served, stop, baseline, _files: files })
}

/// Takes over what guests do by themselves.
async fn watch(engine: Arc<Engine>, mut happened: mpsc::UnboundedReceiver<GuestEvent>) {
    while let Some(event) = happened.recv().await {
        engine.guest_event(&event);
        engine.clock.end();
    }
}

async fn rounds(engine: Arc<Engine>, stop: CancellationToken) {
    engine.clock.begin();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return engine.clock.end(),
            () = engine.clock.sleep(Duration::from_secs(10)) => engine.statistics_round(),
        }
    }
}

/// Runs the API server of one node. While the node is off, it does not answer.
async fn accept(engine: Arc<Engine>, node: String, listener: TcpListener, tls: TlsAcceptor, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let mut power_cuts = engine.power_cuts.subscribe();
        if !engine.state().is_online(&node) {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let (engine, node, tls, stop) = (engine.clone(), node.clone(), tls.clone(), stop.clone());
        let mut restarts = engine.faults.restarts();
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let front = Front::new(engine.clone(), &node);
            let away = async { while engine.state().is_online(&node) && power_cuts.changed().await.is_ok() {} };
            let service = service_fn(move |request| front.clone().serve(request));
            let mut builder = http1::Builder::new();
            // PVE's own limit of headers applies before the library's.
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .max_headers(512)
                .max_buf_size(64 << 10);
            let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
            // Biased, so that no request is read after the end.
            tokio::select! {
                biased;
                () = away => {}
                _ = restarts.changed() => {}
                () = stop.cancelled() => {}
                _ = connection => {}
            }
        });
    }
}

/// Creates the server's identity for this machine's names and the ones that the options add.
fn identity(options: &Options, address: SocketAddr) -> Result<Identity, StartError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), address.ip().to_string()];
    names.extend(options.names.iter().cloned());
    names.dedup();
    Identity::create("PVE simulator CA", "pve1", names).map_err(StartError::Certificate)
}
