//! What a dispatcher tells about itself.

use jiff::Timestamp;
use ownership::{Installation, PoolName};
use serde::{Deserialize, Serialize};

/// A dispatcher's state at one moment. The default is that of one that just started and knows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the dispatcher program.
    pub version: String,
    /// What it is doing.
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
    /// What hinders it now; empty when all is well.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// What a dispatcher is doing.
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
    /// All virtual machines of the pool.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.preparing + self.idle + self.busy + self.ending
    }
}

/// Something that hinders a dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What it is about.
    pub subject: Subject,
    /// What is wrong, with its cause, free of secrets.
    pub message: String,
    /// When it was first seen.
    pub since: Timestamp,
}

/// What a problem is about.
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
    /// Virtual machines of all pools.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.pools.iter().map(PoolStatus::live).sum()
    }
}
