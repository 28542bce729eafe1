//! The files of one resource on its storage. They are found by the resource's id and deleted once nobody uses them.

use std::collections::BTreeMap;

use cloudinit::SeedImage;
use ownership::SeedFile;
use pve::Content;
use serde::{Deserialize, Serialize};
use tf_provider::{Context, Diagnostic, Failure};

use super::model::{KnownSnippet, file_of};
use super::{THING, storage};
use crate::diagnostics::{self, Unable as _};
use crate::holders::{self, Holder};
use crate::provider::Clients;
use crate::waiting;

/// Private state of release 0.1, which lists further files that it had made.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Superseded {
    volids: Vec<String>,
}

/// Makes sure that the planned file exists. An existing file of that name has the same content, so it is not sent
/// again.
pub(super) async fn upload(
    cx: &Context<Clients>,
    plan: &KnownSnippet,
    image: SeedImage,
) -> Result<(), Failure<KnownSnippet>> {
    let clients = cx.data();
    let volid = plan.volid.require("volid")?;
    if listed(cx, plan, "upload").await?.contains(volid) {
        return Ok(());
    }
    let name = file_of(volid).unwrap_or_default();
    tracing::info!(volid, bytes = image.bytes.len(), "uploading cloud-init data");
    let storage = storage(clients, &plan.node, &plan.storage)?;
    let sent = async {
        let task = storage.upload(Content::Iso, name, image.bytes.into()).await?;
        clients.pve.wait(&task, &waiting::until_deadline(cx)).await
    };
    let Err(error) = sent.await else { return Ok(()) };
    // The file is not there if Proxmox VE refused it.
    Err(if error.is_outcome_unknown() {
        Failure::partial(plan.clone(), diagnostics::unable("upload", THING, volid, &error))
    } else {
        diagnostics::unable("upload", THING, volid, &error).into()
    })
}

/// Deletes the files that the resource had before its present one, except those that are still used. The next change
/// tries to delete those again.
pub(super) async fn delete_superseded(
    cx: &Context<Clients>,
    prior: &KnownSnippet,
    plan: &KnownSnippet,
) -> Result<(), Diagnostic> {
    let kept = [prior.volid.text(), plan.volid.text()];
    let mut files = own(cx, prior).await?;
    files.retain(|volid| !kept.contains(&Some(volid)));
    let held = users(cx, prior, &files).await?;
    for (volid, holders) in &held {
        tracing::info!(volid, holders = joined(holders), "superseded cloud-init data is still used, so it stays");
    }
    files.retain(|volid| !held.contains_key(volid));
    delete(cx, prior, &files).await
}

/// Deletes every file of the resource. The present file is the last, because the resource exists as long as that file.
///
/// Deletes nothing and returns an error while one of the files is used. A file that was left would never be deleted,
/// because the state of the last guest does not contain it.
pub(super) async fn delete_all(cx: &Context<Clients>, state: &KnownSnippet) -> Result<(), Diagnostic> {
    let mut files = own(cx, state).await?;
    files.sort_by_key(|volid| state.volid.known() == Some(volid));
    let held = users(cx, state, &files).await?;
    let Some((volid, holders)) = held.first_key_value() else { return delete(cx, state, &files).await };
    let detail = format!(
        "It is still used: {}.\n\nProxmox VE would delete the file all the same; those VMs could not start any more, and no new \
         VM of such a pool could be made. Destroy the VMs, or give VMs and pools other data, and run destroy again. Where a \
         change replaces this resource, set `lifecycle {{ create_before_destroy = true }}` in it: then the pools get the new \
         file before the old one goes. To keep the file without this resource, use `tofu state rm`.",
        joined(holders)
    );
    Err(diagnostics::impossible("delete", THING, volid, detail))
}

