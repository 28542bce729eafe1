//! `pxci_dispatcher_lxc`: the dispatcher's container, made from the appliance and configured over its console.
//!
//! Secrets are sent sealed. The resource must never store, print or log a secret, and must never destroy a container
//! without the proof of ownership, or while runner VMs of the dispatcher exist.

mod appliance;
mod console;
mod container;
mod control;
mod draining;
mod marking;
mod model;
mod options;
mod planning;
mod releasing;
mod runners;
mod stored_appliance;
mod takeover;
#[cfg(test)]
mod tests;
mod unfinished;
mod validation;

use std::future::ready;
use std::time::Duration;

use dispatcher_api::{Config, Phase, Secrets, Status};
use guest::{Candidate, Problem};
use ownership::{Installation, NodeName, Vmid};
use pve::Lxc;
use tf_provider::{
    Attr, Context, Diagnostic, Diagnostics, Failure, ImportKey, Model as _, Outcome, Plan, PlanContext, Resource,
    Secret,
};

use self::appliance::Appliance;
use self::container::NewContainer;
use self::model::{Dispatcher, KnownDispatcher};
use self::takeover::Succession;
use self::validation::valid;
use crate::clients::Clients;
use crate::diagnostics::{self, Detailed as _, Unable as _};
use crate::nodes;
use crate::waiting;

/// Last paragraph of a warning about a dispatcher that does not answer.
const FROM_STATE: &str = "Its configuration is assumed to be that of the state.";
/// Longest wait for the runner VMs of a dispatcher that never worked. Such a dispatcher has few of them.
const UNDO: Duration = Duration::from_secs(60);

/// The resource type `pxci_dispatcher_lxc`.
pub(crate) struct Dispatchers;

impl Resource for Dispatchers {
    const TYPE: &'static str = "pxci_dispatcher_lxc";
    type Data = Clients;
    type Model = Dispatcher;

    fn validate(&self, config: &Dispatcher, diagnostics: &mut Diagnostics) {
        diagnostics.extend(validation::contradictions(config));
    }

    async fn plan(&self, cx: &PlanContext<Clients>, plan: &mut Plan<Dispatcher>) -> Result<(), Diagnostics> {
        let Some(clients) = cx.data() else { return Ok(()) };
        clients.plan_node(&mut plan.planned.node, &plan.config.node)?;
        if !plan.config.appliance_file.is_unknown() {
            let appliance = Appliance::load(plan.config.appliance_file.text())?;
            planning::plan_appliance(plan, &appliance, &clients.installation);
        }
        planning::plan_container(plan);
        plan.planned.config_hash = match (plan.planned.known(), plan.planned.node.text()) {
            (Some(known), Some(node)) => {
                valid(known.config(&nodes::parse(node)?, &clients.installation, &clients.connection)?)?.hash().into()
            }
            _ => Attr::Unknown,
        };
        if plan.prior.is_none() {
            planning::check_storage(clients, &plan.planned, "template_storage", "vztmpl", "container templates")
                .await?;
            planning::check_storage(clients, &plan.planned, "storage", "rootdir", "containers").await?;
        }
        Ok(())
    }

    async fn create(&self, cx: &Context<Clients>, mut plan: KnownDispatcher) -> Outcome<KnownDispatcher> {
        let clients = cx.data();
        plan.node = clients.node(&plan.node)?.to_string().into();
        let (config, secrets) = desired(cx, &plan)?;
        let appliance = planned_appliance(&mut plan, &clients.installation)?;
        let new_container = make(cx, &plan, &appliance).await?;
        plan.vmid = i64::from(new_container.vmid().get()).into();
        match set_up(cx, &plan, &new_container, &config, &secrets).await {
            Ok(()) => Ok(KnownDispatcher { config_hash: config.hash().into(), ..plan }),
            Err(diagnostic) => Err(undo(cx, plan, &new_container, diagnostic).await),
        }
    }

