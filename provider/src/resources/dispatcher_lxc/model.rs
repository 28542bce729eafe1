//! The typed state of `pxci_dispatcher_lxc`, and the dispatcher's configuration that follows from it.

use std::collections::{BTreeMap, BTreeSet};

use dispatcher_api::{Config, GithubConfig, PveConfig, RunnerPool, TemplateSource};
use ownership::{Installation, VmidRange};
use tf_provider::{Attr, Diagnostic, Model, Path, Secret, Timeouts};

use crate::connection::Connection;

/// The container with the dispatcher: it sees queued GitHub Actions jobs, makes a virtual machine for each, and
/// destroys it afterwards.
///
/// The container is made from an appliance that comes with the provider, and is configured over its console, so that an
/// API token is all that is needed. Pools and secrets change without a restart. A new appliance is a new container
/// beside the old one, which takes over its state volume. Destroying it first waits until the runners that it made are
/// gone; with `TF_LOG=INFO` the log says every ten seconds which are left, what hinders it, and how to go on. An apply that was
/// killed while it made the container is finished by the next one.
#[derive(Clone, Default, Model)]
pub(crate) struct Dispatcher {
    /// Node of the container. Default: the provider's.
    #[tf(optional, computed, keep, replace)]
    pub(crate) node: Attr<String>,
    /// Host name of the container.
    #[tf(default = "pxci-dispatcher", length(1..=63), validate = good_hostname)]
    pub(crate) hostname: Attr<String>,
    /// VMID of the container. Give either this or `vmid_range`; with a fixed VMID, a new appliance replaces the
    /// container instead of taking over from it.
    #[tf(optional, computed, keep, range(100..=999_999_999))]
    pub(crate) vmid: Attr<i64>,
    /// VMIDs that the container may have, as in `8100-8109`. A new appliance needs a second one while it takes over.
    #[tf(optional, validate = good_range)]
    pub(crate) vmid_range: Attr<String>,
    /// Proxmox VE resource pool that the container becomes a member of.
    #[tf(required, replace)]
    pub(crate) resource_pool: Attr<String>,
    /// Storage of the container's root file system and of its state; needs content type `rootdir`.
    #[tf(required, replace)]
    pub(crate) storage: Attr<String>,
    /// Storage that the appliance is uploaded to; needs content type `vztmpl`.
    #[tf(required, replace)]
    pub(crate) template_storage: Attr<String>,
    /// Size of the volume with the dispatcher's state, in GiB.
    #[tf(default = 1, replace, range(1..=1024))]
    pub(crate) state_volume_size: Attr<i64>,
    /// CPU cores.
    #[tf(default = 1, range(1..=128))]
    pub(crate) cores: Attr<i64>,
    /// Memory in MiB.
    #[tf(default = 256, range(64..=65_536))]
    pub(crate) memory: Attr<i64>,
    /// Swap in MiB.
    #[tf(default = 0, range(0..=65_536))]
    pub(crate) swap: Attr<i64>,
    /// Its network card. The dispatcher must reach Proxmox VE and GitHub; nothing needs to reach it.
    #[tf(required)]
    pub(crate) network: Attr<Network>,
    /// Name servers. Default: those of the node.
    #[tf(optional)]
    pub(crate) nameservers: Attr<Vec<String>>,
    /// Path of the appliance. Default: the file next to the provider's program. Environment: `PXCI_APPLIANCE`.
    #[tf(optional)]
    pub(crate) appliance_file: Attr<String>,
    /// Version of the appliance.
    #[tf(computed)]
    pub(crate) appliance_version: Attr<String>,
    /// SHA-256 of the appliance.
    #[tf(computed)]
    pub(crate) appliance_sha256: Attr<String>,
    /// Volume id of the uploaded appliance.
    #[tf(computed)]
    pub(crate) appliance_volid: Attr<String>,
    /// How the dispatcher reaches Proxmox VE. Default: as the provider does.
    #[tf(optional)]
    pub(crate) pve: Attr<PveAccess>,
    /// Secret of the dispatcher's API token. Default: the provider's. Never stored; sent sealed, and again whenever
    /// something of the dispatcher's configuration changes.
    #[tf(optional, write_only, sensitive)]
    pub(crate) pve_token_secret_wo: Attr<Secret>,
    /// Change it to send a new `pve_token_secret_wo`.
    #[tf(optional)]
    pub(crate) pve_token_secret_wo_version: Attr<i64>,
    /// How the dispatcher reaches GitHub.
    #[tf(optional)]
    pub(crate) github: Attr<GithubAccess>,
    /// GitHub personal access token that may read workflow runs and manage self-hosted runners of the repositories.
    /// Never stored; sent sealed, and again whenever something of the dispatcher's configuration changes.
    #[tf(required, write_only, sensitive)]
    pub(crate) github_token_wo: Attr<Secret>,
    /// Change it to send a new `github_token_wo`.
    #[tf(optional)]
    pub(crate) github_token_wo_version: Attr<i64>,
    /// Seconds between two polls for queued jobs.
    #[tf(default = 15, range(1..=3600))]
    pub(crate) poll_interval: Attr<i64>,
    /// The pools of runners, by name.
    #[tf(required)]
    pub(crate) pools: Attr<BTreeMap<String, Pool>>,
    /// SHA-256 of the configuration that the dispatcher works with.
    #[tf(computed)]
    pub(crate) config_hash: Attr<String>,
    /// How long operations may take. `delete` includes the time that running jobs take to end.
    #[tf(timeouts(create = "10m", update = "15m", delete = "30m"))]
    pub(crate) timeouts: Timeouts,
}

