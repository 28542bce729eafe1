//! A guest that may be ours: the node where it was last seen, and the proof that it has to pass.

use std::sync::Arc;
use std::time::Duration;

use ownership::{Guest, NodeName, NotOurs, Owner, Proof, Vmid};
use pve::{Client, Config, PoolMember, WaitOptions};
use tokio::time::Instant;

use crate::attempts::{LOCK_DEADLINE, LOCK_PAUSE, attempts};
use crate::kind::Kind;
use crate::{Error, OwnedGuest, Problem};

/// Time for which the dispatcher's proofs wait for each other before they read the members of a resource pool together.
/// VMs that are made together, or whose jobs end together, reach each step a few milliseconds apart.
const GATHER: Duration = Duration::from_millis(100);
/// The same time before a VM is armed, because a job waits for it.
const SHORT_GATHER: Duration = Duration::from_millis(20);

/// Longest age of a proof that a step passes on to the next one (docs/adr/0025). It covers a change of the configuration
/// and the wait for leave to start.
const FRESH: Duration = Duration::from_secs(5);

/// A guest that may be ours. It need not exist. No action on it is possible before [`Candidate::prove`].
#[derive(Debug, Clone)]
pub struct Candidate<G> {
    pub(crate) pve: Client,
    pub(crate) last_seen: G,
    pub(crate) vmid: Vmid,
    pub(crate) proof: Proof,
    pub(crate) wait: WaitOptions,
}

impl<G: Kind> Candidate<G> {
    /// Returns the guest of that VMID, last seen on `node`. `wait` applies to each task of PVE that changes it.
    #[must_use]
    pub fn new(pve: Client, node: &NodeName, vmid: Vmid, proof: Proof, wait: WaitOptions) -> Self {
        let last_seen = G::at(&pve, node, vmid);
        Self { pve, last_seen, vmid, proof, wait }
    }

    /// Returns the VMID.
    #[must_use]
    pub fn vmid(&self) -> Vmid {
        self.vmid
    }

    /// Proves that the guest is ours, on the node of the cluster where it is now.
    ///
    /// # Errors
    /// [`Problem::Gone`], [`Problem::NotOurs`], [`Problem::OtherIncarnation`], and those of the requests.
    pub async fn prove(&self) -> Result<OwnedGuest<G>, Error> {
        self.proven().await.map_err(|problem| self.error("recognise", problem))
    }

    pub(crate) fn error(&self, doing: &'static str, problem: impl Into<Problem>) -> Error {
        Error { doing, kind: self.proof.kind(), vmid: self.vmid, problem: problem.into() }
    }

    pub(crate) async fn proven(&self) -> Result<OwnedGuest<G>, Problem> {
        self.proven_after(GATHER).await
    }

    /// Proves like [`Candidate::proven`] for a step that a job waits for.
    pub(crate) async fn proven_soon(&self) -> Result<OwnedGuest<G>, Problem> {
        self.proven_after(SHORT_GATHER).await
    }

    async fn proven_after(&self, gather: Duration) -> Result<OwnedGuest<G>, Problem> {
        let begin = Instant::now();
        let (found, members) = tokio::join!(self.find(), self.pool_members(gather));
        let (raw, config) = found?;
        self.proved(begin, raw, config, &members?)
    }

    /// Returns the guest that the step before proved, if that proof counts for this step: it is one of the same guest, by
    /// the same conditions, and fresh.
    fn passed_on(&self, known: OwnedGuest<G>) -> Option<OwnedGuest<G>> {
        let is_same = known.candidate.vmid == self.vmid && known.candidate.proof == self.proof;
        if !is_same || known.proved_at.elapsed() > FRESH {
            return None;
        }
        let candidate = Self { last_seen: known.raw.clone(), ..self.clone() };
        Some(OwnedGuest { candidate, ..known })
    }

    /// Completes the proof for a guest whose configuration was just read.
    pub(crate) async fn proven_with(&self, raw: G, config: Config) -> Result<OwnedGuest<G>, Problem> {
        let begin = Instant::now();
        let members = self.pool_members(GATHER).await?;
        self.proved(begin, raw, config, &members)
    }

    /// Returns the members of the guest's resource pool as they are now. Proofs that are due at the same time share
    /// one read, which begins after each of them asked (docs/adr/0025).
    async fn pool_members(&self, gather: Duration) -> Result<Arc<[PoolMember]>, Problem> {
        let gather = match self.proof.claimant {
            Owner::Dispatcher => gather,
            // An apply waits for each proof.
            Owner::Provider => Duration::ZERO,
        };
        Ok(self.pve.pool_members_shared(&self.proof.resource_pool, gather).await?)
    }

