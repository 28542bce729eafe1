//! Verification of a version: a clone of it boots, its guest agent answers, and the image's check program succeeds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use guest::{BootTimes, OwnedVm, Place, Problem, RunnerVm};
use ownership::{Kind, Marker, Nonce, Owner, RunnerName, Vmid};
use pve::Exit;
use template_family::Family;
use tf_provider::{CancellationToken, Context, Diagnostic};

use super::model::THING;
use crate::clients::Clients;
use crate::diagnostics::{self, Detailed as _, Unable as _};

const CLONE: &str = "verification clone";
/// Longest time that a clone may take to boot.
const BOOT_LIMIT: Duration = Duration::from_secs(600);
/// Longest time that the image's check program may take.
const CHECK_LIMIT: Duration = Duration::from_secs(600);
const CHECK_PAUSE: Duration = Duration::from_secs(1);
/// Shell command that runs the image's check program, if the image has one.
const CHECK: &str = "if [ -x /opt/pxci/verify ]; then exec /opt/pxci/verify 2>&1; fi";
/// Lines of the check's output that a diagnostic repeats.
const LINES: usize = 20;

/// Boots a linked clone of the version and runs the image's check program in it. Destroys the clone in any case.
pub(super) async fn verify(cx: &Context<Clients>, family: &Family, version: &Marker) -> Result<(), Diagnostic> {
    let clients = cx.data();
    let mut refused = BTreeSet::new();
    loop {
        let proposed = cx.guard(clients.vmids.propose(&clients.pve, family.range, &refused)).await?;
        let proposed = proposed.unable("create", CLONE, "")?;
        let proposal = proposed.ok_or_else(|| diagnostics::range_full(CLONE, "", family.range))?;
        let marker = marker(family, version, proposal.vmid());
        // An interrupt does not end the clone, which takes seconds, because only a complete clone can be destroyed.
        let clone = clone_of(clients, family, marker, CancellationToken::new());
        let known = match clone.clone_from_template(true).await {
            Err(error) if matches!(error.problem, Problem::VmidTaken) => {
                refused.insert(proposal.vmid());
                continue;
            }
            Err(error) => {
                let diagnostic = diagnostics::unable("create", CLONE, clone.name(), &error);
                return Err(destroyed(&clone, diagnostic).await);
            }
            Ok(known) => known,
        };
        let checked = check(cx, family, &clone, known).await;
        return match checked {
            Ok(()) => destroy(&clone).await,
            Err(diagnostic) => Err(destroyed(&clone, diagnostic).await),
        };
    }
}

fn marker(family: &Family, version: &Marker, vmid: Vmid) -> Marker {
    let mut marker = Marker::new(family.installation.clone(), Owner::Provider, Kind::Verify, vmid, Nonce::random());
    marker.template = Some(version.vmid);
    marker.family = Some(family.name.to_string());
    marker
}

/// Returns the handle of a verification clone.
pub(super) fn clone_of(clients: &Clients, family: &Family, marker: Marker, cancel: CancellationToken) -> RunnerVm {
    let place = Place {
        claimant: Owner::Provider,
        node: family.node.clone(),
        range: family.range,
        resource_pool: family.resource_pool.clone(),
    };
    let name = RunnerName::of_verification(&family.installation, marker.vmid, marker.nonce.clone());
    RunnerVm::new(clients.pve.clone(), name, marker, place, cancel)
}

async fn check(
    cx: &Context<Clients>,
    family: &Family,
    clone: &RunnerVm,
    known: Option<OwnedVm>,
) -> Result<(), Diagnostic> {
    let begin = Instant::now();
    let booted = cx.guard(clone.boot(known, BootTimes::default().first_question(), BOOT_LIMIT)).await?;
    booted.unable("boot", CLONE, clone.name())?;
    tracing::info!(vm = %clone.name(), seconds = begin.elapsed().as_secs(), "the verification clone has booted");
    let exit = cx.guard(run_check(family, clone)).await??;
    if exit.exitcode == Some(0) {
        return Ok(());
    }
    let output = format!("{}{}", exit.out, exit.err);
    let lines: Vec<&str> = output.lines().collect();
    let tail = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
    let code = exit.exitcode.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
    let detail = format!(
        "/opt/pxci/verify ended with {code} in a clone of the new version:\n  {tail}\n\nThe new version is removed, and the current version stays."
    );
    Err(diagnostics::error("The new template version failed its verification", detail))
}

async fn run_check(family: &Family, clone: &RunnerVm) -> Result<Exit, Diagnostic> {
    let vm = clone.prove().await.unable("verify", CLONE, clone.name())?;
    let agent = vm.agent();
    let unable = |error: &pve::Error| diagnostics::unable("verify", THING, family.name.as_str(), error);
    let process = agent.exec(&["/bin/sh", "-c", CHECK]).await.map_err(|error| unable(&error))?;
    let end = Instant::now() + CHECK_LIMIT;
    loop {
        match agent.exec_status(process).await {
            Ok(Some(exit)) => return Ok(exit),
            Ok(None) => {}
            Err(error) if error.is_transient() || error.is_agent_unavailable() => {
                tracing::debug!(%error, "the status of the check was not read")
            }
            Err(error) => return Err(diagnostics::unable("verify", THING, &family.name, &error)),
        }
        if Instant::now() >= end {
            let detail = format!(
                "/opt/pxci/verify was still running after {} s in a clone of the new version.",
                CHECK_LIMIT.as_secs()
            );
            return Err(diagnostics::error("The new template version failed its verification", detail));
        }
        tokio::time::sleep(CHECK_PAUSE).await;
    }
}

/// Stops and destroys the clone. Succeeds if the clone does not exist.
pub(super) async fn destroy(clone: &RunnerVm) -> Result<(), Diagnostic> {
    clone.stop().await.unable("destroy", CLONE, clone.name())?;
    clone.destroy().await.unable("destroy", CLONE, clone.name())
}

/// Destroys the clone after a failure. Returns the diagnostic of the failure, with the reason if the clone still
/// exists.
async fn destroyed(clone: &RunnerVm, diagnostic: Diagnostic) -> Diagnostic {
    match destroy(clone).await {
        Ok(()) => diagnostic,
        Err(left) => diagnostic.also(format!("The clone still exists: {}", left.detail)),
    }
}
