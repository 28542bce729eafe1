//! The schema and state of `pxci_dispatcher_lxc`, and the dispatcher's configuration that follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::diagnostics;
use dispatcher_api::{Config, GithubConfig, PveConfig, RunnerPool, TemplateSource};
use ownership::{Installation, NameError, NodeName, Vmid, VmidRange};
use tf_provider::{Attr, Diagnostic, Model, Path, Secret, Timeouts};

use crate::connection::Connection;
use crate::nodes::{self, good_node};

/// The dispatcher's container. The dispatcher polls GitHub for queued Actions jobs, creates a virtual machine for each job, and
/// destroys the virtual machine afterwards.
///
/// The container is made from an appliance that is part of the provider's release, and is configured over its console, so
/// the provider needs only an API token. Pools and secrets change without a restart. A new appliance is a new container
/// next to the old one, and takes over its state volume. A destroy first waits until the runner VMs of the dispatcher no
/// longer exist. With `TF_LOG=INFO`, the log reports every ten seconds which runner VMs are left, which problems the
/// dispatcher has, and what to do. If an apply is killed while it creates the container, the next apply continues with that
/// container.
#[derive(Clone, Default, Model)]
pub(crate) struct Dispatcher {
    /// Node of the container. Default: the provider's node.
    #[tf(optional, computed, keep, replace, validate = good_node)]
    pub(crate) node: Attr<String>,
    /// Host name of the container.
    #[tf(default = "pxci-dispatcher", length(1..=63), validate = good_hostname)]
    pub(crate) hostname: Attr<String>,
    /// VMID of the container. Conflicts with `vmid_range`. With a fixed VMID, a new appliance destroys the container and
    /// creates a new one, without its state.
    #[tf(optional, computed, keep, range(100..=999_999_999))]
    pub(crate) vmid: Attr<i64>,
    /// Range of VMIDs for the container, as in `8100-8109`. A new appliance needs a second VMID while it takes over.
    #[tf(optional, validate = good_range)]
    pub(crate) vmid_range: Attr<String>,
    /// Proxmox VE resource pool of the container.
    #[tf(required, replace)]
    pub(crate) resource_pool: Attr<String>,
    /// Storage for the container's root file system and state volume. Needs content type `rootdir`.
    #[tf(required, replace)]
    pub(crate) storage: Attr<String>,
    /// Storage to which the appliance is uploaded. Needs content type `vztmpl`.
    #[tf(required, unread, replace)]
    pub(crate) template_storage: Attr<String>,
    /// Size of the state volume in GiB.
    #[tf(default = 1, replace, range(1..=1024))]
    pub(crate) state_volume_size: Attr<i64>,
    /// Number of CPU cores.
    #[tf(default = 1, range(1..=128))]
    pub(crate) cores: Attr<i64>,
    /// Memory in MiB.
    #[tf(default = 256, range(64..=65_536))]
    pub(crate) memory: Attr<i64>,
    /// Swap in MiB.
    #[tf(default = 0, range(0..=65_536))]
    pub(crate) swap: Attr<i64>,
    /// Network card of the container. The dispatcher must reach Proxmox VE and GitHub. No connection to the dispatcher is needed.
    #[tf(required, unread)]
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
    /// Connection of the dispatcher to Proxmox VE. Default: the provider's.
    #[tf(optional)]
    pub(crate) pve: Attr<PveAccess>,
    /// Secret of the dispatcher's API token. Default: the provider's. Never stored. Sent sealed to the dispatcher with every
    /// change of its configuration.
    #[tf(optional, write_only, sensitive)]
    pub(crate) pve_token_secret_wo: Attr<Secret>,
    /// Version of `pve_token_secret_wo`. A new version sends the secret again.
    #[tf(optional)]
    pub(crate) pve_token_secret_wo_version: Attr<i64>,
    /// Connection of the dispatcher to GitHub.
    #[tf(optional)]
    pub(crate) github: Attr<GithubAccess>,
    /// GitHub personal access token that may read workflow runs and manage self-hosted runners of the repositories. Never
    /// stored. Sent sealed to the dispatcher with every change of its configuration.
    #[tf(required, write_only, sensitive)]
    pub(crate) github_token_wo: Attr<Secret>,
    /// Version of `github_token_wo`. A new version sends the token again.
    #[tf(optional)]
    pub(crate) github_token_wo_version: Attr<i64>,
    /// Time between two polls for queued jobs, in seconds.
    #[tf(default = 15, range(1..=3600))]
    pub(crate) poll_interval: Attr<i64>,
    /// Runner pools by name.
    #[tf(required, unread)]
    pub(crate) pools: Attr<BTreeMap<String, Pool>>,
    /// SHA-256 of the dispatcher's configuration.
    #[tf(computed)]
    pub(crate) config_hash: Attr<String>,
    /// Time limits of operations. `delete` includes the time that running jobs take to end.
    #[tf(timeouts(create = "10m", update = "15m", delete = "30m"))]
    pub(crate) timeouts: Timeouts,
}

