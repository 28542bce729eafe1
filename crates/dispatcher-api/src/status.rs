//! The status of a dispatcher.

use jiff::Timestamp;
use ownership::{Installation, PoolName, RepositoryName, RunnerName};
use serde::{Deserialize, Serialize};

/// A dispatcher's state at one moment. The default is that of one that just started and knows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the dispatcher program.
    pub version: String,
    /// Phase of its work.
    pub phase: Phase,
    /// The installation that it serves; absent until it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<Installation>,
    /// [`crate::Config::hash`] of the configuration in force; absent until it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// When the program started.
    pub started_at: Timestamp,
    /// When the last pass began that reached Proxmox VE and GitHub with the configuration in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_pass_at: Option<Timestamp>,
    /// Counts for each pool, in the order of the configuration.
    #[serde(default)]
    pub pools: Vec<PoolStatus>,
    /// Queued jobs that its pools serve, oldest first, and why each has no runner yet. The first [`MOST_LISTED`].
    #[serde(default)]
    pub waiting: Vec<WaitingJob>,
    /// Its virtual machines, oldest first. The first [`MOST_LISTED`].
    #[serde(default)]
    pub machines: Vec<Machine>,
    /// Problems that hinder it now.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// Most jobs, and most virtual machines, that a status lists one by one: it has to fit into a message.
pub const MOST_LISTED: usize = 250;

/// A queued job and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingJob {
    /// Repository of the job.
    pub repository: RepositoryName,
    /// GitHub's number of the job.
    pub job: u64,
    /// Its name.
    pub name: String,
    /// Pool that serves it.
    pub pool: PoolName,
    /// When it was queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it has no runner yet, as a sentence without a full stop.
    pub reason: String,
}

/// One virtual machine of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name, which is that of its runner too.
    pub name: RunnerName,
    /// Pool that it belongs to.
    pub pool: PoolName,
    /// Word for where it is in its life: `cloning`, `booting`, `idle`, `busy`, …
    pub state: String,
    /// When it came there.
    pub since: Timestamp,
    /// When it was reserved, or found.
    pub created_at: Timestamp,
    /// GitHub's number of the job that it runs or ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
}

/// Phase of a dispatcher's work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has no configuration yet.
    #[default]
    Unconfigured,
    /// It has one, and has not finished a good pass with it.
    Starting,
    /// At least one pass with the configuration in force was good.
    Running,
    /// It takes no more jobs, retires what is idle, and waits for running jobs.
    Draining,
    /// It has drained: no virtual machine and no registration of its making is left.
    Drained,
}

/// Counts of one pool's virtual machines and jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Name of the pool.
    pub name: PoolName,
    /// Most virtual machines that may exist.
    pub max: u32,
    /// Queued jobs that this pool would serve.
    pub queued: u32,
    /// Virtual machines on their way to being ready: reserved, cloned, booting, being armed.
    pub preparing: u32,
    /// Virtual machines with a registered runner that waits for a job.
    pub idle: u32,
    /// Virtual machines that run a job.
    pub busy: u32,
    /// Virtual machines that are being stopped or destroyed.
    pub ending: u32,
}

impl PoolStatus {
    /// Returns all virtual machines of the pool.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.preparing + self.idle + self.busy + self.ending
    }
}

/// Something that hinders a dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Subject of the problem.
    pub subject: Subject,
    /// Description of the problem with its cause, without secrets.
    pub message: String,
    /// When it was first seen.
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
    /// Returns the virtual machines of all pools.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.pools.iter().map(PoolStatus::live).sum()
    }
}
