//! Starting the simulator, and what a test or the demo does with it from inside the process.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::clock::{Clock, EPOCH, Latency};
use super::engine::{Engine, Parts};
use super::http::Front;
use super::line::Line;
use super::locks::Mode;
use super::schema::Schema;
use super::state::Kind;
use super::timeline::Happening;
use super::volumes::Volume;
use super::world::World;
use crate::backend::{Backend, Events};
use crate::faults::{Fault, Faults, Fired, Rule, When};
use crate::request_log::RequestLog;

/// How a simulator is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Further names in its certificate, beside `localhost` and the listen address.
    pub names: Vec<String>,
    /// How PVE's waits are lived through.
    pub latency: Latency,
    /// The line of PVE; by default that of the world's version, else 9.
    pub line: Option<Line>,
    /// Source of MACs, UUIDs and secrets.
    pub seed: u64,
    /// Whether the lists' statistics round runs by itself every ten simulated seconds.
    pub statistics: bool,
    /// Whether answers are compared with what PVE's schema says that their calls return ([`Handle::undeclared`]).
    pub check_answers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            names: Vec::new(),
            latency: Latency::Real,
            line: None,
            seed: 1,
            statistics: true,
            check_answers: false,
        }
    }
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on, or no scratch directory can be made.
    #[error("the simulator cannot listen on {address}")]
    Listen {
        /// The wanted address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No certificate could be made.
    #[error("the simulator's certificate cannot be made")]
    Certificate(#[source] rcgen::Error),
    /// The checked-in schema of the line.
    #[error("the simulator's API schema cannot be read")]
    Schema(#[source] serde_json::Error),
    /// The certificate was not accepted by the TLS library.
    #[error("the simulator's TLS set-up was refused")]
    Tls(#[source] rustls::Error),
}

/// A simulator of a Proxmox VE cluster's API servers.
#[derive(Debug)]
pub struct Server;

/// A running simulator; it ends when this is dropped.
pub struct Handle {
    engine: Arc<Engine>,
    address: SocketAddr,
    ca_pem: String,
    fingerprint: [u8; 32],
    stop: CancellationToken,
    tls: TlsAcceptor,
    baseline: Baseline,
    _files: TempDir,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What was there when the simulator started, or when [`Handle::set_baseline`] was called.
#[derive(Debug, Clone, Default)]
struct Baseline {
    guests: BTreeSet<u32>,
    volumes: BTreeSet<String>,
    tokens: BTreeSet<String>,
}

struct Certificate {
    config: ServerConfig,
    ca_pem: String,
    fingerprint: [u8; 32],
}

impl Server {
    /// Starts a simulator of `world` whose guests are run by `backend`.
    ///
    /// # Errors
    /// When it cannot listen or cannot make its certificate.
    pub async fn start(world: &World, backend: Arc<dyn Backend>, options: Options) -> Result<Handle, StartError> {
        let failed = |source| StartError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let files = tempfile::Builder::new().prefix("pxci-sim-").tempdir().map_err(failed)?;
        let certificate = certificate(&options, address)?;
        let (events, mut happened) = mpsc::unbounded_channel();
        let shown: Vec<String> = certificate.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        let clock = Clock::new(options.latency);
        let line = options.line.or_else(|| world.line()).unwrap_or_default();
        let engine = Arc::new(Engine::new(Parts {
            state: world.build(options.seed, line),
            schema: Schema::of(line).map_err(StartError::Schema)?,
            clock: clock.clone(),
            backend,
            events: Events::on(events, clock),
            files: files.path().to_owned(),
            ticket_key: rand::random(),
            fingerprint: shown.join(":"),
            log: RequestLog::default(),
            faults: Faults::new(options.seed),
            check_answers: options.check_answers,
        }));
        engine.statistics_round();
        let stop = CancellationToken::new();
        let tls = TlsAcceptor::from(Arc::new(certificate.config));
        let first = engine.state().first_node.clone();
        tokio::spawn(accept(engine.clone(), first, listener, tls.clone(), stop.clone()));
        let (watcher, ended) = (engine.clone(), stop.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = ended.cancelled() => return,
                    event = happened.recv() => match event {
                        Some(event) => {
                            watcher.guest_event(&event);
                            watcher.clock.end();
                        }
                        None => return,
                    },
                }
            }
        });
        if options.statistics {
            tokio::spawn(rounds(engine.clone(), stop.clone()));
        }
        let baseline = snapshot(&engine);
        Ok(Handle {
            engine,
            address,
            ca_pem: certificate.ca_pem,
            fingerprint: certificate.fingerprint,
            stop,
            tls,
            baseline,
            _files: files,
        })
    }
}

async fn rounds(engine: Arc<Engine>, stop: CancellationToken) {
    engine.clock.begin();
    loop {
        tokio::select! {
            () = stop.cancelled() => return engine.clock.end(),
            () = engine.clock.sleep(Duration::from_secs(10)) => engine.statistics_round(),
        }
    }
}

/// The API server of one node; while the node is away it answers nobody.
async fn accept(engine: Arc<Engine>, node: String, listener: TcpListener, tls: TlsAcceptor, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let mut departures = engine.departures.subscribe();
        if !engine.state().is_online(&node) {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let (engine, node, tls, stop) = (engine.clone(), node.clone(), tls.clone(), stop.clone());
        let mut restarts = engine.faults.restarts();
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let front = Front::new(engine.clone(), &node);
            let away = async { while engine.state().is_online(&node) && departures.changed().await.is_ok() {} };
            let service = service_fn(move |request| front.clone().serve(request));
            let mut builder = http1::Builder::new();
            // Header limits are PVE's own; the library's must lie beyond them.
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .max_headers(512)
                .max_buf_size(64 << 10);
            let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
            tokio::select! {
                _ = connection => {}
                _ = restarts.changed() => {}
                () = away => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

fn certificate(options: &Options, address: SocketAddr) -> Result<Certificate, StartError> {
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "PVE simulator CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate().map_err(StartError::Certificate)?;
    let issuer = CertifiedIssuer::self_signed(ca, ca_key).map_err(StartError::Certificate)?;
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), address.ip().to_string()];
    names.extend(options.names.iter().cloned());
    names.dedup();
    let mut params = CertificateParams::new(names).map_err(StartError::Certificate)?;
    params.distinguished_name.push(DnType::CommonName, "pve1");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(StartError::Certificate)?;
    let leaf = params.signed_by(&key, &issuer).map_err(StartError::Certificate)?;
    let fingerprint: [u8; 32] = Sha256::digest(leaf.der()).into();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], private))
        .map_err(StartError::Tls)?;
    Ok(Certificate { config, ca_pem: issuer.pem(), fingerprint })
}

