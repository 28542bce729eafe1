//! The VM of a plan or a state as a handle for the steps of [`guest`].

use guest::Place;
use ownership::{Marker, Owner, RunnerName};
use tf_provider::{CancellationToken, Diagnostic};

use super::model::{KnownRunnerVm, THING};
use crate::clients::Clients;
use crate::diagnostics::{self, Unable as _};
use crate::nodes;

/// Returns the handle of a VM that is about to be made with this marker. `cancel` ends its waits.
pub(super) fn new(
    clients: &Clients,
    model: &KnownRunnerVm,
    marker: Marker,
    cancel: CancellationToken,
) -> Result<guest::RunnerVm, Diagnostic> {
    let range = model.range().ok_or_else(no_vmid)?;
    let place = Place {
        node: nodes::known(&model.node)?,
        range,
        claimant: Owner::Provider,
        resource_pool: model.resource_pool.clone(),
    };
    Ok(guest::RunnerVm::new(clients.pve.clone(), name(clients, model)?, marker, place, cancel))
}

/// Returns the handle of the VM in the state. `cancel` ends its waits.
pub(super) fn existing(
    clients: &Clients,
    model: &KnownRunnerVm,
    cancel: CancellationToken,
) -> Result<guest::RunnerVm, Diagnostic> {
    let name = name(clients, model)?;
    let marker = model.marker(&clients.installation, name.vmid(), name.nonce().clone())?;
    new(clients, model, marker, cancel)
}

/// Stops and destroys the VM after the proof of ownership. An interrupt does not end this, because it takes only
/// seconds.
pub(super) async fn destroy(clients: &Clients, model: &KnownRunnerVm) -> Result<(), Diagnostic> {
    let vm = existing(clients, model, CancellationToken::new())?;
    vm.stop().await.unable("destroy", THING, vm.name())?;
    vm.destroy().await.unable("destroy", THING, vm.name())
}

/// Returns the diagnostic of a resource without `vmid` and `vmid_range`.
pub(super) fn no_vmid() -> Diagnostic {
    diagnostics::error("No VMID is given", "Set `vmid_range` or `vmid`.")
}

fn name(clients: &Clients, model: &KnownRunnerVm) -> Result<RunnerName, Diagnostic> {
    let name = model.runner_name.require("runner_name")?;
    RunnerName::parse(&clients.installation, name).unable("recognise", THING, name)
}
