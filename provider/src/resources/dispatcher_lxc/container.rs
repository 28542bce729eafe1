//! The container at Proxmox VE: made, changed, found, proved to be ours, destroyed.

use std::collections::BTreeSet;
use std::time::Duration;

use guest::{Candidate, OwnedContainer, Problem};
use ownership::{Build, Evidence, Kind, Marker, Nonce, NotOurs, Owner, Proof, Vmid};
use pve::{Config, Error, Lxc, Properties, Upid, WaitOptions};
use tf_provider::{CancellationToken, Context, Diagnostic};

use super::model::{KnownDispatcher, Location, Network};
use super::options::{NETWORK_CARD, STATE_VOLUME, changeable, options};
use crate::diagnostics::{self, Unable as _};
use crate::provider::Clients;
use crate::vmids::Proposal;
use crate::waiting;

pub(crate) const THING: &str = "dispatcher container";

/// Clean-up after a failure or an interruption has its own time, and is not interrupted itself.
const CLEAN_UP: Duration = Duration::from_secs(120);

/// Waits as long as the operation may take.
pub(crate) async fn finish(cx: &Context<Clients>, task: &Upid) -> Result<(), Error> {
    cx.data().pve.wait(task, &waiting::until_deadline(cx)).await.map(drop)
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
    pub(crate) fn vmid(&self) -> Vmid {
        self.proposal.vmid()
    }
}

/// Makes a container on the first free VMID of the range. The container is not started, and is marked as being set up.
///
/// Without `with_state` it gets no state volume: it will take over that of another.
pub(crate) async fn create(
    cx: &Context<Clients>,
    model: &KnownDispatcher,
    with_state: bool,
) -> Result<Made, Diagnostic> {
    let clients = cx.data();
    let range = model.range()?;
    let mut refused = BTreeSet::new();
    while let Some(proposal) =
        cx.guard(clients.vmids.propose(&clients.pve, range, &refused)).await?.unable("create", THING, range)?
    {
        let vmid = proposal.vmid();
        let nonce = Nonce::random();
        match create_as(cx, model, (vmid, &nonce), with_state).await {
            Ok(()) => return Ok(Made { proposal, nonce, is_fresh: true }),
            Err(error) if error.is_already_exists() => {
                tracing::info!(vmid = vmid.get(), "somebody else took this VMID");
                refused.insert(vmid);
            }
            Err(error) if error.is_outcome_unknown() => {
                abandon(clients, model, (vmid, &nonce)).await;
                return Err(diagnostics::unable("create", THING, range, &error));
            }
            Err(error) => return Err(diagnostics::unable("create", THING, range, &error)),
        }
    }
    let detail = "Every VMID of the range is taken: widen the range, or destroy guests that are no longer needed.";
    Err(diagnostics::impossible("find", "a free VMID in", range, detail).at(if model.vmid_range.is_none() {
        "vmid"
    } else {
        "vmid_range"
    }))
}

async fn create_as(
    cx: &Context<Clients>,
    model: &KnownDispatcher,
    (vmid, nonce): (Vmid, &Nonce),
    with_state: bool,
) -> Result<(), Error> {
    let clients = cx.data();
    let mut marker = Marker::new(clients.installation.clone(), Owner::Provider, Kind::Dispatcher, vmid, nonce.clone());
    marker.build = Some(Build::Building);
    marker.seed_isos = model.seed_isos();
    let options = options(model, &marker, with_state);
    let options: Vec<(&str, &str)> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
    tracing::info!(vmid = vmid.get(), "creating the dispatcher's container");
    let task = clients.pve.lxc(model.node.text().unwrap_or_default(), vmid).create(&options).await?;
    finish(cx, &task).await
}

/// Its creation goes on at the server; when it has ended, the container goes again.
async fn abandon(clients: &Clients, model: &KnownDispatcher, (vmid, nonce): (Vmid, &Nonce)) {
    let abandoned = KnownDispatcher { vmid: i64::from(vmid.get()).into(), ..model.clone() };
    let removed = async {
        let candidate = candidate(clients, abandoned.location()?, Some(nonce), clean_up_time());
        candidate.remove().await.unable("destroy", THING, vmid)
    };
    if let Err(diagnostic) = removed.await {
        tracing::warn!(vmid = vmid.get(), reason = diagnostic.detail, "a container that was being created may be left");
    }
}