fn snapshot(engine: &Engine) -> Baseline {
    let state = engine.state();
    Baseline {
        guests: state.guests.keys().copied().collect(),
        volumes: state.all_volumes(),
        tokens: state
            .users
            .iter()
            .flat_map(|(user, entry)| entry.tokens.keys().map(move |token| format!("{user}!{token}")))
            .collect(),
    }
}

impl Handle {
    /// `https://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Starts the API server of a further node, on a free port; the one at [`Handle::url`] is the first node's.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn serve_node(&self, node: &str) -> io::Result<String> {
        let listener = TcpListener::bind(SocketAddr::new(self.address.ip(), 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(accept(self.engine.clone(), node.to_owned(), listener, self.tls.clone(), self.stop.clone()));
        Ok(format!("https://{address}"))
    }

    /// Cuts a node's power: its guests stop, its tasks end without a word, calls that are passed on to it answer
    /// `595 No route to host`, and where no majority is left nothing can be begun any more. False where there is no such
    /// node, or it is away already.
    pub async fn node_away(&self, name: &str) -> bool {
        let _at_work = self.engine.clock.request();
        self.engine.node_away(name).await
    }

    /// Boots a node that was away: guests with `onboot` start. False where there is no such node, or it was not away.
    pub fn node_back(&self, name: &str) -> bool {
        self.engine.node_back(name)
    }

    /// Fills a storage as `node` sees it until only that many bytes are free, with what is no volume.
    pub fn leave_free(&self, node: &str, storage: &str, bytes: u64) {
        let mut state = self.engine.state();
        let taken = state.taken_on(node, storage);
        if let Some(found) = state.storages.get_mut(storage) {
            let place = (!found.shared).then(|| node.to_owned());
            let others = found.size.saturating_sub(taken).saturating_sub(bytes);
            found.others.insert(place, others);
        }
    }

    /// The private CA that signed the server's certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// SHA-256 of the server's certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The secret of a token (`user@realm!name`).
    #[must_use]
    pub fn token_secret(&self, id: &str) -> Option<String> {
        let (user, token) = id.split_once('!')?;
        self.engine.state().users.get(user)?.tokens.get(token).map(|token| token.secret.clone())
    }

    /// Every password and every token's secret.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let state = self.engine.state();
        let passwords = state.users.values().filter_map(|user| user.password.clone());
        let tokens = state.users.values().flat_map(|user| user.tokens.values()).map(|token| token.secret.clone());
        passwords.chain(tokens).collect()
    }

