//! What a look at the toy world shows.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fixture::{self, at, repository};
use super::{Runner, World, WorldJob, foreign};
use crate::*;

impl World {
    /// What a look at PVE would show, without its time.
    pub(super) fn guests_now(&self) -> Guests {
        let mut guests = Guests {
            taken_at: at(0),
            seen: BTreeMap::new(),
            absent: BTreeSet::new(),
            hidden: BTreeSet::new(),
            taken: BTreeSet::new(),
        };
        for (vmid, vm) in &self.vms {
            let recorded = self.ledger.values().any(|intent| intent.is_live() && intent.name == vm.name);
            // A clone in the making is in no resource pool yet: a narrow token does not see it, but its VMID is taken.
            if !vm.complete {
                if self.census && !recorded {
                    guests.hidden.insert(*vmid);
                }
                continue;
            }
            let claim = if *vmid == foreign() {
                Claim::Foreign
            } else {
                Claim::Ours { name: vm.name.clone(), pool: self.config.0.pools[0].name.clone() }
            };
            let power = if vm.running { Power::Running } else { Power::Off };
            guests.seen.insert(*vmid, GuestSeen { power, locked: false, claim });
        }
        let expected = self.ledger.values().filter(|intent| intent.life.state.has_guest());
        guests.absent = expected.map(|intent| intent.vmid).filter(|vmid| !self.vms.contains_key(vmid)).collect();
        guests
    }

    pub(super) fn look_at_guests(&mut self) {
        self.now += 1;
        let guests = Guests { taken_at: self.time(), ..self.guests_now() };
        self.observed.guests = Some(guests);
        self.now += 1;
    }

    fn github_now(&self) -> RepositorySeen {
        let job = |(id, job): (&u64, &WorldJob)| fixture::job(*id, job.phase, job.runner.as_ref());
        let runner = |(id, runner): (&u64, &Runner)| RunnerSeen {
            id: *id,
            name: runner.name.clone(),
            online: runner.online,
            busy: runner.busy,
        };
        let jobs = Jobs { taken_at: at(0), list: self.jobs.iter().map(job).collect() };
        let runners = Runners { taken_at: at(0), list: self.runners.iter().map(runner).collect() };
        RepositorySeen { jobs: Some(jobs), runners: Some(runners) }
    }

    pub(super) fn github_changed(&self) -> bool {
        let mut seen = self.observed.repositories.get(&repository()).cloned().unwrap_or_default();
        seen.jobs.iter_mut().for_each(|jobs| jobs.taken_at = at(0));
        seen.runners.iter_mut().for_each(|runners| runners.taken_at = at(0));
        seen != self.github_now()
    }

    pub(super) fn look_at_github(&mut self) {
        self.now += 1;
        let mut seen = self.github_now();
        seen.jobs.iter_mut().for_each(|jobs| jobs.taken_at = self.time());
        seen.runners.iter_mut().for_each(|runners| runners.taken_at = self.time());
        self.observed.repositories.insert(repository(), seen);
        self.now += 1;
    }
}

pub(super) fn never() -> Guests {
    Guests {
        taken_at: at(-1),
        seen: BTreeMap::new(),
        absent: BTreeSet::new(),
        hidden: BTreeSet::new(),
        taken: BTreeSet::new(),
    }
}
