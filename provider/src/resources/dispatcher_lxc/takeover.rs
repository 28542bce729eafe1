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
use pve::{Error, Lxc};
use tf_provider::{Cx, Diagnostic};

use super::appliance::Appliance;
use super::container::Made;
use super::model::KnownDispatcher;
use super::options::STATE_VOLUME;
use super::{container, control, marking, stored_appliance, unfinished};
use crate::diagnostics::{self, Detailed as _, Unable as _};
use crate::provider::Clients;
use crate::waiting;

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
pub(crate) async fn take_over(cx: &Cx<Clients>, succession: &Succession<'_>) -> Result<Made, Diagnostic> {
    let clients = cx.data();
    let Some(old) = container::find(clients, succession.prior.place()?).await? else {
        return Err(diagnostics::impossible(
            "replace",
            "the dispatcher container",
            "",
            "The old container is gone. Plan again.",
        ));
    };
    let made = make(cx, succession).await?;
    let new = clients.pve.lxc(succession.plan.node.need("node")?, made.vmid());
    let mut moved = false;
    match switch(cx, succession, &old.container, (&new, &made), &mut moved).await {
        Ok(()) => Ok(made),
        Err(diagnostic) => {
            if let Err(error) = go_back(clients, succession, &old.container, &new, moved).await {
                let vmid = old.container.vmid();
                return Err(diagnostic.also(format!("Going back to container {vmid} failed too: {}", error.detail)));
            }
            Err(diagnostic)
        }
    }
}

/// The successor: one that a killed apply left in the middle, or a new one.
async fn make(cx: &Cx<Clients>, succession: &Succession<'_>) -> Result<Made, Diagnostic> {
    if let Some(made) = unfinished::adopt(cx, succession.plan, false).await? {
        return Ok(made);
    }
    stored_appliance::upload(cx, succession.plan, succession.appliance).await?;
    container::create(cx, succession.plan, false).await
}

async fn switch(
    cx: &Cx<Clients>,
    succession: &Succession<'_>,
    old: &Lxc,
    (new, made): (&Lxc, &Made),
    moved: &mut bool,
) -> Result<(), Diagnostic> {
    let clients = cx.data();
    let successor = KnownDispatcher { vmid: i64::from(made.vmid()).into(), ..succession.plan.clone() };
    marking::announce(cx, &successor, Some(&made.nonce)).await?;
    let wait = waiting::until_deadline(cx);
    tracing::info!(old = old.vmid(), new = new.vmid(), "the new container takes over");
    container::stop(clients, old, &wait).await.unable("replace", container::THING, old.vmid())?;
    // A killed apply may have come this far.
    let has_state = new.config().await.unable("replace", container::THING, old.vmid())?.get(STATE_VOLUME).is_some();
    if !has_state {
        container::move_state(clients, old, new.vmid(), &wait).await.unable("replace", container::THING, old.vmid())?;
    }
    *moved = true;
    container::start(cx, new).await?;
    control::configure(cx, new, succession.config, succession.secrets).await
}

async fn go_back(
    clients: &Clients,
    succession: &Succession<'_>,
    old: &Lxc,
    new: &Lxc,
    moved: bool,
) -> Result<(), Diagnostic> {
    let wait = container::clean_up_time();
    if moved {
        container::stop(clients, new, &wait).await.unable("restore", container::THING, old.vmid())?;
        container::move_state(clients, new, old.vmid(), &wait).await.unable("restore", container::THING, old.vmid())?;
    }
    restart(clients, old).await.unable("restore", container::THING, old.vmid())?;
    container::destroy(clients, succession.plan, new.vmid(), &wait).await
}

async fn restart(clients: &Clients, container: &Lxc) -> Result<(), Error> {
    if container.status().await?.is_running() {
        return Ok(());
    }
    let task = container.start().await?;
    clients.pve.wait(&task, &container::clean_up_time()).await.map(drop)
}
