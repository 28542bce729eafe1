//! The container's marker and tags at Proxmox VE.
//!
//! ```text
//! created "building" ── tags, seed ISOs of old and new pools ── (start, configure) ── seed ISOs of the new pools, no longer "building"
//! ```
//!
//! The marker names a seed ISO from before the dispatcher may use it until the dispatcher no longer uses it. The
//! provider reads the marker before it deletes a seed ISO.

use guest::Problem;
use ownership::{Marker, Nonce};
use tf_provider::{Context, Diagnostic};

use super::container::{self, THING};
use super::model::KnownDispatcher;
use super::options::missing_tags;
use crate::clients::Clients;
use crate::diagnostics;
use crate::waiting;

/// Sets the tags, and adds the seed ISOs of the planned pools to the marker. Called before the dispatcher gets its
/// configuration.
pub(super) async fn announce(
    cx: &Context<Clients>,
    model: &KnownDispatcher,
    nonce: Option<&Nonce>,
) -> Result<(), Diagnostic> {
    mark(cx, model, nonce, |marker| marker.seed_isos.extend(model.seed_isos())).await
}

/// Removes seed ISOs of earlier pools from the marker, and marks the container as complete. Called after the dispatcher
/// works with its configuration.
pub(super) async fn settle(
    cx: &Context<Clients>,
    model: &KnownDispatcher,
    nonce: Option<&Nonce>,
) -> Result<(), Diagnostic> {
    let complete = |marker: &mut Marker| {
        marker.seed_isos = model.seed_isos();
        marker.build = None;
    };
    mark(cx, model, nonce, complete).await
}

/// Changes marker and tags if they differ. If `nonce` is given, the marker must have it.
async fn mark(
    cx: &Context<Clients>,
    model: &KnownDispatcher,
    nonce: Option<&Nonce>,
    edit: impl Fn(&mut Marker),
) -> Result<(), Diagnostic> {
    let clients = cx.data();
    let container = container::candidate(clients, model.location()?, nonce, waiting::until_deadline(cx));
    let changed = container.change(|found| {
        let Some(current) = found.marker() else { return Vec::new() };
        let mut marker = current.clone();
        edit(&mut marker);
        let mut changes = Vec::new();
        if marker != *current {
            changes.push(("description", marker.replace_in(found.config().description())));
        }
        changes.extend(missing_tags(found.config(), &clients.installation).map(|tags| ("tags", tags)));
        changes
    });
    let vmid = container.vmid().to_string();
    changed.await.map_err(|error| match &error.problem {
        _ if error.is_gone() => gone(&vmid),
        Problem::OtherIncarnation => adopted_by_another(&vmid),
        _ => diagnostics::unable("mark", THING, &vmid, &error),
    })
}

fn gone(vmid: &str) -> Diagnostic {
    diagnostics::impossible("mark", THING, vmid, "It no longer exists. Plan again.")
}

fn adopted_by_another(vmid: &str) -> Diagnostic {
    let detail = "Another apply has adopted it. Two resources of this installation have the same host name and VMIDs. Give each \
                  resource its own.";
    diagnostics::impossible("finish", THING, vmid, detail)
}
