//! Making a runner VM, step by step; when a step fails, what was made is destroyed again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use guest::Problem;
use ownership::{Nonce, Vmid, VmidRange};
use tf_provider::{CancellationToken, Context, Diagnostic, Failure, Outcome};

use super::model::{Job, KnownRunnerVm, runner_name};
use super::{THING, handle};
use crate::diagnostics::{self, Unable as _};
use crate::provider::Clients;
use crate::vmids::Proposal;
use crate::waiting;

/// A guest may get its address a little after its agent is up.
const ADDRESS_ATTEMPTS: u32 = 5;
const ADDRESS_PAUSE: Duration = Duration::from_secs(1);

/// Makes the VM of the plan and fills in what was unknown.
pub(super) async fn make(cx: &Context<Clients>, mut plan: KnownRunnerVm) -> Outcome<KnownRunnerVm> {
    let clients = cx.data();
    plan.node = clients.node(&plan.node)?.into();
    plan.finished = false.into();
    let proposal = clone(cx, clients, &mut plan).await?;
    match finish(cx, clients, &mut plan).await {
        Ok(()) => Ok(plan),
        Err(diagnostic) => Err(undo(clients, plan, &proposal, diagnostic).await),
    }
}

/// Clones the template to a VMID of the range, to another one when somebody else was faster.
async fn clone(
    cx: &Context<Clients>,
    clients: &Clients,
    plan: &mut KnownRunnerVm,
) -> Result<Proposal, Failure<KnownRunnerVm>> {
    let range = plan.range().ok_or_else(|| diagnostics::found("No VMID is given", "Set `vmid_range` or `vmid`."))?;
    let candidates = match plan.vmid.known() {
        Some(vmid) => VmidRange::single(diagnostics::vmid("vmid", *vmid)?),
        None => range,
    };
    let mut refused = BTreeSet::new();
    loop {
        let proposal = propose(cx, clients, plan, candidates, &refused).await?;
        plan.vmid = proposal.vmid().get().into();
        let marker = plan.marker(&clients.installation, proposal.vmid(), Nonce::random())?;
        plan.runner_name = runner_name(&marker).into();
        // Not to be interrupted: a clone takes seconds, and only a finished one can be destroyed.
        let vm = handle(clients, plan, marker, CancellationToken::new())?;
        match clone_once(&vm).await {
            Ok(()) => return Ok(proposal),
            Err(error) if matches!(error.problem, Problem::VmidTaken) => refused.insert(proposal.vmid()),
            Err(error) if error.is_transient() => {
                let diagnostic = diagnostics::unable("create", THING, name(plan), &error);
                return Err(undo(clients, plan.clone(), &proposal, diagnostic).await);
            }
            Err(error) => return Err(diagnostics::unable("create", THING, name(plan), &error).into()),
        };
    }
}

/// A lost reply leaves open whether the clone was made: the second try finds out.
async fn clone_once(vm: &guest::RunnerVm) -> Result<(), guest::Error> {
    let cloned = match vm.clone_from_template(true).await {
        Err(error) if error.is_transient() => vm.clone_from_template(false).await,
        outcome => outcome,
    };
    cloned.map(drop)
}

async fn propose(
    cx: &Context<Clients>,
    clients: &Clients,
    plan: &KnownRunnerVm,
    range: VmidRange,
    refused: &BTreeSet<Vmid>,
) -> Result<Proposal, Diagnostic> {
    let proposed = cx.guard(clients.vmids.propose(&clients.pve, range, refused)).await?;
    let proposed = proposed.unable("create", THING, name(plan))?;
    proposed.ok_or_else(|| diagnostics::range_full(THING, name(plan), range))
}

/// Everything after the clone.
async fn finish(cx: &Context<Clients>, clients: &Clients, plan: &mut KnownRunnerVm) -> Result<(), Diagnostic> {
    let vm = super::existing(clients, plan, cx.stop().clone())?;
    vm.configure(&plan.shape(), None).await.unable("configure", THING, vm.name())?;
    let config = super::qemu(clients, &plan.node, &plan.vmid)?.config().await;
    plan.observe_shape(&config.unable("read", THING, vm.name())?);
    start(cx, clients, plan, &vm).await?;
    if let Some(jit_config) = &plan.jit_config_wo {
        cx.set_private(&Job { given: true })?;
        vm.arm(&jit_config.clone().into_inner()).await.unable("hand its job to", THING, vm.name())?;
    }
    Ok(())
}

/// Brings the VM into the planned power state, and finds out its address.
pub(super) async fn start(
    cx: &Context<Clients>,
    clients: &Clients,
    plan: &mut KnownRunnerVm,
    vm: &guest::RunnerVm,
) -> Result<(), Diagnostic> {
    plan.ip_address = None::<String>.into();
    if !plan.started {
        return Ok(());
    }
    let unable = |error: &guest::Error| diagnostics::unable("start", THING, vm.name(), error);
    if !plan.waits_for_agent() {
        return cx.guard(vm.power_on()).await?.map_err(|error| unable(&error));
    }
    let limit = waiting::until_deadline(cx).deadline;
    clients.boots.boot(vm, limit).await.map_err(|error| unable(&error))?;
    plan.ip_address = address(cx, vm).await?.into();
    Ok(())
}

/// Returns the guest's first IPv4 address, or `None` if it has none.
async fn address(cx: &Context<Clients>, vm: &guest::RunnerVm) -> Result<Option<String>, Diagnostic> {
    // Not worth failing for: the VM runs.
    let Ok(vm) = cx.guard(vm.prove()).await? else { return Ok(None) };
    let agent = vm.agent();
    for attempt in 0..ADDRESS_ATTEMPTS {
        if attempt > 0 {
            cx.guard(tokio::time::sleep(ADDRESS_PAUSE)).await?;
        }
        let interfaces = cx.guard(agent.interfaces()).await?.unwrap_or_default();
        let addresses =
            interfaces.iter().filter(|interface| interface.name != "lo").flat_map(pve::Interface::addresses);
        if let Some(found) = addresses.into_iter().find(|address| is_routable(address)) {
            return Ok(Some(found.to_owned()));
        }
    }
    Ok(None)
}

fn is_routable(address: &str) -> bool {
    address.parse::<std::net::Ipv4Addr>().is_ok_and(|address| !address.is_loopback() && !address.is_link_local())
}

/// Destroys what a failed creation leaves. What cannot be destroyed stays in the state.
async fn undo(
    clients: &Clients,
    plan: KnownRunnerVm,
    proposal: &Proposal,
    diagnostic: Diagnostic,
) -> Failure<KnownRunnerVm> {
    let started = Instant::now();
    match super::destroy(clients, &plan).await {
        Ok(()) => {
            tracing::info!(
                vmid = proposal.vmid().get(),
                seconds = started.elapsed().as_secs(),
                "destroyed the unfinished VM"
            );
            diagnostic.into()
        }
        Err(leftover) => {
            let mut both = tf_provider::Diagnostics::new();
            both.push(diagnostic);
            both.push(leftover);
            Failure::partial(plan, both)
        }
    }
}

fn name(plan: &KnownRunnerVm) -> &str {
    &plan.name
}