    fn proved(&self, begin: Instant, raw: G, config: Config, members: &[PoolMember]) -> Result<OwnedGuest<G>, Problem> {
        let is_member = members.iter().any(|member| member.vmid == Some(self.vmid));
        let name = config.get("name").or_else(|| config.get("hostname")).unwrap_or_default();
        let guest = Guest {
            vmid: self.vmid,
            resource_pool: is_member.then_some(self.proof.resource_pool.as_str()),
            name,
            description: config.description(),
            template: config.is_template(),
        };
        let marker = match self.proof.check(&guest) {
            Ok(marker) => marker,
            Err(NotOurs::Incarnation { .. }) => return Err(Problem::OtherIncarnation),
            Err(reason) => return Err(Problem::NotOurs(reason)),
        };
        let candidate = Self { last_seen: raw.clone(), ..self.clone() };
        Ok(OwnedGuest { candidate, raw, config, marker, proved_at: begin })
    }

    /// Reads the configuration, on another node if the guest was moved.
    pub(crate) async fn find(&self) -> Result<(G, Config), Problem> {
        find(&self.pve, &self.last_seen, self.vmid).await
    }

    /// Returns the guest on the node where the cluster has it.
    pub(crate) async fn elsewhere(&self) -> Result<G, Problem> {
        elsewhere(&self.pve, &self.last_seen, self.vmid).await
    }

    /// Proves and acts until it succeeds, at most until the deadline for locks. Each attempt begins with the proof. The
    /// first one may begin with that of the step before, which is `known`.
    pub(crate) async fn attempt<T, F: Future<Output = Result<T, Problem>>>(
        &self,
        doing: &'static str,
        known: Option<OwnedGuest<G>>,
        is_passing: impl Fn(&Problem) -> bool,
        act: impl Fn(OwnedGuest<G>) -> F,
    ) -> Result<T, Error> {
        let mut known = known.and_then(|known| self.passed_on(known));
        let act = &act;
        let once = || {
            let known = known.take();
            async move {
                let guest = match known {
                    Some(known) => known,
                    None => self.proven().await?,
                };
                act(guest).await
            }
        };
        let pause_after = |problem: &Problem| is_passing(problem).then_some(LOCK_PAUSE);
        let deadline = LOCK_DEADLINE.min(self.wait.deadline);
        let outcome = attempts(&self.wait.cancel, deadline, once, pause_after).await;
        outcome.map_err(|problem| self.error(doing, problem))
    }
}

/// Reads the configuration of a guest that was last seen on `node`, on another node if it was moved. Proves nothing.
/// Returns `None` if the whole cluster has no such guest.
///
/// # Errors
/// [`Problem::Unseen`], and those of the requests.
pub async fn locate<G: Kind>(pve: &Client, node: &NodeName, vmid: Vmid) -> Result<Option<(G, Config)>, Problem> {
    match find(pve, &G::at(pve, node, vmid), vmid).await {
        Ok(found) => Ok(Some(found)),
        Err(Problem::Gone) => Ok(None),
        Err(problem) => Err(problem),
    }
}

async fn find<G: Kind>(pve: &Client, last_seen: &G, vmid: Vmid) -> Result<(G, Config), Problem> {
    match last_seen.config().await {
        Ok(config) => Ok((last_seen.clone(), config)),
        // The client has asked the whole cluster.
        Err(pve::Error::NoGuest { .. }) => Err(Problem::Gone),
        Err(error) if error.is_guest_missing() => {
            let moved = elsewhere(pve, last_seen, vmid).await?;
            match moved.config().await {
                Ok(config) => Ok((moved, config)),
                Err(error) if error.is_guest_missing() => Err(Problem::Unseen),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the guest on the node where the cluster has it. A VMID is free only if no node has a guest of it.
async fn elsewhere<G: Kind>(pve: &Client, last_seen: &G, vmid: Vmid) -> Result<G, Problem> {
    if pve.is_free(vmid).await? {
        return Err(Problem::Gone);
    }
    let guests = pve.guests().await?;
    let listed = guests.iter().find(|guest| guest.vmid == vmid).ok_or(Problem::Unseen)?;
    if listed.kind != G::KIND {
        return Err(Problem::Gone);
    }
    if listed.node == *last_seen.node() {
        return Err(Problem::Unseen);
    }
    tracing::info!(vmid = vmid.get(), from = %last_seen.node(), to = %listed.node, "the guest was moved");
    Ok(G::at(pve, &listed.node, vmid))
}
