//! Observations of guests: the statistics rounds that lists are made from, and events that guests cause themselves.

use std::sync::Arc;

use super::{pending, status};
use crate::engine::Engine;
use crate::lxc;
use crate::world::guest::Guest;
use sim_backend::{GuestEvent, GuestEventKind};

impl Engine {
    /// Updates the figures that lists show. PVE's daemon does this every ten seconds.
    pub(crate) fn statistics_round(&self) {
        let now = self.clock.now();
        let mut state = self.state();
        let is_reported = |guest: &Guest| state.is_online(&guest.node);
        let ids: Vec<u32> =
            state.guests.iter().filter(|(_, guest)| is_reported(guest)).map(|(vmid, _)| *vmid).collect();
        for vmid in ids {
            let row = status::list_row(&state, vmid, now);
            if let Some(guest) = state.guests.get_mut(&vmid) {
                guest.seen = row;
            }
        }
    }

    /// Records an event that a guest caused itself.
    pub(crate) fn guest_event(self: &Arc<Self>, event: &GuestEvent) {
        self.timeline.note(self.clock.now(), event_name(&event.kind), &event.vmid.to_string());
        let mut state = self.state();
        let Some(guest) = state.guests.get_mut(&event.vmid) else { return };
        match event.kind {
            GuestEventKind::AgentUp => set_agent(guest, true),
            GuestEventKind::AgentDown => set_agent(guest, false),
            GuestEventKind::PoweredOff => {
                guest.run = None;
                drop(state);
                let (engine, vmid) = (self.clone(), event.vmid);
                self.spawn_background(async move { pending::apply_pending(&engine, vmid).await });
            }
            GuestEventKind::Rebooted => {
                guest.run = None;
                drop(state);
                let (engine, vmid) = (self.clone(), event.vmid);
                self.spawn_background(async move { lxc::power::start_again(&engine, vmid).await });
            }
        }
    }
}

fn set_agent(guest: &mut Guest, up: bool) {
    if let Some(run) = &mut guest.run {
        run.agent = up;
    }
}

fn event_name(kind: &GuestEventKind) -> &'static str {
    match kind {
        GuestEventKind::AgentUp => "agent_up",
        GuestEventKind::AgentDown => "agent_down",
        GuestEventKind::PoweredOff => "powered_off",
        GuestEventKind::Rebooted => "rebooted",
    }
}
