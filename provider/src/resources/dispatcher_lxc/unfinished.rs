//! Containers that a killed apply left in the middle of their creation.
//!
//! A container's marker says `"build":"building"` from its creation until its dispatcher works. A container whose
//! marker still says so, and that this process is not making, was left behind. The next creation of the same container
//! goes on with it. The marker is changed under the configuration's digest, so two applies never go on with the same
//! container.

use std::time::Duration;

use guest::Problem;
use ownership::{Build, Marker, Nonce, Vmid, VmidRange};
use pve::{Error, GuestKind};
use tf_provider::{Context, Diagnostic};

use super::container::{self, Found, Made, THING};
use super::model::{Dispatcher, KnownDispatcher, Location};
use super::options::{self, STATE_VOLUME, appliance_of};
use crate::diagnostics::Unable as _;
use crate::provider::Clients;
use crate::waiting;

/// Longest wait for a creation, which takes seconds. Proxmox VE goes on with a creation after its client has ended.
const CREATION: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(1);

/// Takes over an unfinished container that fits the plan. Returns `None` if there is none. With `with_state` the
/// container must have a state volume.
pub(super) async fn adopt(
    cx: &Context<Clients>,
    model: &KnownDispatcher,
    with_state: bool,
) -> Result<Option<Made>, Diagnostic> {
    let clients = cx.data();
    let range = model.range()?;
    for vmid in candidates(clients, model, range).await.unable("look for unfinished ones of", THING, range)? {
        let Some(proposal) = clients.vmids.claim(vmid) else { continue };
        let place = (model.node.require("node")?.as_str(), vmid);
        let Some((found, marker)) = cx.guard(unlocked(clients, place)).await?? else { continue };
        if !fits(&found, model, with_state) {
            left_alone(cx, vmid);
            continue;
        }
        let location = Location { node: place.0, vmid, range, resource_pool: &model.resource_pool };
        let unfinished = container::candidate(clients, location, Some(&marker.nonce), waiting::until_deadline(cx));
        let nonce = Nonce::random();
        match unfinished.mark(|marker| marker.nonce = nonce.clone()).await {
            // Another apply was faster.
            Err(error) if matches!(error.problem, Problem::OtherIncarnation) => continue,
            outcome => outcome.unable("go on with", THING, vmid)?,
        }
        tracing::info!(vmid = vmid.get(), "going on with a container that an earlier apply left unfinished");
        return Ok(Some(Made { proposal, nonce, is_fresh: false }));
    }
    Ok(None)
}

async fn candidates(clients: &Clients, model: &KnownDispatcher, range: VmidRange) -> Result<Vec<Vmid>, Error> {
    let guests = clients.pve.guests().await?.into_iter();
    let ours = guests.filter(|guest| {
        guest.kind == GuestKind::Lxc
            && range.contains(guest.vmid)
            && Some(guest.node.as_str()) == model.node.text()
            && guest.pool.as_ref() == Some(&model.resource_pool)
    });
    Ok(ours.map(|guest| guest.vmid).collect())
}

/// Waits until Proxmox VE has unlocked the unfinished container and returns it. Returns `None` if the guest is
/// something else.
async fn unlocked(clients: &Clients, place: (&str, Vmid)) -> Result<Option<(Found, Marker)>, Diagnostic> {
    let end = tokio::time::Instant::now() + CREATION;
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
        tokio::time::sleep(POLL).await;
    }
}

/// Returns true if this plan would make such a container, apart from options that can still be changed.
fn fits(found: &Found, model: &KnownDispatcher, with_state: bool) -> bool {
    let mut made = Dispatcher::default();
    options::adopt_storage(&found.config, &mut made);
    let has_state = found.config.get(STATE_VOLUME).is_some();
    made.storage.known() == Some(&model.storage)
        && found.config.get("hostname") == Some(&model.hostname)
        && appliance_of(&found.config) == model.appliance_volid.text()
        && if with_state { has_state && made.state_volume_size.known() == Some(&model.state_volume_size) } else { true }
}

fn left_alone(cx: &Context<Clients>, vmid: Vmid) {
    let detail = format!(
        "An apply that was killed left container {vmid}, or another apply is making it. It differs from the planned one in its host name, its appliance or \
         its storage, so it was left alone. If nobody needs it, import it and destroy it (`node/{vmid}`)."
    );
    cx.warn(format!("Dispatcher container \"{vmid}\" is unfinished"), detail);
}
