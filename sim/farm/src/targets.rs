//! The Proxmox VE and the GitHub of a run, real or simulated. The environment names real ones.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use sim_guest::Namespaces;
use url::Url;

/// A Proxmox VE, real or simulated.
#[derive(Debug, Clone)]
pub struct PveTarget {
    /// Address of the API.
    pub endpoint: String,
    /// CA certificates that verify its certificate, in PEM form.
    pub ca_pem: Option<String>,
    /// Fingerprint of its certificate.
    pub fingerprint: Option<String>,
    /// The provider's token.
    pub provider: Token,
    /// The dispatcher's token.
    pub dispatcher: Token,
    /// Name of the node.
    pub node: String,
    /// Storage for disks.
    pub vm_storage: String,
    /// Storage for ISO images and container templates.
    pub iso_storage: String,
    /// Bridge of network cards.
    pub bridge: String,
    /// Resource pool of templates and runner VMs.
    pub runners_pool: String,
    /// Resource pool of the dispatcher's container.
    pub control_pool: String,
    /// First VMID of the range that the run may use.
    pub first_vmid: u32,
    /// Template to use in place of building one.
    pub template_vmid: Option<u32>,
    /// Volume id of the installation medium that a template is built from.
    pub installer: Option<String>,
}

/// An API token.
#[derive(Clone)]
pub struct Token {
    /// Id as `user@realm!name`.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Token({})", self.id)
    }
}

/// A GitHub, real or simulated.
#[derive(Clone)]
pub struct GitHubTarget {
    /// Base URL of the REST API.
    pub api_url: String,
    /// CA certificates that verify its certificate, in PEM form. `None` means the public ones.
    pub ca_pem: Option<String>,
    /// Token of the dispatcher.
    pub token: String,
    /// Repository whose jobs are run.
    pub repository: String,
    /// Number of a finished job in that repository that may run again. Its workflow must have `runs-on: [self-hosted,
    /// pxci-acceptance]`.
    pub job: Option<u64>,
}

/// Addresses and certificates with which the dispatcher's container reaches Proxmox VE and GitHub.
#[derive(Debug, Clone)]
pub struct DispatcherAddresses {
    /// Address of Proxmox VE's API.
    pub pve_endpoint: String,
    /// Base URL of GitHub's REST API.
    pub github_api_url: String,
    /// Certificates that verify GitHub's certificate, in PEM form. `None` means the public ones.
    pub github_ca_pem: Option<String>,
}

impl DispatcherAddresses {
    /// Returns the addresses that all others use, or addresses in the network of simulated containers.
    ///
    /// # Errors
    /// When that network, or a way out of it, cannot be made.
    pub(crate) async fn of(
        containers: Option<&Arc<Namespaces>>,
        pve: &PveTarget,
        github: &GitHubTarget,
        simulated_github: Option<&sim_github::ServerHandle>,
    ) -> Result<Self> {
        let Some(containers) = containers else {
            return Ok(Self {
                pve_endpoint: pve.endpoint.clone(),
                github_api_url: github.api_url.clone(),
                github_ca_pem: github.ca_pem.clone(),
            });
        };
        let github_ca_pem = simulated_github.map(|github| github.ca_pem().to_owned()).or_else(|| github.ca_pem.clone());
        Ok(Self {
            pve_endpoint: published(containers, &pve.endpoint).await?,
            github_api_url: published(containers, &github.api_url).await?,
            github_ca_pem,
        })
    }
}

