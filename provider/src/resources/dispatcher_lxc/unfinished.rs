//! Containers that a killed apply left unfinished.
//!
//! A container's marker says `"build":"building"` from its creation until its dispatcher works. If this process is not
//! making such a container, an apply was killed while it made the container, and the next apply adopts it. The marker
//! is changed under the configuration's digest, so two applies never adopt the same container.

use std::time::Duration;

use guest::Problem;
use ownership::{Build, Marker, NodeName, Nonce, Vmid, VmidRange};
use pve::{Error, GuestKind};
use tf_provider::{Context, Diagnostic};

use super::container::{self, Found, NewContainer, THING};
use super::model::{Dispatcher, KnownDispatcher, Location};
use super::options::{self, STATE_VOLUME, appliance_of};
use crate::clients::Clients;
use crate::diagnostics::Unable as _;
use crate::nodes;
use crate::waiting;

/// Longest wait for the end of a creation, which takes seconds. Proxmox VE continues a creation after its client has
/// ended.
const CREATION_DEADLINE: Duration = Duration::from_secs(60);
/// Time between two polls of a locked container.
const POLL_PAUSE: Duration = Duration::from_secs(1);

/// Adopts an unfinished container that fits the plan. Returns `None` if there is none. With `with_state`, the container
/// must have a state volume.
pub(super) async fn adopt(
    cx: &Context<Clients>,
    model: &KnownDispatcher,
    with_state: bool,
) -> Result<Option<NewContainer>, Diagnostic> {
    let clients = cx.data();
    let range = model.range()?;
    let node = nodes::known(&model.node)?;
    for vmid in candidates(clients, model, &node, range).await.unable("look for an unfinished", THING, "")? {
        let Some(proposal) = clients.vmids.claim(vmid) else { continue };
        let Some((found, marker)) = cx.guard(unlocked(clients, (&node, vmid))).await?? else { continue };
        if !fits(&found, model, with_state) {
            warn_of_unfinished(cx, vmid);
            continue;
        }
        let location = Location { node: node.clone(), vmid, range, resource_pool: &model.resource_pool };
        let unfinished = container::candidate(clients, location, Some(&marker.nonce), waiting::until_deadline(cx));
        let nonce = Nonce::random();
        match unfinished.mark(|marker| marker.nonce = nonce.clone()).await {
            // Another apply was faster.
            Err(error) if matches!(error.problem, Problem::OtherIncarnation) => continue,
            outcome => outcome.unable("adopt", THING, vmid)?,
        }
        tracing::info!(vmid = vmid.get(), "adopted a container that an earlier apply left unfinished");
        return Ok(Some(NewContainer { proposal, nonce, is_fresh: false }));
    }
    Ok(None)
}

/// Returns the VMIDs of the containers that may be unfinished ones of this resource.
async fn candidates(
    clients: &Clients,
    model: &KnownDispatcher,
    node: &NodeName,
    range: VmidRange,
) -> Result<Vec<Vmid>, Error> {
    let guests = clients.pve.guests().await?.into_iter();
    let ours = guests.filter(|guest| {
        guest.kind == GuestKind::Lxc
            && range.contains(guest.vmid)
            && guest.node == *node
            && guest.pool.as_ref() == Some(&model.resource_pool)
    });
    Ok(ours.map(|guest| guest.vmid).collect())
}

/// Waits until Proxmox VE has unlocked the unfinished container. Returns `None` if the guest is not an unfinished
/// container, or stays locked.
async fn unlocked(clients: &Clients, place: (&NodeName, Vmid)) -> Result<Option<(Found, Marker)>, Diagnostic> {
    let end = tokio::time::Instant::now() + CREATION_DEADLINE;
    loop {
        let Some(found) = container::find(clients, place).await? else { return Ok(None) };
        let marker = Marker::find(found.config.description()).ok().flatten();
        let Some(marker) = marker.filter(|marker| marker.build == Some(Build::Building)) else { return Ok(None) };
        if found.config.lock().is_none() {
            return Ok(Some((found, marker)));
        }
        if tokio::time::Instant::now() >= end {
            return Ok(None);
        }
        tokio::time::sleep(POLL_PAUSE).await;
    }
}

/// Returns true if the container fits the plan, except for options that can be changed later.
fn fits(found: &Found, model: &KnownDispatcher, with_state: bool) -> bool {
    let mut actual = Dispatcher::default();
    options::observe_storage(&found.config, &mut actual);
    let has_state = found.config.get(STATE_VOLUME).is_some();
    actual.storage.known() == Some(&model.storage)
        && found.config.get("hostname") == Some(&model.hostname)
        && appliance_of(&found.config) == model.appliance_volid.text()
        && if with_state {
            has_state && actual.state_volume_size.known() == Some(&model.state_volume_size)
        } else {
            true
        }
}

/// Warns about an unfinished container that does not fit the plan.
fn warn_of_unfinished(cx: &Context<Clients>, vmid: Vmid) {
    let detail = format!(
        "Container {vmid} was left by an apply that was killed, or another apply is making it. Its host name, its appliance or its \
         storage differs from the plan, so it was not adopted. If it is not needed, import it by the id `node/{vmid}` and destroy it."
    );
    cx.warn(format!("Dispatcher container \"{vmid}\" is unfinished"), detail);
}
