//! Control of a running simulator from inside the process.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::cluster::overview::{self, OverviewFilter};
use crate::engine::Engine;
use crate::engine::locks::Mode;
use crate::timeline::Event;
use crate::world::guest::Kind;
use crate::world::volumes::Volume;
use sim_http::faults::{Fault, Faults, Fired, Rule, When};
use sim_http::request_log::RequestLog;

/// A running simulator. Dropping the handle stops it.
pub struct Handle {
    pub(super) engine: Arc<Engine>,
    /// Absent where requests come from inside the process only.
    pub(super) served: Option<Served>,
    pub(super) stop: CancellationToken,
    pub(super) baseline: Baseline,
    pub(super) _files: TempDir,
}

/// The way in over the network.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) ca_pem: String,
    pub(super) fingerprint: [u8; 32],
    pub(super) tls: TlsAcceptor,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// Resources that existed at the start, or at the last [`Handle::set_baseline`].
#[derive(Debug, Clone, Default)]
pub(super) struct Baseline {
    guests: BTreeSet<u32>,
    volumes: BTreeSet<String>,
    tokens: BTreeSet<String>,
}

pub(super) fn snapshot(engine: &Engine) -> Baseline {
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
    /// Returns `https://127.0.0.1:<port>`, or `https://<first node>:8006` for a simulator that listens nowhere.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.served {
            Some(served) => format!("https://{}", served.address),
            None => format!("https://{}:8006", self.engine.state().first_node),
        }
    }

    /// Starts the API server of another node on a free port. [`Handle::url`] is the first node's.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn serve_node(&self, node: &str) -> io::Result<String> {
        let served = self.served.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let listener = TcpListener::bind(SocketAddr::new(served.address.ip(), 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(super::accept(
            self.engine.clone(),
            node.to_owned(),
            listener,
            served.tls.clone(),
            self.stop.clone(),
        ));
        Ok(format!("https://{address}"))
    }

    /// Cuts a node's power: guests and tasks end without clean-up, forwarded calls answer `595 No route to host`, and
    /// without a quorum nothing starts. Returns false if the node does not exist or is already off.
    pub async fn node_away(&self, name: &str) -> bool {
        let _at_work = self.engine.clock.request();
        self.engine.node_away(name).await
    }

    /// Boots a node whose power was cut: guests with `onboot` start. Returns false if the node does not exist or is not
    /// off.
    pub fn node_back(&self, name: &str) -> bool {
        self.engine.node_back(name)
    }

    /// Fills a storage, as `node` sees it, with other data than volumes until this number of bytes is free.
    pub fn leave_free(&self, node: &str, storage: &str, bytes: u64) {
        let mut state = self.engine.state();
        let taken = state.taken_on(node, storage);
        if let Some(found) = state.storages.get_mut(storage) {
            let place = (!found.shared).then(|| node.to_owned());
            let other_bytes = found.size.saturating_sub(taken).saturating_sub(bytes);
            found.other_bytes.insert(place, other_bytes);
        }
    }

    /// Returns the certificate of the private CA that signed the server's certificate, in PEM form. It is empty for
    /// a simulator that listens nowhere.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.served.as_ref().map_or("", |served| &served.ca_pem)
    }

    /// Returns the SHA-256 digest of the server's certificate: zeros for a simulator that listens nowhere.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.served.as_ref().map_or([0; 32], |served| served.fingerprint)
    }

    /// Returns the secret of a token (`user@realm!name`).
    #[must_use]
    pub fn token_secret(&self, id: &str) -> Option<String> {
        let (user, token) = id.split_once('!')?;
        self.engine.state().users.get(user)?.tokens.get(token).map(|token| token.secret.clone())
    }

    /// Returns every password and every token's secret, so that a caller can redact them.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let state = self.engine.state();
        let passwords = state.users.values().filter_map(|user| user.password.clone());
        let tokens = state.users.values().flat_map(|user| user.tokens.values()).map(|token| token.secret.clone());
        passwords.chain(tokens).collect()
    }

    /// Returns version, nodes, storages, guests and the newest tasks as JSON, without secrets.
    #[must_use]
    pub fn overview(&self, wanted: &OverviewFilter) -> Value {
        overview::overview(&self.engine, wanted)
    }

    /// Returns a guest with its configuration and console, or `None` if no guest has this VMID.
    #[must_use]
    pub fn guest(&self, vmid: u32) -> Option<Value> {
        overview::guest(&self.engine, vmid)
    }

    /// Returns a task with its log, or `None` if no task has this UPID.
    #[must_use]
    pub fn task(&self, upid: &str) -> Option<Value> {
        overview::task(&self.engine, upid)
    }

    /// Returns the nodes, and the storages with the space that is taken.
    #[must_use]
    pub fn nodes_and_storages(&self) -> Value {
        overview::nodes_and_storages(&self.engine)
    }

    /// Returns the names of all nodes.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        overview::node_names(&self.engine)
    }

    /// Returns the nodes that have a storage, or `None` if there is no such storage.
    #[must_use]
    pub fn nodes_of(&self, storage: &str) -> Option<Vec<String>> {
        overview::nodes_of(&self.engine, storage)
    }

    /// Returns the password of a user.
    #[must_use]
    pub fn password(&self, user: &str) -> Option<String> {
        self.engine.state().users.get(user)?.password.clone()
    }

    /// Returns the simulated time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.engine.clock.now()
    }

    /// Returns a function that reads the simulated time, so that a simulator of GitHub can use the same clock.
    #[must_use]
    pub fn instants(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let clock = self.engine.clock.clone();
        Arc::new(move || clock.instant())
    }

    /// Returns true if time passes only in [`Handle::pass`].
    #[must_use]
    pub fn is_stepped(&self) -> bool {
        self.engine.clock.is_stepped()
    }

    /// Lets simulated time pass. On [`Latency::Stepped`] everything that becomes due happens in order, and the call
    /// returns when it has finished. On other clocks the call waits for the time.
    pub async fn pass(&self, time: Duration) {
        self.engine.clock.sleep(time).await;
    }

    /// Returns the requests so far.
    #[must_use]
    pub fn requests(&self) -> RequestLog {
        self.engine.log.clone()
    }

    /// Returns the fields of answers that PVE's schema does not declare, as `GET /path $.field: what`. Empty unless
    /// [`Options::check_answers`] is set.
    #[must_use]
    pub fn undeclared(&self) -> BTreeSet<String> {
        let found = self.engine.undeclared.as_ref();
        found.map(|all| all.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    /// Returns the starts and ends of tasks and the guest events so far.
    #[must_use]
    pub fn timeline(&self) -> Vec<Event> {
        self.engine.timeline.all()
    }

    /// Removes what [`Handle::timeline`] returns, and returns it: a long run must not keep it. Tasks that ended an hour ago
    /// are forgotten too; a real server keeps them longer.
    #[must_use]
    pub fn take_timeline(&self) -> Vec<Event> {
        let shown = self.engine.clock.seconds().saturating_sub(3600);
        self.engine.state().tasks.retain(|task| task.end.as_ref().is_none_or(|(ended, _)| *ended >= shown));
        self.engine.timeline.take()
    }

    /// Puts a file onto a storage, on every node that has it, as an upload would (`local:iso/x.iso`).
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

    /// Writes this number of bytes into a volume on every node that has it. A copy of the volume then needs space, and
    /// time under a bandwidth limit.
    pub fn fill_volume(&self, volid: &str, bytes: u64) {
        let mut state = self.engine.state();
        let nodes: Vec<String> = state.nodes.keys().cloned().collect();
        for node in nodes {
            state.change_volume(&node, volid, |volume| volume.data = bytes);
        }
    }

    /// Kills a running task's worker process, which cannot clean up. Returns false if the task has ended.
    pub fn kill_task(&self, upid: &str) -> bool {
        self.engine.kill(upid)
    }

    /// Waits for the end of a task. Returns its exit status (`OK`, `WARNINGS: 1`, an error's text) and its log.
    pub async fn task_end(&self, upid: &str) -> Option<(String, Vec<String>)> {
        self.engine.ended(upid).await;
        let state = self.engine.state();
        let task = state.tasks.iter().rev().find(|task| task.upid == upid)?;
        Some((task.end.as_ref()?.1.clone(), task.log.clone()))
    }

    /// Updates the figures that lists show, as PVE's statistics daemon does every ten seconds. For simulators without
    /// automatic rounds ([`Options::statistics`]).
    pub fn statistics_round(&self) {
        self.engine.statistics_round();
    }

    /// Returns the node that a guest is on.
    #[must_use]
    pub fn node_of(&self, vmid: u32) -> Option<String> {
        self.engine.with_guest(vmid, |guest| guest.node.clone())
    }

    /// Returns the stored description of a guest.
    #[must_use]
    pub fn description(&self, vmid: u32) -> Option<String> {
        self.engine.with_guest(vmid, |guest| guest.get("description").map(str::to_owned)).flatten()
    }

    /// Returns the VMIDs of all guests.
    #[must_use]
    pub fn guests(&self) -> Vec<u32> {
        self.engine.state().guests.keys().copied().collect()
    }

    /// Returns the VMIDs of running VMs.
    #[must_use]
    pub fn running(&self) -> Vec<u32> {
        self.engine.state().guests.iter().filter(|(_, guest)| guest.run.is_some()).map(|(vmid, _)| *vmid).collect()
    }

    /// Sets the baseline of [`Handle::leftovers`] to the present contents.
    pub fn set_baseline(&mut self) {
        self.baseline = snapshot(&self.engine);
    }

    /// Returns one line for each guest, volume, token, lock and running task that is not in the baseline.
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

    /// Injects a fault into the next `times` calls of `method` with a matching path below `/api2/json` (`*` stands for
    /// any text).
    pub fn inject(&self, method: &str, path: &str, fault: Fault, times: u32) {
        let (method, path) = (method.to_owned(), path.to_owned());
        self.engine.faults.add(Rule { method, path, fault, when: When::Next(times) });
    }

    /// Returns the faults that fired, in order.
    #[must_use]
    pub fn fired(&self) -> Vec<Fired> {
        self.engine.faults.fired()
    }

    /// Returns all fault rules, including those with a probability or given ordinals.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.engine.faults
    }

    /// Returns the `lock:` line of a guest, or `None` if no guest has this VMID.
    #[must_use]
    pub fn lock_of(&self, vmid: u32) -> Option<Option<String>> {
        self.engine.with_guest(vmid, |guest| guest.get("lock").map(str::to_owned))
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

    /// Stops all running guests and the server.
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