/// A container's network card.
#[derive(Clone, Default, Debug, PartialEq, Model)]
pub(crate) struct Network {
    /// Bridge, as in `vmbr0`.
    #[tf(required)]
    pub(crate) bridge: Attr<String>,
    /// IPv4 address with prefix length, as in `10.0.0.5/24`, or `dhcp`.
    #[tf(default = "dhcp", validate = good_address)]
    pub(crate) ip: Attr<String>,
    /// Default gateway, with a fixed address.
    #[tf(optional)]
    pub(crate) gateway: Attr<String>,
    /// VLAN tag.
    #[tf(optional, range(1..=4094))]
    pub(crate) vlan: Attr<i64>,
    /// Whether the card passes Proxmox VE's firewall.
    #[tf(default = false)]
    pub(crate) firewall: Attr<bool>,
}

/// How the dispatcher reaches Proxmox VE; what is left out is as in the provider block.
#[derive(Clone, Default, Model)]
pub(crate) struct PveAccess {
    /// Addresses of the API, as seen from the container.
    #[tf(optional)]
    pub(crate) endpoints: Attr<Vec<String>>,
    /// Certificates in PEM form that the API's certificate must be signed by.
    #[tf(optional)]
    pub(crate) ca_certificate: Attr<String>,
    /// SHA-256 fingerprint of the API's certificate.
    #[tf(optional)]
    pub(crate) fingerprint: Attr<String>,
    /// Name of the API token, as `user@realm!name`. Needs `pve_token_secret_wo`.
    #[tf(optional)]
    pub(crate) token_id: Attr<String>,
}

/// How the dispatcher reaches GitHub.
#[derive(Clone, Default, Model)]
pub(crate) struct GithubAccess {
    /// Base URL of the REST API; for GitHub Enterprise Server `https://HOST/api/v3`.
    #[tf(default = "https://api.github.com")]
    pub(crate) api_url: Attr<String>,
    /// Certificates in PEM form that the API's certificate must be signed by, where its authority is a private one.
    #[tf(optional)]
    pub(crate) ca_certificate: Attr<String>,
}

/// A pool of runners.
#[derive(Clone, Default, Model)]
pub(crate) struct Pool {
    /// Labels that runners register with; a job is served when it asks for some of them and no others.
    #[tf(required)]
    pub(crate) labels: Attr<Vec<String>>,
    /// Repositories whose jobs are served, as `owner/name`.
    #[tf(required)]
    pub(crate) repositories: Attr<Vec<String>>,
    /// Most virtual machines at any time.
    #[tf(required, range(1..=10_000))]
    pub(crate) max: Attr<i64>,
    /// VMIDs that the pool's virtual machines may have, as in `9100-9199`.
    #[tf(required, validate = good_range)]
    pub(crate) vmid_range: Attr<String>,
    /// Proxmox VE resource pool of the virtual machines. Default: that of the container.
    #[tf(optional)]
    pub(crate) resource_pool: Attr<String>,
    /// Template family, as in `pxci_template.NAME.family`.
    #[tf(required)]
    pub(crate) family: Attr<String>,
    /// VMID of the template to clone, as in `pxci_template.NAME.vmid`.
    #[tf(required)]
    pub(crate) template_vmid: Attr<i64>,
    /// Node of the template, on which clones are made. Default: that of the container.
    #[tf(optional)]
    pub(crate) template_node: Attr<String>,
    /// Volume id of the cloud-init data, as in `pxci_cloudinit_snippet.NAME.volid`.
    #[tf(optional)]
    pub(crate) seed_iso: Attr<String>,
    /// CPU cores of a virtual machine. Default: the template's.
    #[tf(optional, range(1..=512))]
    pub(crate) cores: Attr<i64>,
    /// Memory of a virtual machine in MiB. Default: the template's.
    #[tf(optional, range(16..=16_777_216))]
    pub(crate) memory: Attr<i64>,
    /// Bridge of a virtual machine's network card. Default: the template's.
    #[tf(optional)]
    pub(crate) bridge: Attr<String>,
    /// GitHub's id of the runner group to join; 1 is the default group.
    #[tf(default = 1, range(1..=i64::MAX))]
    pub(crate) runner_group_id: Attr<i64>,
    /// Seconds that a virtual machine may take until its runner is ready.
    #[tf(default = 300, range(1..=86_400))]
    pub(crate) boot_limit: Attr<i64>,
    /// Seconds that a ready runner may wait for a job before it is replaced.
    #[tf(default = 600, range(1..=86_400))]
    pub(crate) idle_limit: Attr<i64>,
    /// Seconds that a job may take before its virtual machine is destroyed.
    #[tf(default = 21_600, range(1..=432_000))]
    pub(crate) job_limit: Attr<i64>,
}

