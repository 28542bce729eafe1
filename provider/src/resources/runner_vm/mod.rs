//! `pxci_runner_vm`: one runner VM, from its clone to its destruction.
//!
//! ```text
//! create: propose VMID → clone (marker in the call) → configure → start → agent answers → (hand over one job)
//!         any failure after the clone → stop → destroy; what withstands stays in the state
//! delete: proof of ownership → stop → proof → protection off under digest → destroy
//! ```
//!
//! It must never destroy, stop or change a guest without the proof, and never give a JIT configuration to PVE's configuration, to a
//! log, or to the state. It must never start a VM that has finished.

mod making;
mod model;
#[cfg(test)]
mod tests;

use guest::Place;
use ownership::{Kind, Marker, Owner, RunnerName, Vmid};
use pve::Qemu;
use tf_provider::{
    Attr, CancellationToken, Context, Diagnostic, Diagnostics, Failure, ImportKey, Outcome, Plan, PlanContext, Resource,
};

use self::model::{ImportId, Job, KEEP, KnownRunnerVm, REPLACE, RunnerVm};
use crate::diagnostics::{self, Unable as _};
use crate::provider::Clients;

const THING: &str = "runner VM";

/// The resource type.
pub(crate) struct RunnerVms;

impl Resource for RunnerVms {
    const TYPE: &'static str = "pxci_runner_vm";
    type Data = Clients;
    type Model = RunnerVm;

    fn validate(&self, config: &RunnerVm, diagnostics: &mut Diagnostics) {
        if config.vmid.is_null() && config.vmid_range.is_null() {
            let detail = "Set `vmid_range`, as in \"9090-9099\", or `vmid`.";
            diagnostics.push(diagnostics::invalid("vmid_range", "No VMID is given", detail));
        }
        if let (Some(vmid), Some(range)) = (known_vmid(&config.vmid), config.range())
            && !range.contains(vmid)
        {
            let detail = format!("{vmid} is not in {range}.");
            diagnostics.push(diagnostics::invalid("vmid", "The VMID is outside its range", detail));
        }
        let idle = config.started.known() == Some(&false) || config.ready_when.text() == Some("none");
        if idle && !config.jit_config_wo.is_null() {
            let detail = "A job can be handed over only to a VM that is started and whose agent is waited for: leave out `started` and `ready_when`.";
            diagnostics.push(diagnostics::invalid("jit_config_wo", "The VM would never get its job", detail));
        }
    }

    async fn plan(&self, cx: &PlanContext<Clients>, plan: &mut Plan<RunnerVm>) -> Result<(), Diagnostics> {
        if let Some(clients) = cx.data()
            && plan.prior.is_none()
        {
            if plan.planned.node.is_unknown() && plan.config.node.is_null() {
                plan.planned.node = clients.node(&plan.config.node)?.into();
            }
            can_be_cloned(clients, &plan.planned).await?;
        }
        let Some(prior) = plan.prior.clone() else { return Ok(()) };
        if prior.started.known() != plan.planned.started.known() {
            plan.planned.ip_address = Attr::Unknown;
        }
        let had_job = cx.private::<Job>().is_some_and(|job| job.given) || !prior.jit_config_wo_version.is_null();
        plan_power(&prior, plan, had_job);
        let is_outside = |vmid: Vmid| plan.planned.range().is_some_and(|range| !range.contains(vmid));
        if plan.config.vmid.is_null() && known_vmid(&prior.vmid).is_some_and(is_outside) {
            plan.require_replace("vmid_range");
        }
        Ok(())
    }

    async fn create(&self, cx: &Context<Clients>, plan: KnownRunnerVm) -> Outcome<KnownRunnerVm> {
        making::make(cx, plan).await
    }

    async fn read(&self, cx: &Context<Clients>, state: RunnerVm) -> Result<Option<RunnerVm>, Diagnostics> {
        let Some(&number) = state.vmid.known() else { return Ok(None) };
        let vmid = diagnostics::vmid("vmid", number)?;
        look(cx.data(), state, vmid).await.map_err(Into::into)
    }

    async fn update(
        &self,
        cx: &Context<Clients>,
        prior: KnownRunnerVm,
        mut plan: KnownRunnerVm,
    ) -> Outcome<KnownRunnerVm> {
        let clients = cx.data();
        let vm = existing(clients, &prior, cx.stop().clone())?;
        if plan.reap() != prior.reap() {
            let marked = vm.mark(|marker| marker.reap = plan.reap()).await;
            marked.unable("update", THING, vm.name())?;
        }
        let so_far = KnownRunnerVm { reap: plan.reap.clone(), ..prior.clone() };
        if !plan.started {
            let stopped = vm.stop().await.unable("stop", THING, vm.name());
            stopped.map_err(|diagnostic| Failure::partial(so_far.clone(), diagnostic))?;
        }
        if plan.finished.is_unknown() {
            plan.finished = prior.has_finished().into();
        }
        if plan.started == prior.started || prior.has_finished() {
            if plan.ip_address.is_unknown() {
                plan.ip_address = Attr::Null;
            }
            return Ok(plan);
        }
        let Err(diagnostic) = making::start(cx, clients, &mut plan, &vm).await else { return Ok(plan) };
        // A VM that runs was started, even if its start failed later. When it is off, it has finished.
        let runs = qemu(clients, &plan.node, &plan.vmid)?.status().await.is_ok_and(|status| status.is_running());
        let so_far = if runs { KnownRunnerVm { started: true, ..so_far } } else { so_far };
        Err(Failure::partial(so_far, diagnostic))
    }

