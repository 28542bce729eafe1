//! The schema and state of `pxci_runner_vm`, and its conversions from and to the configuration at PVE.

use guest::Shape;
use ownership::{Kind, Marker, NodeName, Nonce, Owner, PoolName, Reap, RunnerName, Vmid, VmidRange};
use pve::Properties;
use serde::{Deserialize, Serialize};
use tf_provider::{Attr, Diagnostic, Model, Secret, Timeouts};

use crate::diagnostics;
use crate::nodes::good_node;

/// Name of the resource in diagnostics.
pub(super) const THING: &str = "runner VM";

const AGENT: &str = "agent";
const FINISHED: &str = "finished";
const NEVER: &str = "never";
pub(crate) const KEEP: &str = "keep";
pub(crate) const REPLACE: &str = "replace";

/// One runner VM: a linked clone of a template that runs at most one job.
///
/// The VM is not registered at GitHub until it gets the just-in-time configuration of a runner. With that configuration it
/// runs exactly one job, and then powers itself off. A VM that was started and is off has finished, whatever stopped it. A
/// finished VM never runs a second time: no update starts it. A change of its hardware, its cloud-init data or its template
/// replaces the VM. If the VM is moved to another node, the resource follows it. Before the VM is destroyed, its VMID, its
/// resource pool and the marker in its description prove that this resource created it.
#[derive(Clone, Default, Model)]
pub(crate) struct RunnerVm {
    /// Middle part of the VM's name `INSTALLATION-NAME-VMID-NONCE`. Lower-case letters, digits and hyphens.
    #[tf(required, replace, validate = good_name)]
    pub(crate) name: Attr<String>,
    /// Node of the template, on which the VM is created. Default: the provider's node.
    #[tf(optional, computed, keep, replace, validate = good_node)]
    pub(crate) node: Attr<String>,
    /// Proxmox VE resource pool of the VM.
    #[tf(required, replace, length(1..=128))]
    pub(crate) resource_pool: Attr<String>,
    /// Range of VMIDs from which the VM gets one, as in `9090-9099`. Required unless `vmid` is set.
    #[tf(optional, validate = good_range)]
    pub(crate) vmid_range: Attr<String>,
    /// VMID of the VM. Default: the lowest free VMID of `vmid_range`.
    #[tf(optional, computed, keep, replace, range(100..=999_999_999))]
    pub(crate) vmid: Attr<u32>,
    /// VMID of the template to clone.
    #[tf(required, replace, range(100..=999_999_999))]
    pub(crate) template_vmid: Attr<u32>,
    /// Volume id of the seed ISO in the VM's drive, as in `pxci_cloudinit_snippet.NAME.volid`.
    #[tf(optional, computed, keep, replace)]
    pub(crate) seed_iso: Attr<String>,
    /// Number of virtual CPU cores. Default: that of the template.
    #[tf(optional, computed, keep, replace, range(1..=512))]
    pub(crate) cores: Attr<u32>,
    /// Memory in MiB. Default: that of the template.
    #[tf(optional, computed, keep, replace, range(16..=4_178_944))]
    pub(crate) memory: Attr<u32>,
    /// Bridge of the VM's network card. Default: that of the template.
    #[tf(optional, computed, keep, replace)]
    pub(crate) bridge: Attr<String>,
    /// True if the VM is started. The VM powers itself off after its job; see `when_finished`. A VM that `started = false`
    /// stopped can be started again, unless it had a job.
    #[tf(default = true)]
    pub(crate) started: Attr<bool>,
    /// Action for a VM that has finished. With `keep`, the VM stays until the resource is destroyed. With `replace`, a new
    /// VM replaces it.
    #[tf(default = "keep", one_of("keep", "replace"))]
    pub(crate) when_finished: Attr<String>,
    /// Condition that ends the wait for a start. With `agent`, the guest agent must answer. With `none`, nothing is waited
    /// for.
    #[tf(default = "agent", one_of("agent", "none"))]
    pub(crate) ready_when: Attr<String>,
    /// Permission for the dispatcher to destroy the VM. With `finished`, the dispatcher destroys the VM after it has powered
    /// itself off. With `never`, only this resource destroys it.
    #[tf(default = "never", one_of("never", "finished"))]
    pub(crate) reap: Attr<String>,
    /// Just-in-time configuration of a GitHub runner (`encoded_jit_config`), with which the VM takes one job. Written into the
    /// guest and never stored. Set it together with `jit_config_wo_version`.
    #[tf(optional, write_only, sensitive)]
    pub(crate) jit_config_wo: Attr<Secret>,
    /// Version of `jit_config_wo`. Change it together with `jit_config_wo`. A new version replaces the VM.
    #[tf(optional, replace)]
    pub(crate) jit_config_wo_version: Attr<i64>,
    /// Name of the VM, which is also its host name and the name of its runner.
    #[tf(computed, keep)]
    pub(crate) runner_name: Attr<String>,
    /// True if the VM was started and is off now. An imported VM that is off counts as finished, because it may have run
    /// before.
    #[tf(computed, keep)]
    pub(crate) finished: Attr<bool>,
    /// IPv4 address of the guest when its agent first answered.
    #[tf(computed, keep)]
    pub(crate) ip_address: Attr<String>,
    /// Time limits of operations.
    #[tf(timeouts(create = "10m", update = "10m", delete = "5m"))]
    pub(crate) timeouts: Timeouts,
}

