//! The simulators for one conformance step of one type.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use farm::harness::conformance::{Words, World};
use farm::harness::{Failed, Harness};
use farm::simulation::{Farm, Guests, SimulatedPve, Simulation};
use serde_json::Value;
use sim_pve::{Fault, Line};

use crate::administrator::Administrator;
use crate::fake_dispatcher::Dispatchers;
use crate::lab::simulated;
use crate::working_directory::provider;

/// Number of faults that no step can use up.
const ALWAYS: u32 = 1_000_000;
/// Error text of a request that is made to fail.
pub(super) const FAULT: &str = "internal error";

tokio::task_local! {
    /// Line of Proxmox VE, which takes precedence over the environment's.
    pub(super) static LINE: Line;
}

pub(super) struct Simulators {
    pub(super) farm: Farm,
    pub(super) administrator: Arc<Administrator>,
    pub(super) dispatchers: Dispatchers,
    /// File with the command lines of the provider's child processes.
    pub(super) started: PathBuf,
    before: BTreeSet<String>,
    /// Number of requests before the operation that is held.
    calls_before: usize,
}

impl World for Simulators {
    const SOURCE: &'static str = "pxci/pxci";

    fn program() -> PathBuf {
        provider()
    }

    fn snapshot() -> PathBuf {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schema/pxci.json").into()
    }

    async fn begin(harness: &mut Harness) -> Result<Self, Failed> {
        let failed = |error: anyhow::Error| Failed::new(format!("starting the simulators: {error:#}"));
        let dispatchers = Dispatchers::default();
        let guests = Guests::Played(dispatchers.containers());
        let line = LINE.try_with(|line| *line).ok();
        let simulation = Simulation { line, installer: false, ..Simulation::of(guests) };
        let farm = Farm::simulated_as(simulation).await.map_err(failed)?;
        for (name, value) in farm.provider_environment(harness.directory()).map_err(failed)? {
            harness.work_mut().set(&name, &value);
        }
        let administrator = Arc::new(Administrator::new(simulated(&farm)));
        let started = harness.directory().join("started");
        let mut world = Self { farm, administrator, dispatchers, started, before: BTreeSet::new(), calls_before: 0 };
        world.counts_as_before();
        Ok(world)
    }

    fn provider_block(&self) -> String {
        "provider \"pxci\" {}\n".to_owned()
    }

    async fn heal(&mut self) {
        self.pve().handle.faults().clear();
        self.dispatchers.release();
    }

    async fn existing(&mut self) -> Vec<String> {
        let now: BTreeSet<String> = self.farm.leftovers().into_iter().collect();
        let gone = self.before.difference(&now).map(|thing| format!("{thing} is gone"));
        now.difference(&self.before).cloned().chain(gone).collect()
    }

    /// Returns everything that a reader of Proxmox VE, of a console, or of the process list can see.
    async fn readable(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut found = vec![
            ("the containers' consoles".to_owned(), self.dispatchers.shown()),
            ("the arguments of programs".to_owned(), fs::read(&self.started).unwrap_or_default()),
        ];
        let mut paths = vec!["/nodes/pve1/storage/local/content".to_owned(), "/pools".to_owned()];
        for guest in self.list("/cluster/resources").await {
            if let (Some(id), Some(_)) = (guest["id"].as_str(), guest["vmid"].as_u64()) {
                paths.push(format!("/nodes/pve1/{id}/config"));
            }
        }
        for task in self.list("/nodes/pve1/tasks").await {
            paths.push(format!("/nodes/pve1/tasks/{}/log", task["upid"].as_str().expect("a task")));
        }
        for path in paths {
            let shown = self.administrator.call("GET", &path, &[]).await;
            found.push((format!("GET {path}"), shown.to_string().into_bytes()));
        }
        found
    }
}

impl Simulators {
    /// Records that everything in the farm now is not of the provider.
    pub(super) fn counts_as_before(&mut self) {
        self.before = self.farm.leftovers().into_iter().collect();
    }

    pub(super) fn pve(&self) -> &SimulatedPve {
        simulated(&self.farm)
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        let mut listed = self.administrator.call("GET", path, &[]).await;
        listed.as_array_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Returns the secret of the provider's token.
    pub(super) fn token(&self) -> String {
        self.farm.pve.provider.secret.clone()
    }

    /// Makes the next such request fail. Returns `words`, which the diagnostic must contain.
    pub(super) fn refuse(&self, method: &str, path: &str, words: Words) -> Words {
        self.inject(method, path, Fault::Refuse { status: 500, text: FAULT.to_owned() }, 1);
        words
    }

    /// Makes every such request fail until the faults are removed.
    pub(super) fn refuse_always(&self, method: &str, path: &str, text: &str) {
        self.inject(method, path, Fault::Refuse { status: 500, text: text.to_owned() }, ALWAYS);
    }

    /// Drops the answer of the next such request, which takes effect.
    pub(super) fn drop_reply(&self, method: &str, path: &str) {
        self.inject(method, path, Fault::DropReply, 1);
    }

    /// Drops every such request until the faults are removed.
    pub(super) fn silence(&self, method: &str, path: &str) {
        self.inject(method, path, Fault::DropRequest, ALWAYS);
    }

    fn inject(&self, method: &str, path: &str, fault: Fault, times: u32) {
        self.pve().handle.inject(method, path, fault, times);
    }

    /// Starts to count requests for [`Self::was_called`].
    pub(super) fn listen(&mut self) {
        self.calls_before = self.pve().handle.requests().entries().len();
    }

    /// Returns true if the provider has since sent a request whose path contains the text.
    pub(super) fn was_called(&self, path: &str) -> bool {
        let entries = self.pve().handle.requests().entries();
        let ours = entries.iter().skip(self.calls_before).filter(|entry| entry.caller == self.farm.pve.provider.id);
        ours.into_iter().any(|entry| entry.path.contains(path))
    }
}