    async fn read(&self, cx: &Context<Clients>, mut state: Dispatcher) -> Result<Option<Dispatcher>, Diagnostics> {
        let clients = cx.data();
        let (node, vmid) = state.place()?;
        let Some(found) = container::find(clients, (&node, vmid)).await? else { return Ok(None) };
        options::observe(&found.config, &mut state);
        let status = found.container.status().await;
        let status = status.unable("read", container::THING, vmid)?;
        if !status.is_running() {
            state.config_hash = Attr::Null;
            return Ok(Some(state));
        }
        let asked = match container::owned(clients, state.location()?, "ask", waiting::until_deadline(cx)).await {
            Ok(Some(owned)) => control::status(&owned).await,
            Ok(None) => return Ok(None),
            Err(unproved) => {
                cx.warn(unproved.summary, format!("{}\n\n{FROM_STATE}", unproved.detail));
                return Ok(Some(state));
            }
        };
        match asked {
            Ok(status) => {
                if status.phase == Phase::Starting && !status.problems.is_empty() {
                    cx.warn(
                        format!("The dispatcher in container \"{vmid}\" does not work"),
                        control::listed(&status.problems),
                    );
                }
                state.config_hash = if must_be_configured(&status) { Attr::Null } else { status.config_hash.into() };
            }
            Err(error) => {
                let warning = diagnostics::unable("ask", "the dispatcher in container", vmid, &error);
                cx.warn(warning.summary, format!("{}\n\n{FROM_STATE}", warning.detail));
            }
        }
        Ok(Some(state))
    }

    async fn update(
        &self,
        cx: &Context<Clients>,
        prior: KnownDispatcher,
        mut plan: KnownDispatcher,
    ) -> Outcome<KnownDispatcher> {
        let (config, secrets) = desired(cx, &plan)?;
        let appliance = planned_appliance(&mut plan, &cx.data().installation)?;
        if prior.appliance_sha256 != plan.appliance_sha256 {
            return replace_appliance(cx, &prior, plan, &appliance, (&config, &secrets)).await;
        }
        plan.vmid = prior.vmid.clone();
        change_in_place(cx, &plan).await?;
        let configured = async {
            marking::announce(cx, &plan, None).await?;
            start_and_configure(cx, &plan, &config, &secrets).await?;
            marking::settle(cx, &plan, None).await
        };
        match configured.await {
            Ok(()) => Ok(KnownDispatcher { config_hash: config.hash().into(), ..plan }),
            Err(diagnostic) => Err(Failure::partial(unsettled(plan, prior), diagnostic)),
        }
    }

    async fn delete(&self, cx: &Context<Clients>, state: KnownDispatcher) -> Result<(), Failure<KnownDispatcher>> {
        let clients = cx.data();
        let wait = waiting::until_deadline(cx);
        if let Some(owned) = container::owned(clients, state.location()?, "destroy", wait.clone()).await? {
            releasing::release(cx, &state, &owned).await?;
            container::remove(clients, state.location()?, wait).await?;
        }
        stored_appliance::remove(clients, &state, &waiting::until_deadline(cx)).await?;
        Ok(())
    }

    async fn import(&self, cx: &Context<Clients>, key: ImportKey<Dispatcher>) -> Result<Dispatcher, Diagnostics> {
        let clients = cx.data();
        let ImportKey::Id(text) = key else {
            return Err(unable_to_import("Import it by id: `node/vmid`.").into());
        };
        let Some((node, vmid)) = import_id(&text) else {
            return Err(unable_to_import(&format!("\"{text}\" is not of the form `node/vmid`.")).into());
        };
        let mut state =
            Dispatcher { node: node.to_string().into(), vmid: i64::from(vmid.get()).into(), ..Dispatcher::default() };
        let Some(found) = container::find(clients, (&node, vmid)).await? else {
            return Err(unable_to_import(&format!(
                "Container {vmid} does not exist on node \"{node}\", or belongs to another installation."
            ))
            .into());
        };
        options::observe(&found.config, &mut state);
        options::import(&found.config, &mut state);
        state.resource_pool = resource_pool(clients, vmid).await?.into();
        cx.warn(
            "Pools and secrets cannot be read back",
            "The first plan shows them as an update, which sends them to the dispatcher again. If they are the same, nothing changes for its runners.",
        );
        Ok(state)
    }
}

/// Reads the import id `node/vmid`. Returns `None` if the text has another form.
fn import_id(text: &str) -> Option<(NodeName, Vmid)> {
    let (node, vmid) = text.split_once('/')?;
    Some((node.parse().ok()?, vmid.parse().ok()?))
}

