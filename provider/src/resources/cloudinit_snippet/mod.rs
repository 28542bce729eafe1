//! `pxci_cloudinit_snippet`: cloud-init data, checked when planned, delivered as a NoCloud image.
//!
//! The file is content-addressed and never overwritten. What an update replaces stays until the next change: guests are
//! still made with it until whoever makes them has been told, which happens later in the same apply.

mod model;
#[cfg(test)]
mod tests;

use cloudinit::{Problem, SeedImage, check_network_config, check_user_data};
use pve::{Content, Storage};
use tf_provider::{Attr, Cx, Diagnostic, Diagnostics, Failure, ImportKey, Outcome, Plan, Resource};

use self::model::{ImportId, Snippet, Superseded};
use crate::diagnostics;
use crate::provider::Clients;
use crate::waiting;

const THING: &str = "cloud-init data";

/// The resource type.
pub(crate) struct Snippets;

impl Resource for Snippets {
    const TYPE: &'static str = "pxci_cloudinit_snippet";
    type Data = Clients;
    type Model = Snippet;

    fn validate(&self, config: &Snippet, diagnostics: &mut Diagnostics) {
        let mut check = |attribute: &str, value: &Attr<String>, check: fn(&str) -> Vec<Problem>| {
            let problems = value.text().map(check).unwrap_or_default();
            diagnostics.extend(problems.iter().map(|problem| invalid(problem).at(attribute)));
        };
        check("user_data", &config.user_data, check_user_data);
        check("vendor_data", &config.vendor_data, check_user_data);
        check("network_config", &config.network_config, check_network_config);
    }

    async fn plan(&self, cx: &Cx<Clients>, plan: &mut Plan<Snippet>) -> Result<(), Diagnostics> {
        let Some(clients) = cx.configured() else { return Ok(()) };
        if plan.planned.node.is_unknown() && plan.config.node.is_null() {
            plan.planned.node = clients.node(&plan.config.node)?.into();
        }
        if let Some(image) = plan.planned.image() {
            plan.planned.describe(&image);
        }
        if plan.prior.is_none() {
            takes_images(clients, &plan.planned).await?;
        }
        Ok(())
    }

    async fn create(&self, cx: &Cx<Clients>, mut plan: Snippet) -> Outcome<Snippet> {
        let node = cx.data()?.node(&plan.node)?;
        plan.node = node.into();
        upload(cx, &mut plan).await?;
        Ok(plan)
    }

    async fn read(&self, cx: &Cx<Clients>, state: Snippet) -> Result<Option<Snippet>, Diagnostics> {
        let storage = storage(cx.data()?, &state)?;
        let volid = state.volid.need("volid")?;
        let volumes = storage.volumes(Content::Iso.as_str()).await;
        let volumes = volumes.map_err(|error| diagnostics::pve("read", THING, volid, &error))?;
        Ok(volumes.iter().any(|volume| volume.volid == *volid).then_some(state))
    }

    async fn update(&self, cx: &Cx<Clients>, prior: Snippet, mut plan: Snippet) -> Outcome<Snippet> {
        remove_superseded(cx, &prior).await?;
        if let Some(image) = plan.image() {
            plan.describe(&image);
        }
        // When it fails, the current file stays in the state: it is still there. What arrived of the new one is found by the
        // next try, or goes with the next change.
        cx.set_private(&Superseded::by(&prior, &plan))?;
        upload(cx, &mut plan).await.map_err(|failure| Failure::from(failure.diagnostics))?;
        cx.set_private(&Superseded::by(&plan, &prior))
            .map_err(|diagnostic| Failure::partial(plan.clone(), diagnostic))?;
        Ok(plan)
    }

    async fn delete(&self, cx: &Cx<Clients>, state: Snippet) -> Result<(), Failure<Snippet>> {
        remove_superseded(cx, &state).await?;
        let volid = state.volid.need("volid")?;
        remove(cx, &state, volid).await?;
        Ok(())
    }

    async fn import(&self, cx: &Cx<Clients>, key: ImportKey<Snippet>) -> Result<Snippet, Diagnostics> {
        let ImportKey::Id(text) = key else {
            return Err(Diagnostic::error(
                "Unable to import cloud-init data",
                "Import it by id: `node/storage:iso/file`.",
            )
            .into());
        };
        let Some(id) = ImportId::parse(&text) else {
            let detail = format!("\"{text}\" is not of the form `node/storage:iso/pxci-NAME-DIGEST.iso`.");
            return Err(Diagnostic::error("Unable to import cloud-init data", detail).into());
        };
        cx.warn(
            "The data itself cannot be read back",
            "Proxmox VE does not give out the content of images. The first plan shows the data as an update; when it is the same, the file stays as it is.",
        );
        Ok(Snippet {
            name: id.name.into(),
            node: id.node.into(),
            storage: id.storage.into(),
            volid: id.volid.into(),
            ..Snippet::default()
        })
    }
}