/// Network card of the container.
#[derive(Clone, Default, Debug, PartialEq, Model)]
pub(crate) struct Network {
    /// Bridge, as in `vmbr0`.
    #[tf(required)]
    pub(crate) bridge: Attr<String>,
    /// IPv4 address with prefix length, as in `10.0.0.5/24`, or `dhcp`.
    #[tf(default = "dhcp", validate = good_address)]
    pub(crate) ip: Attr<String>,
    /// Default gateway. Needs a fixed address in `ip`.
    #[tf(optional)]
    pub(crate) gateway: Attr<String>,
    /// IPv6 address with prefix length, as in `2001:db8::5/64`, or `auto` for an address from router advertisements. DHCPv6 is
    /// not supported.
    #[tf(optional, validate = good_ipv6_address)]
    pub(crate) ip6: Attr<String>,
    /// Default IPv6 gateway. Needs a fixed address in `ip6`.
    #[tf(optional)]
    pub(crate) gateway6: Attr<String>,
    /// VLAN tag.
    #[tf(optional, range(1..=4094))]
    pub(crate) vlan: Attr<i64>,
    /// True if Proxmox VE's firewall filters the card's traffic.
    #[tf(default = false)]
    pub(crate) firewall: Attr<bool>,
}

/// Connection of the dispatcher to Proxmox VE. The provider block has the default of each argument.
#[derive(Clone, Default, Model)]
pub(crate) struct PveAccess {
    /// Addresses of the API that the container can reach.
    #[tf(optional)]
    pub(crate) endpoints: Attr<Vec<String>>,
    /// PEM certificates of the authorities that may sign the API's certificate.
    #[tf(optional)]
    pub(crate) ca_certificate: Attr<String>,
    /// SHA-256 fingerprint of the API's certificate.
    #[tf(optional)]
    pub(crate) fingerprint: Attr<String>,
    /// Name of the API token, as `user@realm!name`. Needs `pve_token_secret_wo`.
    #[tf(optional)]
    pub(crate) token_id: Attr<String>,
}

/// Connection of the dispatcher to GitHub.
#[derive(Clone, Default, Model)]
pub(crate) struct GithubAccess {
    /// Base URL of the REST API. For GitHub Enterprise Server, it is `https://HOST/api/v3`.
    #[tf(default = "https://api.github.com")]
    pub(crate) api_url: Attr<String>,
    /// PEM certificates of the authorities that may sign the API's certificate. Default: the public authorities.
    #[tf(optional)]
    pub(crate) ca_certificate: Attr<String>,
}