/// Returns the configuration and the secrets of the plan.
fn desired(cx: &Context<Clients>, plan: &KnownDispatcher) -> Result<(Config, Secrets), Diagnostics> {
    let clients = cx.data();
    let config = valid(plan.config(&nodes::known(&plan.node)?, &clients.installation, &clients.connection)?)?;
    let own = plan.pve_token_secret_wo.clone().map(Secret::into_inner);
    let github_token = plan.github_token_wo.clone().into_inner();
    let secrets =
        Secrets { pve_token_secret: own.unwrap_or_else(|| clients.connection.token.secret().clone()), github_token };
    Ok((config, secrets))
}

/// Reads the appliance, which must not have changed since the plan.
fn planned_appliance(plan: &mut KnownDispatcher, installation: &Installation) -> Result<Appliance, Diagnostic> {
    let appliance = Appliance::load(plan.appliance_file.as_deref())?;
    if plan.appliance_sha256.text().is_some_and(|planned| planned != appliance.sha256) {
        let detail = "Its file has changed since the plan. Plan again.";
        return Err(diagnostics::invalid(
            "appliance_file",
            "The dispatcher's appliance has changed since the plan",
            detail,
        ));
    }
    plan.appliance_version = appliance.version.clone().into();
    plan.appliance_sha256 = appliance.sha256.clone().into();
    if plan.appliance_volid.known().is_none() {
        plan.appliance_volid = appliance.volid(&plan.template_storage, installation).into();
    }
    Ok(appliance)
}

/// Makes the container of the plan, or adopts one that a killed apply left unfinished.
async fn make(
    cx: &Context<Clients>,
    plan: &KnownDispatcher,
    appliance: &Appliance,
) -> Result<NewContainer, Diagnostic> {
    if let Some(new_container) = unfinished::adopt(cx, plan, true).await? {
        return Ok(new_container);
    }
    stored_appliance::upload(cx, plan, appliance).await?;
    match container::create(cx, plan, true).await {
        Ok(new_container) => Ok(new_container),
        Err(diagnostic) => Err(without_appliance(cx, plan, diagnostic).await),
    }
}

/// Starts the dispatcher in a new container and waits until it works.
async fn set_up(
    cx: &Context<Clients>,
    plan: &KnownDispatcher,
    new_container: &NewContainer,
    config: &Config,
    secrets: &Secrets,
) -> Result<(), Diagnostic> {
    marking::announce(cx, plan, Some(&new_container.nonce)).await?;
    if !new_container.is_fresh {
        change_in_place(cx, plan).await?;
    }
    start_and_configure(cx, plan, config, secrets).await?;
    marking::settle(cx, plan, Some(&new_container.nonce)).await
}

async fn start_and_configure(
    cx: &Context<Clients>,
    plan: &KnownDispatcher,
    config: &Config,
    secrets: &Secrets,
) -> Result<(), Diagnostic> {
    let clients = cx.data();
    let Some(owned) = container::owned(clients, plan.location()?, "start", waiting::until_deadline(cx)).await? else {
        return Err(diagnostics::impossible(
            "start",
            "the dispatcher container",
            "",
            "It no longer exists. Plan again.",
        ));
    };
    container::start(cx, &owned).await?;
    control::configure(cx, &owned, config, secrets).await
}

/// Returns true if the dispatcher must be configured again: it drains, is not configured, or started with problems.
fn must_be_configured(status: &Status) -> bool {
    match status.phase {
        Phase::Draining | Phase::Drained | Phase::Unconfigured => true,
        Phase::Starting => !status.problems.is_empty(),
        Phase::Running => false,
    }
}

/// Returns the state after a change that failed. The next plan sends configuration and secrets again, because the
/// dispatcher may have the old or the new ones.
fn unsettled(plan: KnownDispatcher, prior: KnownDispatcher) -> KnownDispatcher {
    KnownDispatcher {
        config_hash: Attr::Null,
        github_token_wo_version: prior.github_token_wo_version,
        pve_token_secret_wo_version: prior.pve_token_secret_wo_version,
        ..plan
    }
}

