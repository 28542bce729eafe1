//! `pxci_cloudinit_snippet`: cloud-init data, checked when it is planned and uploaded as a seed ISO.
//!
//! The file is content-addressed. Its name contains an id of this resource (docs/adr/0021), so every file with that id
//! belongs to this resource alone. An update keeps the file that it replaces until the next change, because the
//! dispatcher makes guests with the old file until it gets its new configuration later in the same apply. The resource
//! must never overwrite a file, and must never delete a file that a guest or a dispatcher's pool uses.

mod files;
mod model;
#[cfg(test)]
mod tests;

use cloudinit::{Problem, check_network_config, check_user_data};
use pve::Content;
use tf_provider::{
    Attr, Context, Diagnostic, Diagnostics, Failure, ImportKey, Model as _, Outcome, Plan, PlanContext, Resource,
};

use self::model::{ImportId, KnownSnippet, Snippet, THING, volid_with};
use crate::clients::Clients;
use crate::diagnostics::{self, Detailed as _, Unable as _};

/// The resource type `pxci_cloudinit_snippet`.
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
        clients.plan_node(&mut plan.planned.node, &plan.config.node)?;
        if let Some(known) = plan.planned.known() {
            let image = known.image();
            // A new resource gets its random id when it is created, because a random id would differ from plan to plan.
            let volid = plan.prior.as_ref().and_then(|prior| prior.volid.text());
            let volid = volid.and_then(|volid| volid_with(volid, &image, &clients.installation));
            plan.planned.describe(&image, volid);
        }
        if plan.prior.is_none() {
            check_storage(clients, &plan.planned).await?;
        }
        Ok(())
    }

    async fn create(&self, cx: &Context<Clients>, mut plan: KnownSnippet) -> Outcome<KnownSnippet> {
        let clients = cx.data();
        plan.node = clients.node(&plan.node)?.to_string().into();
        let image = plan.image();
        let volid = plan.new_volid(&image, &clients.installation);
        plan.describe(&image, volid);
        files::upload(cx, &plan, image).await?;
        files::warn_of_duplicates(cx, &plan).await;
        Ok(plan)
    }

    async fn read(&self, cx: &Context<Clients>, state: Snippet) -> Result<Option<Snippet>, Diagnostics> {
        let storage = files::storage(cx.data(), &state.node, state.storage.require("storage")?)?;
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
        // After a failure the current file, which still exists, stays in the state. If the new file was uploaded, the
        // next attempt finds it by its name, or the next change deletes it by its id.
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
            return Err(
                diagnostics::impossible("import", THING, "", "Import it by id: `node/storage:iso/file`.").into()
            );
        };
        let Some(id) = ImportId::parse(&text) else {
            let detail =
                format!("\"{text}\" is not of the form `node/storage:iso/pxci-INSTALLATION_NAME_ID_DIGEST.iso`.");
            return Err(diagnostics::impossible("import", THING, "", detail).into());
        };
        let own = &cx.data().installation;
        if let Some(other) = id.installation.filter(|installation| installation != own) {
            let detail = format!(
                "The file belongs to the installation \"{other}\", but the provider's installation is \"{own}\". Use a provider whose `installation` is \"{other}\"."
            );
            return Err(diagnostics::impossible("import", THING, "", detail).into());
        }
        cx.warn(
            "The data cannot be read back",
            "Proxmox VE does not return the content of images. The first plan therefore shows the data as an update. If the data is the same, the file does not change.",
        );
        Ok(Snippet {
            name: id.name.into(),
            node: id.node.to_string().into(),
            storage: id.storage.into(),
            volid: id.volid.into(),
            ..Snippet::default()
        })
    }
}

fn invalid(problem: &Problem) -> Diagnostic {
    diagnostics::error("Invalid cloud-init data", format!("{problem}\ncloud-init would reject or ignore it."))
}

/// Checks at plan time that the storage exists and accepts ISO images.
async fn check_storage(clients: &Clients, planned: &Snippet) -> Result<(), Diagnostics> {
    let Some(name) = planned.storage.text() else { return Ok(()) };
    let Ok(storage) = files::storage(clients, &planned.node, name) else { return Ok(()) };
    let status = storage.status().await.unable("use", "storage", name).about("storage")?;
    if status.content.iter().any(|kind| kind == Content::Iso.as_str()) {
        return Ok(());
    }
    let detail = format!(
        "It accepts {}, but not ISO images. Enable content type \"ISO image\" for it (Datacenter, Storage, Edit, Content), or use another storage.",
        status.content.join(", ")
    );
    Err(diagnostics::invalid("storage", format!("Unable to use storage \"{name}\" for cloud-init data"), detail).into())
}
