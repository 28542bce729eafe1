//! `pxci_dispatcher_lxc`: the container with the dispatcher, made from the appliance and configured over its console.
//!
//! Secrets pass through, sealed; nothing here stores, prints or logs them. A container is destroyed only after a proof that
//! it is ours, and after the dispatcher has said that none of its machines is left.

mod appliance;
mod console;
mod container;
mod control;
mod draining;
mod marking;
mod model;
mod options;
mod runners;
mod stored_appliance;
mod takeover;
#[cfg(test)]
mod tests;
mod unfinished;

use std::future::ready;
use std::time::Duration;

use dispatcher_api::{Config, ConfigError, ConfigProblem, Phase, Secrets, Status};
use guest::{Candidate, OwnedContainer, Problem};
use ownership::{Installation, Vmid};
use pve::Lxc;
use tf_provider::{
    Attr, Context, Diagnostic, Diagnostics, Failure, ImportKey, Model as _, Outcome, Path, Plan, PlanContext, Resource,
    Secret,
};

use self::appliance::Appliance;
use self::container::Made;
use self::model::{Dispatcher, KnownDispatcher, container as container_of};
use self::takeover::Succession;
use crate::diagnostics::{self, Detailed as _, Unable as _};
use crate::provider::Clients;
use crate::waiting;

/// Addition to a warning about a dispatcher that cannot be asked.
const FROM_STATE: &str = "What it works with is taken from the state.";
/// A dispatcher that did not come to work has few machines, if any.
const UNDO: Duration = Duration::from_secs(60);

/// The resource type.
pub(crate) struct Dispatchers;

impl Resource for Dispatchers {
    const TYPE: &'static str = "pxci_dispatcher_lxc";
    type Data = Clients;
    type Model = Dispatcher;

    fn validate(&self, config: &Dispatcher, diagnostics: &mut Diagnostics) {
        diagnostics.extend(contradictions(config));
    }

    async fn plan(&self, cx: &PlanContext<Clients>, plan: &mut Plan<Dispatcher>) -> Result<(), Diagnostics> {
        let Some(clients) = cx.data() else { return Ok(()) };
        if plan.planned.node.is_unknown() && plan.config.node.is_null() {
            plan.planned.node = clients.node(&plan.config.node)?.into();
        }
        if !plan.config.appliance_file.is_unknown() {
            let appliance = Appliance::load(plan.config.appliance_file.text())?;
            plan_appliance(plan, &appliance, &clients.installation);
        }
        plan_identity(plan);
        plan.planned.config_hash = match (plan.planned.known(), plan.planned.node.text()) {
            (Some(known), Some(node)) => {
                valid(known.config(node, &clients.installation, &clients.connection)?)?.hash().into()
            }
            _ => Attr::Unknown,
        };
        if plan.prior.is_none() {
            takes(clients, &plan.planned, "template_storage", "vztmpl", "container templates").await?;
            takes(clients, &plan.planned, "storage", "rootdir", "containers").await?;
        }
        Ok(())
    }

    async fn create(&self, cx: &Context<Clients>, mut plan: KnownDispatcher) -> Outcome<KnownDispatcher> {
        let clients = cx.data();
        plan.node = clients.node(&plan.node)?.into();
        let (config, secrets) = desired(cx, &plan)?;
        let appliance = planned_appliance(&mut plan, &clients.installation)?;
        let made = make(cx, &plan, &appliance).await?;
        plan.vmid = i64::from(made.vmid().get()).into();
        match set_up(cx, &plan, &made, &config, &secrets).await {
            Ok(()) => Ok(KnownDispatcher { config_hash: config.hash().into(), ..plan }),
            Err(diagnostic) => Err(undo(cx, plan, &made, diagnostic).await),
        }
    }

