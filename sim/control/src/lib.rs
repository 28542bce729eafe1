//! Control of both simulators by a person or a test: their contents, and actions that are not part of their own APIs.
//!
//! [`Control`] does this in process. [`Server`] serves the same over HTTP with JSON on its own port, protected by a
//! token, with a web page. `docs/simulators.md` lists the calls.

mod fault_rules;
mod input;
mod pace;
mod page;
mod problem;
mod redaction;
mod reply;
mod routes;
mod server;

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

pub use fault_rules::{FaultInput, NewRule, WhenInput};
pub use input::{NewCondition, NewJobs, NewStep, PaceInput};
pub use pace::StepTimedOut;
pub use problem::Problem;
pub use server::Server;

use pace::Pace;
use sim_github::{JobSpec, JobStep, RunSpec, ServerHandle};
use sim_http::faults::Faults;
use sim_http::request_log::RequestLog;
use sim_pve::{Handle, OverviewFilter};

/// One of the two simulators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Proxmox VE.
    Pve,
    /// GitHub.
    Github,
}

impl Service {
    /// Both simulators.
    pub const ALL: [Self; 2] = [Self::Pve, Self::Github];
}

/// Control of both simulators.
pub struct Control {
    pve: Arc<Handle>,
    github: Arc<ServerHandle>,
    pace: Pace,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("pve", &self.pve).field("github", &self.github).finish_non_exhaustive()
    }
}

impl Control {
    /// Takes control of both simulators. With [`sim_pve::Latency::Stepped`] time stands still at first, and GitHub must
    /// use the clock [`Handle::instants`].
    #[must_use]
    pub fn new(pve: Arc<Handle>, github: Arc<ServerHandle>) -> Arc<Self> {
        let pace = Pace::new(Arc::clone(&pve), Arc::clone(&github));
        Arc::new(Self { pve, github, pace })
    }

    /// Returns the simulated Proxmox VE.
    #[must_use]
    pub fn pve(&self) -> &Handle {
        &self.pve
    }

    /// Returns the simulated GitHub.
    #[must_use]
    pub fn github(&self) -> &ServerHandle {
        &self.github
    }

    /// Returns the contents of both simulators without secrets. Lists have at most `limit` entries and contain the
    /// total number. Only guests whose VMID, name, node or pool contains `search` are listed.
    #[must_use]
    pub fn state(&self, limit: usize, search: &str) -> Value {
        let wanted = OverviewFilter { limit, search: search.to_owned() };
        let mut state = json!({
            "clock": self.clock(),
            "pve": self.pve.overview(&wanted),
            "github": self.github.inspect(|world, now| world.overview(now, limit)),
            "requests": { "pve": self.log(Service::Pve).count(), "github": self.log(Service::Github).count() },
            "faults": self.fault_list(),
        });
        self.redact(&mut state);
        state
    }

    /// Returns a guest with its configuration and console, or `None` if no guest has this VMID.
    #[must_use]
    pub fn guest(&self, vmid: u32) -> Option<Value> {
        self.redacted(self.pve.guest(vmid))
    }

    /// Returns a task with its log, or `None` if no task has this UPID.
    #[must_use]
    pub fn task(&self, upid: &str) -> Option<Value> {
        self.redacted(self.pve.task(upid))
    }

    /// Returns a job with its steps, events and log, or `None` if no job has this number.
    #[must_use]
    pub fn job(&self, id: u64) -> Option<Value> {
        self.redacted(self.github.inspect(|world, _| world.job_details(id)))
    }

    /// Returns the nodes and storages.
    #[must_use]
    pub fn nodes(&self) -> Value {
        self.pve.nodes_and_storages()
    }

    /// Cuts a node's power.
    ///
    /// # Errors
    /// When the node does not exist or is already off.
    pub async fn node_away(&self, node: &str) -> Result<(), Problem> {
        self.known_node(node)?;
        match self.pve.node_away(node).await {
            true => Ok(()),
            false => Err(Problem::new(409, format!("{node} is already off"))),
        }
    }

    /// Boots a node whose power was cut.
    ///
    /// # Errors
    /// When the node does not exist or is not off.
    pub fn node_back(&self, node: &str) -> Result<(), Problem> {
        self.known_node(node)?;
        match self.pve.node_back(node) {
            true => Ok(()),
            false => Err(Problem::new(409, format!("{node} is not off"))),
        }
    }

    /// Removes the `lock:` line of a guest, as `qm unlock` and `pct unlock` do on its node.
    ///
    /// # Errors
    /// When no guest has this VMID, or the guest is not locked.
    pub fn unlock(&self, vmid: u32) -> Result<(), Problem> {
        match self.pve.lock_of(vmid) {
            None => Err(Problem::new(404, "no guest has this number")),
            Some(None) => Err(Problem::new(409, format!("{vmid} is not locked"))),
            Some(Some(_)) => {
                self.pve.set_lock(vmid, None);
                Ok(())
            }
        }
    }

    /// Fills a storage, as `node` sees it, until this number of bytes is free.
    ///
    /// # Errors
    /// When the storage does not exist or the node does not have it.
    pub fn leave_free(&self, storage: &str, node: &str, bytes: u64) -> Result<(), Problem> {
        self.known_node(node)?;
        let nodes = self.pve.nodes_of(storage);
        let nodes = nodes.ok_or_else(|| Problem::new(404, format!("there is no storage {storage:?}")))?;
        if !nodes.iter().any(|known| known == node) {
            let what = format!("{storage} is not on {node}");
            return Err(Problem::value("node", what, nodes.join(", ")));
        }
        self.pve.leave_free(node, storage, bytes);
        Ok(())
    }

    fn known_node(&self, node: &str) -> Result<(), Problem> {
        let nodes = self.pve.node_names();
        if nodes.iter().any(|known| known == node) {
            return Ok(());
        }
        Err(Problem::new(404, format!("there is no node {node:?}")).allowing(nodes.join(", ")))
    }

    /// Queues a run with these jobs. Returns their numbers.
    #[must_use]
    pub fn queue(&self, new: &NewJobs) -> Vec<u64> {
        let name = |number: u32| match new.count {
            1 => new.name.clone(),
            _ => format!("{}-{number}", new.name),
        };
        let steps: Vec<JobStep> = new.steps.iter().map(NewStep::to_job_step).collect();
        let job = |number| JobSpec { name: name(number), labels: new.labels.clone(), steps: steps.clone() };
        self.github.queue_run(RunSpec {
            repository: new.repository.clone(),
            event: new.event.clone(),
            fork: new.fork.clone(),
            jobs: (1..=new.count).map(job).collect(),
        })
    }

    /// Returns the fault rules of a simulator.
    #[must_use]
    pub fn faults(&self, of: Service) -> &Faults {
        match of {
            Service::Pve => self.pve.faults(),
            Service::Github => self.github.faults(),
        }
    }

    /// Returns the request log of a simulator.
    #[must_use]
    pub fn log(&self, of: Service) -> RequestLog {
        match of {
            Service::Pve => self.pve.requests(),
            Service::Github => self.github.requests(),
        }
    }

    fn redacted(&self, found: Option<Value>) -> Option<Value> {
        let mut found = found?;
        self.redact(&mut found);
        Some(found)
    }

    /// Masks secrets that a guest or a job may have printed.
    fn redact(&self, value: &mut Value) {
        let mut secrets = self.pve.secrets();
        secrets.extend(self.github.inspect(|world, _| world.secrets()));
        redaction::redact(value, &secrets);
    }
}
