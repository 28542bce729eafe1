//! A new appliance: a container beside the old one takes over its state volume.
//!
//! ```text
//! create new ── stop old ── move state ── start new, configure ── destroy old
//!     │             └────────────┴──────────────┴── any failure: everything back, old one works again
//!     └── failure: nothing has changed
//! ```
//!
//! The new container is marked as being set up until the old one is gone, so the next apply goes on where a killed one ended.
//! Runners at work do not notice: the dispatcher is made to be stopped anywhere. The two never run at the same time.

use dispatcher_api::{Config, Secrets};
use guest::OwnedContainer;
use pve::WaitOptions;
use tf_provider::{Context, Diagnostic};

use super::appliance::Appliance;
use super::container::Made;
use super::model::KnownDispatcher;
use super::options::STATE_VOLUME;
use super::{container, control, marking, stored_appliance, unfinished};
use crate::diagnostics::{self, Detailed as _, Unable as _};
use crate::provider::Clients;
use crate::waiting;

const REPLACE: &str = "replace";
const RESTORE: &str = "restore";

/// What the new container works with.
pub(crate) struct Succession<'a> {
    pub(crate) prior: &'a KnownDispatcher,
    pub(crate) plan: &'a KnownDispatcher,
    pub(crate) appliance: &'a Appliance,
    pub(crate) config: &'a Config,
    pub(crate) secrets: &'a Secrets,
}

/// Makes the new container take over and returns it, still marked as being set up. After an error the old one is in charge, as
/// before.
pub(crate) async fn take_over(cx: &Context<Clients>, succession: &Succession<'_>) -> Result<Made, Diagnostic> {
    let clients = cx.data();
    let wait = waiting::until_deadline(cx);
    let Some(old) = container::owned(clients, succession.prior.location()?, "replace", wait).await? else {
        return Err(diagnostics::impossible(
            "replace",
            "the dispatcher container",
            "",
            "The old container is gone. Plan again.",
        ));
    };
    let made = make(cx, succession).await?;
    let mut moved = false;
    match switch(cx, succession, &old, &made, &mut moved).await {
        Ok(()) => Ok(made),
        Err(diagnostic) => {
            let Err(error) = go_back(clients, succession, &made, moved).await else { return Err(diagnostic) };
            Err(diagnostic.also(format!("Going back to container {} failed too: {}", old.vmid(), error.detail)))
        }
    }
}

/// The successor: one that a killed apply left in the middle, or a new one.
async fn make(cx: &Context<Clients>, succession: &Succession<'_>) -> Result<Made, Diagnostic> {
    if let Some(made) = unfinished::adopt(cx, succession.plan, false).await? {
        return Ok(made);
    }
    stored_appliance::upload(cx, succession.plan, succession.appliance).await?;
    container::create(cx, succession.plan, false).await
}

/// The model of the new container.
fn successor(succession: &Succession<'_>, made: &Made) -> KnownDispatcher {
    KnownDispatcher { vmid: i64::from(made.vmid().get()).into(), ..succession.plan.clone() }
}

async fn switch(
    cx: &Context<Clients>,
    succession: &Succession<'_>,
    old: &OwnedContainer,
    made: &Made,
    moved: &mut bool,
) -> Result<(), Diagnostic> {
    let clients = cx.data();
    let successor = successor(succession, made);
    marking::announce(cx, &successor, Some(&made.nonce)).await?;
    let wait = waiting::until_deadline(cx);
    tracing::info!(old = old.vmid().get(), new = made.vmid().get(), "the new container takes over");
    container::stop(old, REPLACE).await?;
    let new = proved(clients, &successor, made, wait, REPLACE).await?;
    // A killed apply may have come this far.
    if new.config().get(STATE_VOLUME).is_none() {
        let stopped = old.candidate().prove().await.unable(REPLACE, container::THING, old.vmid())?;
        container::move_state(&stopped, &new, REPLACE).await?;
    }
    *moved = true;
    container::start(cx, &new).await?;
    control::configure(cx, &new, succession.config, succession.secrets).await
}

async fn go_back(clients: &Clients, succession: &Succession<'_>, made: &Made, moved: bool) -> Result<(), Diagnostic> {
    let wait = container::clean_up_time();
    let successor = successor(succession, made);
    let old = container::candidate(clients, succession.prior.location()?, None, wait.clone());
    let vmid = old.vmid();
    if moved {
        let new = proved(clients, &successor, made, wait.clone(), RESTORE).await?;
        container::stop(&new, RESTORE).await?;
        container::move_state(&new, &old.prove().await.unable(RESTORE, container::THING, vmid)?, RESTORE).await?;
    }
    let old = old.prove().await.unable(RESTORE, container::THING, vmid)?;
    if !old.is_running().await.unable(RESTORE, container::THING, vmid)? {
        old.start().await.unable(RESTORE, container::THING, vmid)?;
    }
    let new = container::candidate(clients, successor.location()?, Some(&made.nonce), wait);
    new.remove().await.unable(RESTORE, container::THING, new.vmid())
}

/// Returns the new container after the proof that this apply made it, or took it over.
async fn proved(
    clients: &Clients,
    successor: &KnownDispatcher,
    made: &Made,
    wait: WaitOptions,
    verb: &str,
) -> Result<OwnedContainer, Diagnostic> {
    let candidate = container::candidate(clients, successor.location()?, Some(&made.nonce), wait);
    candidate.prove().await.unable(verb, container::THING, made.vmid())
}