/// Removes the uploaded appliance after a failure to create its container.
async fn without_appliance(cx: &Context<Clients>, plan: &KnownDispatcher, diagnostic: Diagnostic) -> Diagnostic {
    let removed = stored_appliance::remove(cx.data(), plan, &container::clean_up_time()).await;
    match removed {
        Ok(()) => diagnostic,
        Err(error) => diagnostic.also(format!("Its appliance is still on the storage: {}", error.detail)),
    }
}

/// Removes the container of a failed creation. If the dispatcher has runner VMs, the container stays, because only the
/// dispatcher can destroy them.
async fn undo(
    cx: &Context<Clients>,
    plan: KnownDispatcher,
    new_container: &NewContainer,
    diagnostic: Diagnostic,
) -> Failure<KnownDispatcher> {
    let cleaned = async {
        let clients = cx.data();
        let wait = container::clean_up_time();
        let candidate = container::candidate(clients, plan.location()?, Some(&new_container.nonce), wait.clone());
        match candidate.prove().await {
            Ok(owned) => {
                if owned.is_running().await.is_ok_and(|is_running| is_running) {
                    // The dispatcher need not answer: the list of guests shows whether runner VMs are left.
                    let mut last = None;
                    let drained = draining::drain(&owned, Duration::ZERO, &mut last, || ready(false));
                    let _ = tokio::time::timeout(UNDO, drained).await;
                }
                releasing::check_none_left(clients, &plan).await?;
            }
            // Another apply has adopted the container.
            Err(error) if matches!(error.problem, Problem::OtherIncarnation) => return Ok(()),
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(not_destroyed(&candidate, &error)),
        }
        candidate.remove().await.map_err(|error| not_destroyed(&candidate, &error))?;
        stored_appliance::remove(clients, &plan, &container::clean_up_time()).await
    };
    match cleaned.await {
        Ok(()) => diagnostic.into(),
        Err(error) => {
            let diagnostic =
                diagnostic.also(format!("Cleaning up failed too, so the container stays: {}", error.detail));
            Failure::partial(KnownDispatcher { config_hash: Attr::Null, ..plan }, diagnostic)
        }
    }
}

fn not_destroyed(candidate: &Candidate<Lxc>, error: &guest::Error) -> Diagnostic {
    diagnostics::unable("destroy", container::THING, candidate.vmid(), error)
}

async fn change_in_place(cx: &Context<Clients>, plan: &KnownDispatcher) -> Result<(), Diagnostic> {
    let clients = cx.data();
    let wait = waiting::until_deadline(cx);
    let Some(owned) = container::owned(clients, plan.location()?, "change", wait).await? else { return Ok(()) };
    if container::change(cx, &owned, plan).await? {
        container::stop(&owned, "restart").await?;
    }
    Ok(())
}

async fn replace_appliance(
    cx: &Context<Clients>,
    prior: &KnownDispatcher,
    mut plan: KnownDispatcher,
    appliance: &Appliance,
    (config, secrets): (&Config, &Secrets),
) -> Outcome<KnownDispatcher> {
    let new_container = takeover::take_over(cx, &Succession { prior, plan: &plan, appliance, config, secrets }).await?;
    plan.vmid = i64::from(new_container.vmid().get()).into();
    plan.config_hash = config.hash().into();
    let rest = async {
        let clients = cx.data();
        let destroyed = container::remove(clients, prior.location()?, waiting::until_deadline(cx)).await;
        // Settled last, so that the next apply adopts the new container if this one is killed before.
        marking::settle(cx, &plan, Some(&new_container.nonce)).await?;
        destroyed?;
        stored_appliance::remove(clients, prior, &waiting::until_deadline(cx)).await
    };
    match rest.await {
        Ok(()) => Ok(plan),
        Err(diagnostic) => {
            let diagnostic =
                diagnostic.also("The new container works. If the old container still exists, destroy it by hand.");
            Err(Failure::partial(plan, diagnostic))
        }
    }
}

async fn resource_pool(clients: &Clients, vmid: Vmid) -> Result<Option<String>, Diagnostic> {
    let guests = clients.pve.guests().await.unable("read", container::THING, vmid)?;
    Ok(guests.into_iter().find(|guest| guest.vmid == vmid).and_then(|guest| guest.pool))
}

fn unable_to_import(detail: &str) -> Diagnostic {
    diagnostics::impossible("import", "the dispatcher container", "", detail)
}