impl Dispatcher {
    /// VMIDs that the container may have.
    pub(crate) fn range(&self) -> Result<VmidRange, Diagnostic> {
        let fixed = || self.vmid.known().and_then(|vmid| u32::try_from(*vmid).ok());
        let range = match self.vmid_range.text() {
            Some(text) => text.parse().ok(),
            None => fixed().and_then(|vmid| VmidRange::new(vmid, vmid).ok()),
        };
        range.ok_or_else(|| {
            Diagnostic::error("No VMID is given", "Set `vmid_range`, as in \"8100-8109\", or `vmid`.").at("vmid_range")
        })
    }

    /// Volume ids of the images that its pools give to their VMs.
    pub(crate) fn seed_isos(&self) -> BTreeSet<String> {
        let pools = self.pools.known().into_iter().flatten();
        pools.filter_map(|(_, pool)| pool.seed_iso.text().map(str::to_owned)).collect()
    }

    /// VMID of the container that exists.
    pub(crate) fn container(&self) -> Result<u32, Diagnostic> {
        let vmid = *self.vmid.need("vmid")?;
        u32::try_from(vmid)
            .map_err(|_| Diagnostic::error("No container is known", "The state holds no VMID.").at("vmid"))
    }

    /// The dispatcher's configuration; `None` while a part of it is not known.
    pub(crate) fn config(
        &self,
        installation: &Installation,
        provider: &Connection,
    ) -> Result<Option<Config>, Diagnostic> {
        let Some(pve) = self.pve_config(provider)? else { return Ok(None) };
        let (Some(pools), Some(node), Some(resource_pool)) =
            (self.pools.known(), self.node.text(), self.resource_pool.text())
        else {
            return Ok(None);
        };
        let defaults = PoolDefaults { node, resource_pool };
        let mut list = Vec::with_capacity(pools.len());
        for (name, pool) in pools {
            let Some(pool) = pool.to_config(name, &defaults)? else { return Ok(None) };
            list.push(pool);
        }
        let Some(github) = self.github_config() else { return Ok(None) };
        let Some(poll_interval_seconds) = number(&self.poll_interval) else { return Ok(None) };
        Ok(Some(Config { installation: installation.clone(), pve, github, poll_interval_seconds, pools: list }))
    }

    fn pve_config(&self, provider: &Connection) -> Result<Option<PveConfig>, Diagnostic> {
        if self.pve.is_unknown() {
            return Ok(None);
        }
        let own = self.pve.known().cloned().unwrap_or_default();
        if own.endpoints.is_unknown()
            || own.token_id.is_unknown()
            || own.ca_certificate.is_unknown()
            || own.fingerprint.is_unknown()
        {
            return Ok(None);
        }
        let (ca_pem, fingerprint) = own.trust(provider)?;
        let provided = || provider.endpoints.iter().map(ToString::to_string).collect();
        Ok(Some(PveConfig {
            endpoints: own.endpoints.into_known().unwrap_or_else(provided),
            ca_pem,
            fingerprint,
            token_id: own.token_id.into_known().unwrap_or_else(|| provider.token.id().to_owned()),
        }))
    }

    fn github_config(&self) -> Option<GithubConfig> {
        match &self.github {
            Attr::Unknown => None,
            Attr::Null => Some(GithubConfig::default()),
            Attr::Known(access) if access.ca_certificate.is_unknown() => None,
            Attr::Known(access) => Some(GithubConfig {
                api_url: access.api_url.text()?.to_owned(),
                ca_pem: access.ca_certificate.text().map(str::to_owned),
                app: None,
            }),
        }
    }
}

