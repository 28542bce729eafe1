//! Builds a new version: Packer builds a VM next to the current version, and the VM is ready after it is finished and
//! verified.
//!
//! ```text
//! choose VMID → packer build (marked "building" as soon as the VM exists) → empty drives → boot a clone → marked "ready"
//!     after a failure, an interrupt or the deadline: the VM is destroyed, after the proof of ownership
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

use super::model::{KnownTemplate, THING};
use super::proofs::{self, PACKERS_DESCRIPTION};
use super::runner_program::{self, RunnerProgram};
use super::source::Source;
use super::variables::{self, Account, Making, Variables};
use super::{cds, finishing, verifying};
use crate::clients::Clients;
use crate::diagnostics::{self, Detailed as _, Unable as _};
use crate::waiting;

/// Time that Packer gets to end. Packer notices the request between two calls of the API, and some calls wait for a
/// task.
const GRACE: Duration = Duration::from_secs(300);
/// Number of VMIDs to try, because another program may take a VMID first.
const ATTEMPTS: usize = 4;
/// Time between two attempts to write the marker of the build VM.
const MARKING_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for the removal of an unfinished version.
const CLEAN_UP: Duration = Duration::from_secs(300);

/// Finds the Packer program.
pub(super) async fn packer(plan: &KnownTemplate) -> Result<Packer, Diagnostic> {
    let named =
        plan.packer_path.as_deref().map(PathBuf::from).or_else(|| std::env::var_os("PXCI_PACKER").map(PathBuf::from));
    let search = std::env::var_os("PATH").unwrap_or_default();
    Packer::locate(named.as_deref(), &search).await.unable("use", "Packer", "").about("packer_path")
}

/// Builds and verifies a version. Returns it when it is ready.
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
            check_room_for_clone(cx, clients, family, &refused).await?;
        }
        let attempt = Attempt::new(clients, family, source, number, proposal.vmid(), runner.as_ref());
        match attempt.run(cx, plan, &packer, certificates.as_deref()).await {
            Ok(version) => return Ok(version),
            Err(Unbuilt::VmidLost(_)) if refused.len() + 1 < ATTEMPTS => refused.insert(proposal.vmid()),
            Err(Unbuilt::VmidLost(diagnostic) | Unbuilt::Failed { diagnostic, .. }) => return Err(diagnostic),
        };
    }
}

/// Checks before the build, which takes half an hour, that the verification clone can have a VMID too. The VMID of the
/// version is already claimed.
async fn check_room_for_clone(
    cx: &Context<Clients>,
    clients: &Clients,
    family: &Family,
    refused: &BTreeSet<Vmid>,
) -> Result<(), Diagnostic> {
    let spare = cx.guard(clients.vmids.propose(&clients.pve, family.range, refused)).await?;
    let spare = spare.unable("create", THING, &family.name)?;
    spare.map(drop).ok_or_else(|| {
        let mut full = diagnostics::range_full(THING, family.name.as_str(), family.range);
        full.detail.push_str(" A new version needs two VMIDs: one for itself, and one for the clone that verifies it.");
        full.at("vmid_range")
    })
}

/// One attempt to build at one VMID.
struct Attempt<'a> {
    clients: &'a Clients,
    family: &'a Family,
    source: &'a Source,
    runner: Option<&'a RunnerProgram>,
    marker: Marker,
    name: String,
}

