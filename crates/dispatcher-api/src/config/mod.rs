//! The dispatcher's configuration: addresses of Proxmox VE and GitHub, and the runner pools.
//!
//! The provider writes the configuration, and the dispatcher validates it again and stores it. A configuration must
//! never hold a secret. Secrets are sent sealed, as [`crate::Secrets`].

use std::fmt;

use ownership::{Installation, NodeName, PoolName, RepositoryName, Vmid, VmidRange};
use serde::{Deserialize, Serialize};

mod validate;

/// Configuration of a dispatcher, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Installation whose guests this dispatcher may change.
    pub installation: Installation,
    /// Connection to the Proxmox VE API.
    pub pve: PveConfig,
    /// Connection to the GitHub API.
    #[serde(default)]
    pub github: GithubConfig,
    /// Time between two polls for queued jobs, in seconds (1 to 3600).
    #[serde(default = "default_poll_interval")]
    pub poll_interval_seconds: u32,
    /// Runner pools. Their names are unique, and their VMID ranges do not overlap.
    #[serde(default)]
    pub pools: Vec<RunnerPool>,
}

/// Connection to the Proxmox VE API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PveConfig {
    /// API endpoints, such as `https://pve1.example.net:8006`. Later endpoints are tried if earlier ones fail.
    pub endpoints: Vec<String>,
    /// PEM certificates of the authority that signed the endpoints' certificates. Conflicts with `fingerprint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// SHA-256 fingerprint of the endpoints' certificate, `AA:BB:…` or 64 hexadecimal digits. Conflicts with `ca_pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Name of the API token: `user@realm!name`.
    pub token_id: String,
}

/// Connection to the GitHub API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GithubConfig {
    /// Base URL of the REST API. GitHub Enterprise Server: `https://host/api/v3`.
    pub api_url: String,
    /// PEM certificates of the authority that signed the API's certificate. `None` for a public authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// GitHub App that the dispatcher acts as. The secret for GitHub is then the App's private key instead of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<GithubApp>,
}

impl Default for GithubConfig {
    fn default() -> Self {
        Self { api_url: "https://api.github.com".to_owned(), ca_pem: None, app: None }
    }
}

/// An installation of a GitHub App.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GithubApp {
    /// The App's client id, or its number as text.
    pub id: String,
    /// Number of the installation, with which the address of its page ends.
    pub installation_id: u64,
}

/// A runner pool: the jobs that it runs, and the properties of its virtual machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunnerPool {
    /// Name of the pool, unique in the installation.
    pub name: PoolName,
    /// Labels of the runners. The pool runs a job that asks for a subset of them.
    pub labels: Vec<String>,
    /// Repositories whose jobs the pool runs.
    pub repositories: Vec<RepositoryName>,
    /// GitHub's id of the runner group. The default group has the id 1.
    #[serde(default = "default_runner_group")]
    pub runner_group_id: u64,
    /// Largest number of virtual machines of this pool at the same time, in any state.
    pub max: u32,
    /// Range of VMIDs of this pool. The dispatcher never changes a guest outside of it.
    pub vmid_range: VmidRange,
    /// Proxmox VE resource pool of the virtual machines.
    pub resource_pool: String,
    /// Template that the virtual machines are cloned from.
    pub template: TemplateSource,
    /// Volume id of the seed ISO that each clone gets, such as `local:iso/pxci-lab_x_k3x9ab_0123456789abcdef.iso`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_iso: Option<String>,
    /// Number of virtual CPU cores of a clone. `None` for that of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Memory of a clone in MiB. `None` for that of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Bridge of a clone's network card. `None` for that of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// Longest time until the runner of a new clone is ready, in seconds. A slower clone is destroyed.
    #[serde(default = "default_boot_limit")]
    pub boot_limit_seconds: u32,
    /// Longest time that a registered runner waits for a job before it is retired, in seconds.
    #[serde(default = "default_idle_limit")]
    pub idle_limit_seconds: u32,
    /// Longest time that a job runs before its virtual machine is destroyed, in seconds. The audit trail records it.
    #[serde(default = "default_job_limit")]
    pub job_limit_seconds: u32,
}

/// The template that a pool clones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateSource {
    /// Family of the template, according to its marker, or according to its name if it has no marker.
    pub family: String,
    /// VMID of the version to clone.
    pub vmid: Vmid,
    /// Node of the template, on which clones are made.
    pub node: NodeName,
    /// True if `family` is the template's name at Proxmox VE, regardless of its marker.
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

/// Reason why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is not a configuration at all.
    #[error("the dispatcher's configuration cannot be read")]
    Syntax(#[source] serde_json::Error),
    /// The configuration can be read, but is invalid. Lists every problem.
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

    /// Checks the rules that types cannot express: syntax of names, uniqueness, ranges.
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

    /// Returns the SHA-256 of the configuration in 64 hexadecimal digits, regardless of the order of its pools. Both sides
    /// compute it, so the provider detects drift without reading the configuration back.
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
