//! A new version: Packer builds it beside the current one, it is finished and verified, and only then called ready.
//!
//! ```text
//! choose VMID → packer build (marked "building" as soon as the VM is there) → drives out → boot a clone → marked "ready"
//!     any failure, an interrupt, the deadline → what was made is destroyed, after the proof
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use guest::{Candidate, OwnedVm, Problem};
use ownership::{Build, Kind, Marker, Nonce, NotOurs, Owner, Vmid, fingerprint_tag, tags};
use packer_driver::{Class, Event, Level, Packer};
use pve::{Qemu, WaitOptions};
use template_family::{Family, Version};
use tf_provider::{CancellationToken, Context, Diagnostic};

use super::model::KnownTemplate;
use super::proofs::{self, PACKERS_DESCRIPTION};
use super::runner_program::{self, RunnerProgram};
use super::source::Source;
use super::variables::{self, Account, Making, Variables};
use super::{THING, cds, finishing, verifying};
use crate::diagnostics::{self, Detailed as _, Unable as _};
use crate::provider::Clients;
use crate::waiting;

/// Packer notices a request to end only between calls to the API; some of those wait for a task.
const GRACE: Duration = Duration::from_secs(300);
/// How often another VMID is tried when somebody else was faster.
const ATTEMPTS: usize = 4;
const MARKING_PAUSE: Duration = Duration::from_secs(1);
pub(super) const CLEANING: Duration = Duration::from_secs(300);

/// The Packer program that an apply would use.
pub(super) async fn packer(plan: &KnownTemplate) -> Result<Packer, Diagnostic> {
    let named =
        plan.packer_path.as_deref().map(PathBuf::from).or_else(|| std::env::var_os("PXCI_PACKER").map(PathBuf::from));
    let search = std::env::var_os("PATH").unwrap_or_default();
    Packer::locate(named.as_deref(), &search).await.unable("use", "Packer", "").about("packer_path")
}

/// Builds, verifies and returns a version that is ready.
pub(super) async fn build(
    cx: &Context<Clients>,
    plan: &KnownTemplate,
    family: &Family,
    source: &Source,
    number: u32,
) -> Result<Version, Diagnostic> {
    let clients = cx.data();
    let packer = packer(plan).await?;
    let certificates = cx.guard(variables::certificates(clients)).await??;
    let runner = if source.template.variables.contains("runner_url") {
        Some(cx.guard(runner_program::resolve(plan)).await??)
    } else {
        None
    };
    let mut refused = BTreeSet::new();
    loop {
        let name = family.name.as_str();
        let proposed = cx.guard(clients.vmids.propose(&clients.pve, family.range, &refused)).await?;
        let proposed = proposed.unable("create", THING, name)?;
        let proposal = proposed.ok_or_else(|| diagnostics::range_full(THING, name, family.range))?;
        if plan.verify {
            has_room_for_a_clone(cx, clients, family, &refused).await?;
        }
        let attempt = Attempt::new(clients, family, source, number, proposal.vmid(), runner.as_ref());
        match attempt.run(cx, plan, &packer, certificates.as_deref()).await {
            Ok(version) => return Ok(version),
            Err(Unbuilt::VmidLost(_)) if refused.len() + 1 < ATTEMPTS => refused.insert(proposal.vmid()),
            Err(Unbuilt::VmidLost(diagnostic) | Unbuilt::Failed { diagnostic, .. }) => return Err(diagnostic),
        };
    }
}

/// The verification needs a VMID of its own. Better to say so now than after half an hour of building; the version's own is claimed already.
async fn has_room_for_a_clone(
    cx: &Context<Clients>,
    clients: &Clients,
    family: &Family,
    refused: &BTreeSet<Vmid>,
) -> Result<(), Diagnostic> {
    let spare = cx.guard(clients.vmids.propose(&clients.pve, family.range, refused)).await?;
    let spare = spare.unable("create", THING, &family.name)?;
    spare.map(drop).ok_or_else(|| {
        let mut full = diagnostics::range_full(THING, family.name.as_str(), family.range);
        full.detail.push_str(" A new version takes one VMID, and the clone that verifies it another.");
        full.at("vmid_range")
    })
}

/// One try at one VMID.
struct Attempt<'a> {
    clients: &'a Clients,
    family: &'a Family,
    source: &'a Source,
    runner: Option<&'a RunnerProgram>,
    marker: Marker,
    name: String,
}

enum Unbuilt {
    /// A foreign guest has the VMID, and nothing of ours exists.
    VmidLost(Diagnostic),
    Failed {
        diagnostic: Diagnostic,
        /// File names of the CDs that Packer left.
        cds: Vec<String>,
    },
}

impl From<Diagnostic> for Unbuilt {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Failed { diagnostic, cds: Vec::new() }
    }
}