fn invalid(problem: &Problem) -> Diagnostic {
    Diagnostic::error("Invalid cloud-init data", format!("{problem}\ncloud-init would reject or ignore it."))
}

fn storage(clients: &Clients, snippet: &Snippet) -> Result<Storage, Diagnostic> {
    let node = clients.node(&snippet.node)?;
    Ok(clients.pve.storage(&node, snippet.storage.need("storage")?))
}

/// Finds out while planning whether the storage exists and takes ISO images.
async fn takes_images(clients: &Clients, planned: &Snippet) -> Result<(), Diagnostics> {
    let (Some(name), Ok(storage)) = (planned.storage.text(), storage(clients, planned)) else { return Ok(()) };
    let status =
        storage.status().await.map_err(|error| diagnostics::pve("use", "storage", name, &error).at("storage"))?;
    if status.content.iter().any(|kind| kind == Content::Iso.as_str()) {
        return Ok(());
    }
    let detail = format!(
        "It takes {}, but no ISO images. Enable content type \"ISO image\" for it (Datacenter, Storage, Edit, Content), or name another storage.",
        status.content.join(", ")
    );
    Err(Diagnostic::error(format!("Unable to use storage \"{name}\" for cloud-init data"), detail).at("storage").into())
}

/// Makes sure that the image is there. A file of that name has that content: then nothing is sent.
async fn upload(cx: &Cx<Clients>, plan: &mut Snippet) -> Result<(), Failure<Snippet>> {
    let storage = storage(cx.data()?, plan)?;
    let image = plan
        .image()
        .ok_or_else(|| Diagnostic::error("Unable to deliver cloud-init data", "A part of it is not known."))?;
    plan.describe(&image);
    let volid = plan.volid.need("volid")?.clone();
    let unable = |error: &pve::Error| diagnostics::pve("upload", THING, &volid, error);

    let present = cx.guard(storage.volumes(Content::Iso.as_str())).await?.map_err(|error| unable(&error))?;
    if present.iter().any(|volume| volume.volid == volid) {
        return Ok(());
    }
    let Some(name) = plan.file_name(&image) else { return Ok(()) };
    let Err(error) = send(cx, &storage, &name, image, &volid).await else { return Ok(()) };
    let diagnostic = unable(&error);
    // What Proxmox VE said no to is not there.
    let is_open = error.is_transient() || matches!(error, pve::Error::Deadline { .. } | pve::Error::Cancelled { .. });
    Err(if is_open { Failure::partial(plan.clone(), diagnostic) } else { diagnostic.into() })
}

async fn send(
    cx: &Cx<Clients>,
    storage: &Storage,
    name: &str,
    image: SeedImage,
    volid: &str,
) -> Result<(), pve::Error> {
    let Ok(clients) = cx.data() else { return Ok(()) };
    tracing::info!(volid, bytes = image.bytes.len(), "uploading cloud-init data");
    let task = storage.upload(Content::Iso, name, image.bytes.into()).await?;
    clients.pve.wait(&task, &waiting::until_deadline(cx)).await.map(drop)
}

/// Removes files beside the current one. One that stays behind is tried again next time.
async fn remove_superseded(cx: &Cx<Clients>, snippet: &Snippet) -> Result<(), Diagnostic> {
    let Some(superseded) = cx.private::<Superseded>() else { return Ok(()) };
    for volid in superseded.volids.iter().filter(|volid| snippet.volid.known() != Some(volid)) {
        remove(cx, snippet, volid).await?;
    }
    cx.set_private(&Superseded::default())
}

async fn remove(cx: &Cx<Clients>, snippet: &Snippet, volid: &str) -> Result<(), Diagnostic> {
    let clients = cx.data()?;
    let unable = |error: &pve::Error| diagnostics::pve("delete", THING, volid, error);
    tracing::info!(volid, "deleting cloud-init data");
    let task = storage(clients, snippet)?.delete(volid).await.map_err(|error| unable(&error))?;
    if let Some(task) = task {
        clients.pve.wait(&task, &waiting::until_deadline(cx)).await.map_err(|error| unable(&error))?;
    }
    Ok(())
}
