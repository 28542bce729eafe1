//! PVE's guests in the VMID ranges of the pools, and those that have a record.

use std::collections::{BTreeMap, BTreeSet};

use dispatcher_api::{Config, RunnerPool};
use futures::{StreamExt as _, stream};
use ownership::{
    Claim as Entitlement, Guest, Kind, Marker, NodeName, NotOurs, Owner, PoolName, Run, RunnerName, Vmid, prove,
};
use pve::{GuestKind, GuestSummary};

use crate::clock::Clock;
use fleet::{Claim, GuestQuestions, GuestSeen, Guests, Intent, Power, Unshown};

/// Single guests asked about at a time.
const AT_ONCE: usize = 4;

/// Why PVE could not be observed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    /// The list of guests.
    #[error("unable to list the guests of Proxmox VE")]
    List(#[source] pve::Error),
}

/// The question about guests.
#[derive(Debug)]
pub(crate) struct GuestQuestion<'a> {
    /// Pools, their ranges and resource pools.
    pub(crate) config: &'a Config,
    /// Live records, by VMID.
    pub(crate) live: &'a BTreeMap<Vmid, Intent>,
    /// Questions about guests and VMIDs without a record.
    pub(crate) unrecorded: &'a GuestQuestions,
}

/// Polls PVE's list of guests. It keeps the runs in markers, which never change.
#[derive(Debug, Default)]
pub(crate) struct GuestObserver {
    /// Runs in the markers of our guests. The markers of guests with a record are read in the first poll only.
    runs: BTreeMap<RunnerName, Run>,
    /// True once the first list was complete.
    has_polled: bool,
}

impl GuestObserver {
    /// Polls once.
    ///
    /// # Errors
    /// When the list cannot be had. Single guests that cannot be read are reported as unknown.
    pub(crate) async fn poll(
        &mut self,
        pve: &pve::Client,
        clock: &Clock,
        question: &GuestQuestion<'_>,
    ) -> Result<Guests, ObserveError> {
        let taken_at = clock.now();
        let list = pve.guests().await.map_err(ObserveError::List)?;
        let mut seen = BTreeMap::new();
        for guest in &list {
            let known = question.live.get(&guest.vmid).filter(|intent| is_of(guest, intent));
            let claim = match (known, pool_of(question.config, guest.vmid)) {
                (Some(intent), _) => self.claim_of_record(pve, guest, intent).await,
                (None, Some(pool)) => self.claim(pve, guest, pool, question).await,
                (None, None) if question.live.contains_key(&guest.vmid) => Claim::Foreign,
                (None, None) => continue,
            };
            let run = match &claim {
                Claim::Ours { name, .. } => self.runs.get(name).copied(),
                _ => None,
            };
            let power = power(pve, guest, known, &claim).await;
            let name = guest.name.clone().filter(|_| claim == Claim::Foreign);
            let (node, locked) = (guest.node.clone(), guest.lock.is_some());
            seen.insert(guest.vmid, GuestSeen { node, power, locked, claim, name, run });
        }
        self.has_polled = true;
        self.runs.retain(|name, _| seen.contains_key(&name.vmid()));
        let absent = absent(pve, question.live, &seen).await;
        let unshown = ask_about_vmids(pve, question, &list).await;
        Ok(Guests { taken_at, seen, absent, unshown })
    }

    /// Returns the claim of a guest with a record. The first poll also reads the run in its marker.
    async fn claim_of_record(&mut self, pve: &pve::Client, guest: &GuestSummary, intent: &Intent) -> Claim {
        if !self.has_polled
            && let Ok(config) = pve.qemu(&guest.node, guest.vmid).config().await
            && let Ok(Some(marker)) = Marker::find(config.description())
            && let Some(run) = marker.run
        {
            self.runs.insert(intent.name.clone(), run);
        }
        Claim::Ours { name: intent.name.clone(), pool: intent.pool.clone() }
    }

    /// Returns the owner of a guest without a record.
    async fn claim(
        &mut self,
        pve: &pve::Client,
        guest: &GuestSummary,
        pool: &RunnerPool,
        question: &GuestQuestion<'_>,
    ) -> Claim {
        if guest.kind == GuestKind::Lxc || guest.template {
            return Claim::Foreign;
        }
        if question.unrecorded.foreign.get(&guest.vmid).is_some_and(|name| *name == guest.name) {
            return Claim::Foreign;
        }
        let (claim, run) = read_claim(pve, guest, pool, &question.config.installation).await;
        if let (Claim::Ours { name, .. }, Some(run)) = (&claim, run) {
            self.runs.insert(name.clone(), run);
        }
        claim
    }
}