/// A runner pool.
#[derive(Clone, Default, Model)]
pub(crate) struct Pool {
    /// Labels of the runners. The pool runs a job if it has all labels that the job asks for.
    #[tf(required)]
    pub(crate) labels: Attr<Vec<String>>,
    /// Repositories whose jobs the pool runs, as `owner/name`.
    #[tf(required)]
    pub(crate) repositories: Attr<Vec<String>>,
    /// Largest number of virtual machines at the same time.
    #[tf(required, range(1..=10_000))]
    pub(crate) max: Attr<i64>,
    /// Range of VMIDs for the pool's virtual machines, as in `9100-9199`.
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
    /// Volume id of the seed ISO, as in `pxci_cloudinit_snippet.NAME.volid`.
    #[tf(optional)]
    pub(crate) seed_iso: Attr<String>,
    /// Number of CPU cores of a virtual machine. Default: that of the template.
    #[tf(optional, range(1..=512))]
    pub(crate) cores: Attr<i64>,
    /// Memory of a virtual machine in MiB. Default: that of the template.
    #[tf(optional, range(16..=16_777_216))]
    pub(crate) memory: Attr<i64>,
    /// Bridge of a virtual machine's network card. Default: that of the template.
    #[tf(optional)]
    pub(crate) bridge: Attr<String>,
    /// GitHub's id of the runner group. The default group has the id 1.
    #[tf(default = 1, range(1..=i64::MAX))]
    pub(crate) runner_group_id: Attr<i64>,
    /// Longest time until the runner of a new virtual machine is ready, in seconds.
    #[tf(default = 300, range(1..=86_400))]
    pub(crate) boot_limit: Attr<i64>,
    /// Longest time that a ready runner waits for a job before it is replaced, in seconds.
    #[tf(default = 600, range(1..=86_400))]
    pub(crate) idle_limit: Attr<i64>,
    /// Longest time that a job runs before its virtual machine is destroyed, in seconds.
    #[tf(default = 21_600, range(1..=432_000))]
    pub(crate) job_limit: Attr<i64>,
    /// Quarantine: failed virtual machines that are kept for a person. Default: each failed virtual machine is destroyed.
    #[tf(optional)]
    pub(crate) quarantine: Attr<Quarantine>,
}

/// Quarantine of a runner pool. A virtual machine in quarantine still counts as one of the pool's virtual machines. It has no
/// registration, so it cannot take a job.
#[derive(Clone, Default, Model)]
pub(crate) struct Quarantine {
    /// Largest number of virtual machines in quarantine. Less than `max` of the pool.
    #[tf(required, range(1..=10_000))]
    pub(crate) max: Attr<i64>,
    /// Time after which a virtual machine in quarantine is destroyed, in seconds.
    #[tf(default = 7200, range(60..=604_800))]
    pub(crate) keep_for: Attr<i64>,
}

impl Dispatcher {
    /// Returns the range of the container's VMIDs.
    pub(crate) fn range(&self) -> Result<VmidRange, Diagnostic> {
        range(self.vmid_range.text(), &self.vmid)
    }

    /// Returns the node and the VMID of the container.
    pub(crate) fn place(&self) -> Result<(NodeName, Vmid), Diagnostic> {
        Ok((nodes::known(&self.node)?, container(&self.vmid)?))
    }

    /// Returns the location that the proof of ownership demands of the container.
    pub(crate) fn location(&self) -> Result<Location<'_>, Diagnostic> {
        let (node, vmid) = self.place()?;
        Ok(Location { node, vmid, range: self.range()?, resource_pool: self.resource_pool.require("resource_pool")? })
    }
}

/// Location that a container must have to be the one of a state or a plan.
#[derive(Debug, Clone)]
pub(crate) struct Location<'a> {
    /// Node on which the container was last seen.
    pub(crate) node: NodeName,
    /// VMID of the container.
    pub(crate) vmid: Vmid,
    /// Range that holds the VMID.
    pub(crate) range: VmidRange,
    /// PVE resource pool of the container.
    pub(crate) resource_pool: &'a str,
}

fn range(range: Option<&str>, vmid: &Attr<i64>) -> Result<VmidRange, Diagnostic> {
    let range = match range {
        Some(text) => text.parse().ok(),
        None => self::vmid(vmid).map(VmidRange::single),
    };
    range.ok_or_else(|| {
        diagnostics::invalid("vmid_range", "No VMID is given", "Set `vmid_range`, as in \"8100-8109\", or `vmid`.")
    })
}

/// Returns the VMID of the container in a state.
pub(crate) fn container(vmid: &Attr<i64>) -> Result<Vmid, Diagnostic> {
    vmid.require("vmid")?;
    self::vmid(vmid)
        .ok_or_else(|| diagnostics::invalid("vmid", "The container is not known", "The state holds no VMID."))
}