    async fn delete(&self, cx: &Context<Clients>, state: KnownRunnerVm) -> Result<(), Failure<KnownRunnerVm>> {
        if state.vmid.known().is_none() {
            return Ok(());
        }
        destroy(cx.data(), &state).await?;
        Ok(())
    }

    async fn import(&self, cx: &Context<Clients>, key: ImportKey<RunnerVm>) -> Result<RunnerVm, Diagnostics> {
        let id = match key {
            ImportKey::Id(text) => ImportId::parse(&text).ok_or(text),
            ImportKey::Identity(_) => Err(String::new()),
        };
        let id = id.map_err(|text| {
            let detail =
                format!("\"{text}\" is not of the form `node/vmid`, or `node/vmid/first-last` with the `vmid_range`.");
            diagnostics::impossible("import", "runner VM", "", detail)
        })?;
        let clients = cx.data();
        let marker = marker_of(clients, &id).await?;
        let mut model = RunnerVm {
            node: id.node.into(),
            vmid: id.vmid.get().into(),
            vmid_range: id.range.into(),
            runner_name: model::runner_name(&marker).into(),
            ready_when: "agent".into(),
            when_finished: KEEP.into(),
            ..RunnerVm::default()
        };
        let listed = clients.guests.find(&clients.pve, id.vmid).await;
        let listed = listed.unable("import", THING, id.vmid)?;
        model.resource_pool = listed.and_then(|guest| guest.pool).into();
        Ok(model)
    }
}

/// Plans the VM's power. A VM that has finished is never started again. With `when_finished = "replace"` another one
/// takes its place.
fn plan_power(prior: &RunnerVm, plan: &mut Plan<RunnerVm>, had_job: bool) {
    let wanted = plan.planned.started.known_or(true);
    if prior.has_finished() && wanted && plan.planned.when_finished.text() == Some(REPLACE) {
        plan.planned.finished = Attr::Unknown;
        plan.require_replace("finished");
        return;
    }
    // A job that is switched off is over.
    if had_job && prior.started.known() == Some(&true) && !wanted {
        plan.planned.finished = true.into();
    }
}

/// Returns the VMID of an attribute that has one.
fn known_vmid(attribute: &Attr<u32>) -> Option<Vmid> {
    Vmid::new(*attribute.known()?).ok()
}

fn qemu(clients: &Clients, node: &Attr<String>, vmid: &Attr<u32>) -> Result<Qemu, Diagnostic> {
    Ok(clients.pve.qemu(node.require("node")?, diagnostics::vmid("vmid", *vmid.require("vmid")?)?))
}

/// Finds out while planning what would only fail later. A template that does not exist yet may be made in the same run.
async fn can_be_cloned(clients: &Clients, planned: &RunnerVm) -> Result<(), Diagnostic> {
    let (Some(node), Some(&template)) = (planned.node.text(), planned.template_vmid.known()) else { return Ok(()) };
    let template = diagnostics::vmid("template_vmid", template)?;
    match clients.pve.qemu(node, template).config().await {
        Ok(config) if config.is_template() => Ok(()),
        Ok(_) => {
            let detail = "It is a VM, but no template. Runner VMs are linked clones, which only a template can have.";
            Err(diagnostics::impossible("use", "template", template, detail).at("template_vmid"))
        }
        // Cloning needs no right to look at the template.
        Err(error) if error.is_guest_missing() || error.is_permission_denied() => Ok(()),
        Err(error) => Err(diagnostics::unable("use", "template", template, &error)),
    }
}

/// The VM that a marker describes, for the steps.
fn handle(
    clients: &Clients,
    model: &KnownRunnerVm,
    marker: Marker,
    cancel: CancellationToken,
) -> Result<guest::RunnerVm, Diagnostic> {
    let range = model.range().ok_or_else(|| diagnostics::found("No VMID is given", "Set `vmid_range` or `vmid`."))?;
    let place = Place {
        node: model.node.require("node")?.clone(),
        range,
        claimant: Owner::Provider,
        resource_pool: model.resource_pool.clone(),
    };
    let name = model.runner_name.require("runner_name")?.clone();
    Ok(guest::RunnerVm::new(clients.pve.clone(), name, marker, place, cancel))
}