    /// The password of a user.
    #[must_use]
    pub fn password(&self, user: &str) -> Option<String> {
        self.engine.state().users.get(user)?.password.clone()
    }

    /// Simulated time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.engine.clock.now()
    }

    /// Tells simulated time as an instant: for a simulator of GitHub on the same clock.
    #[must_use]
    pub fn instants(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let clock = self.engine.clock.clone();
        let epoch = Timestamp::UNIX_EPOCH.saturating_add(Duration::from_secs(EPOCH)).unwrap_or(Timestamp::UNIX_EPOCH);
        Arc::new(move || epoch.saturating_add(clock.now()).unwrap_or(Timestamp::MAX))
    }

    /// Whether time passes only by [`Handle::pass`].
    #[must_use]
    pub fn is_stepped(&self) -> bool {
        self.engine.clock.is_stepped()
    }

    /// Lets simulated time pass. On [`Latency::Stepped`] everything that is due happens meanwhile, in its order, and this
    /// returns when nothing of it is at work any more; on other clocks it waits like everybody else.
    pub async fn pass(&self, time: Duration) {
        self.engine.clock.sleep(time).await;
    }

    /// Everything that was asked so far.
    #[must_use]
    pub fn requests(&self) -> RequestLog {
        self.engine.log.clone()
    }

    /// What answers had so far that PVE's schema does not declare for their calls, as `GET /path $.field: what`; empty
    /// unless [`Options::check_answers`].
    #[must_use]
    pub fn undeclared(&self) -> BTreeSet<String> {
        let found = self.engine.undeclared.as_ref();
        found.map(|all| all.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    /// Task starts and ends and guest events so far.
    #[must_use]
    pub fn timeline(&self) -> Vec<Happening> {
        self.engine.timeline.all()
    }

    /// Puts a file onto a storage, on every node that has it, as if somebody had uploaded it (`local:iso/x.iso`).
    ///
    /// # Errors
    /// When the file cannot be copied.
    pub fn put_file(&self, volid: &str, from: &Path) -> io::Result<()> {
        let name = volid.rsplit('/').next().unwrap_or(volid);
        let to = self.engine.files.join(format!("put-{}-{name}", rand::random::<u32>()));
        let size = std::fs::copy(from, &to)?;
        let content = volid.split_once(':').and_then(|(_, rest)| rest.split('/').next()).unwrap_or("iso").to_owned();
        let format = match name.rsplit('.').next().unwrap_or_default() {
            "zst" => "tzst",
            "gz" => "tgz",
            "iso" | "img" => "iso",
            other => other,
        }
        .to_owned();
        let volume = Volume::file(&content, &format, size, self.engine.clock.seconds());
        let mut state = self.engine.state();
        let nodes: Vec<String> = state.nodes.keys().cloned().collect();
        for node in nodes {
            state.put_volume(&node, volid, Volume { file: Some(to.clone()), ..volume.clone() });
        }
        Ok(())
    }

    /// Writes data into a volume on every node that has it: a copy of it takes room, and time under a bandwidth limit.
    pub fn fill_volume(&self, volid: &str, bytes: u64) {
        let mut state = self.engine.state();
        let nodes: Vec<String> = state.nodes.keys().cloned().collect();
        for node in nodes {
            state.change_volume(&node, volid, |volume| volume.data = bytes);
        }
    }

    /// Waits for a task's end: what it ended with (`OK`, `WARNINGS: 1`, an error's text), and its log.
    pub async fn task_end(&self, upid: &str) -> Option<(String, Vec<String>)> {
        self.engine.ended(upid).await;
        let state = self.engine.state();
        let task = state.tasks.iter().rev().find(|task| task.upid == upid)?;
        Some((task.end.as_ref()?.1.clone(), task.log.clone()))
    }

    /// Brings what the lists show up to date, as PVE's statistics daemon does every ten seconds; for simulators without
    /// rounds of their own ([`Options::statistics`]).
    pub fn statistics_round(&self) {
        self.engine.statistics_round();
    }

    /// The node that a guest is on.
    #[must_use]
    pub fn node_of(&self, vmid: u32) -> Option<String> {
        self.engine.with_guest(vmid, |guest| guest.node.clone())
    }

    /// The description of a guest, as stored.
    #[must_use]
    pub fn description(&self, vmid: u32) -> Option<String> {
        self.engine.with_guest(vmid, |guest| guest.get("description").map(str::to_owned)).flatten()
    }

    /// Numbers of the guests that exist.
    #[must_use]
    pub fn guests(&self) -> Vec<u32> {
        self.engine.state().guests.keys().copied().collect()
    }

    /// Numbers of the VMs that run.
    #[must_use]
    pub fn running(&self) -> Vec<u32> {
        self.engine.state().guests.iter().filter(|(_, guest)| guest.run.is_some()).map(|(vmid, _)| *vmid).collect()
    }

    /// What is there from now on is no leftover.
    pub fn set_baseline(&mut self) {
        self.baseline = snapshot(&self.engine);
    }

    /// What is there beyond the baseline: one line per guest, volume, token, lock or running task.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let now = snapshot(&self.engine);
        let mut out: Vec<String> = Vec::new();
        let state = self.engine.state();
        for vmid in now.guests.difference(&self.baseline.guests) {
            let kind = state.guests.get(vmid).map_or("guest", |guest| guest.kind.word());
            out.push(format!("{kind} {vmid}"));
        }
        out.extend(now.volumes.difference(&self.baseline.volumes).map(|volid| format!("volume {volid}")));
        out.extend(now.tokens.difference(&self.baseline.tokens).map(|token| format!("token {token}")));
        for (vmid, guest) in &state.guests {
            if let Some(lock) = guest.get("lock") {
                out.push(format!("lock {lock} on {vmid}"));
            }
        }
        out.extend(self.engine.locks.held().into_iter().map(|vmid| format!("file lock of {vmid}")));
        out
    }

    /// The next `times` calls of `method` whose path below `/api2/json` fits (`*` stands for any text) meet this fault.
    pub fn inject(&self, method: &str, path: &str, fault: Fault, times: u32) {
        let (method, path) = (method.to_owned(), path.to_owned());
        self.engine.faults.add(Rule { method, path, fault, when: When::Next(times) });
    }

    /// Faults that fired, in order.
    #[must_use]
    pub fn fired(&self) -> Vec<Fired> {
        self.engine.faults.fired()
    }

    /// All rules for faults, for those that come by chance or are repeated.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.engine.faults
    }

    /// Sets or removes the `lock:` line of a guest, as an operation outside the API would.
    pub fn set_lock(&self, vmid: u32, lock: Option<&str>) {
        self.engine.with_guest(vmid, |guest| match lock {
            Some(lock) => guest.set("lock", lock),
            None => {
                guest.config.remove("lock");
            }
        });
    }

    /// Holds a guest's file lock, as another worker would, until [`Handle::release_file_lock`].
    pub async fn hold_file_lock(&self, vmid: u32, shared: bool) {
        let mode = if shared { Mode::Shared } else { Mode::Exclusive };
        let guard = self.engine.locks.acquire(vmid, mode, Duration::from_secs(60)).await;
        if let Some(guard) = guard {
            self.engine.held.lock().unwrap_or_else(PoisonError::into_inner).insert(vmid, guard);
        }
    }

    /// Ends [`Handle::hold_file_lock`].
    pub fn release_file_lock(&self, vmid: u32) {
        self.engine.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&vmid);
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Stops every guest that runs and ends the server.
    pub async fn shutdown(&self) {
        let running: Vec<(u32, Kind)> = {
            let state = self.engine.state();
            state
                .guests
                .iter()
                .filter(|(_, guest)| guest.run.is_some())
                .map(|(vmid, guest)| (*vmid, guest.kind))
                .collect()
        };
        for (vmid, kind) in running {
            match kind {
                Kind::Qemu => self.engine.backend.vm_stop(vmid).await,
                Kind::Lxc => self.engine.backend.container_stop(vmid).await,
            }
        }
        self.stop.cancel();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