impl KnownDispatcher {
    /// Returns the range of the container's VMIDs.
    pub(crate) fn range(&self) -> Result<VmidRange, Diagnostic> {
        range(self.vmid_range.as_deref(), &self.vmid)
    }

    /// Returns the node and the VMID of the container.
    pub(crate) fn place(&self) -> Result<(NodeName, Vmid), Diagnostic> {
        Ok((nodes::known(&self.node)?, container(&self.vmid)?))
    }

    /// Returns the location that the proof of ownership demands of the container.
    pub(crate) fn location(&self) -> Result<Location<'_>, Diagnostic> {
        let (node, vmid) = self.place()?;
        Ok(Location { node, vmid, range: self.range()?, resource_pool: &self.resource_pool })
    }

    /// Returns the volume ids of the pools' seed ISOs.
    pub(crate) fn seed_isos(&self) -> BTreeSet<String> {
        self.pools.values().filter_map(|pool| pool.seed_iso.clone()).collect()
    }

    /// Returns the dispatcher's configuration. A pool without `template_node` gets `node`, the node of the container.
    pub(crate) fn config(
        &self,
        node: &NodeName,
        installation: &Installation,
        provider: &Connection,
    ) -> Result<Config, Diagnostic> {
        let defaults = PoolDefaults { node, resource_pool: &self.resource_pool };
        let pools = self.pools.iter().map(|(name, pool)| pool.to_config(name, &defaults)).collect::<Result<_, _>>()?;
        let poll_interval_seconds = unsigned(self.poll_interval)
            .ok_or_else(|| diagnostics::invalid("poll_interval", "Invalid dispatcher", "It is out of range."))?;
        let pve = self.pve_config(provider)?;
        let github = self.github_config();
        Ok(Config { installation: installation.clone(), pve, github, poll_interval_seconds, pools })
    }

    fn pve_config(&self, provider: &Connection) -> Result<PveConfig, Diagnostic> {
        let own = self.pve.clone().unwrap_or_default();
        let (ca_pem, fingerprint) = own.trust(provider)?;
        let provided = || provider.endpoints.iter().map(ToString::to_string).collect();
        Ok(PveConfig {
            endpoints: own.endpoints.unwrap_or_else(provided),
            ca_pem,
            fingerprint,
            token_id: own.token_id.unwrap_or_else(|| provider.token.id().to_owned()),
        })
    }

    fn github_config(&self) -> GithubConfig {
        let Some(access) = &self.github else { return GithubConfig::default() };
        GithubConfig { api_url: access.api_url.clone(), ca_pem: access.ca_certificate.clone(), app: None }
    }
}

impl KnownPveAccess {
    /// Returns the certificates of authorities or the fingerprint: its own, or else the provider's.
    fn trust(&self, provider: &Connection) -> Result<(Option<String>, Option<String>), Diagnostic> {
        if self.ca_certificate.is_some() || self.fingerprint.is_some() {
            return Ok((self.ca_certificate.clone(), self.fingerprint.clone()));
        }
        match &provider.trust {
            pve::Trust::System => Ok((None, None)),
            pve::Trust::CaPem(pem) => Ok((Some(pem.clone()), None)),
            pve::Trust::Fingerprint(fingerprint) => Ok((None, Some(fingerprint.to_string()))),
            pve::Trust::Insecure => Err(diagnostics::invalid(
                "pve",
                "The dispatcher must be able to check Proxmox VE's certificate",
                "The provider does not check it (PROXMOX_VERIFY_SSL), but the dispatcher always does. Set `fingerprint` or `ca_certificate`, here in `pve` or in the provider block.",
            )),
        }
    }
}

struct PoolDefaults<'a> {
    node: &'a NodeName,
    resource_pool: &'a str,
}

