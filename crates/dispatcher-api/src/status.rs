//! The status of a dispatcher.

use jiff::Timestamp;
use ownership::{Installation, NodeName, PoolName, RepositoryName, RunnerName, Vmid};
use serde::{Deserialize, Serialize};

/// Status of a dispatcher. The default is that of a dispatcher that has just started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the dispatcher program.
    pub version: String,
    /// Phase of its work.
    pub phase: Phase,
    /// Installation that the dispatcher serves. `None` until it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<Installation>,
    /// [`crate::Config::hash`] of the configuration in force. `None` until the dispatcher is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// Time of the start of the program.
    pub started_at: Timestamp,
    /// Start of the last pass that reached Proxmox VE and GitHub with the configuration in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_pass_at: Option<Timestamp>,
    /// Counts for each pool, in the order of the configuration.
    #[serde(default)]
    pub pools: Vec<PoolStatus>,
    /// Queued jobs of the pools, oldest first, each with the reason why it has no runner yet. At most [`MOST_LISTED`].
    #[serde(default)]
    pub waiting: Vec<WaitingJob>,
    /// Virtual machines, oldest first. At most [`MOST_LISTED`].
    #[serde(default)]
    pub machines: Vec<Machine>,
    /// Virtual machines in quarantine, those whose quarantine ends first first. At most [`MOST_KEPT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<QuarantinedVm>,
    /// Logs of VMs that failed lately, newest first. At most [`MOST_KEPT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptLog>,
    /// Current problems.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// Largest number of jobs, and of virtual machines, in a status, which must fit into one message.
pub const MOST_LISTED: usize = 250;
/// Largest number of kept logs, and of virtual machines in quarantine, in a status.
pub const MOST_KEPT: usize = 20;

/// A queued job, and the reason why it waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingJob {
    /// Repository of the job.
    pub repository: RepositoryName,
    /// GitHub's number of the job.
    pub job: u64,
    /// Name of the job.
    pub name: String,
    /// Pool that runs the job.
    pub pool: PoolName,
    /// Time at which the job was queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Reason why the job has no runner yet, as a sentence without a full stop.
    pub reason: String,
}

/// One virtual machine of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the virtual machine, which is also that of its runner.
    pub name: RunnerName,
    /// Pool of the virtual machine.
    pub pool: PoolName,
    /// State of its life: `cloning`, `booting`, `idle`, `busy`, …
    pub state: String,
    /// Time at which it entered that state.
    pub since: Timestamp,
    /// Time at which it was reserved or found.
    pub created_at: Timestamp,
    /// GitHub's number of the job that it runs or ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
}

/// A failed virtual machine that is kept for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedVm {
    /// Name of the virtual machine.
    pub vm: RunnerName,
    /// VMID of the virtual machine.
    pub vmid: Vmid,
    /// Node of the virtual machine.
    pub node: NodeName,
    /// Time at which the virtual machine is destroyed.
    pub until: Timestamp,
    /// Reason why the virtual machine failed, as a clause.
    pub reason: String,
}

/// The log of a virtual machine that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLog {
    /// Name of the virtual machine.
    pub vm: RunnerName,
    /// Pool of the virtual machine.
    pub pool: PoolName,
    /// Time at which the log was kept.
    pub at: Timestamp,
    /// Reason why the virtual machine ended, as a clause.
    pub reason: String,
    /// File of the log, relative to the dispatcher's state directory.
    pub file: String,
}

/// Phase of a dispatcher's work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The dispatcher has no configuration yet.
    #[default]
    Unconfigured,
    /// The dispatcher has not finished a successful pass with its configuration yet.
    Starting,
    /// At least one pass with the configuration in force succeeded.
    Running,
    /// The dispatcher takes no more jobs, retires idle runners, and waits for running jobs.
    Draining,
    /// The dispatcher has drained: none of its virtual machines and registrations is left.
    Drained,
}

/// Counts of one pool's virtual machines and jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Name of the pool.
    pub name: PoolName,
    /// Largest number of virtual machines.
    pub max: u32,
    /// Number of queued jobs for this pool.
    pub queued: u32,
    /// Number of virtual machines that are not ready yet: reserved, being cloned, booting, or being armed.
    pub preparing: u32,
    /// Number of virtual machines with a registered runner that waits for a job.
    pub idle: u32,
    /// Number of virtual machines that run a job.
    pub busy: u32,
    /// Number of virtual machines that are being stopped or destroyed.
    pub ending: u32,
}

impl PoolStatus {
    /// Returns the number of virtual machines of the pool.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.preparing + self.idle + self.busy + self.ending
    }
}

/// A problem of a dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Subject of the problem.
    pub subject: Subject,
    /// Description of the problem with its cause, without secrets.
    pub message: String,
    /// Time at which the problem was first seen.
    pub since: Timestamp,
}

/// Subject of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The Proxmox VE API cannot be used.
    Pve,
    /// The GitHub API cannot be used.
    Github,
    /// One pool or one of its virtual machines.
    Pool,
    /// The dispatcher itself: its files, its database.
    Dispatcher,
}

impl Status {
    /// Returns the number of virtual machines of all pools.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.pools.iter().map(PoolStatus::live).sum()
    }
}
