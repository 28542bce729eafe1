//! The change to a new appliance: a new container takes over the state volume of the old one.
//!
//! ```text
//! create new ── stop old ── move state ── start new, configure ── destroy old
//!     │             └────────────┴──────────────┴── after a failure: state moved back, old container started
//!     └── after a failure: nothing has changed
//! ```
//!
//! The new container is marked as being set up until the old one is destroyed, so that the next apply continues where a
//! killed one ended. Running jobs are not disturbed, because the dispatcher may be stopped at any time. The two
//! containers must never run at the same time.

use dispatcher_api::{Config, Secrets};
use guest::OwnedContainer;
use pve::WaitOptions;
use tf_provider::{Context, Diagnostic};

use super::appliance::Appliance;
use super::container::NewContainer;
use super::model::KnownDispatcher;
use super::options::STATE_VOLUME;
use super::{container, control, marking, stored_appliance, unfinished};
use crate::clients::Clients;
use crate::diagnostics::{self, Detailed as _, Unable as _};
use crate::waiting;

const REPLACE: &str = "replace";
const RESTORE: &str = "restore";

/// The old and the new container, and the configuration of the new one.
pub(crate) struct Succession<'a> {
    pub(crate) prior: &'a KnownDispatcher,
    pub(crate) plan: &'a KnownDispatcher,
    pub(crate) appliance: &'a Appliance,
    pub(crate) config: &'a Config,
    pub(crate) secrets: &'a Secrets,
}

/// Makes the new container take over. Returns it, still marked as being set up. After an error, the old container works
/// as before.
pub(crate) async fn take_over(cx: &Context<Clients>, succession: &Succession<'_>) -> Result<NewContainer, Diagnostic> {
    let clients = cx.data();
    let wait = waiting::until_deadline(cx);
    let Some(old) = container::owned(clients, succession.prior.location()?, "replace", wait).await? else {
        return Err(diagnostics::impossible(
            "replace",
            "the dispatcher container",
            "",
            "The old container no longer exists. Plan again.",
        ));
    };
    let new_container = make(cx, succession).await?;
    let mut moved = false;
    match switch(cx, succession, &old, &new_container, &mut moved).await {
        Ok(()) => Ok(new_container),
        Err(diagnostic) => {
            let Err(error) = go_back(clients, succession, &new_container, moved).await else { return Err(diagnostic) };
            Err(diagnostic.also(format!("The return to container {} failed too: {}", old.vmid(), error.detail)))
        }
    }
}

/// Makes the new container, or adopts one that a killed apply left unfinished.
async fn make(cx: &Context<Clients>, succession: &Succession<'_>) -> Result<NewContainer, Diagnostic> {
    if let Some(new_container) = unfinished::adopt(cx, succession.plan, false).await? {
        return Ok(new_container);
    }
    stored_appliance::upload(cx, succession.plan, succession.appliance).await?;
    container::create(cx, succession.plan, false).await
}

/// Returns the model of the new container.
fn successor(succession: &Succession<'_>, new_container: &NewContainer) -> KnownDispatcher {
    KnownDispatcher { vmid: i64::from(new_container.vmid().get()).into(), ..succession.plan.clone() }
}

/// Stops the old container, moves its state, and configures the new container. Sets `moved` once the state has moved.
async fn switch(
    cx: &Context<Clients>,
    succession: &Succession<'_>,
    old: &OwnedContainer,
    new_container: &NewContainer,
    moved: &mut bool,
) -> Result<(), Diagnostic> {
    let clients = cx.data();
    let successor = successor(succession, new_container);
    marking::announce(cx, &successor, Some(&new_container.nonce)).await?;
    let wait = waiting::until_deadline(cx);
    tracing::info!(old = old.vmid().get(), new = new_container.vmid().get(), "the new container takes over");
    container::stop(old, REPLACE).await?;
    let new = proved(clients, &successor, new_container, wait, REPLACE).await?;
    // A killed apply may have moved the volume.
    if new.config().get(STATE_VOLUME).is_none() {
        let stopped = old.candidate().prove().await.unable(REPLACE, container::THING, old.vmid())?;
        container::move_state(&stopped, &new, REPLACE).await?;
    }
    *moved = true;
    container::start(cx, &new).await?;
    control::configure(cx, &new, succession.config, succession.secrets).await
}

/// Moves the state back, starts the old container and destroys the new one.
async fn go_back(
    clients: &Clients,
    succession: &Succession<'_>,
    new_container: &NewContainer,
    moved: bool,
) -> Result<(), Diagnostic> {
    let wait = container::clean_up_time();
    let successor = successor(succession, new_container);
    let old = container::candidate(clients, succession.prior.location()?, None, wait.clone());
    let vmid = old.vmid();
    if moved {
        let new = proved(clients, &successor, new_container, wait.clone(), RESTORE).await?;
        container::stop(&new, RESTORE).await?;
        container::move_state(&new, &old.prove().await.unable(RESTORE, container::THING, vmid)?, RESTORE).await?;
    }
    let old = old.prove().await.unable(RESTORE, container::THING, vmid)?;
    if !old.is_running().await.unable(RESTORE, container::THING, vmid)? {
        old.start().await.unable(RESTORE, container::THING, vmid)?;
    }
    let new = container::candidate(clients, successor.location()?, Some(&new_container.nonce), wait);
    new.remove().await.unable(RESTORE, container::THING, new.vmid())
}

/// Returns the new container after the proof that this apply created or adopted it.
async fn proved(
    clients: &Clients,
    successor: &KnownDispatcher,
    new_container: &NewContainer,
    wait: WaitOptions,
    verb: &str,
) -> Result<OwnedContainer, Diagnostic> {
    let candidate = container::candidate(clients, successor.location()?, Some(&new_container.nonce), wait);
    candidate.prove().await.unable(verb, container::THING, new_container.vmid())
}