impl KnownPool {
    fn to_config(&self, name: &str, defaults: &PoolDefaults<'_>) -> Result<RunnerPool, Diagnostic> {
        let at = |field: &str| Path::attribute("pools").key(name).then(field);
        let wrong =
            |field: &str, text: String| diagnostics::invalid(at(field), format!("Invalid pool \"{name}\""), text);
        let parsed = name.parse().map_err(|error: NameError| wrong("labels", error.to_string()))?;
        let vmid = vmid_of(self.template_vmid);
        let node = self.template_node.as_deref().map_or_else(|| Ok(defaults.node.clone()), str::parse);
        let template = TemplateSource {
            family: self.family.clone(),
            vmid: vmid.ok_or_else(|| wrong("template_vmid", "It is not a VMID.".to_owned()))?,
            node: node.map_err(|error: NameError| wrong("template_node", error.to_string()))?,
            by_name: false,
        };
        let repositories = self.repositories.iter().map(|text| text.parse()).collect::<Result<_, NameError>>();
        let required =
            |value: i64, field: &str| unsigned(value).ok_or_else(|| wrong(field, "It is out of range.".to_owned()));
        let range = self.vmid_range.parse();
        Ok(RunnerPool {
            name: parsed,
            labels: self.labels.clone(),
            repositories: repositories.map_err(|error| wrong("repositories", error.to_string()))?,
            runner_group_id: u64::try_from(self.runner_group_id).unwrap_or(1),
            max: required(self.max, "max")?,
            vmid_range: range.map_err(|error: ownership::RangeError| wrong("vmid_range", error.to_string()))?,
            resource_pool: self.resource_pool.clone().unwrap_or_else(|| defaults.resource_pool.to_owned()),
            template,
            seed_iso: self.seed_iso.clone(),
            cores: self.cores.and_then(unsigned),
            memory_mib: self.memory.and_then(unsigned),
            bridge: self.bridge.clone(),
            boot_limit_seconds: required(self.boot_limit, "boot_limit")?,
            idle_limit_seconds: required(self.idle_limit, "idle_limit")?,
            job_limit_seconds: required(self.job_limit, "job_limit")?,
            quarantine: match &self.quarantine {
                Some(quarantine) => Some(dispatcher_api::Quarantine {
                    max: required(quarantine.max, "quarantine")?,
                    keep_for_seconds: required(quarantine.keep_for, "quarantine")?,
                }),
                None => None,
            },
        })
    }
}

/// Returns the VMID in an attribute, if it is known and valid.
pub(crate) fn vmid(attribute: &Attr<i64>) -> Option<Vmid> {
    attribute.known().copied().and_then(vmid_of)
}

fn vmid_of(number: i64) -> Option<Vmid> {
    Vmid::new(unsigned(number)?).ok()
}

fn unsigned(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
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

/// Returns true if the text is an address of the given family with a prefix length of at most `longest` bits.
fn is_fixed_address<A: FromStr>(text: &str, longest: u8) -> bool {
    text.split_once('/').is_some_and(|(address, prefix)| {
        address.parse::<A>().is_ok() && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest)
    })
}

fn good_address(text: &str) -> Result<(), String> {
    if text == "dhcp" || is_fixed_address::<Ipv4Addr>(text, 32) {
        return Ok(());
    }
    Err("must be \"dhcp\", or an IPv4 address with its prefix length, as in \"10.0.0.5/24\"".to_owned())
}

/// Refuses DHCPv6: Proxmox VE writes `manual` in its place for the release of Alpine that the appliance claims
/// (`PVE::LXC::Setup::Alpine`), and the appliance's busybox does not have a DHCPv6 client. The container would be without
/// the address that the user asked for.
fn good_ipv6_address(text: &str) -> Result<(), String> {
    if text == "auto" || is_fixed_address::<Ipv6Addr>(text, 128) {
        return Ok(());
    }
    let allowed = "\"auto\" for an address from router advertisements (SLAAC), or an IPv6 address with its prefix length, as in \"2001:db8::5/64\"";
    match text {
        "dhcp" => Err(format!(
            "cannot be \"dhcp\", because the dispatcher's appliance does not have a DHCPv6 client; use {allowed}"
        )),
        _ => Err(format!("must be {allowed}")),
    }
}
