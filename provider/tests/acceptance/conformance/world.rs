//! Simulators for one step of one type, with what they had in them before.

use std::collections::BTreeSet;
use std::path::PathBuf;

use acceptance::farm::{Farm, Guests, SimulatedPve};
use acceptance::harness::{Failed, Harness};
use sim::pve::Fault;

use crate::administrator::Administrator;

pub(super) const SOURCE: &str = "pxci/pxci";
/// More often than any step can call.
const ALWAYS: u32 = 1_000_000;

pub(super) struct World {
    pub(super) farm: Farm,
    pub(super) administrator: Administrator,
    before: BTreeSet<String>,
    /// How many calls had been made when the present operation was made to stand still.
    calls_before: usize,
}

impl World {
    pub(super) async fn begin(harness: &mut Harness) -> Result<Self, Failed> {
        let failed = |error: anyhow::Error| Failed::new(format!("starting the simulators: {error:#}"));
        let farm = Farm::simulated(Guests::Scripted).await.map_err(failed)?;
        for (name, value) in farm.provider_environment(harness.directory()).map_err(failed)? {
            harness.work_mut().set(&name, &value);
        }
        let administrator = Administrator::new(simulated(&farm));
        let mut world = Self { farm, administrator, before: BTreeSet::new(), calls_before: 0 };
        world.counts_as_before();
        Ok(world)
    }

    /// What is there now is the step's own doing.
    pub(super) fn counts_as_before(&mut self) {
        self.before = self.farm.leftovers().into_iter().collect();
    }

    pub(super) fn pve(&self) -> &SimulatedPve {
        simulated(&self.farm)
    }

    pub(super) fn snapshot() -> PathBuf {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schema/pxci.json").into()
    }

    pub(super) fn existing(&self) -> Vec<String> {
        self.farm.leftovers().into_iter().filter(|thing| !self.before.contains(thing)).collect()
    }

    /// The provider's token, by which it reaches Proxmox VE.
    pub(super) fn token(&self) -> String {
        self.farm.pve.provider.secret.clone()
    }

    /// The next such call is refused.
    pub(super) fn refuse(&self, method: &str, path: &str) {
        self.inject(method, path, Fault::Refuse { status: 500, text: "internal error".to_owned() }, 1);
    }

    /// Every such call is refused until all is healed.
    pub(super) fn refuse_always(&self, method: &str, path: &str) {
        self.inject(method, path, Fault::Refuse { status: 500, text: "internal error".to_owned() }, ALWAYS);
    }

    /// The next such call is carried out without an answer.
    pub(super) fn drop_reply(&self, method: &str, path: &str) {
        self.inject(method, path, Fault::DropReply, 1);
    }

    /// No such call is answered, nor carried out, until all is healed.
    pub(super) fn silence(&self, method: &str, path: &str) {
        self.inject(method, path, Fault::DropRequest, ALWAYS);
    }

    fn inject(&self, method: &str, path: &str, fault: Fault, times: u32) {
        self.pve().handle.inject(method, path, fault, times);
    }

    pub(super) fn heal(&self) {
        self.pve().handle.faults().clear();
    }

    /// From here on, calls count for [`Self::was_called`].
    pub(super) fn listen(&mut self) {
        self.calls_before = self.pve().handle.requests().entries().len();
    }

    /// Whether the provider has made a call since, to a path with that text.
    pub(super) fn was_called(&self, path: &str) -> bool {
        let entries = self.pve().handle.requests().entries();
        let ours = entries.iter().skip(self.calls_before).filter(|entry| entry.caller == self.farm.pve.provider.id);
        ours.into_iter().any(|entry| entry.path.contains(path))
    }
}

fn simulated(farm: &Farm) -> &SimulatedPve {
    farm.simulated_pve.as_ref().expect("a simulated farm")
}