/// The incarnation in the state.
fn existing(
    clients: &Clients,
    model: &KnownRunnerVm,
    cancel: CancellationToken,
) -> Result<guest::RunnerVm, Diagnostic> {
    let name = model.runner_name.require("runner_name")?;
    let parsed = RunnerName::parse(&clients.installation, name).unable("recognise", THING, name)?;
    let marker = model.marker(&clients.installation, parsed.vmid(), parsed.nonce().clone())?;
    handle(clients, model, marker, cancel)
}

/// Stops and destroys the VM after the proof. Not to be interrupted: it takes seconds, and half of it helps nobody.
async fn destroy(clients: &Clients, model: &KnownRunnerVm) -> Result<(), Diagnostic> {
    let vm = existing(clients, model, CancellationToken::new())?;
    vm.stop().await.unable("destroy", THING, vm.name())?;
    vm.destroy().await.unable("destroy", THING, vm.name())
}

/// What has become of the VM: `None` when it is gone.
async fn look(clients: &Clients, mut state: RunnerVm, vmid: Vmid) -> Result<Option<RunnerVm>, Diagnostic> {
    let id = state.runner_name.text().map_or_else(|| vmid.to_string(), str::to_owned);
    let vm = qemu(clients, &state.node, &state.vmid)?;
    let config = match vm.config().await {
        Ok(config) => config,
        Err(error) if error.is_guest_missing() => return gone(clients, vm.node(), vmid).await,
        Err(error) => return Err(diagnostics::unable("read", THING, &id, &error)),
    };
    let marker = our_marker(clients, vmid, &config)?;
    if state.runner_name.text().is_some_and(|name| model::runner_name(&marker).as_deref() != Some(name)) {
        // Another runner VM of ours has the VMID by now.
        return Ok(None);
    }
    state.observe(&marker, &config);
    let listed = clients.guests.find(&clients.pve, vmid).await.unable("read", THING, &id)?;
    let expected = state.started.known() == Some(&true) && !state.has_finished();
    let running = match listed.as_ref().map(|guest| guest.status.as_str()) {
        Some("running") if expected => true,
        // The list lags behind: what looks like a change is confirmed.
        _ => vm.status().await.unable("read", THING, &id)?.is_running(),
    };
    state.observe_power(running);
    if state.when_finished.is_null() {
        // Release 0.1 did not have the argument, so its default is not a change.
        state.when_finished = KEEP.into();
    }
    if let Some(pool) = listed.and_then(|guest| guest.pool) {
        state.resource_pool = pool.into();
    }
    Ok(Some(state))
}

/// A VM that is missing on its node is gone, unless somebody moved it.
async fn gone(clients: &Clients, node: &str, vmid: Vmid) -> Result<Option<RunnerVm>, Diagnostic> {
    let listed = clients.guests.find(&clients.pve, vmid).await;
    let listed = listed.unable("read", THING, vmid)?;
    match listed.filter(|guest| guest.kind == pve::GuestKind::Qemu && guest.node != node) {
        None => Ok(None),
        Some(guest) => {
            let detail = format!(
                "A VM {vmid} is on node \"{}\" now. If it was migrated, move it back; if it is another VM, remove this one from the state.",
                guest.node
            );
            Err(diagnostics::found(format!("Unable to find runner VM \"{vmid}\" on node \"{node}\""), detail))
        }
    }
}

/// The marker of a VM that this provider made.
fn our_marker(clients: &Clients, vmid: Vmid, config: &pve::Config) -> Result<Marker, Diagnostic> {
    let not_ours = |reason: &str| {
        let detail = format!(
            "VM {vmid} {reason}. It is left alone. If the VM that was made here is gone, remove it from the state (`tofu state rm`)."
        );
        diagnostics::impossible("recognise", "runner VM", vmid, detail)
    };
    let found = Marker::find(config.description())
        .map_err(|error| not_ours(&format!("carries a marker that cannot be read: {error}")))?;
    let marker = found.ok_or_else(|| not_ours("carries no pxci marker in its description"))?;
    if marker.vmid != vmid {
        return Err(not_ours(&format!("is a copy of guest {}", marker.vmid)));
    }
    if marker.installation != clients.installation || marker.owner != Owner::Provider || marker.kind != Kind::Runner {
        return Err(not_ours(&format!("belongs to the {} of installation \"{}\"", marker.owner, marker.installation)));
    }
    Ok(marker)
}

async fn marker_of(clients: &Clients, id: &ImportId) -> Result<Marker, Diagnostic> {
    let config = clients.pve.qemu(&id.node, id.vmid).config().await;
    let config = config.unable("import", THING, id.vmid)?;
    our_marker(clients, id.vmid, &config)
}