    async fn read(&self, cx: &Context<Clients>, mut state: Dispatcher) -> Result<Option<Dispatcher>, Diagnostics> {
        let clients = cx.data();
        let Some(found) = container::find(clients, state.place()?).await? else { return Ok(None) };
        options::take_over(&found.config, &mut state);
        let vmid = found.container.vmid();
        let status = found.container.status().await;
        let status = status.unable("read", container::THING, vmid)?;
        if !status.is_running() {
            state.config_hash = Attr::Null;
            return Ok(Some(state));
        }
        let asked = match container::owned(clients, state.location()?, "ask", waiting::until_deadline(cx)).await {
            Ok(Some(owned)) => control::look(&owned).await,
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
                state.config_hash =
                    if needs_its_configuration(&status) { Attr::Null } else { status.config_hash.into() };
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
            release_runners(cx, &state, &owned).await?;
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
        let Some((node, vmid)) = text.split_once('/').and_then(|(node, vmid)| Some((node, vmid.parse::<Vmid>().ok()?)))
        else {
            return Err(unable_to_import(&format!("\"{text}\" is not of the form `node/vmid`.")).into());
        };
        let mut state = Dispatcher { node: node.into(), vmid: i64::from(vmid.get()).into(), ..Dispatcher::default() };
        let Some(found) = container::find(clients, (node, vmid)).await? else {
            return Err(unable_to_import(&format!(
                "Container {vmid} does not exist on node \"{node}\", or belongs to another installation."
            ))
            .into());
        };
        options::take_over(&found.config, &mut state);
        options::adopt(&found.config, &mut state);
        state.resource_pool = resource_pool(clients, vmid).await?.into();
        cx.warn(
            "Pools and secrets cannot be read back",
            "The first plan shows them as an update, which sends them to the dispatcher again; with the same content nothing changes for its runners.",
        );
        Ok(state)
    }
}

/// What no single attribute can say.
fn contradictions(config: &Dispatcher) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut add = |at: &str, detail: String| found.push(diagnostics::invalid(at, "Invalid dispatcher", detail));
    match (config.vmid.is_null(), config.vmid_range.is_null()) {
        (true, true) => add("vmid_range", "Set `vmid_range`, as in \"8100-8109\", or `vmid`.".to_owned()),
        (false, false) => add("vmid_range", "Set either `vmid_range` or `vmid`.".to_owned()),
        _ => {}
    }
    let own_token = config.pve.known().is_some_and(|pve| pve.token_id.known().is_some());
    if own_token && config.pve_token_secret_wo.is_null() {
        add(
            "pve_token_secret_wo",
            "`pve.token_id` names another token than the provider's: give its secret.".to_owned(),
        );
    }
    if let Some(pool) = runners::overlapping_pool(config) {
        add(
            "pools",
            format!(
                "The VMIDs of pool \"{pool}\" overlap those of the container: choose ranges that have nothing in common."
            ),
        );
    }
    if let Some(network) = config.network.known() {
        if network.gateway.known().is_some() && network.ip.text() == Some("dhcp") {
            add("network", "A gateway is for a fixed address; with DHCP it comes from the server.".to_owned());
        }
        let needs_no_gateway = network.ip6.is_null() || network.ip6.text() == Some("auto");
        if network.gateway6.known().is_some() && needs_no_gateway {
            add(
                "network",
                "`gateway6` is for a fixed IPv6 address in `ip6`; with \"auto\" the gateway comes from router advertisements."
                    .to_owned(),
            );
        }
    }
    found
}

/// Says which appliance the container is made from, and where its copy is. The copy of the present container keeps its name.
fn plan_appliance(plan: &mut Plan<Dispatcher>, appliance: &Appliance, installation: &Installation) {
    plan.planned.appliance_version = appliance.version.clone().into();
    plan.planned.appliance_sha256 = appliance.sha256.clone().into();
    let present = plan.prior.as_ref().filter(|prior| prior.appliance_sha256 == plan.planned.appliance_sha256);
    let present = present.and_then(|prior| prior.appliance_volid.known().cloned());
    let new = || plan.planned.template_storage.text().map(|storage| appliance.volid(storage, installation));
    plan.planned.appliance_volid = present.or_else(new).map_or(Attr::Unknown, Attr::Known);
}

