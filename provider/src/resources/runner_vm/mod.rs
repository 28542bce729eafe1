//! `pxci_runner_vm`: one runner VM, from its clone to its destruction.
//!
//! ```text
//! create: propose VMID → clone (marker in the call) → configure → start → agent answers → (arm)
//!         after a failed step: stop → destroy; a VM that cannot be destroyed stays in the state
//! delete: proof of ownership → stop → proof → protection off under digest → destroy
//! ```
//!
//! The resource must never destroy, stop or change a guest without the proof of ownership, never write a JIT
//! configuration into PVE's configuration, a log or the state, and never start a VM that has finished.

mod incarnation;
mod making;
mod model;
#[cfg(test)]
mod tests;

use ownership::{Kind, Marker, Owner, Vmid};
use pve::Qemu;
use tf_provider::{Attr, Context, Diagnostic, Diagnostics, Failure, ImportKey, Outcome, Plan, PlanContext, Resource};

use self::model::{ImportId, Job, KEEP, KnownRunnerVm, REPLACE, RunnerVm, THING};
use crate::clients::Clients;
use crate::diagnostics::{self, Unable as _};
use crate::nodes;

/// The resource type `pxci_runner_vm`.
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
            diagnostics.push(diagnostics::invalid("vmid", "The VMID is outside the range", detail));
        }
        let is_not_awaited = config.started.known() == Some(&false) || config.ready_when.text() == Some("none");
        if is_not_awaited && !config.jit_config_wo.is_null() {
            let detail = "Only a VM that is started and whose guest agent is waited for can take a job. Leave out `started` and `ready_when`.";
            diagnostics.push(diagnostics::invalid(
                "jit_config_wo",
                "The VM would never get its JIT configuration",
                detail,
            ));
        }
    }

    async fn plan(&self, cx: &PlanContext<Clients>, plan: &mut Plan<RunnerVm>) -> Result<(), Diagnostics> {
        if let Some(clients) = cx.data()
            && plan.prior.is_none()
        {
            clients.plan_node(&mut plan.planned.node, &plan.config.node)?;
            check_template(clients, &plan.planned).await?;
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
        observe(cx.data(), state, vmid).await.map_err(Into::into)
    }

    async fn update(
        &self,
        cx: &Context<Clients>,
        prior: KnownRunnerVm,
        mut plan: KnownRunnerVm,
    ) -> Outcome<KnownRunnerVm> {
        let clients = cx.data();
        let vm = incarnation::existing(clients, &prior, cx.stop().clone())?;
        if plan.reap() != prior.reap() {
            let marked = vm.mark(|marker| marker.reap = plan.reap()).await;
            marked.unable("update", THING, vm.name())?;
        }
        let reached = KnownRunnerVm { reap: plan.reap.clone(), ..prior.clone() };
        if !plan.started {
            let stopped = vm.stop().await.unable("stop", THING, vm.name());
            stopped.map_err(|diagnostic| Failure::partial(reached.clone(), diagnostic))?;
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
        let Err(diagnostic) = making::start(cx, clients, &mut plan, &vm, None).await else { return Ok(plan) };
        // If the VM runs, it was started, even if a later step failed.
        let reached = if is_running(&vm).await { KnownRunnerVm { started: true, ..reached } } else { reached };
        Err(Failure::partial(reached, diagnostic))
    }

    async fn delete(&self, cx: &Context<Clients>, state: KnownRunnerVm) -> Result<(), Failure<KnownRunnerVm>> {
        if state.vmid.known().is_none() {
            return Ok(());
        }
        incarnation::destroy(cx.data(), &state).await?;
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
            diagnostics::impossible("import", THING, "", detail)
        })?;
        let clients = cx.data();
        let marker = marker_of(clients, &id).await?;
        let mut model = RunnerVm {
            node: id.node.to_string().into(),
            vmid: id.vmid.get().into(),
            vmid_range: id.range.into(),
            runner_name: model::runner_name(&marker).map(String::from).into(),
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

/// Plans the VM's power. A VM that has finished is never started again. With `when_finished = "replace"`, a new VM
/// replaces it.
fn plan_power(prior: &RunnerVm, plan: &mut Plan<RunnerVm>, had_job: bool) {
    let wanted = plan.planned.started.known_or(true);
    if prior.has_finished() && wanted && plan.planned.when_finished.text() == Some(REPLACE) {
        plan.planned.finished = Attr::Unknown;
        plan.require_replace("finished");
        return;
    }
    // Stopping a VM that had a job ends the job.
    if had_job && prior.started.known() == Some(&true) && !wanted {
        plan.planned.finished = true.into();
    }
}

/// Returns the VMID in an attribute, if it is known and valid.
fn known_vmid(attribute: &Attr<u32>) -> Option<Vmid> {
    Vmid::new(*attribute.known()?).ok()
}

/// Returns true if the VM is ours and runs, on any node.
async fn is_running(vm: &guest::RunnerVm) -> bool {
    let Ok(owned) = vm.prove().await else { return false };
    owned.is_running().await.unwrap_or(false)
}

/// Checks at plan time that the template can be cloned. Accepts a template that does not exist, because the same run
/// may create it.
async fn check_template(clients: &Clients, planned: &RunnerVm) -> Result<(), Diagnostic> {
    let (Some(node), Some(&template)) = (planned.node.text(), planned.template_vmid.known()) else { return Ok(()) };
    let node = nodes::parse(node)?;
    let template = diagnostics::vmid("template_vmid", template)?;
    match clients.pve.qemu(&node, template).config().await {
        Ok(config) if config.is_template() => Ok(()),
        Ok(_) => {
            let detail = "It is a VM, not a template. Runner VMs are linked clones, which only a template can have.";
            Err(diagnostics::impossible("use", "template", template, detail).at("template_vmid"))
        }
        // A token may clone a template without the right to read its configuration.
        Err(error) if error.is_guest_missing() || error.is_permission_denied() => Ok(()),
        Err(error) => Err(diagnostics::unable("use", "template", template, &error)),
    }
}

/// Updates the state from Proxmox VE, on any node of the cluster. Returns `None` if the VM no longer
/// exists.
async fn observe(clients: &Clients, mut state: RunnerVm, vmid: Vmid) -> Result<Option<RunnerVm>, Diagnostic> {
    let id = state.runner_name.text().map_or_else(|| vmid.to_string(), str::to_owned);
    let located = guest::locate::<Qemu>(&clients.pve, &nodes::known(&state.node)?, vmid).await;
    let Some((vm, config)) = located.unable("read", THING, &id)? else { return Ok(None) };
    let marker = our_marker(clients, vmid, &config)?;
    if state
        .runner_name
        .text()
        .is_some_and(|name| model::runner_name(&marker).is_none_or(|found| found.as_str() != name))
    {
        // Another runner VM of ours has the VMID now, so the VM in the state is gone.
        return Ok(None);
    }
    state.observe(&marker, &config);
    let listed = clients.guests.find(&clients.pve, vmid).await.unable("read", THING, &id)?;
    let is_expected = state.started.known() == Some(&true) && !state.has_finished();
    let running = match listed.as_ref().map(|guest| guest.status.as_str()) {
        Some("running") if is_expected => true,
        // The list can be ten seconds old, so a change is confirmed.
        _ => vm.status().await.unable("read", THING, &id)?.is_running(),
    };
    state.observe_power(running);
    if state.when_finished.is_null() {
        // Release 0.1 did not have the argument, so its default must not appear as a change.
        state.when_finished = KEEP.into();
    }
    if let Some(pool) = listed.and_then(|guest| guest.pool) {
        state.resource_pool = pool.into();
    }
    Ok(Some(state))
}

/// Returns the marker of a VM. The error says why the VM is not a runner VM of this provider.
fn our_marker(clients: &Clients, vmid: Vmid, config: &pve::Config) -> Result<Marker, Diagnostic> {
    let not_ours = |reason: &str| {
        let detail = format!(
            "VM {vmid} {reason}. It was not changed. If the VM that this resource created no longer exists, remove the resource from the state (`tofu state rm`)."
        );
        diagnostics::impossible("recognise", THING, vmid, detail)
    };
    let found = Marker::find(config.description())
        .map_err(|error| not_ours(&format!("has a marker that cannot be read: {error}")))?;
    let marker = found.ok_or_else(|| not_ours("has no pxci marker in its description"))?;
    if marker.vmid != vmid {
        return Err(not_ours(&format!("is a copy of guest {}", marker.vmid)));
    }
    if marker.installation != clients.installation || marker.owner != Owner::Provider || marker.kind != Kind::Runner {
        return Err(not_ours(&format!("belongs to the {} of installation \"{}\"", marker.owner, marker.installation)));
    }
    Ok(marker)
}

/// Returns the marker of the VM to import, which may have been moved from the node that the id names.
async fn marker_of(clients: &Clients, id: &ImportId) -> Result<Marker, Diagnostic> {
    let located = guest::locate::<Qemu>(&clients.pve, &id.node, id.vmid).await;
    let Some((_, config)) = located.unable("import", THING, id.vmid)? else {
        let detail = "No node of the cluster has a VM with that VMID.";
        return Err(diagnostics::impossible("import", THING, id.vmid, detail));
    };
    our_marker(clients, id.vmid, &config)
}