/// A container as Proxmox VE shows it. It may be another installation's: what acts on it needs [`owned`].
pub(crate) struct Found {
    /// The container, on the node where it is now.
    pub(crate) container: Lxc,
    /// Its configuration.
    pub(crate) config: Config,
}

/// Finds the container, also when it was moved to another node. Returns `None` if there is none, or if the guest that has
/// its VMID now is marked as another one.
pub(crate) async fn find(clients: &Clients, (node, vmid): (&str, Vmid)) -> Result<Option<Found>, Diagnostic> {
    let located = guest::locate(&clients.pve, node, vmid).await;
    let located = located.unable("read", THING, vmid)?;
    let Some((container, config)) = located else { return Ok(None) };
    let foreign = |marker: &Marker| {
        marker.vmid != vmid || marker.kind != Kind::Dispatcher || marker.installation != clients.installation
    };
    // A container whose description was edited is still ours to show.
    let marked = Marker::find(config.description()).ok().flatten();
    Ok(if marked.as_ref().is_some_and(foreign) { None } else { Some(Found { container, config }) })
}

/// Returns the container at this location, to be proved ours. `nonce`: the incarnation that is meant, if it is known.
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
    Candidate::new(clients.pve.clone(), location.node, location.vmid, proof, wait)
}

/// Returns the container after the proof that it is ours; `None` if there is none, or if its VMID now belongs to another
/// guest.
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

/// Returns true if the marker says that the guest is another one, as [`find`] judges it.
fn is_foreign(problem: &Problem) -> bool {
    matches!(problem, Problem::NotOurs(NotOurs::Copy { .. } | NotOurs::Installation { .. } | NotOurs::Kind { .. }))
}

/// Changes what differs. A new name or network reaches the inside by a restart, and not every host changes the limits of
/// what runs: `true` when it must be restarted.
pub(crate) async fn change(
    cx: &Context<Clients>,
    container: &OwnedContainer,
    plan: &KnownDispatcher,
) -> Result<bool, Diagnostic> {
    let config = container.config();
    let card = config.get(NETWORK_CARD).unwrap_or_default();
    let wanted = changeable(plan, Properties::parse(card).get("hwaddr"));
    let same_card = Network::from(plan.network.clone()) == Network::from_option(card);
    let same = |(name, value): &&(&str, String)| match *name {
        NETWORK_CARD => same_card,
        name => config.get(name) == Some(value),
    };
    let mut changes: Vec<(&str, &str)> =
        wanted.iter().filter(|option| !same(option)).map(|(name, value)| (*name, value.as_str())).collect();
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

/// Starts the container if it does not run.
pub(crate) async fn start(cx: &Context<Clients>, container: &OwnedContainer) -> Result<(), Diagnostic> {
    let started = async { if container.is_running().await? { Ok(()) } else { container.start().await } };
    let started = cx.guard(started).await?;
    started.unable("start", THING, container.vmid())
}

/// Stops the container if it runs. At once: the dispatcher is made to be stopped anywhere.
pub(crate) async fn stop(container: &OwnedContainer, verb: &str) -> Result<(), Diagnostic> {
    let stopped = container.candidate().stop().await;
    stopped.unable(verb, THING, container.vmid())
}

/// Re-assigns the state volume. Both containers are stopped.
pub(crate) async fn move_state(from: &OwnedContainer, to: &OwnedContainer, verb: &str) -> Result<(), Diagnostic> {
    let moved = from.move_volume(STATE_VOLUME, to).await;
    moved.unable(verb, THING, from.vmid())
}

/// Stops and destroys the container, after the proof that it is ours. Succeeds if it no longer exists.
pub(crate) async fn remove(clients: &Clients, location: Location<'_>, wait: WaitOptions) -> Result<(), Diagnostic> {
    let candidate = candidate(clients, location, None, wait);
    let removed = candidate.remove().await;
    removed.unable("destroy", THING, candidate.vmid())
}
