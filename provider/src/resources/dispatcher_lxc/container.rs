//! The container at Proxmox VE: made, changed, found, proved to be ours, destroyed.

use std::collections::BTreeSet;
use std::time::Duration;

use ownership::{Build, Claim, Guest, Kind, Marker, Nonce, Owner, prove};
use pve::{Config, Error, GuestKind, Lxc, Properties, Upid, WaitOptions};
use tf_provider::{CancellationToken, Cx, Diagnostic};

use super::model::{Dispatcher, Network};
use super::options::{NETWORK_CARD, STATE_VOLUME, changeable, options};
use crate::diagnostics;
use crate::provider::Clients;
use crate::vmids::Proposal;
use crate::waiting;

pub(crate) const THING: &str = "dispatcher container";

/// Clean-up after a failure or an interruption has its own time, and is not interrupted itself.
const CLEAN_UP: Duration = Duration::from_secs(120);
const LOCK_TRIES: u32 = 6;
const LOCK_PAUSE: Duration = Duration::from_secs(5);

/// Waits as long as the operation may take.
pub(crate) async fn finish(cx: &Cx<Clients>, task: &Upid) -> Result<(), Error> {
    let Ok(clients) = cx.data() else { return Ok(()) };
    clients.pve.wait(task, &waiting::until_deadline(cx)).await.map(drop)
}

/// Waits for clean-up.
pub(crate) fn clean_up_time() -> WaitOptions {
    WaitOptions { deadline: CLEAN_UP, cancel: CancellationToken::new() }
}

/// A container that is being set up. While this exists, no other resource of this process touches its VMID.
pub(crate) struct Made {
    pub(super) proposal: Proposal,
    /// Nonce in the container's marker. While the marker has this nonce, no other apply has taken the container over.
    pub(super) nonce: Nonce,
    /// True if this apply created the container. Otherwise an earlier apply created it and was killed.
    pub(super) is_fresh: bool,
}

impl Made {
    pub(crate) fn vmid(&self) -> u32 {
        self.proposal.vmid()
    }

    /// Returns true if this can be the configuration of the same container. A configuration without a marker can be.
    pub(super) fn is_still(&self, config: &Config) -> bool {
        let marker = Marker::find(config.description()).ok().flatten();
        marker.is_none_or(|marker| marker.nonce == self.nonce)
    }
}

/// Makes a container on the first free VMID of the range. The container is not started, and is marked as being set up.
///
/// Without `with_state` it gets no state volume: it will take over that of another.
pub(crate) async fn create(cx: &Cx<Clients>, model: &Dispatcher, with_state: bool) -> Result<Made, Diagnostic> {
    let clients = cx.data()?;
    let range = model.range()?;
    let unable = |error: &Error| diagnostics::pve("create", THING, &range.to_string(), error);
    let mut refused = BTreeSet::new();
    while let Some(proposal) =
        cx.guard(clients.vmids.propose(&clients.pve, range, &refused)).await?.map_err(|error| unable(&error))?
    {
        let vmid = proposal.vmid();
        let nonce = Nonce::random();
        match create_as(cx, model, (vmid, &nonce), with_state).await {
            Ok(()) => return Ok(Made { proposal, nonce, is_fresh: true }),
            Err(error) if error.is_already_exists() => {
                tracing::info!(vmid, "somebody else took this VMID");
                refused.insert(vmid);
            }
            Err(error) if error.is_transient() || matches!(error, Error::Cancelled { .. } | Error::Deadline { .. }) => {
                abandon(clients, model, vmid).await;
                return Err(unable(&error));
            }
            Err(error) => return Err(unable(&error)),
        }
    }
    let detail = "Every VMID of the range is taken: widen the range, or destroy guests that are no longer needed.";
    Err(Diagnostic::error(format!("Unable to find a free VMID in \"{range}\""), detail)
        .at(if model.vmid_range.is_null() { "vmid" } else { "vmid_range" }))
}