impl PveAccess {
    /// CA and fingerprint: its own, else the provider's.
    fn trust(&self, provider: &Connection) -> Result<(Option<String>, Option<String>), Diagnostic> {
        if !self.ca_certificate.is_null() || !self.fingerprint.is_null() {
            return Ok((self.ca_certificate.text().map(str::to_owned), self.fingerprint.text().map(str::to_owned)));
        }
        match &provider.trust {
            pve::Trust::System => Ok((None, None)),
            pve::Trust::CaPem(pem) => Ok((Some(pem.clone()), None)),
            pve::Trust::Fingerprint(fingerprint) => Ok((None, Some(fingerprint.to_string()))),
            pve::Trust::Insecure => Err(Diagnostic::error(
                "The dispatcher must be able to check Proxmox VE's certificate",
                "PROXMOX_VERIFY_SSL switches the provider's check off; the dispatcher always checks. Set `fingerprint` or `ca_certificate`, here in `pve` or in the provider block.",
            )
            .at("pve")),
        }
    }
}

struct PoolDefaults<'a> {
    node: &'a str,
    resource_pool: &'a str,
}

impl Pool {
    /// `None` while a part of it is not known.
    fn to_config(&self, name: &str, defaults: &PoolDefaults<'_>) -> Result<Option<RunnerPool>, Diagnostic> {
        if self.has_unknown() {
            return Ok(None);
        }
        let at = |field: &str| Path::attribute("pools").key(name).then(field);
        let wrong =
            |field: &str, text: String| Diagnostic::error(format!("Invalid pool \"{name}\""), text).at(at(field));
        let parsed = name.parse().map_err(|error: ownership::NameError| wrong("labels", error.to_string()))?;
        let range = self.vmid_range.need("vmid_range")?;
        let template = TemplateSource {
            family: self.family.need("family")?.clone(),
            vmid: number(&self.template_vmid).ok_or_else(|| wrong("template_vmid", "It is not a VMID.".to_owned()))?,
            node: self.template_node.text().unwrap_or(defaults.node).to_owned(),
            by_name: false,
        };
        let required = |value: &Attr<i64>, field: &str| {
            number(value).ok_or_else(|| wrong(field, "It is out of range.".to_owned()))
        };
        Ok(Some(RunnerPool {
            name: parsed,
            labels: self.labels.need("labels")?.clone(),
            repositories: self.repositories.need("repositories")?.clone(),
            runner_group_id: self.runner_group_id.known().and_then(|id| u64::try_from(*id).ok()).unwrap_or(1),
            max: required(&self.max, "max")?,
            vmid_range: range.parse().map_err(|error: ownership::RangeError| wrong("vmid_range", error.to_string()))?,
            resource_pool: self.resource_pool.text().unwrap_or(defaults.resource_pool).to_owned(),
            template,
            seed_iso: self.seed_iso.text().map(str::to_owned),
            cores: number(&self.cores),
            memory_mib: number(&self.memory),
            bridge: self.bridge.text().map(str::to_owned),
            boot_limit_seconds: required(&self.boot_limit, "boot_limit")?,
            idle_limit_seconds: required(&self.idle_limit, "idle_limit")?,
            job_limit_seconds: required(&self.job_limit, "job_limit")?,
        }))
    }

    fn has_unknown(&self) -> bool {
        let texts =
            [&self.vmid_range, &self.resource_pool, &self.family, &self.template_node, &self.seed_iso, &self.bridge];
        let numbers = [
            &self.max,
            &self.template_vmid,
            &self.cores,
            &self.memory,
            &self.runner_group_id,
            &self.boot_limit,
            &self.idle_limit,
            &self.job_limit,
        ];
        self.labels.is_unknown()
            || self.repositories.is_unknown()
            || texts.iter().any(|text| text.is_unknown())
            || numbers.iter().any(|number| number.is_unknown())
    }
}

pub(crate) fn number(value: &Attr<i64>) -> Option<u32> {
    value.known().and_then(|number| u32::try_from(*number).ok())
}

fn good_range(text: &str) -> Result<(), String> {
    text.parse::<VmidRange>().map(drop).map_err(|error| error.to_string())
}

fn good_hostname(text: &str) -> Result<(), String> {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.split('.').all(label) {
        return Ok(());
    }
    Err("must be a host name: letters, digits and hyphens, with no hyphen at either end".to_owned())
}

fn good_address(text: &str) -> Result<(), String> {
    let fixed = |text: &str| {
        let (address, prefix) = text.split_once('/')?;
        let prefix: u8 = prefix.parse().ok()?;
        (address.parse::<std::net::Ipv4Addr>().is_ok() && prefix <= 32).then_some(())
    };
    if text == "dhcp" || fixed(text).is_some() {
        return Ok(());
    }
    Err("must be \"dhcp\", or an IPv4 address with its prefix length, as in \"10.0.0.5/24\"".to_owned())
}