/// Asks about VMIDs at which the list shows no guest: whether they are taken, and whether clones may be the reason.
async fn ask_about_vmids(pve: &pve::Client, question: &GuestQuestion<'_>, list: &[GuestSummary]) -> Unshown {
    let GuestQuestions { vmids, may_be_clones, .. } = question.unrecorded;
    let listed: BTreeSet<Vmid> = list.iter().map(|guest| guest.vmid).collect();
    let vmids = vmids.difference(&listed).copied();
    let answers = stream::iter(vmids).map(|vmid| async move { (vmid, pve.is_free(vmid).await) }).buffered(AT_ONCE);
    let answers: Vec<_> = answers.collect().await;
    let is_complete = answers.iter().all(|(_, answer)| answer.is_ok());
    let (free, occupied): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, answer)| matches!(answer, Ok(true)));
    let free: BTreeSet<Vmid> = free.into_iter().map(|(vmid, _)| vmid).collect();
    let occupied = occupied.into_iter().map(|(vmid, _)| vmid).collect();
    let is_hidden = |vmid: &Vmid| !listed.contains(vmid) && !free.contains(vmid);
    let clones_run = may_be_clones.iter().any(is_hidden) && clones_run(pve, question.config).await;
    Unshown { free, occupied, is_complete, clones_run }
}

/// Returns true if a clone may be running. PVE shows a token the tasks that it started.
async fn clones_run(pve: &pve::Client, config: &Config) -> bool {
    let nodes: BTreeSet<&NodeName> = config.pools.iter().map(|pool| &pool.template.node).collect();
    for node in nodes {
        if pve.is_task_running(node, "qmclone").await.unwrap_or(true) {
            return true;
        }
    }
    false
}

fn pool_of(config: &Config, vmid: Vmid) -> Option<&RunnerPool> {
    config.pools.iter().find(|pool| pool.vmid_range.contains(vmid))
}

/// Returns true if the guest is that of the record. A guest that was just made has no name in the list yet.
fn is_of(guest: &GuestSummary, intent: &Intent) -> bool {
    let named = guest.name.as_ref().is_none_or(|name| name == intent.name.as_str() || name.starts_with("VM "));
    guest.vmid == intent.vmid && guest.kind == GuestKind::Qemu && named
}

async fn read_claim(
    pve: &pve::Client,
    guest: &GuestSummary,
    pool: &RunnerPool,
    installation: &ownership::Installation,
) -> (Claim, Option<Run>) {
    let Ok(config) = pve.qemu(&guest.node, guest.vmid).config().await else { return (Claim::Unknown, None) };
    if config.lock() == Some("clone") || config.lock() == Some("create") {
        return (Claim::Unknown, None);
    }
    let entitlement = Entitlement {
        installation,
        owner: Owner::Dispatcher,
        kind: Kind::Runner,
        range: pool.vmid_range,
        resource_pool: &pool.resource_pool,
    };
    let candidate = Guest {
        vmid: guest.vmid,
        resource_pool: guest.pool.as_deref(),
        name: config.get("name").unwrap_or_default(),
        description: config.description(),
        template: config.is_template(),
    };
    match prove(&entitlement, &candidate) {
        Ok(marker) => (ours(&marker, pool), marker.run),
        // The list learns of a new guest's resource pool late.
        Err(NotOurs::ResourcePool { found: None, .. }) if guest.name.is_none() => (Claim::Unknown, None),
        Err(reason) => {
            tracing::debug!(vmid = guest.vmid.get(), %reason, "a guest in our range is not ours");
            (Claim::Foreign, None)
        }
    }
}

fn ours(marker: &Marker, pool: &RunnerPool) -> Claim {
    let pool_name: PoolName = marker.pool.clone().unwrap_or_else(|| pool.name.clone());
    let name = RunnerName::new(&marker.installation, &pool_name, marker.vmid, marker.nonce.clone());
    match marker.owner {
        Owner::Dispatcher => Claim::Ours { name, pool: pool_name },
        Owner::Provider => Claim::Lent { pool: pool.name.clone(), name },
    }
}

/// Returns the power state. PVE confirms for the guest itself that it is off, because the list may be ten seconds old.
async fn power(pve: &pve::Client, guest: &GuestSummary, known: Option<&Intent>, claim: &Claim) -> Power {
    let matters = match (known, claim) {
        (Some(intent), _) => intent.life.state.may_be_off(),
        (None, Claim::Ours { .. } | Claim::Lent { .. }) => true,
        (None, _) => false,
    };
    if !matters || guest.status == "running" {
        return Power::Running;
    }
    match pve.qemu(&guest.node, guest.vmid).status().await {
        Ok(status) if status.status == "stopped" => Power::Off,
        _ => Power::Running,
    }
}

/// Returns the VMIDs with a record that the list does not show and the whole cluster calls free.
async fn absent(pve: &pve::Client, live: &BTreeMap<Vmid, Intent>, seen: &BTreeMap<Vmid, GuestSeen>) -> BTreeSet<Vmid> {
    let missing = live.values().filter(|intent| intent.life.state.has_guest() && !seen.contains_key(&intent.vmid));
    let missing: Vec<Vmid> = missing.map(|intent| intent.vmid).collect();
    let answers = stream::iter(missing).map(|vmid| async move { (vmid, pve.is_free(vmid).await) }).buffered(AT_ONCE);
    let answers: Vec<_> = answers.collect().await;
    answers.into_iter().filter(|(_, answer)| matches!(answer, Ok(true))).map(|(vmid, _)| vmid).collect()
}
