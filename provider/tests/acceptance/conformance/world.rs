//! Simulators for one step of one type, with what they had in them before.

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
use crate::lab::provider;
use crate::played_dispatcher::Dispatchers;

/// More often than any step can call.
const ALWAYS: u32 = 1_000_000;
/// What a call that is made to fail says.
pub(super) const FAULT: &str = "internal error";

tokio::task_local! {
    /// The line of Proxmox VE in place of the environment's.
    pub(super) static LINE: Line;
}

pub(super) struct Simulators {
    pub(super) farm: Farm,
    pub(super) administrator: Arc<Administrator>,
    pub(super) dispatchers: Dispatchers,
    /// A file that takes the words with which children of the provider were started.
    pub(super) started: PathBuf,
    before: BTreeSet<String>,
    /// How many calls had been made when the present operation was made to stand still.
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
        self.dispatchers.heal();
    }

    async fn existing(&mut self) -> Vec<String> {
        let now: BTreeSet<String> = self.farm.leftovers().into_iter().collect();
        let gone = self.before.difference(&now).map(|thing| format!("{thing} is gone"));
        now.difference(&self.before).cloned().chain(gone).collect()
    }

    /// What everybody with a right to look sees in Proxmox VE, on a console, and in the list of processes.
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
    /// What is there now is the step's own doing.
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

    /// The provider's token, by which it reaches Proxmox VE.
    pub(super) fn token(&self) -> String {
        self.farm.pve.provider.secret.clone()
    }

    /// The next such call is refused; that words must be said.
    pub(super) fn refuse(&self, method: &str, path: &str, words: Words) -> Words {
        self.inject(method, path, Fault::Refuse { status: 500, text: FAULT.to_owned() }, 1);
        words
    }

    /// Every such call is refused until all is healed.
    pub(super) fn refuse_always(&self, method: &str, path: &str, text: &str) {
        self.inject(method, path, Fault::Refuse { status: 500, text: text.to_owned() }, ALWAYS);
    }

    /// The next such call is carried out without an answer.
    pub(super) fn drop_reply(&self, method: &str, path: &str) {
        self.inject(method, path, Fault::DropReply, 1);
    }

    /// No such call is answered, nor carried out, until all is healed.
    pub(super) fn silence(&self, method: &str, path: &str) {
        self.inject(method, path, Fault::DropRequest, ALWAYS);
    }

    fn inject(&self, method: &str, path: &str, fault: Fault, times: u32) {
        self.pve().handle.inject(method, path, fault, times);
    }

    /// From here on, calls count for [`Self::was_called`].
    pub(super) fn listen(&mut self) {
        self.calls_before = self.pve().handle.requests().entries().len();
    }

    /// Whether the provider has made a call since, to a path with that text.
    pub(super) fn was_called(&self, path: &str) -> bool {
        let entries = self.pve().handle.requests().entries();
        let ours = entries.iter().skip(self.calls_before).filter(|entry| entry.caller == self.farm.pve.provider.id);
        ours.into_iter().any(|entry| entry.path.contains(path))
    }
}

fn simulated(farm: &Farm) -> &SimulatedPve {
    farm.simulated_pve.as_ref().expect("a simulated farm")
}