/// Private state of the resource. The JIT configuration itself is never stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Job {
    /// True if the VM got a JIT configuration.
    pub(crate) given: bool,
}

fn range(vmid: &Attr<u32>, range: Option<&str>) -> Option<VmidRange> {
    match (vmid.known(), range) {
        (Some(vmid), None) => Vmid::new(*vmid).ok().map(VmidRange::single),
        (_, Some(range)) => range.parse().ok(),
        (None, None) => None,
    }
}

impl KnownRunnerVm {
    /// Returns the range of VMIDs, or the VMID alone if there is no range. Returns `None` while neither is known.
    pub(crate) fn range(&self) -> Option<VmidRange> {
        range(&self.vmid, self.vmid_range.as_deref())
    }

    /// Returns the marker of an incarnation.
    pub(crate) fn marker(
        &self,
        installation: &ownership::Installation,
        vmid: Vmid,
        nonce: Nonce,
    ) -> Result<Marker, Diagnostic> {
        let mut marker = Marker::new(installation.clone(), Owner::Provider, Kind::Runner, vmid, nonce);
        marker.template = Some(diagnostics::vmid("template_vmid", self.template_vmid)?);
        marker.pool = Some(self.pool_name()?);
        marker.reap = self.reap();
        Ok(marker)
    }

    fn pool_name(&self) -> Result<PoolName, Diagnostic> {
        self.name.parse().map_err(|error: ownership::NameError| diagnostics::refused_argument("name", "name", &error))
    }

    /// Returns the permission for the dispatcher as the marker records it.
    pub(crate) fn reap(&self) -> Option<Reap> {
        (self.reap == FINISHED).then_some(Reap::Finished)
    }

    /// Returns true if the VM was started once and is off.
    pub(crate) fn has_finished(&self) -> bool {
        self.finished.known() == Some(&true)
    }

    /// Returns true if a start waits for the guest agent.
    pub(crate) fn waits_for_agent(&self) -> bool {
        self.ready_when == AGENT
    }

    /// Returns the changes to the configuration of the clone.
    pub(crate) fn shape(&self) -> Shape {
        Shape {
            cores: self.cores.known().copied(),
            memory_mib: self.memory.known().copied(),
            bridge: self.bridge.text().map(str::to_owned),
            seed_iso: self.seed_iso.text().map(str::to_owned),
            protection: true,
        }
    }

    /// Updates size, network and drive from the configuration at PVE.
    pub(crate) fn observe_shape(&mut self, config: &pve::Config) {
        (self.cores, self.memory, self.bridge, self.seed_iso) = shape_of(config);
    }
}

impl RunnerVm {
    /// Returns the range of VMIDs, or the VMID alone if there is no range. Returns `None` while neither is known.
    pub(crate) fn range(&self) -> Option<VmidRange> {
        range(&self.vmid, self.vmid_range.text())
    }