/// Reason why an attempt built no version.
enum Unbuilt {
    /// Another program took the VMID, so nothing was made.
    VmidLost(Diagnostic),
    /// The build failed.
    Failed {
        diagnostic: Diagnostic,
        /// File names of the CDs that Packer did not delete.
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

    /// Runs Packer. Returns true if Packer reported our VMID as that of the template.
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
            let outcome = packer.build(&build, log).await;
            done.cancel();
            outcome
        };
        let (outcome, ()) = tokio::join!(packing, self.mark_when_there(&done));
        let built = outcome.map_err(|error| self.unbuilt(&error))?;
        tracing::info!(vmid = self.marker.vmid.get(), artifacts = ?built.artifacts, "Packer has ended");
        Ok(built.artifacts.contains(&self.marker.vmid.to_string()))
    }

    fn tags(&self) -> String {
        tags(&self.family.installation, &[self.family.name.tag(), fingerprint_tag(&self.source.fingerprint)])
    }

    /// Writes the marker into the description of the build VM as soon as the VM exists. If this process is killed, the
    /// next apply recognises the VM by the marker.
    async fn mark_when_there(&self, done: &CancellationToken) {
        let building = self.vm(false, waiting::for_clean_up(CLEAN_UP));
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

    /// Returns the VM that Packer builds. `is_reported` is true if Packer reported its VMID as that of the template.
    fn vm(&self, is_reported: bool, wait: WaitOptions) -> Candidate<Qemu> {
        proofs::build(self.clients, self.family, &self.marker, (&self.name, is_reported), wait)
    }

    /// Writes our marker into the description of the build VM.
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

    /// Destroys the VM of this attempt and the CDs that Packer did not delete. The error says which of them still
    /// exist.
    async fn clean_up(&self, mut cds: Vec<String>) -> Result<(), String> {
        let removed = self.remove_vm(&mut cds).await;
        if let Err(diagnostic) = cds::delete(self.clients, &self.family.node, &cds).await {
            return Err(format!("{}{}", removed.err().map(|left| left + "\n").unwrap_or_default(), diagnostic.detail));
        }
        removed
    }

    /// Destroys the VM of this attempt, and adds the CDs in its drives to `cds`.
    async fn remove_vm(&self, cds: &mut Vec<String>) -> Result<(), String> {
        let vmid = self.marker.vmid;
        let left = |reason: &str| {
            format!(
                "The unfinished version still exists as VM {vmid}: {reason}. The next apply tries again to remove it."
            )
        };
        let chain = |error: &guest::Error| diagnostics::unable("", "", "", error).detail;
        let vm = match self.vm(false, waiting::for_clean_up(CLEAN_UP)).prove().await {
            Ok(vm) => vm,
            Err(error) if error.is_gone() || is_of_another_guest(&error.problem) => return Ok(()),
            Err(error) => return Err(left(&chain(&error))),
        };
        if vm.marker().is_none() {
            self.mark(&vm).await.map_err(|error| left(&error.to_string()))?;
        }
        cds.extend(cds::of(vm.config()));
        let version =
            proofs::version(self.clients, self.family, vmid, Some(&self.marker.nonce), waiting::for_clean_up(CLEAN_UP));
        version.remove().await.map_err(|error| left(&chain(&error)))
    }

    fn unbuilt(&self, error: &packer_driver::Error) -> Unbuilt {
        let diagnostic = diagnostics::unable("build", THING, &self.name, error);
        let packer_driver::Error::Failed(failure) = error else { return diagnostic.into() };
        let mut diagnostic = diagnostic.also(hint(failure.class));
        if failure.lines.iter().any(|line| is_about_tags(line)) {
            diagnostic.detail.push_str(
                " The Packer template must not set `tags`, because Proxmox VE checks tags at creation against the rights on the VMID \
                 alone, not against those on the resource pool. The provider sets the tags after the build.",
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
fn is_of_another_guest(problem: &Problem) -> bool {
    match problem {
        Problem::OtherIncarnation => true,
        Problem::NotOurs(reason) => !matches!(reason, NotOurs::ResourcePool { .. }),
        _ => false,
    }
}

/// Returns true if Packer reports in this line that Proxmox VE refused a creation because of its tags.
fn is_about_tags(line: &str) -> bool {
    line.contains("Permission check failed (/vms/") && line.contains("VM.Config.Options")
}

/// Logs an event of Packer.
fn log(event: &Event) {
    match event {
        Event::Line { level: Level::Say, text } => tracing::info!(target: "packer", "{}", text.trim()),
        Event::Line { text, .. } => tracing::debug!(target: "packer", "{}", text.trim()),
        Event::BuildError { message, .. } => tracing::info!(target: "packer", "failed: {message}"),
        Event::ArtifactId { .. } => {}
    }
}

/// Returns advice on a failed build.
fn hint(class: Class) -> &'static str {
    match class {
        Class::Config => "Nothing was created. Correct the template or its variables.",
        Class::Plugins => {
            "Nothing was created. Without network access, install the plugin with `packer plugins install --path`, and set PACKER_PLUGIN_PATH to its directory."
        }
        Class::Api => {
            "The build VM was removed, and the current version stays. Check the token's privileges (docs/privileges.md), the storages and the bridge."
        }
        Class::Guest => {
            "The build VM was removed, and the current version stays. Watch the console of the build VM during the next build: the installer may wait for input, or the network may be missing."
        }
        Class::Provisioner => {
            "The build VM was removed, and the current version stays. The lines above are the provisioner's last lines. TF_LOG_PROVIDER=DEBUG shows all of them."
        }
        Class::Cancelled => "The build VM was removed, and the current version stays.",
        Class::TimedOut => "The build VM was removed, and the current version stays. Raise the limit in `timeouts`.",
        Class::Crashed => {
            "The build VM was removed, and the current version stays. Try another version of Packer or of its Proxmox plugin."
        }
    }
}