/// Says which container the plan ends with: the one that is there, a successor, or a new one.
fn plan_identity(plan: &mut Plan<Dispatcher>) {
    let Some(prior) = &plan.prior else { return };
    if plan.config.vmid.known().is_some_and(|vmid| prior.vmid.known() != Some(vmid)) {
        plan.require_replace("vmid");
        return;
    }
    let range = plan.planned.range().ok();
    let outside = range.zip(container_of(&prior.vmid).ok()).is_some_and(|(range, vmid)| !range.contains(vmid));
    if outside {
        plan.planned.vmid = Attr::Unknown;
        plan.require_replace("vmid_range");
        return;
    }
    // After an import it is not known which appliance the container was made from.
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

/// A valid configuration, or a diagnostic for each problem at the attribute that it comes from.
fn valid(config: Config) -> Result<Config, Diagnostics> {
    let Err(error) = config.validate() else { return Ok(config) };
    let ConfigError::Invalid(problems) = error else {
        return Err(diagnostics::unable("use", "the dispatcher's configuration", "", &error).into());
    };
    let mut found = Diagnostics::new();
    for problem in problems {
        let path = attribute_of(&config, &problem);
        found.push(diagnostics::invalid(path, "Invalid dispatcher", format!("{}.", problem.message)));
    }
    Err(found)
}

/// `pools[0].template.vmid` of the configuration is `pools["name"].template_vmid` of the resource.
fn attribute_of(config: &Config, problem: &ConfigProblem) -> Path {
    let (head, field) = problem.path.split_once('.').unwrap_or((&problem.path, ""));
    let index = head
        .strip_prefix("pools[")
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|index| index.parse::<usize>().ok());
    let field = field.split('[').next().unwrap_or_default();
    match (head, index.and_then(|index| config.pools.get(index))) {
        (_, Some(pool)) => {
            let name = match field {
                "memory_mib" => "memory".to_owned(),
                "name" => return Path::attribute("pools").key(pool.name.as_str()),
                other => other
                    .trim_end_matches("_seconds")
                    .replace("template.", "template_")
                    .replace("template_family", "family"),
            };
            Path::attribute("pools").key(pool.name.as_str()).then(&name)
        }
        ("poll_interval_seconds", None) => Path::attribute("poll_interval"),
        // The values may be the provider's: then there is no attribute of that name below it.
        (other, None) => Path::attribute(other),
    }
}

/// Finds out while planning whether a storage exists and takes what is to be put there.
async fn takes(
    clients: &Clients,
    planned: &Dispatcher,
    attribute: &str,
    kind: &str,
    things: &str,
) -> Result<(), Diagnostics> {
    let value = if attribute == "storage" { &planned.storage } else { &planned.template_storage };
    let (Some(name), Some(node)) = (value.text(), planned.node.text()) else { return Ok(()) };
    let status = clients.pve.storage(node, name).status().await;
    let status = status.unable("use", "storage", name).about(attribute)?;
    if status.content.iter().any(|content| content == kind) {
        return Ok(());
    }
    let detail = format!(
        "It takes {}, but no {things}. Enable content type `{kind}` for it (Datacenter, Storage, Edit, Content), or name another storage.",
        status.content.join(", ")
    );
    Err(diagnostics::invalid(attribute, format!("Unable to use storage \"{name}\" for {things}"), detail).into())
}

/// What the dispatcher is to work with.
fn desired(cx: &Context<Clients>, plan: &KnownDispatcher) -> Result<(Config, Secrets), Diagnostics> {
    let clients = cx.data();
    let config = valid(plan.config(plan.node.require("node")?, &clients.installation, &clients.connection)?)?;
    let own = plan.pve_token_secret_wo.clone().map(Secret::into_inner);
    let github_token = plan.github_token_wo.clone().into_inner();
    let secrets =
        Secrets { pve_token_secret: own.unwrap_or_else(|| clients.connection.token.secret().clone()), github_token };
    Ok((config, secrets))
}

