//! Making a runner VM, step by step; when a step fails, what was made is destroyed again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use guest::Problem;
use ownership::{Nonce, VmidRange};
use tf_provider::{CancellationToken, Cx, Diagnostic, Failure};

use super::model::{Job, RunnerVm, runner_name};
use super::{THING, handle};
use crate::diagnostics;
use crate::provider::Clients;
use crate::vmids::Proposal;
use crate::waiting;

/// A guest may get its address a little after its agent is up.
const ADDRESS_ATTEMPTS: u32 = 5;
const ADDRESS_PAUSE: Duration = Duration::from_secs(1);

/// Makes the VM of the plan and fills in what was unknown.
pub(super) async fn make(cx: &Cx<Clients>, mut plan: RunnerVm) -> Result<RunnerVm, Failure<RunnerVm>> {
    let clients = cx.data()?;
    plan.node = clients.node(&plan.node)?.into();
    plan.finished = false.into();
    let proposal = clone(cx, clients, &mut plan).await?;
    match finish(cx, clients, &mut plan).await {
        Ok(()) => Ok(plan),
        Err(diagnostic) => Err(undo(clients, plan, &proposal, diagnostic).await),
    }
}

/// Clones the template to a VMID of the range, to another one when somebody else was faster.
async fn clone(cx: &Cx<Clients>, clients: &Clients, plan: &mut RunnerVm) -> Result<Proposal, Failure<RunnerVm>> {
    let range = plan.range().ok_or_else(|| Diagnostic::error("No VMID is given", "Set `vmid_range` or `vmid`."))?;
    let candidates = plan.vmid.known().map_or(range, |vmid| VmidRange::new(*vmid, *vmid).unwrap_or(range));
    let mut refused = BTreeSet::new();
    loop {
        let proposal = propose(cx, clients, plan, candidates, &refused).await?;
        plan.vmid = proposal.vmid().into();
        let marker = plan.marker(&clients.installation, proposal.vmid(), Nonce::random())?;
        plan.runner_name = runner_name(&marker).into();
        // Not to be interrupted: a clone takes seconds, and only a finished one can be destroyed.
        let vm = handle(clients, plan, marker, CancellationToken::new())?;
        match clone_once(&vm).await {
            Ok(()) => return Ok(proposal),
            Err(error) if matches!(error.problem, Problem::VmidTaken) => refused.insert(proposal.vmid()),
            Err(error) if error.is_transient() => {
                let diagnostic = diagnostics::step("create", THING, name(plan), &error);
                return Err(undo(clients, plan.clone(), &proposal, diagnostic).await);
            }
            Err(error) => return Err(diagnostics::step("create", THING, name(plan), &error).into()),
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
    cx: &Cx<Clients>,
    clients: &Clients,
    plan: &RunnerVm,
    range: VmidRange,
    refused: &BTreeSet<u32>,
) -> Result<Proposal, Diagnostic> {
    let proposed = cx.guard(clients.vmids.propose(&clients.pve, range, refused)).await?;
    let proposed = proposed.map_err(|error| diagnostics::pve("create", THING, name(plan), &error))?;
    proposed.ok_or_else(|| diagnostics::range_full(THING, name(plan), range))
}

/// Everything after the clone.
async fn finish(cx: &Cx<Clients>, clients: &Clients, plan: &mut RunnerVm) -> Result<(), Diagnostic> {
    let vm = super::existing(clients, plan, cx.stop().clone())?;
    let unable = |verb: &str, error: &guest::Error| diagnostics::step(verb, THING, vm.name(), error);
    vm.configure(&plan.shape(), None).await.map_err(|error| unable("configure", &error))?;
    let config = super::qemu(clients, plan)?.config().await;
    plan.observe_shape(&config.map_err(|error| diagnostics::pve("read", THING, vm.name(), &error))?);
    start(cx, clients, plan, &vm).await?;
    if let Some(jit_config) = plan.jit_config_wo.known() {
        cx.set_private(&Job { given: true })?;
        vm.arm(&jit_config.clone().into_inner()).await.map_err(|error| unable("hand its job to", &error))?;
    }
    Ok(())
}

/// Brings the VM into the planned power state, and finds out its address.
pub(super) async fn start(
    cx: &Cx<Clients>,
    clients: &Clients,
    plan: &mut RunnerVm,
    vm: &guest::RunnerVm,
) -> Result<(), Diagnostic> {
    plan.ip_address = None::<String>.into();
    if !plan.started.known_or(true) {
        return Ok(());
    }
    if !plan.waits_for_agent() {
        return power_on(cx, clients, plan).await;
    }
    let limit = waiting::until_deadline(cx).deadline;
    let booted = clients.boots.boot(vm, limit).await;
    booted.map_err(|error| diagnostics::step("start", THING, vm.name(), &error))?;
    plan.ip_address = address(cx, clients, plan).await?.into();
    Ok(())
}

async fn power_on(cx: &Cx<Clients>, clients: &Clients, plan: &RunnerVm) -> Result<(), Diagnostic> {
    let started = async {
        let task = super::qemu(clients, plan)?.start().await.map_err(|error| not_started(plan, &error))?;
        match clients.pve.wait(&task, &waiting::until_deadline(cx)).await {
            Err(error) if !error.is_running() => Err(not_started(plan, &error)),
            _ => Ok(()),
        }
    };
    started.await
}

fn not_started(plan: &RunnerVm, error: &pve::Error) -> Diagnostic {
    diagnostics::pve("start", THING, name(plan), error)
}

/// The guest's first IPv4 address. A guest without one is not an error.
async fn address(cx: &Cx<Clients>, clients: &Clients, plan: &RunnerVm) -> Result<Option<String>, Diagnostic> {
    let agent = super::qemu(clients, plan)?.agent();
    for attempt in 0..ADDRESS_ATTEMPTS {
        if attempt > 0 {
            cx.guard(tokio::time::sleep(ADDRESS_PAUSE)).await?;
        }
        // Not worth failing for: the VM runs.
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
async fn undo(clients: &Clients, plan: RunnerVm, proposal: &Proposal, diagnostic: Diagnostic) -> Failure<RunnerVm> {
    let started = Instant::now();
    match super::destroy(clients, &plan).await {
        Ok(()) => {
            tracing::info!(
                vmid = proposal.vmid(),
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

fn name(plan: &RunnerVm) -> &str {
    plan.name.text().unwrap_or_default()
}
