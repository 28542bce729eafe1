//! The container's marker and tags at Proxmox VE, which are kept up to date.
//!
//! ```text
//! created "building" ── tags, images of old and new pools ── (start, configure) ── images of the new pools, no longer "building"
//! ```
//!
//! The marker names an image before the dispatcher may use it, and until the dispatcher has stopped using it. The
//! provider reads the marker before it deletes an image.

use guest::Problem;
use ownership::{Marker, Nonce};
use tf_provider::{Context, Diagnostic};

use super::container::{self, THING};
use super::model::KnownDispatcher;
use super::options::missing_tags;
use crate::diagnostics;
use crate::provider::Clients;
use crate::waiting;

/// Sets the tags, and adds the images of the new pools to those of the present ones. Runs before the dispatcher gets
/// its configuration.
pub(super) async fn announce(
    cx: &Context<Clients>,
    model: &KnownDispatcher,
    nonce: Option<&Nonce>,
) -> Result<(), Diagnostic> {
    mark(cx, model, nonce, |marker| marker.seed_isos.extend(model.seed_isos())).await
}

/// Leaves only the images of the dispatcher's pools in the marker, and marks the container as complete. Runs once the
/// dispatcher works with its configuration.
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

/// Changes marker and tags, if they differ. If `nonce` is given, the marker must still have it.
async fn mark(
    cx: &Context<Clients>,
    model: &KnownDispatcher,
    nonce: Option<&Nonce>,
    edit: impl Fn(&mut Marker),
) -> Result<(), Diagnostic> {
    let clients = cx.data();
    let container = container::candidate(clients, model.location()?, nonce, waiting::until_deadline(cx));
    let changed = container.change(|found| {
        let Some(present) = found.marker() else { return Vec::new() };
        let mut marker = present.clone();
        edit(&mut marker);
        let mut changes = Vec::new();
        if marker != *present {
            changes.push(("description", marker.replace_in(found.config().description())));
        }
        changes.extend(missing_tags(found.config(), &clients.installation).map(|tags| ("tags", tags)));
        changes
    });
    let vmid = container.vmid().to_string();
    changed.await.map_err(|error| match &error.problem {
        _ if error.is_gone() => gone(&vmid),
        Problem::OtherIncarnation => taken(&vmid),
        _ => diagnostics::unable("mark", THING, &vmid, &error),
    })
}

fn gone(vmid: &str) -> Diagnostic {
    diagnostics::impossible("mark", THING, vmid, "It is gone. Plan again.")
}

fn taken(vmid: &str) -> Diagnostic {
    let detail = "Another apply went on with it, as if this one had been killed. Two resources of this installation have the \
                  same host name and VMIDs: give each its own.";
    diagnostics::impossible("finish", THING, vmid, detail)
}