/// Makes the service at `url` reachable for containers and returns their URL of it. The scheme is always `https`, which
/// both simulators serve.
async fn published(containers: &Namespaces, url: &str) -> Result<String> {
    let mut url = Url::parse(url).with_context(|| format!("{url} is not a URL"))?;
    let host = url.host_str().context("the URL has no host")?.to_owned();
    let port = url.port_or_known_default().context("the URL has no port")?;
    let inside = containers.publish(&host, port).await.with_context(|| format!("leading containers to {url}"))?;
    if url.scheme() == "http" {
        let secure = url.as_str().replacen("http:", "https:", 1);
        url = Url::parse(&secure).with_context(|| format!("{secure} is not a URL"))?;
    }
    if matches!(url.host(), Some(url::Host::Ipv4(_) | url::Host::Ipv6(_))) {
        url.set_ip_host(inside.ip()).map_err(|()| anyhow!("{url} cannot have an address"))?;
        url.set_port(Some(inside.port())).map_err(|()| anyhow!("{url} cannot have a port"))?;
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn needed(name: &str) -> Result<String> {
    variable(name)
        .with_context(|| format!("a real Proxmox VE or GitHub is named, so {name} must be set too (docs/testing.md)"))
}

fn or(name: &str, default: &str) -> String {
    variable(name).unwrap_or_else(|| default.to_owned())
}

impl PveTarget {
    /// Returns the real Proxmox VE that the environment names, or `None`.
    ///
    /// # Errors
    /// When the settings are incomplete.
    pub fn from_environment() -> Result<Option<Self>> {
        let Some(endpoint) = variable("PXCI_ACC_PVE_ENDPOINT") else { return Ok(None) };
        let ca_file = variable("PXCI_ACC_PVE_CA_FILE").map(PathBuf::from);
        let ca_pem = ca_file.map(std::fs::read_to_string).transpose().context("reading PXCI_ACC_PVE_CA_FILE")?;
        let vmids = or("PXCI_ACC_PVE_VMIDS", "9000-9199");
        let first_vmid = vmids.split('-').next().and_then(|first| first.parse().ok());
        let template_vmid = variable("PXCI_ACC_PVE_TEMPLATE_VMID").map(|vmid| vmid.parse::<u32>()).transpose();
        Ok(Some(Self {
            endpoint,
            ca_pem,
            fingerprint: variable("PXCI_ACC_PVE_FINGERPRINT"),
            provider: Token { id: needed("PXCI_ACC_PVE_TOKEN_ID")?, secret: needed("PXCI_ACC_PVE_TOKEN_SECRET")? },
            dispatcher: Token {
                id: needed("PXCI_ACC_PVE_DISPATCHER_TOKEN_ID")?,
                secret: needed("PXCI_ACC_PVE_DISPATCHER_TOKEN_SECRET")?,
            },
            node: needed("PXCI_ACC_PVE_NODE")?,
            vm_storage: or("PXCI_ACC_PVE_VM_STORAGE", "local-lvm"),
            iso_storage: or("PXCI_ACC_PVE_ISO_STORAGE", "local"),
            bridge: or("PXCI_ACC_PVE_BRIDGE", "vmbr0"),
            runners_pool: or("PXCI_ACC_PVE_POOL", "pxci-runners"),
            control_pool: or("PXCI_ACC_PVE_CONTROL_POOL", "pxci-control"),
            first_vmid: first_vmid.context("PXCI_ACC_PVE_VMIDS must be a range such as 9000-9199")?,
            template_vmid: template_vmid.context("PXCI_ACC_PVE_TEMPLATE_VMID must be a number")?,
            installer: variable("PXCI_ACC_PVE_INSTALLER"),
        }))
    }
}

impl GitHubTarget {
    /// Returns the real GitHub that the environment names, or `None`.
    ///
    /// # Errors
    /// When the settings are incomplete.
    pub fn from_environment() -> Result<Option<Self>> {
        let Some(token) = variable("PXCI_ACC_GITHUB_TOKEN") else { return Ok(None) };
        let job = variable("PXCI_ACC_GITHUB_JOB").map(|id| id.parse::<u64>()).transpose();
        Ok(Some(Self {
            token,
            api_url: or("PXCI_ACC_GITHUB_API_URL", "https://api.github.com"),
            repository: needed("PXCI_ACC_GITHUB_REPOSITORY")?,
            job: job.context("PXCI_ACC_GITHUB_JOB must be a number")?,
            ca_pem: None,
        }))
    }
}

/// Returns the address that simulators listen on.
#[must_use]
pub fn listen_address() -> String {
    or("PXCI_ACC_LISTEN", "127.0.0.1")
}
