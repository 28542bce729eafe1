//! Removal of versions: leftovers of earlier applies, old versions after an apply, and the whole family.

use guest::Problem;
use ownership::{Build, Kind, Marker, Owner, Vmid};
use pve::WaitOptions;
use template_family::{Family, Version, to_remove};
use tf_provider::{Call, CancellationToken, Context, Diagnostic, Diagnostics};

use super::model::{KnownTemplate, THING};
use super::{cds, proofs, verifying};
use crate::clients::Clients;
use crate::diagnostics::{self, Unable as _};
use crate::waiting;

/// Removes the leftovers of an apply that was killed: half-built versions and verification clones of this family.
///
/// No other apply builds the same family now, because the core locks the state.
pub(super) async fn reap(cx: &Context<Clients>, family: &Family, versions: &[Version]) -> Result<(), Diagnostic> {
    reap_clones(cx, family).await?;
    for version in versions.iter().filter(|version| version.build == Build::Building) {
        tracing::info!(vmid = version.vmid.get(), "removing a version that an earlier apply did not finish");
        let cds = cds_in(cx, family, version.vmid).await?;
        remove_one(cx, family, version.vmid, &waiting::until_deadline(cx)).await?;
        cds::delete(cx.data(), &family.node, &cds).await?;
    }
    Ok(())
}

/// Returns the CDs of Packer in the drives of a half-built version, which is ours by its marker.
async fn cds_in(cx: &Context<Clients>, family: &Family, vmid: Vmid) -> Result<Vec<String>, Diagnostic> {
    match cx.data().pve.qemu(&family.node, vmid).config().await {
        Ok(config) => Ok(cds::of(&config)),
        Err(error) if error.is_guest_missing() => Ok(Vec::new()),
        Err(error) => Err(diagnostics::unable("read", THING, vmid, &error)),
    }
}

async fn reap_clones(cx: &Context<Clients>, family: &Family) -> Result<(), Diagnostic> {
    let clients = cx.data();
    let members = clients.pve.pool_members(&family.resource_pool).await.unable("read", THING, &family.name)?;
    for vmid in members.iter().filter_map(|member| member.vmid).filter(|vmid| family.range.contains(*vmid)) {
        let config = match clients.pve.qemu(&family.node, vmid).config().await {
            Ok(config) => config,
            Err(error) if error.is_guest_missing() => continue,
            Err(error) => return Err(diagnostics::unable("read", THING, &family.name, &error)),
        };
        let Some(marker) = Marker::find(config.description()).ok().flatten() else { continue };
        if is_our_clone(&marker, family) {
            verifying::destroy(&verifying::clone_of(clients, family, marker, CancellationToken::new())).await?;
        }
    }
    Ok(())
}

fn is_our_clone(marker: &Marker, family: &Family) -> bool {
    marker.kind == Kind::Verify
        && marker.owner == Owner::Provider
        && marker.installation == family.installation
        && marker.family.as_deref() == Some(family.name.as_str())
}

/// Removes versions beyond the number to keep, and lists the remaining versions. A version that cannot be removed
/// causes a warning, because the resource has already switched to the new version.
pub(super) async fn retain(
    cx: &Context<Clients>,
    family: &Family,
    plan: &mut KnownTemplate,
    before: Option<Vmid>,
) -> Result<(), Diagnostic> {
    let versions = versions(cx, cx.data(), family).await?;
    let keep = usize::try_from(plan.keep_versions).unwrap_or(1);
    for vmid in to_remove(&versions, keep, diagnostics::vmid("vmid", *plan.vmid.require("vmid")?)?, before) {
        match remove_one(cx, family, vmid, &waiting::until_deadline(cx)).await {
            Ok(Removal::Removed) => tracing::info!(vmid = vmid.get(), "removed an old version"),
            Ok(Removal::Deferred { dependents }) => {
                tracing::info!(
                    vmid = vmid.get(),
                    ?dependents,
                    "an old version is kept until its clones no longer exist"
                )
            }
            Err(diagnostic) => cx.warn(
                format!("Old version {vmid} of \"{}\" was not removed", family.name),
                format!("{}\n\nThe next change tries again.", diagnostic.detail),
            ),
        }
    }
    plan.list(&self::versions(cx, cx.data(), family).await?);
    Ok(())
}

/// Removes every version. The error names the versions that clones still need.
pub(super) async fn remove_all(cx: &Context<Clients>, family: &Family) -> Result<(), Diagnostics> {
    reap_clones(cx, family).await?;
    let mut problems = Diagnostics::new();
    for version in versions(cx, cx.data(), family).await? {
        match remove_one(cx, family, version.vmid, &waiting::until_deadline(cx)).await {
            Ok(Removal::Removed) => {}
            Ok(Removal::Deferred { dependents }) => problems.push(in_use(family, &version, &dependents)),
            Err(diagnostic) => problems.push(diagnostic),
        }
    }
    if problems.iter().next().is_some() { Err(problems) } else { Ok(()) }
}

fn in_use(family: &Family, version: &Version, dependents: &[Vmid]) -> Diagnostic {
    let clones = if dependents.is_empty() {
        "guests that this token may not see, because they are outside its resource pools".to_owned()
    } else {
        dependents.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let detail = format!(
        "Linked clones still need the disk of version {} (VMID {}): {clones}. The version is retired, so it gets no new clones. Destroy the clones, or wait until their jobs have ended, and run destroy again.",
        version.number, version.vmid
    );
    diagnostics::impossible("destroy", THING, &family.name, detail)
}

/// Returns the versions of the family, ordered by number.
pub(super) async fn versions(call: &Call, clients: &Clients, family: &Family) -> Result<Vec<Version>, Diagnostic> {
    let versions = call.guard(family.versions(&clients.pve)).await?;
    versions.unable("read", THING, &family.name)
}

/// Result of an attempt to remove a version.
enum Removal {
    /// The version no longer exists.
    Removed,
    /// Clones still need the version's disk. The version is retired, and a later apply removes it.
    Deferred {
        /// VMIDs of the clones that the storage shows.
        dependents: Vec<Vmid>,
    },
}

/// Removes a finished or half-built version. Stops a build VM that runs.
async fn remove_one(
    cx: &Context<Clients>,
    family: &Family,
    vmid: Vmid,
    wait: &WaitOptions,
) -> Result<Removal, Diagnostic> {
    let clients = cx.data();
    let id = format!("{} ({vmid})", family.name);
    let error = match proofs::version(clients, family, vmid, None, wait.clone()).remove().await {
        Ok(()) => return Ok(Removal::Removed),
        Err(error) => error,
    };
    if !matches!(error.problem, Problem::BaseInUse) {
        return Err(diagnostics::unable("remove", THING, &id, &error));
    }
    let dependents = family.dependents(&clients.pve, vmid).await;
    let dependents = dependents.unable("remove", THING, &id)?;
    Ok(Removal::Deferred { dependents })
}