async fn create_as(
    cx: &Cx<Clients>,
    model: &Dispatcher,
    (vmid, nonce): (u32, &Nonce),
    with_state: bool,
) -> Result<(), Error> {
    let Ok(clients) = cx.data() else { return Ok(()) };
    let mut marker = Marker::new(clients.installation.clone(), Owner::Provider, Kind::Dispatcher, vmid, nonce.clone());
    marker.build = Some(Build::Building);
    marker.seed_isos = model.seed_isos();
    let options = options(model, &marker, with_state);
    let options: Vec<(&str, &str)> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
    tracing::info!(vmid, "creating the dispatcher's container");
    let task = clients.pve.lxc(model.node.text().unwrap_or_default(), vmid).create(&options).await?;
    finish(cx, &task).await
}

/// Its creation goes on at the server; when it has ended, the container goes again.
async fn abandon(clients: &Clients, model: &Dispatcher, vmid: u32) {
    if let Err(diagnostic) = destroy(clients, model, vmid, &clean_up_time()).await {
        tracing::warn!(vmid, reason = diagnostic.detail, "a container that was being created may be left");
    }
}

/// What was found at Proxmox VE.
pub(crate) struct Found {
    /// The container, on the node where it is now.
    pub(crate) container: Lxc,
    /// Its configuration.
    pub(crate) config: Config,
}

/// Finds the container, also when it was moved to another node; `None` when there is none, or when what has its VMID now
/// is marked as foreign.
pub(crate) async fn find(clients: &Clients, model: &Dispatcher) -> Result<Option<Found>, Diagnostic> {
    let vmid = model.container()?;
    let unable = |error: &Error| diagnostics::pve("read", THING, &vmid.to_string(), error);
    let Some(found) = locate(clients, model.node.need("node")?, vmid).await.map_err(|error| unable(&error))? else {
        return Ok(None);
    };
    let foreign = |marker: &Marker| {
        marker.vmid != vmid || marker.kind != Kind::Dispatcher || marker.installation != clients.installation
    };
    // A description that somebody edited is not a reason to forget the container.
    let marked = Marker::find(found.config.description()).ok().flatten();
    Ok(if marked.as_ref().is_some_and(foreign) { None } else { Some(found) })
}

async fn locate(clients: &Clients, node: &str, vmid: u32) -> Result<Option<Found>, Error> {
    let here = clients.pve.lxc(node, vmid);
    match here.config().await {
        Ok(config) => return Ok(Some(Found { container: here, config })),
        Err(error) if error.is_guest_missing() => {}
        Err(error) => return Err(error),
    }
    let guests = clients.pve.guests().await?;
    let Some(guest) =
        guests.iter().find(|guest| guest.vmid == vmid && guest.kind == GuestKind::Lxc && guest.node != node)
    else {
        return Ok(None);
    };
    let container = clients.pve.lxc(&guest.node, vmid);
    let config = container.config().await?;
    Ok(Some(Found { container, config }))
}

/// Changes what differs. A new name or network reaches the inside by a restart, and not every host changes the limits of
/// what runs: `true` when it must be restarted.
pub(crate) async fn change(cx: &Cx<Clients>, found: &Found, plan: &Dispatcher) -> Result<bool, Diagnostic> {
    let unable = |error: &Error| diagnostics::pve("change", THING, &found.container.vmid().to_string(), error);
    let card = found.config.get(NETWORK_CARD).unwrap_or_default();
    let wanted = changeable(plan, Properties::parse(card).get("hwaddr"));
    let same_card = plan.network.known().is_some_and(|network| *network == Network::from_option(card));
    let same = |(name, value): &&(&str, String)| match *name {
        NETWORK_CARD => same_card,
        name => found.config.get(name) == Some(value),
    };
    let mut changes: Vec<(&str, &str)> =
        wanted.iter().filter(|option| !same(option)).map(|(name, value)| (*name, value.as_str())).collect();
    if found.config.get("nameserver").is_some() && wanted.iter().all(|(name, _)| *name != "nameserver") {
        changes.push(("delete", "nameserver"));
    }
    if changes.is_empty() {
        return Ok(false);
    }
    match cx.guard(found.container.set_config(&changes, found.config.digest())).await? {
        Err(error) if error.is_hotplug_refused() => {
            tracing::info!(vmid = found.container.vmid(), %error, "stopping the container to change it");
            let changed = change_stopped(cx, &found.container, &changes).await;
            return changed.map(|()| true).map_err(|error| unable(&error));
        }
        outcome => outcome.map_err(|error| unable(&error))?,
    }
    Ok(changes.iter().any(|(name, _)| !["cores", "memory", "swap"].contains(name)))
}

