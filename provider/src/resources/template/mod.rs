//! `pxci_template`: a family of templates, one of whose versions is current.
//!
//! ```text
//! plan:  files, variables → inputs, fingerprint ─┬─ a version has this fingerprint: its VMID is known, nothing is built
//!                                                └─ no version has it: a new version, its VMID unknown
//! apply: remove leftovers → adopt a version, or build · verify → switch → retention
//! ```
//!
//! A new version is an update in place. If it fails, the state keeps the current version. An apply must never build
//! from files other than those of the plan, and must never remove the version that was current before it.

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

use self::model::{KnownTemplate, THING, Template, is_of};
use self::source::Source;
use crate::clients::Clients;
use crate::diagnostics::{self, Detailed as _, Unable as _};
use crate::waiting;

/// The resource type `pxci_template`.
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
            let detail = "Without `secret_variables_wo_version`, a change of the secrets does not build a new version, because the core does not store them and cannot compare them.";
            diagnostics.push(diagnostics::doubtful(
                "secret_variables_wo_version",
                "Changes of the secret variables are not noticed",
                detail,
            ));
        }
    }

    async fn plan(&self, cx: &PlanContext<Clients>, plan: &mut Plan<Template>) -> Result<(), Diagnostics> {
        let Some(clients) = cx.data() else {
            plan.planned.show_undetermined();
            return Ok(());
        };
        clients.plan_node(&mut plan.planned.node, &plan.config.node)?;
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
            Some(version) => plan_adoption(cx, &mut plan.planned, version, current),
            None => {
                plan.planned.show_unbuilt();
                check_build(clients, &known, &family).await?;
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
        // If the current version was removed by hand, the newest remaining version is current.
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
                "No template of the installation \"{}\" has the marker of this family. Only families that pxci built can be imported, by the name of the family.",
                clients.installation
            );
            return Err(diagnostics::impossible("import", THING, text, detail).into());
        };
        Ok(Template {
            family: text.into(),
            installation: family.installation.to_string().into(),
            node: family.node.to_string().into(),
            resource_pool: family.resource_pool.into(),
            vmid: family.range.first().get().into(),
            ..Template::default()
        })
    }
}

/// Returns the VMID in an attribute, if it is known and valid.
fn known_vmid(attribute: &Attr<u32>) -> Option<Vmid> {
    Vmid::new(*attribute.known()?).ok()
}

/// Returns the names of the secret variables, or `None` while they are unknown.
fn secret_names(config: &Template) -> Option<BTreeSet<String>> {
    if config.secret_variables_wo.is_unknown() {
        return None;
    }
    Some(config.secret_variables_wo.known().map(|all| all.keys().cloned().collect()).unwrap_or_default())
}

/// Plans the adoption of a version that was built from the same inputs.
fn plan_adoption(call: &Call, planned: &mut Template, version: &Version, current: Option<Vmid>) {
    planned.show(version);
    if current == Some(version.vmid) {
        return;
    }
    planned.versions = Attr::Unknown;
    let detail = format!(
        "Version {} (VMID {}) was built from the same inputs. It is adopted, and nothing is built.",
        version.number, version.vmid
    );
    call.warn(format!("Template \"{}\" exists already", version.name), detail);
}

/// Checks at plan time that Packer and the storages can be used.
async fn check_build(clients: &Clients, planned: &KnownTemplate, family: &Family) -> Result<(), Diagnostics> {
    building::packer(planned).await?;
    let storages =
        [("vm_storage", &planned.vm_storage, "images"), ("iso_storage", &planned.iso_storage, Content::Iso.as_str())];
    for (attribute, storage, content) in storages {
        let status = clients.pve.storage(&family.node, storage).status().await;
        let status = status.unable("use", "storage", storage).about(attribute)?;
        if !status.content.iter().any(|kind| kind == content) {
            let detail = format!(
                "It accepts {}, but not `{content}`. Enable that content type for it (Datacenter, Storage, Edit, Content), or use another storage.",
                status.content.join(", ")
            );
            return Err(diagnostics::impossible("use", "storage", storage, detail).at(attribute).into());
        }
    }
    Ok(())
}

/// Makes the planned version current. `before` is the version that was current until now.
async fn apply(cx: &Context<Clients>, mut plan: KnownTemplate, before: Option<Vmid>) -> Outcome<KnownTemplate> {
    let clients = cx.data();
    plan.node = clients.node(&plan.node)?.to_string().into();
    let family = plan.family(clients)?;
    plan.installation = family.installation.to_string().into();
    let source = Source::read(&plan)?;
    refuse_changes(&plan, &source)?;
    plan.inputs = source.inputs.shown().into();
    plan.fingerprint = source.fingerprint.clone().into();

    let versions = keeping::versions(cx, clients, &family).await?;
    keeping::reap(cx, &family, &versions).await?;
    let version = match adoptable(&versions, &source.fingerprint) {
        Some(version) => ready(cx, &family, version).await?,
        None => building::build(cx, &plan, &family, &source, next_number(&versions)).await?,
    };
    plan.show(&version);
    // The new version is current, so a later failure must not remove it from the state.
    if let Err(diagnostic) = keeping::retain(cx, &family, &mut plan, before).await {
        plan.list(&[version]);
        cx.warn("Old template versions were not removed", diagnostic.detail);
    }
    Ok(plan)
}

/// Refuses files that differ from those of the plan.
fn refuse_changes(plan: &KnownTemplate, source: &Source) -> Result<(), Diagnostic> {
    if plan.fingerprint.text().is_none_or(|planned| planned == source.fingerprint) {
        return Ok(());
    }
    let planned = plan.inputs.known().cloned().unwrap_or_default();
    let changed = source::changed(&planned, &source.inputs.shown());
    let what = if changed.is_empty() { "the inputs".to_owned() } else { changed.join(", ") };
    let detail =
        format!("Since the plan, {what} changed in \"{}\". Nothing was built. Plan again.", source.directory.display());
    Err(diagnostics::invalid("directory", "The image's files have changed since the plan", detail))
}

fn next_number(versions: &[Version]) -> u32 {
    versions.iter().map(|version| version.number).max().unwrap_or_default() + 1
}

/// Returns a version that is adopted, which may have been retired, marked as ready.
async fn ready(cx: &Context<Clients>, family: &Family, version: &Version) -> Result<Version, Diagnostic> {
    let clients = cx.data();
    let mut version = version.clone();
    if version.build == Build::Ready {
        return Ok(version);
    }
    let retired = proofs::version(clients, family, version.vmid, None, waiting::until_deadline(cx));
    let marked = retired.mark(|marker| marker.build = Some(Build::Ready)).await;
    marked.unable("mark", THING, version.vmid)?;
    version.build = Build::Ready;
    Ok(version)
}
