//! The container at Proxmox VE: creation, proof of ownership, changes and removal.

use std::collections::BTreeSet;
use std::time::Duration;

use guest::{Candidate, OwnedContainer, Problem};
use ownership::{Build, Evidence, Kind, Marker, NodeName, Nonce, NotOurs, Owner, Proof, Vmid};
use pve::{Config, Error, Lxc, Properties, Upid, WaitOptions};
use tf_provider::{Context, Diagnostic};

use super::model::{KnownDispatcher, Location, Network};
use super::options::{NETWORK_CARD, STATE_VOLUME, changeable, options};
use crate::clients::Clients;
use crate::diagnostics::{self, Unable as _};
use crate::nodes;
use crate::vmids::Proposal;
use crate::waiting;

/// Name of the container in diagnostics.
pub(crate) const THING: &str = "dispatcher container";

/// Longest wait for a clean-up after a failure or an interrupt.
const CLEAN_UP: Duration = Duration::from_secs(120);

/// Waits for a task until the deadline of the operation.
pub(crate) async fn finish(cx: &Context<Clients>, task: &Upid) -> Result<(), Error> {
    cx.data().pve.wait(task, &waiting::until_deadline(cx)).await.map(drop)
}

/// Returns options for the waits of a clean-up, which an interrupt does not end.
pub(crate) fn clean_up_time() -> WaitOptions {
    waiting::for_clean_up(CLEAN_UP)
}

/// A container that is being set up. No other resource of this process uses its VMID until this value is dropped.
pub(crate) struct NewContainer {
    /// VMID of the container.
    pub(super) proposal: Proposal,
    /// Nonce in the container's marker. As long as the marker has this nonce, no other apply has adopted the container.
    pub(super) nonce: Nonce,
    /// True if this apply created the container. Otherwise an earlier apply created it and was killed.
    pub(super) is_fresh: bool,
}

impl NewContainer {
    pub(crate) fn vmid(&self) -> Vmid {
        self.proposal.vmid()
    }
}

/// Creates a container at the first free VMID of the range. The container is not started, and its marker says that it
/// is being set up.
///
/// Without `with_state`, the container gets no state volume, because it takes over that of another container.
pub(crate) async fn create(
    cx: &Context<Clients>,
    model: &KnownDispatcher,
    with_state: bool,
) -> Result<NewContainer, Diagnostic> {
    let clients = cx.data();
    let (node, range) = (nodes::known(&model.node)?, model.range()?);
    let mut refused = BTreeSet::new();
    while let Some(proposal) =
        cx.guard(clients.vmids.propose(&clients.pve, range, &refused)).await?.unable("create", THING, range)?
    {
        let vmid = proposal.vmid();
        let nonce = Nonce::random();
        match create_at(cx, &clients.pve.lxc(&node, vmid), model, &nonce, with_state).await {
            Ok(()) => return Ok(NewContainer { proposal, nonce, is_fresh: true }),
            Err(error) if error.is_already_exists() => {
                tracing::info!(vmid = vmid.get(), "another program took this VMID");
                refused.insert(vmid);
            }
            Err(error) if error.is_outcome_unknown() => {
                abandon(clients, model, (vmid, &nonce)).await;
                return Err(diagnostics::unable("create", THING, range, &error));
            }
            Err(error) => return Err(diagnostics::unable("create", THING, range, &error)),
        }
    }
    let attribute = if model.vmid_range.is_none() { "vmid" } else { "vmid_range" };
    Err(diagnostics::range_full(THING, &model.hostname, range).at(attribute))
}

async fn create_at(
    cx: &Context<Clients>,
    container: &Lxc,
    model: &KnownDispatcher,
    nonce: &Nonce,
    with_state: bool,
) -> Result<(), Error> {
    let (installation, vmid) = (cx.data().installation.clone(), container.vmid());
    let mut marker = Marker::new(installation, Owner::Provider, Kind::Dispatcher, vmid, nonce.clone());
    marker.build = Some(Build::Building);
    marker.seed_isos = model.seed_isos();
    let options = options(model, &marker, with_state);
    let options: Vec<(&str, &str)> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
    tracing::info!(vmid = vmid.get(), "creating the dispatcher's container");
    let task = container.create(&options).await?;
    finish(cx, &task).await
}

/// Removes a container whose creation may still run at Proxmox VE.
async fn abandon(clients: &Clients, model: &KnownDispatcher, (vmid, nonce): (Vmid, &Nonce)) {
    let abandoned = KnownDispatcher { vmid: i64::from(vmid.get()).into(), ..model.clone() };
    let removed = async {
        let candidate = candidate(clients, abandoned.location()?, Some(nonce), clean_up_time());
        candidate.remove().await.unable("destroy", THING, vmid)
    };
    if let Err(diagnostic) = removed.await {
        tracing::warn!(
            vmid = vmid.get(),
            reason = diagnostic.detail,
            "a container whose creation was abandoned may still exist"
        );
    }
}

/// A container that was found at Proxmox VE, without the proof of ownership. Actions on it need [`owned`].
pub(crate) struct Found {
    /// The container, on the node that holds it now.
    pub(crate) container: Lxc,
    /// Its configuration.
    pub(crate) config: Config,
}

