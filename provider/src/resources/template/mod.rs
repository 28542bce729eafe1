//! `pxci_template`: a family of golden templates, one version current.
//!
//! ```text
//! plan:  files, variables → inputs, fingerprint ─┬─ a version has it already: its VMID is known, nothing is built
//!                                                └─ none has: a new version, its VMID unknown
//! apply: remove leftovers → take over, or build · verify → switch → retention
//! ```
//!
//! A new version is an update in place; when it fails, the state keeps the current one. It must never build from files
//! other than those of the plan, and never remove the version that was current before the apply.

mod building;
mod cds;
mod finishing;
mod keeping;
mod model;
mod proofs;
mod runner_program;
mod source;
#[cfg(test)]
mod tests;
mod variables;
mod verifying;

use std::collections::BTreeSet;

use ownership::{Build, Vmid};
use pve::Content;
use template_family::{Family, FamilyName, Version, adoptable};
use tf_provider::{
    Attr, Call, Context, Diagnostic, Diagnostics, Failure, ImportKey, Model as _, Outcome, Plan, PlanContext, Resource,
};

use self::model::{KnownTemplate, Template, is_of};
use self::source::Source;
use crate::diagnostics::{self, Detailed as _, Unable as _};
use crate::provider::Clients;
use crate::waiting;

const THING: &str = "template";

/// The resource type.
pub(crate) struct Templates;

impl Resource for Templates {
    const TYPE: &'static str = "pxci_template";
    type Data = Clients;
    type Model = Template;

    fn validate(&self, config: &Template, diagnostics: &mut Diagnostics) {
        let known = !config.runner_url.is_unknown()
            && !config.runner_sha256.is_unknown()
            && !config.runner_version.is_unknown();
        let version = config.runner_version.text().unwrap_or(runner_program::LATEST);
        let declared = || runner_program::declared(version, config.runner_url.text(), config.runner_sha256.text());
        if known && let Err(diagnostic) = declared() {
            diagnostics.push(diagnostic);
        }
        if !config.secret_variables_wo.is_null() && config.secret_variables_wo_version.is_null() {
            let detail = "Without `secret_variables_wo_version` a change of the secrets builds no new version: cores do not store them, and cannot see a difference.";
            diagnostics.push(diagnostics::doubtful(
                "secret_variables_wo_version",
                "Changes of the secret variables will not be noticed",
                detail,
            ));
        }
    }

    async fn plan(&self, cx: &PlanContext<Clients>, plan: &mut Plan<Template>) -> Result<(), Diagnostics> {
        let Some(clients) = cx.data() else {
            plan.planned.show_undetermined();
            return Ok(());
        };
        if plan.planned.node.is_unknown() && plan.config.node.is_null() {
            plan.planned.node = clients.node(&plan.config.node)?.into();
        }
        if plan.planned.installation.known().is_none() {
            plan.planned.installation = clients.installation.to_string().into();
        }
        let Some(known) = plan.planned.known().filter(|known| !known.node.is_unknown()) else {
            plan.planned.show_undetermined();
            return Ok(());
        };
        let source = Source::read(&known)?;
        source.check_variables(&known, secret_names(&plan.config).as_ref())?;
        plan.planned.inputs = source.inputs.shown().into();
        plan.planned.fingerprint = source.fingerprint.clone().into();

        let family = known.family(clients)?;
        let current = plan.prior.as_ref().and_then(|prior| known_vmid(&prior.vmid));
        if current.is_some_and(|vmid| !family.range.contains(vmid)) {
            plan.require_replace("vmid_range");
        }
        let versions = keeping::versions(cx, clients, &family).await?;
        match adoptable(&versions, &source.fingerprint) {
            Some(version) => take_over(cx, &mut plan.planned, version, current),
            None => {
                plan.planned.show_unbuilt();
                can_be_built(clients, &known, &family).await?;
            }
        }
        Ok(())
    }

    async fn create(&self, cx: &Context<Clients>, plan: KnownTemplate) -> Outcome<KnownTemplate> {
        apply(cx, plan, None).await
    }

    async fn read(&self, cx: &Context<Clients>, mut state: Template) -> Result<Option<Template>, Diagnostics> {
        let family = state.family(cx.data())?;
        let versions = keeping::versions(cx, cx.data(), &family).await?;
        let usable = || versions.iter().filter(|version| version.is_template && version.build != Build::Building);
        let same = usable().find(|version| Some(version.vmid) == known_vmid(&state.vmid));
        // Somebody removed the current version: the newest that is left replaces it.
        let Some(version) = same.or_else(|| usable().next_back()) else { return Ok(None) };
        if state.fingerprint.text() != Some(version.fingerprint.as_str()) {
            state.inputs = Attr::Null;
        }
        state.installation = family.installation.to_string().into();
        state.show(version);
        state.list(&versions);
        Ok(Some(state))
    }

    async fn update(&self, cx: &Context<Clients>, prior: KnownTemplate, plan: KnownTemplate) -> Outcome<KnownTemplate> {
        let before = known_vmid(&prior.vmid);
        apply(cx, plan, before).await
    }

    async fn delete(&self, cx: &Context<Clients>, state: KnownTemplate) -> Result<(), Failure<KnownTemplate>> {
        let family = state.family(cx.data())?;
        let Err(problems) = keeping::remove_all(cx, &family).await else { return Ok(()) };
        let mut left = state;
        left.list(&keeping::versions(cx, cx.data(), &family).await.unwrap_or_default());
        Err(Failure::partial(left, problems))
    }

