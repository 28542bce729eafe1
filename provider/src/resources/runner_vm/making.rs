//! The steps that make a runner VM. If a step fails, the unfinished VM is destroyed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use guest::{OwnedVm, Problem};
use ownership::{Nonce, Vmid, VmidRange};
use tf_provider::{CancellationToken, Context, Diagnostic, Failure, Outcome};

use super::incarnation;
use super::model::{Job, KnownRunnerVm, THING, runner_name};
use crate::clients::Clients;
use crate::diagnostics::{self, Unable as _};
use crate::nodes;
use crate::vmids::Proposal;
use crate::waiting;

/// Number of questions for the guest's address, which the guest may get after its agent has started.
const ADDRESS_ATTEMPTS: u32 = 5;
const ADDRESS_PAUSE: Duration = Duration::from_secs(1);

/// Makes the VM of the plan, and returns the plan with its unknown values filled in.
pub(super) async fn make(cx: &Context<Clients>, mut plan: KnownRunnerVm) -> Outcome<KnownRunnerVm> {
    let clients = cx.data();
    plan.node = clients.node(&plan.node)?.to_string().into();
    plan.finished = false.into();
    let (proposal, cloned) = clone(cx, clients, &mut plan).await?;
    match finish(cx, clients, &mut plan, cloned).await {
        Ok(()) => Ok(plan),
        Err(diagnostic) => Err(undo(clients, plan, &proposal, diagnostic).await),
    }
}

/// Clones the template to a free VMID of the range. If another program takes the VMID first, the next one is tried. Returns
/// the VMID and the proved clone.
async fn clone(
    cx: &Context<Clients>,
    clients: &Clients,
    plan: &mut KnownRunnerVm,
) -> Result<(Proposal, Option<OwnedVm>), Failure<KnownRunnerVm>> {
    let range = plan.range().ok_or_else(incarnation::no_vmid)?;
    let candidates = match plan.vmid.known() {
        Some(vmid) => VmidRange::single(diagnostics::vmid("vmid", *vmid)?),
        None => range,
    };
    let mut refused = BTreeSet::new();
    loop {
        let proposal = propose(cx, clients, plan, candidates, &refused).await?;
        plan.vmid = proposal.vmid().get().into();
        let marker = plan.marker(&clients.installation, proposal.vmid(), Nonce::random())?;
        plan.runner_name = runner_name(&marker).map(String::from).into();
        // An interrupt does not end the clone, which takes seconds, because only a complete clone can be destroyed.
        let vm = incarnation::new(clients, plan, marker, CancellationToken::new())?;
        match clone_once(&vm).await {
            Ok(cloned) => return Ok((proposal, cloned)),
            Err(error) if matches!(error.problem, Problem::VmidTaken) => refused.insert(proposal.vmid()),
            Err(error) if error.is_transient() => {
                let diagnostic = diagnostics::unable("create", THING, name(plan), &error);
                return Err(undo(clients, plan.clone(), &proposal, diagnostic).await);
            }
            Err(error) => return Err(diagnostics::unable("create", THING, name(plan), &error).into()),
        };
    }
}

/// Clones the template. After a lost reply, a second attempt finds out whether the clone was made.
async fn clone_once(vm: &guest::RunnerVm) -> Result<Option<OwnedVm>, guest::Error> {
    match vm.clone_from_template(true).await {
        Err(error) if error.is_transient() => vm.clone_from_template(false).await,
        outcome => outcome,
    }
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

/// Takes the steps after the clone. Configuration and start use the proof of the clone (docs/adr/0025).
async fn finish(
    cx: &Context<Clients>,
    clients: &Clients,
    plan: &mut KnownRunnerVm,
    cloned: Option<OwnedVm>,
) -> Result<(), Diagnostic> {
    let vm = incarnation::existing(clients, plan, cx.stop().clone())?;
    let configured = vm.configure(&plan.shape(), cloned).await.unable("configure", THING, vm.name())?;
    let vmid = diagnostics::vmid("vmid", *plan.vmid.require("vmid")?)?;
    let config = clients.pve.qemu(&nodes::known(&plan.node)?, vmid).config().await;
    plan.observe_shape(&config.unable("read", THING, vm.name())?);
    start(cx, clients, plan, &vm, Some(configured)).await?;
    if let Some(jit_config) = &plan.jit_config_wo {
        cx.set_private(&Job { given: true })?;
        vm.arm(&jit_config.clone().into_inner()).await.unable("arm", THING, vm.name())?;
    }
    Ok(())
}

/// Starts the VM if the plan says so, and reads its address. `known` is the VM as the step before proved it.
pub(super) async fn start(
    cx: &Context<Clients>,
    clients: &Clients,
    plan: &mut KnownRunnerVm,
    vm: &guest::RunnerVm,
    known: Option<OwnedVm>,
) -> Result<(), Diagnostic> {
    plan.ip_address = None::<String>.into();
    if !plan.started {
        return Ok(());
    }
    let unable = |error: &guest::Error| diagnostics::unable("start", THING, vm.name(), error);
    if !plan.waits_for_agent() {
        return cx.guard(vm.power_on(known)).await?.map_err(|error| unable(&error));
    }
    let limit = waiting::until_deadline(cx).deadline;
    clients.boots.boot(vm, known, limit).await.map_err(|error| unable(&error))?;
    plan.ip_address = address(cx, vm).await?.into();
    Ok(())
}

/// Returns the guest's first IPv4 address, or `None` if it has none.
async fn address(cx: &Context<Clients>, vm: &guest::RunnerVm) -> Result<Option<String>, Diagnostic> {
    // A VM that runs must not fail because its address cannot be read.
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

/// Destroys the VM of a failed creation. A VM that cannot be destroyed is kept in the state.
async fn undo(
    clients: &Clients,
    plan: KnownRunnerVm,
    proposal: &Proposal,
    diagnostic: Diagnostic,
) -> Failure<KnownRunnerVm> {
    let started = Instant::now();
    match incarnation::destroy(clients, &plan).await {
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