/// The appliance, which must still be the one that the plan showed.
fn planned_appliance(plan: &mut KnownDispatcher, installation: &Installation) -> Result<Appliance, Diagnostic> {
    let appliance = Appliance::load(plan.appliance_file.as_deref())?;
    if plan.appliance_sha256.text().is_some_and(|planned| planned != appliance.sha256) {
        let detail = "Its file is not the one that was planned with. Plan again.";
        return Err(diagnostics::invalid("appliance_file", "The dispatcher's appliance has changed", detail));
    }
    plan.appliance_version = appliance.version.clone().into();
    plan.appliance_sha256 = appliance.sha256.clone().into();
    if plan.appliance_volid.known().is_none() {
        plan.appliance_volid = appliance.volid(&plan.template_storage, installation).into();
    }
    Ok(appliance)
}

/// The container that the plan is about: one that a killed apply left unfinished, or a new one.
async fn make(cx: &Context<Clients>, plan: &KnownDispatcher, appliance: &Appliance) -> Result<Made, Diagnostic> {
    if let Some(made) = unfinished::adopt(cx, plan, true).await? {
        return Ok(made);
    }
    stored_appliance::upload(cx, plan, appliance).await?;
    match container::create(cx, plan, true).await {
        Ok(made) => Ok(made),
        Err(diagnostic) => Err(without_appliance(cx, plan, diagnostic).await),
    }
}

/// From a container that was just made to a dispatcher that works.
async fn set_up(
    cx: &Context<Clients>,
    plan: &KnownDispatcher,
    made: &Made,
    config: &Config,
    secrets: &Secrets,
) -> Result<(), Diagnostic> {
    marking::announce(cx, plan, Some(&made.nonce)).await?;
    if !made.is_fresh {
        change_in_place(cx, plan).await?;
    }
    start_and_configure(cx, plan, config, secrets).await?;
    marking::settle(cx, plan, Some(&made.nonce)).await
}

async fn start_and_configure(
    cx: &Context<Clients>,
    plan: &KnownDispatcher,
    config: &Config,
    secrets: &Secrets,
) -> Result<(), Diagnostic> {
    let clients = cx.data();
    let Some(owned) = container::owned(clients, plan.location()?, "start", waiting::until_deadline(cx)).await? else {
        return Err(diagnostics::impossible("start", "the dispatcher container", "", "It is gone. Plan again."));
    };
    container::start(cx, &owned).await?;
    control::configure(cx, &owned, config, secrets).await
}

/// One that drains goes on only when it gets its configuration again; one that never worked with it may need other secrets.
fn needs_its_configuration(status: &Status) -> bool {
    match status.phase {
        Phase::Draining | Phase::Drained | Phase::Unconfigured => true,
        Phase::Starting => !status.problems.is_empty(),
        Phase::Running => false,
    }
}

/// State after a change that failed: which configuration and secrets are in force is open, so the next plan sends both.
fn unsettled(plan: KnownDispatcher, prior: KnownDispatcher) -> KnownDispatcher {
    KnownDispatcher {
        config_hash: Attr::Null,
        github_token_wo_version: prior.github_token_wo_version,
        pve_token_secret_wo_version: prior.pve_token_secret_wo_version,
        ..plan
    }
}

/// Removes the appliance that no container was made from.
async fn without_appliance(cx: &Context<Clients>, plan: &KnownDispatcher, diagnostic: Diagnostic) -> Diagnostic {
    let removed = stored_appliance::remove(cx.data(), plan, &container::clean_up_time()).await;
    match removed {
        Ok(()) => diagnostic,
        Err(error) => diagnostic.also(format!("Its appliance stays on the storage: {}", error.detail)),
    }
}

