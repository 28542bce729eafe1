//! The appliance on a storage of Proxmox VE. Each installation has one copy of a version, from which all its containers
//! are made.

use ownership::{Kind, Marker};
use pve::{Config, Content, Error, GuestKind, WaitOptions};
use tf_provider::{Context, Diagnostic};

use super::appliance::Appliance;
use super::container::finish;
use super::model::KnownDispatcher;
use super::options::appliance_of;
use crate::clients::Clients;
use crate::diagnostics::{Detailed as _, Unable as _};
use crate::holders;
use crate::nodes;

/// Uploads the appliance, unless a file of that name exists, which has the same content.
pub(crate) async fn upload(
    cx: &Context<Clients>,
    model: &KnownDispatcher,
    appliance: &Appliance,
) -> Result<(), Diagnostic> {
    let storage = cx.data().pve.storage(&nodes::known(&model.node)?, &model.template_storage);
    let volid = model.appliance_volid.require("appliance_volid")?;
    let volumes = cx
        .guard(storage.volumes(Content::ContainerTemplate.as_str()))
        .await?
        .unable("upload", "the dispatcher's appliance", volid)
        .about("template_storage")?;
    if volumes.iter().any(|volume| volume.volid == *volid) {
        return Ok(());
    }
    tracing::info!(volid, bytes = appliance.content.len(), "uploading the appliance");
    let name = volid.rsplit('/').next().unwrap_or_default();
    let task = cx
        .guard(storage.upload(Content::ContainerTemplate, name, appliance.content.clone()))
        .await?
        .unable("upload", "the dispatcher's appliance", volid)
        .about("template_storage")?;
    finish(cx, &task).await.unable("upload", "the dispatcher's appliance", volid).about("template_storage")
}

/// Removes the copy of the appliance, unless another dispatcher's container was made from it.
pub(crate) async fn remove(clients: &Clients, model: &KnownDispatcher, wait: &WaitOptions) -> Result<(), Diagnostic> {
    let Some(volid) = model.appliance_volid.text() else { return Ok(()) };
    if is_used_elsewhere(clients, volid).await.unable("delete", "the dispatcher's appliance", volid)? {
        return Ok(());
    }
    let storage = clients.pve.storage(&nodes::known(&model.node)?, &model.template_storage);
    match storage.delete(volid).await.unable("delete", "the dispatcher's appliance", volid)? {
        Some(task) => {
            clients.pve.wait(&task, wait).await.map(drop).unable("delete", "the dispatcher's appliance", volid)
        }
        None => Ok(()),
    }
}

async fn is_used_elsewhere(clients: &Clients, volid: &str) -> Result<bool, Error> {
    let containers = holders::configurations(&clients.pve, |guest| guest.kind == GuestKind::Lxc).await?;
    Ok(containers.iter().any(|(_, config)| is_dispatcher(config) && appliance_of(config) == Some(volid)))
}

fn is_dispatcher(config: &Config) -> bool {
    let marker = Marker::find(config.description()).ok().flatten();
    marker.is_some_and(|marker| marker.kind == Kind::Dispatcher)
}