fn joined(holders: &[Holder]) -> String {
    holders.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Warns about the files of the state that stay because their other users are not known.
pub(super) fn warn_of_unowned(cx: &Context<Clients>, state: &KnownSnippet) -> Result<(), Diagnostic> {
    let mut left = cx.private::<Superseded>().unwrap_or_default().volids;
    left.extend(state.volid.text().map(str::to_owned));
    left.retain(|volid| file_of(volid).and_then(SeedFile::parse_unowned).is_some());
    if left.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "An earlier release made {}, without the name of an installation. Another farm may use the same file, and it may not be \
         visible from here; so it was not deleted. Delete it by hand when no farm uses it (Storage, ISO Images, Remove).",
        left.join(", ")
    );
    cx.warn("A file of an earlier release stays on the storage", detail);
    cx.set_private(&Superseded::default())
}

/// Warns about other files with the same data and the same name. They belong to other states, or to an apply that was
/// killed between its upload and its state.
pub(super) async fn warn_of_twins(cx: &Context<Clients>, plan: &KnownSnippet) {
    let Some(own) = plan.file().and_then(SeedFile::parse) else { return };
    let is_twin = |volid: &&String| {
        let file = file_of(volid).and_then(SeedFile::parse);
        file.is_some_and(|file| file.owner != own.owner && SeedFile { owner: own.owner.clone(), ..file } == own)
    };
    // The file exists and is in the state, so a failure here is not an error.
    let Ok(volids) = listed(cx, plan, "read").await else { return };
    let twins: Vec<&str> = volids.iter().filter(is_twin).map(String::as_str).collect();
    if twins.is_empty() {
        return;
    }
    let detail = format!(
        "Another state of this installation has, or an apply that was killed has left: {}. Import a file that no state has, and \
         destroy it; nothing else deletes it.",
        twins.join(", ")
    );
    cx.warn(format!("{} is not the only file with this data", plan.volid.text().unwrap_or_default()), detail);
}

/// Returns the users of the files that are used.
async fn users(
    cx: &Context<Clients>,
    snippet: &KnownSnippet,
    files: &[String],
) -> Result<BTreeMap<String, Vec<Holder>>, Diagnostic> {
    let id = snippet.volid.text().unwrap_or_default();
    let held = cx.guard(holders::of(&cx.data().pve, files)).await?;
    held.unable("look for the users of", THING, id)
}

async fn delete(cx: &Context<Clients>, snippet: &KnownSnippet, files: &[String]) -> Result<(), Diagnostic> {
    let clients = cx.data();
    for volid in files {
        tracing::info!(volid, "deleting cloud-init data");
        let task =
            storage(clients, &snippet.node, &snippet.storage)?.delete(volid).await.unable("delete", THING, volid)?;
        if let Some(task) = task {
            clients.pve.wait(&task, &waiting::until_deadline(cx)).await.unable("delete", THING, volid)?;
        }
    }
    Ok(())
}

/// Returns the volume ids of all files on the storage that carry the resource's id.
async fn own(cx: &Context<Clients>, snippet: &KnownSnippet) -> Result<Vec<String>, Diagnostic> {
    let installation = &cx.data().installation;
    let Some(current) = snippet.owned_file(installation) else { return Ok(Vec::new()) };
    let is_own = |volid: &String| {
        let file = file_of(volid).and_then(SeedFile::parse);
        file.is_some_and(|file| SeedFile { digest: current.digest.clone(), ..file } == current)
    };
    Ok(listed(cx, snippet, "read").await?.into_iter().filter(is_own).collect())
}

async fn listed(cx: &Context<Clients>, snippet: &KnownSnippet, verb: &str) -> Result<Vec<String>, Diagnostic> {
    let storage = storage(cx.data(), &snippet.node, &snippet.storage)?;
    let volumes = cx.guard(storage.volumes(Content::Iso.as_str())).await?;
    let volid = snippet.volid.text().unwrap_or_default();
    let volumes = volumes.unable(verb, THING, volid)?;
    Ok(volumes.into_iter().map(|volume| volume.volid).collect())
}