/// What a failed creation made goes again. A container whose dispatcher has machines left stays: only it can clear them.
async fn undo(
    cx: &Context<Clients>,
    plan: KnownDispatcher,
    made: &Made,
    diagnostic: Diagnostic,
) -> Failure<KnownDispatcher> {
    let cleaned = async {
        let clients = cx.data();
        let wait = container::clean_up_time();
        let candidate = container::candidate(clients, plan.location()?, Some(&made.nonce), wait.clone());
        match candidate.prove().await {
            Ok(owned) => {
                if owned.is_running().await.is_ok_and(|is_running| is_running) {
                    // Without an answer it has made nothing, as a rule; what counts is whether something is there.
                    let mut last = None;
                    let drained = draining::drain(&owned, Duration::ZERO, &mut last, || ready(false));
                    let _ = tokio::time::timeout(UNDO, drained).await;
                }
                none_left(clients, &plan).await?;
            }
            // Another apply went on with it.
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
    let made = takeover::take_over(cx, &Succession { prior, plan: &plan, appliance, config, secrets }).await?;
    plan.vmid = i64::from(made.vmid().get()).into();
    plan.config_hash = config.hash().into();
    let rest = async {
        let clients = cx.data();
        let destroyed = container::remove(clients, prior.location()?, waiting::until_deadline(cx)).await;
        // Only now: if this apply is killed before, the next one goes on with the new container.
        marking::settle(cx, &plan, Some(&made.nonce)).await?;
        destroyed?;
        stored_appliance::remove(clients, prior, &waiting::until_deadline(cx)).await
    };
    match rest.await {
        Ok(()) => Ok(plan),
        Err(diagnostic) => {
            let diagnostic =
                diagnostic.also("The new container works. If the old one is still there, destroy it by hand.");
            Err(Failure::partial(plan, diagnostic))
        }
    }
}

/// Has the dispatcher destroy the machines that it made. If it cannot be asked, none may be left.
async fn release_runners(
    cx: &Context<Clients>,
    state: &KnownDispatcher,
    owned: &OwnedContainer,
) -> Result<(), Diagnostic> {
    let vmid = owned.vmid();
    container::start(cx, owned).await?;
    let mut last = None;
    let clients = cx.data();
    let nothing_left = || async { none_left(clients, state).await.is_ok() };
    let drained = draining::drain(owned, control::HINDRANCE, &mut last, nothing_left);
    let error = match cx.guard(drained).await {
        Ok(Ok(problems)) => {
            if !problems.is_empty() {
                let detail = format!(
                    "None of its machines is left, but it could not make sure that no runner stays registered.\n{}",
                    control::listed(&problems)
                );
                cx.warn(format!("The dispatcher in container \"{vmid}\" was hindered"), detail);
            }
            return Ok(());
        }
        Ok(Err(error)) => error,
        Err(diagnostic) => {
            return Err(match last {
                Some(status) => diagnostic.also(draining::what_is_left(&status)),
                None => diagnostic,
            });
        }
    };
    none_left(clients, state)
        .await
        .map_err(|left| diagnostics::unable("drain", "the dispatcher in container", vmid, &error).also(left.detail))?;
    cx.warn(
        format!("The dispatcher in container \"{vmid}\" could not be asked"),
        "None of its machines is left, so the container is destroyed.",
    );
    Ok(())
}

/// An error while machines that the dispatcher made are there.
async fn none_left(clients: &Clients, model: &KnownDispatcher) -> Result<(), Diagnostic> {
    let left = runners::left(clients, model).await;
    let left = left.unable("look for", "the dispatcher's machines", "")?;
    if left.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = left.iter().map(|(vmid, name)| format!("{vmid} ({name})")).collect();
    let detail = format!(
        "Machines that it made are left: {}. Make it work again, or destroy them by hand ({}); then destroy it again.",
        names.join(", "),
        draining::BY_HAND
    );
    Err(diagnostics::found("The dispatcher's machines are not gone", detail))
}

async fn resource_pool(clients: &Clients, vmid: Vmid) -> Result<Option<String>, Diagnostic> {
    let guests = clients.pve.guests().await.unable("read", container::THING, vmid)?;
    Ok(guests.into_iter().find(|guest| guest.vmid == vmid).and_then(|guest| guest.pool))
}

fn unable_to_import(detail: &str) -> Diagnostic {
    diagnostics::impossible("import", "the dispatcher container", "", detail)
}