    /// Returns true if the VM was started once and is off.
    pub(crate) fn has_finished(&self) -> bool {
        self.finished.known() == Some(&true)
    }

    /// Updates the state with the VM's power. `started` keeps the requested value for a VM that has finished.
    pub(crate) fn observe_power(&mut self, is_running: bool) {
        if is_running {
            self.started = true.into();
            self.finished = false.into();
            return;
        }
        // Release 0.1 recorded `started = false` for a VM that had finished. An address shows that it ran.
        let was_started =
            self.started.known() == Some(&true) || self.has_finished() || self.ip_address.known().is_some();
        let is_imported = self.started.is_null();
        self.started = (self.started.known_or(true)).into();
        self.finished = (was_started || is_imported).into();
    }

    /// Updates the state from the VM's marker and configuration.
    pub(crate) fn observe(&mut self, marker: &Marker, config: &pve::Config) {
        self.vmid = marker.vmid.get().into();
        self.template_vmid = marker.template.map(Vmid::get).into();
        self.name = marker.pool.as_ref().map(ToString::to_string).into();
        self.runner_name = runner_name(marker).map(String::from).into();
        self.reap = if marker.reap == Some(Reap::Finished) { FINISHED } else { NEVER }.into();
        self.observe_shape(config);
    }

    /// Updates size, network and drive from the configuration at PVE.
    pub(crate) fn observe_shape(&mut self, config: &pve::Config) {
        (self.cores, self.memory, self.bridge, self.seed_iso) = shape_of(config);
    }
}

/// Cores, memory in MiB, bridge and seed ISO of a VM.
type ObservedShape = (Attr<u32>, Attr<u32>, Attr<String>, Attr<String>);

fn shape_of(config: &pve::Config) -> ObservedShape {
    // PVE does not write the option for one core.
    let cores = config.number("cores").map_or(Some(1), |cores| u32::try_from(cores).ok());
    let bridge = config.get("net0").and_then(|card| Properties::parse(card).get("bridge").map(str::to_owned));
    let memory = config.get("memory").and_then(memory);
    (cores.into(), memory.into(), bridge.into(), config.get("ide2").and_then(image).into())
}

/// Returns the name of the incarnation that a marker describes.
pub(crate) fn runner_name(marker: &Marker) -> Option<RunnerName> {
    let pool = marker.pool.as_ref()?;
    Some(RunnerName::new(&marker.installation, pool, marker.vmid, marker.nonce.clone()))
}

/// Reads the memory in MiB from `2048`, or from `current=2048` as newer releases of PVE write it.
fn memory(text: &str) -> Option<u32> {
    Properties::parse(text).lone_or("current").and_then(|number| number.parse().ok())
}

/// Returns the volume id of the ISO image in a drive. Returns `None` for an empty drive and for PVE's own cloud-init drive.
fn image(text: &str) -> Option<String> {
    let volid = Properties::parse(text).lone_or("file")?;
    (volid.contains(":iso/")).then(|| volid.to_owned())
}

/// The parts of an import id: `node/vmid`, or `node/vmid/range`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImportId {
    pub(crate) node: NodeName,
    pub(crate) vmid: Vmid,
    pub(crate) range: Option<String>,
}

impl ImportId {
    /// Reads an import id. Returns `None` if the text has another form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let node = parts.next()?.parse().ok()?;
        let vmid = parts.next()?.parse().ok()?;
        let range = parts.next().map(str::to_owned);
        let is_range =
            range.as_ref().is_none_or(|range| range.parse::<VmidRange>().is_ok_and(|range| range.contains(vmid)));
        (is_range && parts.next().is_none()).then_some(Self { node, vmid, range })
    }
}

fn good_name(name: &str) -> Result<(), String> {
    name.parse::<PoolName>().map(drop).map_err(|error| error.to_string())
}

fn good_range(range: &str) -> Result<(), String> {
    range.parse::<VmidRange>().map(drop).map_err(|error| error.to_string())
}
