//! The files of one resource on its storage. The id in their names identifies them. They are deleted once no guest and
//! no pool uses them.

use std::collections::BTreeMap;

use cloudinit::SeedImage;
use ownership::SeedFile;
use pve::{Content, Storage};
use serde::{Deserialize, Serialize};
use tf_provider::{Attr, Context, Diagnostic, Failure};

use super::model::{KnownSnippet, THING, file_of};
use crate::clients::Clients;
use crate::diagnostics::{self, Unable as _};
use crate::holders::{self, Holder};
use crate::waiting;

/// Private state of release 0.1, which lists earlier files of the resource.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Superseded {
    volids: Vec<String>,
}

/// Uploads the planned file, unless a file of that name exists, which has the same content.
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
    // If Proxmox VE refused the upload, the file does not exist.
    Err(if error.is_outcome_unknown() {
        Failure::partial(plan.clone(), diagnostics::unable("upload", THING, volid, &error))
    } else {
        diagnostics::unable("upload", THING, volid, &error).into()
    })
}

/// Deletes earlier files of the resource, except those that are still used. The next change tries to delete those
/// again.
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
        tracing::info!(volid, holders = joined(holders), "superseded cloud-init data is still used and is not deleted");
    }
    files.retain(|volid| !held.contains_key(volid));
    delete(cx, prior, &files).await
}

/// Deletes every file of the resource. The current file is the last, because the resource exists as long as that file.
///
/// Deletes nothing and returns an error if one of the files is used. Otherwise that file would never be deleted,
/// because no state would contain it any more.
pub(super) async fn delete_all(cx: &Context<Clients>, state: &KnownSnippet) -> Result<(), Diagnostic> {
    let mut files = own(cx, state).await?;
    files.sort_by_key(|volid| state.volid.known() == Some(volid));
    let held = users(cx, state, &files).await?;
    let Some((volid, holders)) = held.first_key_value() else { return delete(cx, state, &files).await };
    let detail = format!(
        "The file is still used: {}.\n\nProxmox VE would delete it nevertheless. Those VMs could not start any more, and no new \
         VM of such a pool could be created. Destroy the VMs, or give VMs and pools other data, and run destroy again. If a \
         change replaces this resource, set `lifecycle {{ create_before_destroy = true }}` in it, so that the pools get the new \
         file before the old one is deleted. To keep the file without this resource, use `tofu state rm`.",
        joined(holders)
    );
    Err(diagnostics::impossible("delete", THING, volid, detail))
}

fn joined(holders: &[Holder]) -> String {
    holders.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Warns about files of release 0.1, which are never deleted because their other users are not known.
pub(super) fn warn_of_unowned(cx: &Context<Clients>, state: &KnownSnippet) -> Result<(), Diagnostic> {
    let mut left = cx.private::<Superseded>().unwrap_or_default().volids;
    left.extend(state.volid.text().map(str::to_owned));
    left.retain(|volid| file_of(volid).and_then(SeedFile::parse_unowned).is_some());
    if left.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "Release 0.1 uploaded {} without the name of an installation. Another farm may use the same file, and may not be \
         visible from here, so the file was not deleted. Delete it by hand once no farm uses it (Storage, ISO Images, Remove).",
        left.join(", ")
    );
    cx.warn("A file of release 0.1 stays on the storage", detail);
    cx.set_private(&Superseded::default())
}

/// Warns about other files with the same name and data. They belong to other states, or to an apply that was killed
/// after its upload.
pub(super) async fn warn_of_duplicates(cx: &Context<Clients>, plan: &KnownSnippet) {
    let Some(own) = plan.file().and_then(SeedFile::parse) else { return };
    let is_duplicate = |volid: &&String| {
        let file = file_of(volid).and_then(SeedFile::parse);
        file.is_some_and(|file| file.owner != own.owner && SeedFile { owner: own.owner.clone(), ..file } == own)
    };
    // The apply has succeeded, so a failure of this check is not an error.
    let Ok(volids) = listed(cx, plan, "read").await else { return };
    let duplicates: Vec<&str> = volids.iter().filter(is_duplicate).map(String::as_str).collect();
    if duplicates.is_empty() {
        return;
    }
    let detail = format!(
        "These files belong to another state of this installation, or an apply that was killed left them: {}. Nothing deletes a \
         file that is in no state. Import such a file and destroy it.",
        duplicates.join(", ")
    );
    cx.warn(format!("{} is not the only file with this data", plan.volid.text().unwrap_or_default()), detail);
}

/// Returns the used files, each with its users.
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

/// Returns the volume ids of all files on the storage whose names contain the resource's id.
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

/// Returns the storage of a resource, on the resource's node or else on the provider's.
pub(super) fn storage(clients: &Clients, node: &Attr<String>, name: &str) -> Result<Storage, Diagnostic> {
    Ok(clients.pve.storage(&clients.node(node)?, name))
}
