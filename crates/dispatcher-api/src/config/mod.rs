//! The dispatcher's configuration: addresses of Proxmox VE and GitHub, and the runner pools.
//!
//! The provider writes it, the dispatcher validates it once more and keeps it. It never holds a secret: those travel
//! as [`crate::Secrets`], sealed.

use std::fmt;

use ownership::{Installation, NodeName, PoolName, RepositoryName, Vmid, VmidRange};
use serde::{Deserialize, Serialize};

mod validate;

/// Everything that a dispatcher needs to know, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The installation whose guests this dispatcher may touch.
    pub installation: Installation,
    /// Where the Proxmox VE API is.
    pub pve: PveConfig,
    /// Where the GitHub API is.
    #[serde(default)]
    pub github: GithubConfig,
    /// Seconds between two polls for queued jobs (1 to 3600).
    #[serde(default = "default_poll_interval")]
    pub poll_interval_seconds: u32,
    /// The pools of runners. Names are unique, VMID ranges do not overlap.
    #[serde(default)]
    pub pools: Vec<RunnerPool>,
}

/// Where the Proxmox VE API is, and as whom to use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PveConfig {
    /// API endpoints, such as `https://pve1.example.net:8006`; the later ones are tried when the first fails.
    pub endpoints: Vec<String>,
    /// PEM certificates of the authority that signed the endpoints' certificates. Excludes `fingerprint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// SHA-256 fingerprint of the endpoints' certificate, `AA:BB:…` or 64 hexadecimal digits. Excludes `ca_pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Name of the API token: `user@realm!name`.
    pub token_id: String,
}

/// Where the GitHub API is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GithubConfig {
    /// Base URL of the REST API. GitHub Enterprise Server: `https://host/api/v3`.
    pub api_url: String,
    /// PEM certificates of the authority that signed the API's certificate; a public one's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// Asks as a GitHub App; the secret for GitHub is that App's private key then, in place of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<GithubApp>,
}

impl Default for GithubConfig {
    fn default() -> Self {
        Self { api_url: "https://api.github.com".to_owned(), ca_pem: None, app: None }
    }
}

/// A GitHub App where it is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GithubApp {
    /// The App's client id, or its number as text.
    pub id: String,
    /// Number of the installation, as its page's address ends with.
    pub installation_id: u64,
}

/// One pool of runners: which jobs it serves, and what its virtual machines are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunnerPool {
    /// Name of the pool, unique in the installation.
    pub name: PoolName,
    /// Labels that a job must ask for a subset of; the runners register with exactly these.
    pub labels: Vec<String>,
    /// Repositories whose jobs are served.
    pub repositories: Vec<RepositoryName>,
    /// GitHub's id of the runner group that runners join; 1 is the default group.
    #[serde(default = "default_runner_group")]
    pub runner_group_id: u64,
    /// Most virtual machines of this pool that exist at any time, in whatever state.
    pub max: u32,
    /// VMIDs that this pool may use; nothing outside of it is ever touched.
    pub vmid_range: VmidRange,
    /// Proxmox VE resource pool that every virtual machine of this pool belongs to.
    pub resource_pool: String,
    /// The template that virtual machines are cloned from.
    pub template: TemplateSource,
    /// Volume id of the NoCloud ISO that each clone gets, such as `local:iso/pxci-lab_x_k3x9ab_0123456789abcdef.iso`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_iso: Option<String>,
    /// Virtual CPU cores of a clone; the template's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Memory of a clone in MiB; the template's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Bridge of a clone's network card; the template's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// Seconds from the start of a clone until its runner must be ready; then it is destroyed.
    #[serde(default = "default_boot_limit")]
    pub boot_limit_seconds: u32,
    /// Seconds that a registered runner may wait for a job; then it is retired.
    #[serde(default = "default_idle_limit")]
    pub idle_limit_seconds: u32,
    /// Seconds that one job may take; then its virtual machine is destroyed and the audit trail says so.
    #[serde(default = "default_job_limit")]
    pub job_limit_seconds: u32,
}

/// The template that a pool clones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateSource {
    /// The family it is a version of: the template's marker must say the same, or, where it has none, its name.
    pub family: String,
    /// VMID of the version to clone.
    pub vmid: Vmid,
    /// Node that has it; clones are made there.
    pub node: NodeName,
    /// `family` is the template's name at Proxmox VE, whatever its marker says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_name: bool,
}

fn default_poll_interval() -> u32 {
    15
}

fn default_runner_group() -> u64 {
    1
}

fn default_boot_limit() -> u32 {
    300
}

fn default_idle_limit() -> u32 {
    600
}

fn default_job_limit() -> u32 {
    6 * 60 * 60
}

/// One reason why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigProblem {
    /// Path of the field, such as `pools[0].labels[1]`.
    pub path: String,
    /// The mistake, as a sentence without a full stop.
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is not a configuration at all.
    #[error("the dispatcher's configuration cannot be read")]
    Syntax(#[source] serde_json::Error),
    /// It can be read, but says something impossible. Every problem is listed.
    #[error("the dispatcher's configuration is not valid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<ConfigProblem>),
}

impl Config {
    /// Reads a configuration from JSON and validates it.
    ///
    /// # Errors
    /// [`ConfigError`], with the path of every field that is wrong.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let config: Self = serde_json::from_str(text).map_err(ConfigError::Syntax)?;
        config.validate()?;
        Ok(config)
    }

    /// Returns the pool of this name, unless it was taken out of the configuration.
    #[must_use]
    pub fn pool(&self, name: &PoolName) -> Option<&RunnerPool> {
        self.pools.iter().find(|pool| pool.name == *name)
    }

    /// Checks what types alone cannot say: syntax of names, uniqueness, ranges.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every problem found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let problems = validate::problems(self);
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Invalid(problems))
    }

    /// Returns the SHA-256 of the configuration in 64 hexadecimal digits, whatever the order of its pools. Both sides compute it,
    /// so that drift shows without the configuration travelling back.
    #[cfg(feature = "console")]
    #[must_use]
    pub fn hash(&self) -> String {
        use sha2::Digest as _;

        let mut sorted = self.clone();
        sorted.pools.sort_by(|left, right| left.name.cmp(&right.name));
        // A struct of strings and numbers always serialises.
        let text = serde_json::to_vec(&sorted).unwrap_or_default();
        hex::encode(sha2::Sha256::digest(text))
    }
}

#[cfg(test)]
pub(crate) mod tests;
