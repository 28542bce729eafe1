//! The lists that Proxmox VE and GitHub give, and their ways to the fleet.

use jiff::Timestamp;
use ownership::Vmid;

use super::super::fixture::{self, at, repository};
use super::{FOREIGN_RUNNER, Job, Late, Runner, Vm, World};
use crate::*;

impl World {
    /// Returns the list of guests as of now. `missing` names a VM that Proxmox VE wrongly leaves out.
    fn guests_now(&self, taken_at: Timestamp, missing: Option<Vmid>) -> Guests {
        let listed = self.vms.iter().filter(|(vmid, vm)| vm.complete && Some(**vmid) != missing);
        let seen = listed.map(|(vmid, vm)| (*vmid, self.guest_now(vm))).collect();
        let expected = self.fleet.records().filter(|intent| intent.life.state.has_guest());
        let is_absent = |vmid: &Vmid| Some(*vmid) == missing || !self.vms.contains_key(vmid);
        let absent = expected.map(|intent| intent.vmid).filter(is_absent).collect();
        Guests { taken_at, seen, absent, unshown: self.unshown_now() }
    }

    /// Returns the answers about VMIDs at which no guest is shown. A clone in the making is in no resource pool yet: a narrow
    /// token does not see it, but its VMID is taken.
    fn unshown_now(&self) -> Unshown {
        let memory = &self.fleet.unrecorded;
        let in_the_making = || self.vms.iter().filter(|(_, vm)| !vm.complete);
        let is_asked = |vmid: &Vmid| self.is_census_due() || memory.hidden.contains_key(vmid);
        let asks = self.is_census_due() || !memory.hidden.is_empty();
        Unshown {
            free: memory.hidden.keys().filter(|vmid| !self.vms.contains_key(vmid)).copied().collect(),
            occupied: in_the_making().map(|(vmid, _)| *vmid).filter(is_asked).collect(),
            is_complete: true,
            clones_run: asks && in_the_making().any(|(_, vm)| !vm.cut),
        }
    }

    fn is_census_due(&self) -> bool {
        self.fleet.unrecorded.needs_census && !self.fleet.unrecorded.has_census
    }

    fn guest_now(&self, vm: &Vm) -> GuestSeen {
        let pool = self.rules.config.pools[0].name.clone();
        let claim = if vm.is_ours { Claim::Ours { name: vm.name.clone(), pool } } else { Claim::Foreign };
        let power = if vm.running { Power::Running } else { Power::Off };
        GuestSeen { node: vm.node.clone(), power, locked: false, claim, name: None, run: None }
    }

    fn github_now(&self, taken_at: Timestamp) -> RepositorySeen {
        let job = |(id, job): (&u64, &Job)| fixture::job(*id, job.phase, job.runner.as_ref());
        let runner = |(id, runner): (&u64, &Runner)| RunnerSeen {
            id: *id,
            name: runner.name.clone(),
            online: runner.online,
            busy: runner.busy,
        };
        let jobs = Jobs { taken_at, list: self.jobs.iter().map(job).collect() };
        let runners = Runners { taken_at, list: self.runners.iter().map(runner).collect() };
        RepositorySeen { jobs: Some(jobs), runners: Some(runners) }
    }

    /// Returns true if a new list of guests would say more than the last.
    pub(super) fn guests_have_news(&self) -> bool {
        let Some(last) = &self.fleet.facts().guests else { return true };
        let now = self.guests_now(last.taken_at, None);
        let is_listed_otherwise = (&last.seen, &last.absent) != (&now.seen, &now.absent);
        let is_hidden_otherwise = !now.unshown.free.is_empty() || last.unshown.clones_run != now.unshown.clones_run;
        let has_hidden = !self.fleet.unrecorded.hidden.is_empty();
        let is_outdated = self.is_outdated(last.taken_at) || self.is_census_due();
        is_outdated || is_listed_otherwise || (has_hidden && is_hidden_otherwise)
    }

    /// Returns true if new lists of GitHub would say more than the last.
    pub(super) fn github_has_news(&self) -> bool {
        let Some(last) = self.fleet.facts().repositories.get(&repository()) else { return true };
        let taken_at = last.jobs.as_ref().map_or(at(0), |jobs| jobs.taken_at);
        self.is_outdated(taken_at) || *last != self.github_now(taken_at)
    }

    /// Returns true if a record has changed since, or the clock has moved.
    fn is_outdated(&self, taken_at: Timestamp) -> bool {
        let changed = |intent: &Intent| {
            let life = &intent.life;
            [Some(life.since), life.missing_at, life.negative_at].into_iter().flatten().any(|time| time >= taken_at)
        };
        taken_at.as_second() < self.now.as_second() || self.fleet.records().any(changed)
    }

    pub(super) fn look_at_guests(&mut self, missing: Option<Vmid>) {
        let guests = self.guests_now(self.now, missing);
        self.tick();
        self.fleet.take(Input::Guests(guests), self.now);
    }

    pub(super) fn look_at_github(&mut self) {
        let seen = self.github_now(self.now);
        self.tick();
        self.fleet.take(Input::Repository(repository(), seen), self.now);
    }

    /// Takes a list that arrives later.
    pub(super) fn post(&mut self, is_github: bool) {
        let late = if is_github {
            Late::Github(self.github_now(self.now))
        } else {
            Late::Guests(self.guests_now(self.now, None))
        };
        self.late = Some(late);
    }

    pub(super) fn deliver(&mut self) {
        let input = match self.late.take() {
            Some(Late::Guests(guests)) => Input::Guests(guests),
            Some(Late::Github(seen)) => Input::Repository(repository(), seen),
            None => return,
        };
        self.fleet.take(input, self.now);
    }

    pub(super) fn is_foreign_runner_there(&self) -> bool {
        self.runners.contains_key(&FOREIGN_RUNNER)
    }
}