async fn change_stopped(cx: &Cx<Clients>, container: &Lxc, changes: &[(&str, &str)]) -> Result<(), Error> {
    let Ok(clients) = cx.data() else { return Ok(()) };
    stop(clients, container, &waiting::until_deadline(cx)).await?;
    let config = container.config().await?;
    container.set_config(changes, config.digest()).await
}

/// Starts the container if it does not run.
pub(crate) async fn start(cx: &Cx<Clients>, container: &Lxc) -> Result<(), Diagnostic> {
    let unable = |error: &Error| diagnostics::pve("start", THING, &container.vmid().to_string(), error);
    if cx.guard(container.status()).await?.map_err(|error| unable(&error))?.is_running() {
        return Ok(());
    }
    let task = cx.guard(container.start()).await?.map_err(|error| unable(&error))?;
    finish(cx, &task).await.map_err(|error| unable(&error))
}

/// Stops the container if it runs. At once: the dispatcher is made to be stopped anywhere.
pub(crate) async fn stop(clients: &Clients, container: &Lxc, wait: &WaitOptions) -> Result<(), Error> {
    if !container.status().await?.is_running() {
        return Ok(());
    }
    match container.stop().await {
        Ok(task) => clients.pve.wait(&task, wait).await.map(drop),
        Err(error) if error.is_not_running() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Re-assigns the state volume. Both containers are stopped.
pub(crate) async fn move_state(clients: &Clients, from: &Lxc, to: u32, wait: &WaitOptions) -> Result<(), Error> {
    let task = from.move_volume(STATE_VOLUME, to, STATE_VOLUME).await?;
    clients.pve.wait(&task, wait).await.map(drop)
}

/// Destroys the container after proving that it is ours. One that is gone already is not an error.
pub(crate) async fn destroy(
    clients: &Clients,
    model: &Dispatcher,
    vmid: u32,
    wait: &WaitOptions,
) -> Result<(), Diagnostic> {
    let unable = |error: &Error| diagnostics::pve("destroy", THING, &vmid.to_string(), error);
    let Some(found) = locate(clients, model.node.need("node")?, vmid).await.map_err(|error| unable(&error))? else {
        return Ok(());
    };
    prove_ours(clients, model, &found).await?;
    let mut tries = 0;
    loop {
        match destroy_once(clients, &found.container, wait).await {
            Err(error) if error.is_locked() && tries < LOCK_TRIES => {
                tries += 1;
                tokio::select! {
                    () = wait.cancel.cancelled() => return Err(unable(&error)),
                    () = tokio::time::sleep(LOCK_PAUSE) => {}
                }
            }
            Err(error) if error.is_guest_missing() => return Ok(()),
            other => return other.map_err(|error| unable(&error)),
        }
    }
}

async fn destroy_once(clients: &Clients, container: &Lxc, wait: &WaitOptions) -> Result<(), Error> {
    stop(clients, container, wait).await?;
    tracing::info!(vmid = container.vmid(), "destroying the dispatcher's container");
    let task = container.delete().await?;
    clients.pve.wait(&task, wait).await.map(drop)
}

/// Range, resource pool and marker: without all of them nothing is destroyed.
pub(crate) async fn prove_ours(clients: &Clients, model: &Dispatcher, found: &Found) -> Result<(), Diagnostic> {
    let vmid = found.container.vmid();
    let resource_pool = model.resource_pool.need("resource_pool")?;
    let members = clients.pve.pool_members(resource_pool).await;
    let members = members.map_err(|error| diagnostics::pve("read", "resource pool", resource_pool, &error))?;
    let member = members.iter().any(|member| member.vmid == Some(vmid));
    let claim = Claim {
        installation: &clients.installation,
        owner: Owner::Provider,
        kind: Kind::Dispatcher,
        range: model.range()?,
        resource_pool,
    };
    let guest = Guest {
        vmid,
        resource_pool: member.then_some(resource_pool.as_str()),
        description: found.config.description(),
        template: found.config.is_template(),
    };
    prove(&claim, &guest).map(drop).map_err(|error| {
        let mut diagnostic = diagnostics::failed("destroy", THING, &vmid.to_string(), &error);
        diagnostic.detail.push_str("\n\nNothing was destroyed. If the container is yours, destroy it by hand and remove it from the state (`state rm`).");
        diagnostic
    })
}
