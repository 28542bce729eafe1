//! Planned values of the appliance and of the container, and the checks of storages at plan time.

use ownership::Installation;
use tf_provider::{Attr, Diagnostics, Plan};

use super::appliance::Appliance;
use super::model::{Dispatcher, container};
use crate::clients::Clients;
use crate::diagnostics::{self, Detailed as _, Unable as _};
use crate::nodes;

/// Plans the appliance of the container and the volume of its copy. The copy that the current container was made from
/// keeps its name.
pub(super) fn plan_appliance(plan: &mut Plan<Dispatcher>, appliance: &Appliance, installation: &Installation) {
    plan.planned.appliance_version = appliance.version.clone().into();
    plan.planned.appliance_sha256 = appliance.sha256.clone().into();
    let current = plan.prior.as_ref().filter(|prior| prior.appliance_sha256 == plan.planned.appliance_sha256);
    let current = current.and_then(|prior| prior.appliance_volid.known().cloned());
    let new = || plan.planned.template_storage.text().map(|storage| appliance.volid(storage, installation));
    plan.planned.appliance_volid = current.or_else(new).map_or(Attr::Unknown, Attr::Known);
}

/// Plans the container: the current one, a successor that takes over its state, or a replacement.
pub(super) fn plan_container(plan: &mut Plan<Dispatcher>) {
    let Some(prior) = &plan.prior else { return };
    if plan.config.vmid.known().is_some_and(|vmid| prior.vmid.known() != Some(vmid)) {
        plan.require_replace("vmid");
        return;
    }
    let range = plan.planned.range().ok();
    let outside = range.zip(container(&prior.vmid).ok()).is_some_and(|(range, vmid)| !range.contains(vmid));
    if outside {
        plan.planned.vmid = Attr::Unknown;
        plan.require_replace("vmid_range");
        return;
    }
    // An unknown appliance does not replace the container. After an import, the appliance of the container is unknown
    // too.
    if prior.appliance_sha256 == plan.planned.appliance_sha256 || plan.planned.appliance_sha256.is_unknown() {
        return;
    }
    let room = range.is_some_and(|range| range.first() != range.last());
    if room {
        plan.planned.vmid = Attr::Unknown;
    } else {
        plan.require_replace("appliance_sha256");
    }
}

/// Checks at plan time that a storage exists and accepts the content type `kind`, which is that of `things`.
pub(super) async fn check_storage(
    clients: &Clients,
    planned: &Dispatcher,
    attribute: &str,
    kind: &str,
    things: &str,
) -> Result<(), Diagnostics> {
    let value = if attribute == "storage" { &planned.storage } else { &planned.template_storage };
    let (Some(name), Some(node)) = (value.text(), planned.node.text()) else { return Ok(()) };
    let status = clients.pve.storage(&nodes::parse(node)?, name).status().await;
    let status = status.unable("use", "storage", name).about(attribute)?;
    if status.content.iter().any(|content| content == kind) {
        return Ok(());
    }
    let detail = format!(
        "It accepts {}, but not {things}. Enable content type `{kind}` for it (Datacenter, Storage, Edit, Content), or use another storage.",
        status.content.join(", ")
    );
    Err(diagnostics::invalid(attribute, format!("Unable to use storage \"{name}\" for {things}"), detail).into())
}
