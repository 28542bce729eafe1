//! `pxci_cloudinit_snippet`: cloud-init data, checked when planned, delivered as a NoCloud image.
//!
//! The file is content-addressed and never overwritten. Its name carries an id of this resource (docs/adr/0021), so every file
//! with that id is this resource's and nobody else's. What an update replaces stays until the next change: the dispatcher
//! still makes guests with it until it gets its new configuration, which happens later in the same apply. A file that a guest
//! or a dispatcher's pool uses is never deleted.

mod files;
mod model;
#[cfg(test)]
mod tests;

use cloudinit::{Problem, check_network_config, check_user_data};
use pve::{Content, Storage};
use tf_provider::{
    Attr, Context, Diagnostic, Diagnostics, Failure, ImportKey, Model as _, Outcome, Plan, PlanContext, Resource,
};

use self::model::{ImportId, KnownSnippet, Snippet, volid_with};
use crate::diagnostics::{self, Detailed as _, Unable as _};
use crate::provider::Clients;

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

    async fn plan(&self, cx: &PlanContext<Clients>, plan: &mut Plan<Snippet>) -> Result<(), Diagnostics> {
        let Some(clients) = cx.data() else { return Ok(()) };
        if plan.planned.node.is_unknown() && plan.config.node.is_null() {
            plan.planned.node = clients.node(&plan.config.node)?.into();
        }
        if let Some(known) = plan.planned.known() {
            let image = known.image();
            // A new resource draws its id when it is created: an id that is drawn here would differ from plan to plan.
            let volid = plan.prior.as_ref().and_then(|prior| prior.volid.text());
            let volid = volid.and_then(|volid| volid_with(volid, &image, &clients.installation));
            plan.planned.describe(&image, volid);
        }
        if plan.prior.is_none() {
            takes_images(clients, &plan.planned).await?;
        }
        Ok(())
    }

    async fn create(&self, cx: &Context<Clients>, mut plan: KnownSnippet) -> Outcome<KnownSnippet> {
        let clients = cx.data();
        plan.node = clients.node(&plan.node)?.into();
        let image = plan.image();
        let volid = plan.new_volid(&image, &clients.installation);
        plan.describe(&image, volid);
        files::upload(cx, &plan, image).await?;
        files::warn_of_twins(cx, &plan).await;
        Ok(plan)
    }

    async fn read(&self, cx: &Context<Clients>, state: Snippet) -> Result<Option<Snippet>, Diagnostics> {
        let storage = storage(cx.data(), &state.node, state.storage.require("storage")?)?;
        let volid = state.volid.require("volid")?;
        let volumes = storage.volumes(Content::Iso.as_str()).await;
        let volumes = volumes.unable("read", THING, volid)?;
        Ok(volumes.iter().any(|volume| volume.volid == *volid).then_some(state))
    }

    async fn update(
        &self,
        cx: &Context<Clients>,
        prior: KnownSnippet,
        mut plan: KnownSnippet,
    ) -> Outcome<KnownSnippet> {
        let installation = &cx.data().installation;
        let image = plan.image();
        let volid = prior.volid.text().and_then(|volid| volid_with(volid, &image, installation));
        let volid = volid.unwrap_or_else(|| plan.new_volid(&image, installation));
        plan.describe(&image, volid);
        files::delete_superseded(cx, &prior, &plan).await?;
        // When it fails, the current file stays in the state: it is still there. What arrived of the new one is found by the
        // next try by its name, or goes with the next change by its id.
        files::upload(cx, &plan, image).await.map_err(|failure| Failure::from(failure.diagnostics))?;
        if plan.volid != prior.volid {
            files::warn_of_unowned(cx, &prior).map_err(|diagnostic| Failure::partial(plan.clone(), diagnostic))?;
        }
        Ok(plan)
    }

    async fn delete(&self, cx: &Context<Clients>, state: KnownSnippet) -> Result<(), Failure<KnownSnippet>> {
        files::delete_all(cx, &state).await?;
        Ok(files::warn_of_unowned(cx, &state)?)
    }

    async fn import(&self, cx: &Context<Clients>, key: ImportKey<Snippet>) -> Result<Snippet, Diagnostics> {
        let ImportKey::Id(text) = key else {
            return Err(diagnostics::impossible(
                "import",
                "cloud-init data",
                "",
                "Import it by id: `node/storage:iso/file`.",
            )
            .into());
        };
        let Some(id) = ImportId::parse(&text) else {
            let detail =
                format!("\"{text}\" is not of the form `node/storage:iso/pxci-INSTALLATION_NAME_ID_DIGEST.iso`.");
            return Err(diagnostics::impossible("import", "cloud-init data", "", detail).into());
        };
        let own = &cx.data().installation;
        if let Some(other) = id.installation.filter(|installation| installation != own) {
            let detail = format!(
                "The file belongs to the installation \"{other}\", but the provider works for \"{own}\". Use a provider whose `installation` is \"{other}\"."
            );
            return Err(diagnostics::impossible("import", "cloud-init data", "", detail).into());
        }
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
    diagnostics::found("Invalid cloud-init data", format!("{problem}\ncloud-init would reject or ignore it."))
}

fn storage(clients: &Clients, node: &Attr<String>, name: &str) -> Result<Storage, Diagnostic> {
    Ok(clients.pve.storage(&clients.node(node)?, name))
}

/// Finds out while planning whether the storage exists and takes ISO images.
async fn takes_images(clients: &Clients, planned: &Snippet) -> Result<(), Diagnostics> {
    let Some(name) = planned.storage.text() else { return Ok(()) };
    let Ok(storage) = storage(clients, &planned.node, name) else { return Ok(()) };
    let status = storage.status().await.unable("use", "storage", name).about("storage")?;
    if status.content.iter().any(|kind| kind == Content::Iso.as_str()) {
        return Ok(());
    }
    let detail = format!(
        "It takes {}, but no ISO images. Enable content type \"ISO image\" for it (Datacenter, Storage, Edit, Content), or name another storage.",
        status.content.join(", ")
    );
    Err(diagnostics::invalid("storage", format!("Unable to use storage \"{name}\" for cloud-init data"), detail).into())
}