/// Finds the container on any node of the cluster. Returns `None` if it does not exist, or if the marker of the guest
/// with its VMID is that of another guest.
pub(crate) async fn find(clients: &Clients, (node, vmid): (&NodeName, Vmid)) -> Result<Option<Found>, Diagnostic> {
    let located = guest::locate(&clients.pve, node, vmid).await;
    let located = located.unable("read", THING, vmid)?;
    let Some((container, config)) = located else { return Ok(None) };
    let foreign = |marker: &Marker| {
        marker.vmid != vmid || marker.kind != Kind::Dispatcher || marker.installation != clients.installation
    };
    // A container without a marker is still read, because its description may have been edited.
    let marked = Marker::find(config.description()).ok().flatten();
    Ok(if marked.as_ref().is_some_and(foreign) { None } else { Some(Found { container, config }) })
}

/// Returns the container at this location as a candidate for the proof of ownership. If `nonce` is given, only that
/// incarnation is accepted.
pub(super) fn candidate(
    clients: &Clients,
    location: Location<'_>,
    nonce: Option<&Nonce>,
    wait: WaitOptions,
) -> Candidate<Lxc> {
    let proof = Proof {
        installation: clients.installation.clone(),
        claimant: Owner::Provider,
        range: location.range,
        resource_pool: location.resource_pool.to_owned(),
        evidence: Evidence::Marker { kind: Kind::Dispatcher, nonce: nonce.cloned(), family: None },
    };
    Candidate::new(clients.pve.clone(), &location.node, location.vmid, proof, wait)
}

/// Returns the container after the proof of ownership. Returns `None` if it does not exist, or if its VMID belongs to
/// another guest.
pub(super) async fn owned(
    clients: &Clients,
    location: Location<'_>,
    verb: &str,
    wait: WaitOptions,
) -> Result<Option<OwnedContainer>, Diagnostic> {
    let candidate = candidate(clients, location, None, wait);
    match candidate.prove().await {
        Ok(container) => Ok(Some(container)),
        Err(error) if error.is_gone() || is_foreign(&error.problem) => Ok(None),
        Err(error) => Err(diagnostics::unable(verb, THING, candidate.vmid(), &error)),
    }
}

/// Returns true if the marker is that of another guest, as in [`find`].
fn is_foreign(problem: &Problem) -> bool {
    matches!(problem, Problem::NotOurs(NotOurs::Copy { .. } | NotOurs::Installation { .. } | NotOurs::Kind { .. }))
}

/// Changes the options that differ from the plan. Returns true if the container must be restarted: a new name or
/// network takes effect at the next start, and some nodes cannot change the limits of a running container.
pub(crate) async fn change(
    cx: &Context<Clients>,
    container: &OwnedContainer,
    plan: &KnownDispatcher,
) -> Result<bool, Diagnostic> {
    let config = container.config();
    let card = config.get(NETWORK_CARD).unwrap_or_default();
    let wanted = changeable(plan, Properties::parse(card).get("hwaddr"));
    let is_same_card = Network::from(plan.network.clone()) == Network::from_option(card);
    let is_same = |(name, value): &&(&str, String)| match *name {
        NETWORK_CARD => is_same_card,
        name => config.get(name) == Some(value),
    };
    let mut changes: Vec<(&str, &str)> =
        wanted.iter().filter(|option| !is_same(option)).map(|(name, value)| (*name, value.as_str())).collect();
    if config.get("nameserver").is_some() && wanted.iter().all(|(name, _)| *name != "nameserver") {
        changes.push(("delete", "nameserver"));
    }
    if changes.is_empty() {
        return Ok(false);
    }
    match cx.guard(container.change(&changes)).await? {
        Err(error) if error.is_hotplug_refused() => {
            tracing::info!(vmid = container.vmid().get(), %error, "stopping the container to change it");
            return change_stopped(container, &changes).await.map(|()| true);
        }
        outcome => outcome.unable("change", THING, container.vmid())?,
    }
    Ok(changes.iter().any(|(name, _)| !["cores", "memory", "swap"].contains(name)))
}

async fn change_stopped(container: &OwnedContainer, changes: &[(&str, &str)]) -> Result<(), Diagnostic> {
    let (candidate, vmid) = (container.candidate(), container.vmid());
    candidate.stop().await.unable("change", THING, vmid)?;
    let stopped = candidate.prove().await.unable("change", THING, vmid)?;
    stopped.change(changes).await.unable("change", THING, vmid)
}

/// Starts the container, unless it runs already.
pub(crate) async fn start(cx: &Context<Clients>, container: &OwnedContainer) -> Result<(), Diagnostic> {
    let started = async { if container.is_running().await? { Ok(()) } else { container.start().await } };
    let started = cx.guard(started).await?;
    started.unable("start", THING, container.vmid())
}

/// Stops the container if it runs. The dispatcher may be stopped at any time.
pub(crate) async fn stop(container: &OwnedContainer, verb: &str) -> Result<(), Diagnostic> {
    let stopped = container.candidate().stop().await;
    stopped.unable(verb, THING, container.vmid())
}

/// Moves the state volume to another container. Both containers must be stopped.
pub(crate) async fn move_state(from: &OwnedContainer, to: &OwnedContainer, verb: &str) -> Result<(), Diagnostic> {
    let moved = from.move_volume(STATE_VOLUME, to).await;
    moved.unable(verb, THING, from.vmid())
}

/// Stops and destroys the container after the proof of ownership. Succeeds if it no longer exists.
pub(crate) async fn remove(clients: &Clients, location: Location<'_>, wait: WaitOptions) -> Result<(), Diagnostic> {
    let candidate = candidate(clients, location, None, wait);
    let removed = candidate.remove().await;
    removed.unable("destroy", THING, candidate.vmid())
}