    async fn import(&self, cx: &Context<Clients>, key: ImportKey<Template>) -> Result<Template, Diagnostics> {
        let clients = cx.data();
        let wanted = match key {
            ImportKey::Id(text) => Template { family: text.into(), ..Template::default() },
            ImportKey::Identity(wanted) => wanted,
        };
        let text = wanted.family.require("family")?.clone();
        is_of(&text, &wanted.installation, &clients.installation)?;
        let name: FamilyName = text.parse().unable("import", THING, &text)?;
        let found = cx.guard(Family::find(&clients.pve, &clients.installation, &name)).await?;
        let found = found.unable("import", THING, &text)?;
        let Some(family) = found else {
            let detail = format!(
                "No template of the installation \"{}\" carries the marker of this family. Only what this provider built can be imported, under the name of its family.",
                clients.installation
            );
            return Err(diagnostics::impossible("import", "template", text, detail).into());
        };
        Ok(Template {
            family: text.into(),
            installation: family.installation.to_string().into(),
            node: family.node.into(),
            resource_pool: family.resource_pool.into(),
            vmid: family.range.first().get().into(),
            ..Template::default()
        })
    }
}

/// Returns the VMID of an attribute that has one.
fn known_vmid(attribute: &Attr<u32>) -> Option<Vmid> {
    Vmid::new(*attribute.known()?).ok()
}

/// Names of the secret variables; `None` while they are unknown.
fn secret_names(config: &Template) -> Option<BTreeSet<String>> {
    if config.secret_variables_wo.is_unknown() {
        return None;
    }
    Some(config.secret_variables_wo.known().map(|all| all.keys().cloned().collect()).unwrap_or_default())
}

/// A version that was built from the same inputs.
fn take_over(call: &Call, planned: &mut Template, version: &Version, current: Option<Vmid>) {
    planned.show(version);
    if current == Some(version.vmid) {
        return;
    }
    planned.versions = Attr::Unknown;
    let detail = format!(
        "Version {} (VMID {}) was built from exactly these inputs. It is taken over; nothing is built.",
        version.number, version.vmid
    );
    call.warn(format!("Template \"{}\" is there already", version.name), detail);
}

/// Finds out while planning what would only fail later.
async fn can_be_built(clients: &Clients, planned: &KnownTemplate, family: &Family) -> Result<(), Diagnostics> {
    building::packer(planned).await?;
    let storages =
        [("vm_storage", &planned.vm_storage, "images"), ("iso_storage", &planned.iso_storage, Content::Iso.as_str())];
    for (attribute, storage, content) in storages {
        let status = clients.pve.storage(&family.node, storage).status().await;
        let status = status.unable("use", "storage", storage).about(attribute)?;
        if !status.content.iter().any(|kind| kind == content) {
            let detail = format!(
                "It takes {}, but not `{content}`. Enable that content type for it (Datacenter, Storage, Edit, Content), or name another storage.",
                status.content.join(", ")
            );
            return Err(diagnostics::impossible("use", "storage", storage, detail).at(attribute).into());
        }
    }
    Ok(())
}

/// Brings the family to the planned version. `before`: what was current until now.
async fn apply(cx: &Context<Clients>, mut plan: KnownTemplate, before: Option<Vmid>) -> Outcome<KnownTemplate> {
    let clients = cx.data();
    plan.node = clients.node(&plan.node)?.into();
    let family = plan.family(clients)?;
    plan.installation = family.installation.to_string().into();
    let source = Source::read(&plan)?;
    refuse_changes(&plan, &source)?;
    plan.inputs = source.inputs.shown().into();
    plan.fingerprint = source.fingerprint.clone().into();

    let versions = keeping::versions(cx, clients, &family).await?;
    keeping::reap(cx, &family, &versions).await?;
    let version = match adoptable(&versions, &source.fingerprint) {
        Some(version) => revived(cx, &family, version).await?,
        None => building::build(cx, &plan, &family, &source, next_number(&versions)).await?,
    };
    plan.show(&version);
    // The version is there and switched to: what fails from here on must not lose it.
    if let Err(diagnostic) = keeping::retain(cx, &family, &mut plan, before).await {
        plan.list(&[version]);
        cx.warn("Old template versions were not looked after", diagnostic.detail);
    }
    Ok(plan)
}

/// The plan showed certain files; others are not built.
fn refuse_changes(plan: &KnownTemplate, source: &Source) -> Result<(), Diagnostic> {
    if plan.fingerprint.text().is_none_or(|planned| planned == source.fingerprint) {
        return Ok(());
    }
    let planned = plan.inputs.known().cloned().unwrap_or_default();
    let changed = source::changed(&planned, &source.inputs.shown());
    let what = if changed.is_empty() { "the inputs".to_owned() } else { changed.join(", ") };
    let detail = format!(
        "Since the plan was made, {what} changed in \"{}\". Nothing was built. Make a new plan.",
        source.directory.display()
    );
    Err(diagnostics::invalid("directory", "The image's files are not those of the plan", detail))
}

fn next_number(versions: &[Version]) -> u32 {
    versions.iter().map(|version| version.number).max().unwrap_or_default() + 1
}

/// A retired version that is wanted again is ready again.
async fn revived(cx: &Context<Clients>, family: &Family, version: &Version) -> Result<Version, Diagnostic> {
    let clients = cx.data();
    let mut version = version.clone();
    if version.build == Build::Ready {
        return Ok(version);
    }
    let again = proofs::version(clients, family, version.vmid, None, waiting::until_deadline(cx));
    let marked = again.mark(|marker| marker.build = Some(Build::Ready)).await;
    marked.unable("mark", THING, version.vmid)?;
    version.build = Build::Ready;
    Ok(version)
}
