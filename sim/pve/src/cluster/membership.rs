//! Cutting a node's power, and booting it again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::engine::{Call, Engine, Worker};
use crate::lxc;
use crate::params::Params;
use crate::qemu;
use crate::world::drives;
use crate::world::guest::{Guest, Kind};

impl Engine {
    /// Cuts a node's power: guests and tasks end without clean-up. Returns false if the node does not exist or is
    /// already off.
    pub(crate) async fn node_away(self: &Arc<Self>, name: &str) -> bool {
        let now = self.clock.now();
        let (tasks, runs) = {
            let mut state = self.state();
            let Some(node) = state.nodes.get_mut(name).filter(|node| node.away.is_none()) else { return false };
            node.away = Some(now);
            let mut tasks = Vec::new();
            for task in state.tasks.iter_mut().filter(|task| task.node == name && task.end.is_none()) {
                task.lost = true;
                tasks.push(task.upid.clone());
            }
            let mut runs = Vec::new();
            for (vmid, guest) in state.guests.iter_mut().filter(|(_, guest)| guest.node == name) {
                if guest.run.take().is_some() {
                    runs.push((*vmid, guest.kind));
                }
            }
            (tasks, runs)
        };
        self.timeline.note(now, "node_away", name);
        self.power_cuts.send_modify(|count| *count += 1);
        for upid in &tasks {
            if self.interrupt(upid) {
                self.ended(upid).await;
            }
        }
        for (vmid, kind) in runs {
            match kind {
                Kind::Qemu => self.backend.vm_stop(vmid).await,
                Kind::Lxc => {
                    self.consoles.drop_shell(vmid);
                    self.backend.container_stop(vmid).await;
                }
            }
        }
        true
    }

    /// Boots a node: guests with `onboot` start. Returns false if the node does not exist or is not off.
    pub(crate) fn node_back(self: &Arc<Self>, name: &str) -> bool {
        {
            let mut state = self.state();
            let Some(node) = state.nodes.get_mut(name).filter(|node| node.away.is_some()) else { return false };
            node.away = None;
        }
        self.timeline.note(self.clock.now(), "node_back", name);
        self.statistics_round();
        let node = name.to_owned();
        let call =
            Call { caller: "root@pam".to_owned(), node: node.clone(), params: Params::default(), task_fault: None };
        self.spawn(&call, "startall", "", move |worker| async move { start_all(&worker, &node).await });
        true
    }
}

/// Returns a guest's position in the start order, and the seconds to wait before the next start.
fn startup(guest: &Guest) -> (u64, Option<u64>) {
    let fields = drives::parse(guest.get("startup").unwrap_or_default());
    let number = |key: &str| fields.get(key).and_then(|text| text.parse().ok());
    (number("order").or_else(|| number("file")).unwrap_or(u64::MAX), number("up"))
}

async fn start_all(worker: &Worker, node: &str) -> Result<(), String> {
    let engine = &worker.engine;
    if !engine.state().is_quorate() {
        worker.log("waiting for quorum ...");
        while !engine.state().is_quorate() {
            engine.clock.sleep(Duration::from_secs(1)).await;
        }
        worker.log("got quorum");
    }
    let mut guests: Vec<(u64, u32, Kind, Option<u64>)> = {
        let state = engine.state();
        let here = state.guests.iter().filter(|(_, guest)| guest.node == node && guest.get("onboot") == Some("1"));
        here.filter(|(_, guest)| !guest.is_template() && !guest.managed_by_ha)
            .map(|(vmid, guest)| {
                let (order, delay) = startup(guest);
                (order, *vmid, guest.kind, delay)
            })
            .collect()
    };
    guests.sort_unstable_by_key(|(order, vmid, ..)| (*order, *vmid));
    for (_, vmid, kind, delay) in guests {
        worker.log(format!("Starting {} {vmid}", kind.name()));
        let mut params = Params::default();
        params.insert_text("vmid", vmid.to_string());
        let call = Call { caller: "root@pam".to_owned(), node: node.to_owned(), params, task_fault: None };
        let started = match kind {
            Kind::Qemu => qemu::power::start(engine, &call),
            Kind::Lxc => lxc::power::power(engine, &call, "start"),
        };
        if let Err(refusal) = started {
            worker.log(refusal.into_text());
        }
        let default = if kind == Kind::Qemu { 3 } else { 0 };
        if let Some(seconds) = delay.filter(|seconds| *seconds > 0) {
            worker.log(format!("Waiting for {seconds} seconds (startup delay)"));
        }
        engine.clock.sleep(Duration::from_secs(delay.unwrap_or(default))).await;
    }
    Ok(())
}

/// Returns the cluster's row of `/cluster/ha/status/current`, as a cluster without managed guests shows it.
pub(crate) fn ha_status(engine: &Engine, call: &Call) -> serde_json::Value {
    let node = &call.node;
    let quorate = engine.state().is_quorate();
    let status = if quorate { "OK".to_owned() } else { format!("No quorum on node '{node}'!") };
    json!([
        { "id": "quorum", "node": node, "quorate": u8::from(quorate), "status": status, "type": "quorum" },
        { "armed-state": "standby", "id": "fencing", "node": node, "status": "standby (CRM watchdog standby)", "type": "fencing" },
    ])
}
