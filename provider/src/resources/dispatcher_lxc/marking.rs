//! The container's marker and tags at Proxmox VE, which are kept up to date.
//!
//! ```text
//! created "building" ── tags, images of old and new pools ── (start, configure) ── images of the new pools, no longer "building"
//! ```
//!
//! The marker names an image before the dispatcher may use it, and until the dispatcher has stopped using it. The
//! provider reads the marker before it deletes an image.

use std::time::Duration;

use ownership::{Marker, Nonce};
use pve::Error;
use tf_provider::{Cx, Diagnostic};

use super::container::{self, THING};
use super::model::KnownDispatcher;
use super::options::missing_tags;
use crate::diagnostics::{self, Unable as _};
use crate::provider::Clients;

const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Sets the tags, and adds the images of the new pools to those of the present ones. Runs before the dispatcher gets
/// its configuration.
pub(super) async fn announce(
    cx: &Cx<Clients>,
    model: &KnownDispatcher,
    nonce: Option<&Nonce>,
) -> Result<(), Diagnostic> {
    mark(cx, model, nonce, |marker| marker.seed_isos.extend(model.seed_isos())).await
}

/// Leaves only the images of the dispatcher's pools in the marker, and marks the container as complete. Runs once the
/// dispatcher works with its configuration.
pub(super) async fn settle(cx: &Cx<Clients>, model: &KnownDispatcher, nonce: Option<&Nonce>) -> Result<(), Diagnostic> {
    let complete = |marker: &mut Marker| {
        marker.seed_isos = model.seed_isos();
        marker.build = None;
    };
    mark(cx, model, nonce, complete).await
}

/// Changes marker and tags, if they differ. If `nonce` is given, the marker must still have it.
async fn mark(
    cx: &Cx<Clients>,
    model: &KnownDispatcher,
    nonce: Option<&Nonce>,
    edit: impl Fn(&mut Marker),
) -> Result<(), Diagnostic> {
    let clients = cx.data();
    let place = model.place()?;
    let vmid = place.1.to_string();
    for attempt in 1.. {
        let Some(found) = container::find(clients, place).await? else { return Err(gone(&vmid)) };
        let Some(mut marker) = Marker::find(found.config.description()).ok().flatten() else {
            return unmarked(model, &vmid);
        };
        if nonce.is_some_and(|nonce| *nonce != marker.nonce) {
            return Err(taken(&vmid));
        }
        edit(&mut marker);
        let description = marker.replace_in(found.config.description());
        let tags = missing_tags(&found.config, &clients.installation);
        let mut changes = Vec::new();
        if Marker::find(found.config.description()).ok().flatten().as_ref() != Some(&marker) {
            changes.push(("description", description.as_str()));
        }
        changes.extend(tags.as_deref().map(|tags| ("tags", tags)));
        if changes.is_empty() {
            return Ok(());
        }
        match cx.guard(found.container.set_config(&changes, found.config.digest())).await? {
            Err(error) if attempt < ATTEMPTS && is_passing(&error) => cx.guard(tokio::time::sleep(PAUSE)).await?,
            outcome => return outcome.unable("mark", THING, &vmid),
        }
    }
    Ok(())
}

fn is_passing(error: &Error) -> bool {
    error.is_digest_conflict() || error.is_locked()
}

fn gone(vmid: &str) -> Diagnostic {
    diagnostics::impossible("mark", THING, vmid, "It is gone. Plan again.")
}

fn taken(vmid: &str) -> Diagnostic {
    let detail = "Another apply went on with it, as if this one had been killed. Two resources of this installation have the \
                  same host name and VMIDs: give each its own.";
    diagnostics::impossible("finish", THING, vmid, detail)
}

/// Returns an error for a container whose marker was edited away, if pools use images, because only images need the
/// marker now. The proof before a destruction says what to do.
fn unmarked(model: &KnownDispatcher, vmid: &str) -> Result<(), Diagnostic> {
    if model.seed_isos().is_empty() {
        return Ok(());
    }
    let detail = "Its description does not carry its pxci marker any more, so it cannot say which cloud-init images its pools \
                  use. Put the marker line back, or replace the container (`-replace`).";
    Err(diagnostics::impossible("mark", THING, vmid, detail))
}