impl<'a> Attempt<'a> {
    fn new(
        clients: &'a Clients,
        family: &'a Family,
        source: &'a Source,
        number: u32,
        vmid: Vmid,
        runner: Option<&'a RunnerProgram>,
    ) -> Self {
        let now = jiff::Timestamp::now();
        let name = family.name.version_name(&now.strftime("%Y%m%d").to_string(), &source.fingerprint);
        let mut marker =
            Marker::new(family.installation.clone(), Owner::Provider, Kind::Template, vmid, Nonce::random());
        marker.family = Some(family.name.to_string());
        marker.fingerprint = Some(source.fingerprint.clone());
        marker.version = Some(number);
        marker.runner_version = runner.map(|runner| runner.version.clone());
        marker.built_at = Some(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        marker.build = Some(Build::Building);
        Self { clients, family, source, runner, marker, name }
    }

    async fn run(
        &self,
        cx: &Context<Clients>,
        plan: &KnownTemplate,
        packer: &Packer,
        certificates: Option<&str>,
    ) -> Result<Version, Unbuilt> {
        let finished = match self.pack(cx, plan, packer, certificates).await {
            Ok(is_reported) => self.complete(cx, plan, is_reported).await.map_err(Unbuilt::from),
            Err(unbuilt) => Err(unbuilt),
        };
        let (diagnostic, cds) = match finished {
            Ok(version) => return Ok(version),
            Err(Unbuilt::Failed { diagnostic, cds }) => (diagnostic, cds),
            Err(lost @ Unbuilt::VmidLost(_)) => return Err(lost),
        };
        let iso_storage = &plan.iso_storage;
        let cds = cds.into_iter().map(|name| format!("{iso_storage}:iso/{name}")).collect();
        match self.clean_up(cds).await {
            Ok(()) => Err(diagnostic.into()),
            Err(left) => Err(diagnostic.also(left).into()),
        }
    }

    /// Runs Packer. Returns true if it named our VMID as that of what it built.
    async fn pack(
        &self,
        cx: &Context<Clients>,
        plan: &KnownTemplate,
        packer: &Packer,
        certificates: Option<&str>,
    ) -> Result<bool, Unbuilt> {
        let account = Account::new(plan)?;
        let description = finishing::description(&self.marker);
        let making =
            Making { vmid: self.marker.vmid, name: &self.name, description: &description, runner: self.runner };
        let variables = Variables::new(&self.clients.connection, &self.family.node, plan, &making, &account);
        let build = packer_driver::Build {
            directory: &self.source.directory,
            variables: variables.values,
            secrets: variables.secrets,
            certificates: certificates.map(str::to_owned),
            cancel: cx.stop().clone(),
            deadline: cx.deadline(),
            grace: GRACE,
        };
        tracing::info!(vmid = self.marker.vmid.get(), name = self.name, packer = %packer.version(), "building a template version");
        let done = CancellationToken::new();
        let packing = async {
            let outcome = packer.build(&build, tell).await;
            done.cancel();
            outcome
        };
        let (outcome, ()) = tokio::join!(packing, self.mark_when_there(&done));
        let built = outcome.map_err(|error| self.unbuilt(&error))?;
        tracing::info!(vmid = self.marker.vmid.get(), artifacts = ?built.artifacts, "Packer is done");
        Ok(built.artifacts.contains(&self.marker.vmid.to_string()))
    }

    fn tags(&self) -> String {
        tags(&self.family.installation, &[self.family.name.tag(), fingerprint_tag(&self.source.fingerprint)])
    }

    /// Packer names itself in the description while it builds. The marker goes in as soon as the VM is there: should this process be killed,
    /// the next apply knows whose VM it is.
    async fn mark_when_there(&self, done: &CancellationToken) {
        let building = self.vm(false, cleaning());
        loop {
            if let Ok(vm) = building.prove().await
                && (vm.marker().is_some() || vm.config().lock().is_none() && self.mark(&vm).await.is_ok())
            {
                return;
            }
            tokio::select! {
                () = done.cancelled() => return,
                () = tokio::time::sleep(MARKING_PAUSE) => {}
            }
        }
    }

    /// Returns the VM that Packer builds. `is_reported`: Packer has named its VMID as that of what it built.
    fn vm(&self, is_reported: bool, wait: WaitOptions) -> Candidate<Qemu> {
        proofs::build(self.clients, self.family, &self.marker, (&self.name, is_reported), wait)
    }

    /// Gives the VM that Packer builds our marker.
    async fn mark(&self, vm: &OwnedVm) -> Result<(), pve::Error> {
        let description = format!("{PACKERS_DESCRIPTION}\n{}", finishing::description(&self.marker));
        vm.change(&[("description", &description)]).await
    }

    async fn complete(
        &self,
        cx: &Context<Clients>,
        plan: &KnownTemplate,
        is_reported: bool,
    ) -> Result<Version, Diagnostic> {
        let built = self.vm(is_reported, waiting::until_deadline(cx));
        finishing::finish(&built, &self.marker, &self.name, &self.tags()).await?;
        if plan.verify {
            verifying::verify(cx, self.family, &self.marker).await?;
        }
        let marker = &self.marker;
        let marked = built.mark(|marker| marker.build = Some(Build::Ready)).await;
        marked.unable("mark", THING, marker.vmid)?;
        Ok(Version {
            number: marker.version.unwrap_or_default(),
            vmid: marker.vmid,
            name: self.name.clone(),
            build: Build::Ready,
            is_template: true,
            fingerprint: self.source.fingerprint.clone(),
            runner_version: marker.runner_version.clone(),
            built_at: marker.built_at.clone(),
        })
    }

    /// Destroys the VM of this attempt and the CDs that Packer left. The error text says what is left.
    async fn clean_up(&self, mut cds: Vec<String>) -> Result<(), String> {
        let removed = self.remove_vm(&mut cds).await;
        if let Err(diagnostic) = cds::delete(self.clients, &self.family.node, &cds).await {
            return Err(format!("{}{}", removed.err().map(|left| left + "\n").unwrap_or_default(), diagnostic.detail));
        }
        removed
    }

    /// Destroys the VM of this attempt. The CDs in its drives are added to `cds`.
    async fn remove_vm(&self, cds: &mut Vec<String>) -> Result<(), String> {
        let vmid = self.marker.vmid;
        let left = |reason: &str| {
            format!(
                "What was built so far is still there as VM {vmid}: {reason}. The next apply tries again to remove it."
            )
        };
        let chain = |error: &guest::Error| diagnostics::unable("", "", "", error).detail;
        let vm = match self.vm(false, cleaning()).prove().await {
            Ok(vm) => vm,
            Err(error) if error.is_gone() || is_of_others(&error.problem) => return Ok(()),
            Err(error) => return Err(left(&chain(&error))),
        };
        if vm.marker().is_none() {
            self.mark(&vm).await.map_err(|error| left(&error.to_string()))?;
        }
        cds.extend(cds::of(vm.config()));
        let version = proofs::version(self.clients, self.family, vmid, Some(&self.marker.nonce), cleaning());
        version.remove().await.map_err(|error| left(&chain(&error)))
    }

    fn unbuilt(&self, error: &packer_driver::Error) -> Unbuilt {
        let diagnostic = diagnostics::unable("build", THING, &self.name, error);
        let packer_driver::Error::Failed(failure) = error else { return diagnostic.into() };
        let mut diagnostic = diagnostic.also(hint(failure.class));
        if failure.lines.iter().any(|line| is_about_tags(line)) {
            diagnostic.detail.push_str(
                " The Packer template must not set `tags`: Proxmox VE judges those by the rights on the VMID alone, whatever the \
                 token may do in the resource pool. They are set when the build is done.",
            );
        }
        let lost = failure.class == Class::Api
            && failure.lines.iter().any(|line| {
                line.contains(&format!("VM {} already exists", self.marker.vmid))
                    || line.contains("config file already exists")
            });
        if lost { Unbuilt::VmidLost(diagnostic) } else { Unbuilt::Failed { diagnostic, cds: failure.cds.clone() } }
    }
}

/// Returns true if another guest got the VMID. A build VM that is not in the resource pool is still ours.
fn is_of_others(problem: &Problem) -> bool {
    match problem {
        Problem::OtherIncarnation => true,
        Problem::NotOurs(reason) => !matches!(reason, NotOurs::ResourcePool { .. }),
        _ => false,
    }
}

fn cleaning() -> WaitOptions {
    WaitOptions { deadline: CLEANING, cancel: CancellationToken::new() }
}

/// Returns true if the line is Packer's report of the refusal that a creation with tags meets.
fn is_about_tags(line: &str) -> bool {
    line.contains("Permission check failed (/vms/") && line.contains("VM.Config.Options")
}

fn tell(event: &Event) {
    match event {
        Event::Line { level: Level::Say, text } => tracing::info!(target: "packer", "{}", text.trim()),
        Event::Line { text, .. } => tracing::debug!(target: "packer", "{}", text.trim()),
        Event::BuildError { message, .. } => tracing::info!(target: "packer", "failed: {message}"),
        Event::ArtifactId { .. } => {}
    }
}

fn hint(class: Class) -> &'static str {
    match class {
        Class::Config => "Nothing was created. Correct the template or its variables.",
        Class::Plugins => {
            "Nothing was created. Without access to the network, install the plugin with `packer plugins install --path` and name its directory in PACKER_PLUGIN_PATH."
        }
        Class::Api => {
            "The build VM is removed; the current version stays. Check the token's privileges (docs/privileges.md), the storages and the bridge."
        }
        Class::Guest => {
            "The build VM is removed; the current version stays. Watch its console during the next build: the installer may wait for input, or the network may be missing."
        }
        Class::Provisioner => {
            "The build VM is removed; the current version stays. The lines above are the provisioner's last; TF_LOG_PROVIDER=DEBUG shows all of them."
        }
        Class::Cancelled => "The build VM is removed; the current version stays.",
        Class::TimedOut => "The build VM is removed; the current version stays. The limit can be raised in `timeouts`.",
        Class::Crashed => {
            "The build VM is removed; the current version stays. Another version of Packer or of its Proxmox plugin may behave better."
        }
    }
}
