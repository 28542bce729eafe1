//! The end of a dispatcher's runner VMs, before its container is destroyed.

use guest::OwnedContainer;
use tf_provider::{Context, Diagnostic};

use super::model::KnownDispatcher;
use super::{container, control, draining, runners};
use crate::clients::Clients;
use crate::diagnostics::{self, Detailed as _, Unable as _};

/// Makes the dispatcher destroy its runner VMs. If the dispatcher does not answer, none of its runner VMs may exist.
pub(super) async fn release(
    cx: &Context<Clients>,
    state: &KnownDispatcher,
    owned: &OwnedContainer,
) -> Result<(), Diagnostic> {
    let vmid = owned.vmid();
    container::start(cx, owned).await?;
    let mut last = None;
    let clients = cx.data();
    let is_none_left = || async { check_none_left(clients, state).await.is_ok() };
    let drained = draining::drain(owned, control::PROBLEM_LIMIT, &mut last, is_none_left);
    let error = match cx.guard(drained).await {
        Ok(Ok(problems)) => {
            if !problems.is_empty() {
                let detail = format!(
                    "None of its runner VMs is left, but it could not check that no runner is still registered at GitHub.\n{}",
                    control::listed(&problems)
                );
                cx.warn(format!("The dispatcher in container \"{vmid}\" reports problems"), detail);
            }
            return Ok(());
        }
        Ok(Err(error)) => error,
        Err(diagnostic) => {
            return Err(match last {
                Some(status) => diagnostic.also(draining::remaining_work(&status)),
                None => diagnostic,
            });
        }
    };
    check_none_left(clients, state)
        .await
        .map_err(|left| diagnostics::unable("drain", "the dispatcher in container", vmid, &error).also(left.detail))?;
    cx.warn(
        format!("The dispatcher in container \"{vmid}\" does not answer"),
        "None of its runner VMs is left, so the container is destroyed.",
    );
    Ok(())
}

/// Returns an error if runner VMs of the dispatcher still exist.
pub(super) async fn check_none_left(clients: &Clients, model: &KnownDispatcher) -> Result<(), Diagnostic> {
    let left = runners::remaining(clients, model).await;
    let left = left.unable("list", "the dispatcher's runner VMs", "")?;
    if left.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = left.iter().map(|(vmid, name)| format!("{vmid} ({name})")).collect();
    let detail = format!(
        "These runner VMs of the dispatcher still exist: {}. Make the dispatcher work again, or destroy the VMs by hand ({}). Then destroy the dispatcher again.",
        names.join(", "),
        draining::BY_HAND
    );
    Err(diagnostics::error("The dispatcher's runner VMs still exist", detail))
}
