//! The invariants, as far as one state or one step shows a breach.

use jiff::SignedDuration;
use ownership::RunnerName;

use super::{Fault, Mutant, Violation, Vm, World, foreign};
use crate::{Intent, State, Step, diagnostics};

impl World {
    /// Checks what must hold after every move.
    pub(super) fn check(&self) -> Result<(), Violation> {
        let max = usize::try_from(self.rules.config.pools[0].max).unwrap_or(usize::MAX);
        if self.ours() > max {
            return self.breach(format!("I2: {} VMs where {max} are allowed", self.ours()));
        }
        if let Some(vm) = self.vms.values().find(|vm| vm.jobs_taken > 1) {
            return self.breach(format!("I1: two jobs on {}", vm.name));
        }
        self.check_quarantine()?;
        if !self.vms.get(&foreign(&self.rules)).is_some_and(|vm| vm.running && !vm.is_ours) {
            return self.breach("I4: a guest of somebody else was touched".to_owned());
        }
        if !self.is_foreign_runner_there() {
            return self.breach("I4: a registration of somebody else was removed".to_owned());
        }
        let mut live: Vec<_> =
            self.fleet.records().filter(|intent| intent.is_live()).map(|intent| intent.vmid).collect();
        let count = live.len();
        live.dedup();
        if live.len() < count {
            return self.breach("two live records of one VMID".to_owned());
        }
        let lost =
            self.fleet.under_way().find(|effect| !self.running.contains_key(&effect.name) && !self.waits(&effect.name));
        match lost {
            Some(effect) => self.breach(format!("I3: {effect:?} counts as under way, and nobody carries it out")),
            None => Ok(()),
        }
    }

    /// Checks that no VM in quarantine has a registration, and that there are not too many of them. A process whose records are lost
    /// cannot know what its predecessor did.
    fn check_quarantine(&self) -> Result<(), Violation> {
        let kept: Vec<&RunnerName> = self
            .fleet
            .records()
            .filter(|intent| intent.life.state == State::Quarantined)
            .map(|intent| &intent.name)
            .collect();
        let quota = self.rules.config.pools[0].quarantine.as_ref().map_or(0, |quarantine| quarantine.max);
        if kept.len() > usize::try_from(quota).unwrap_or(usize::MAX) {
            return self.breach(format!("I2: {kept:?} are in quarantine where {quota} are allowed"));
        }
        let registered = kept.into_iter().find(|name| self.runner_of(name).is_some());
        match registered.filter(|_| !self.forgot && !self.had_rival()) {
            Some(name) => self.breach(format!("I1: {name} is in quarantine and can take a job")),
            None => Ok(()),
        }
    }

    /// Checks that a second pass at the same time has nothing to do.
    pub(in super::super) fn check_rest(&self) -> Result<(), Violation> {
        let config = self.config_for_pass(&self.rules.config);
        let mut again = self.fleet.clone();
        let pass = again.pass(&config, &mut super::super::fixture::nonces(50_000), self.now);
        match pass.start.is_empty() && pass.start_after_commit.is_empty() && pass.commit.is_none() {
            true => Ok(()),
            false => self.breach(format!("I11: a second pass starts {pass:?}")),
        }
    }

    fn waits(&self, name: &RunnerName) -> bool {
        self.commit.as_ref().is_some_and(|commit| commit.then.iter().any(|effect| effect.name == *name))
    }

    /// Checks that the record on the disk says what is about to happen (I2, I8, I10).
    pub(super) fn check_written(&self, name: &RunnerName, step: &Step) -> Result<(), Violation> {
        let state = |intent: &Intent| intent.life.state;
        let (written, safe) = (self.disk.get(name).map(state), self.safe.get(name).map(state));
        let is_written = match step {
            Step::Clone { .. } => safe == Some(State::Cloning),
            Step::Mint { .. } => safe == Some(State::Minting),
            Step::Arm => safe == Some(State::Arming),
            Step::Destroy => written == Some(State::Destroying),
            _ => true,
        };
        match is_written {
            true => Ok(()),
            false => self.breach(format!(
                "I8, I10: {step:?} of {name} takes place, and the disk says {written:?}, after a power loss {safe:?}"
            )),
        }
    }

    /// Checks a registration that GitHub refuses because its name is taken: the fleet must not ask twice. It cannot know what
    /// another dispatcher did, or a process whose records are lost.
    pub(super) fn check_mint(&self, name: &RunnerName) -> Result<(), Violation> {
        match self.forgot || self.had_rival() {
            true => Ok(()),
            false => self.breach(format!("I1: {name} is registered once more")),
        }
    }

    pub(super) fn had_rival(&self) -> bool {
        self.faults.left(Fault::Rival) < self.rules.faults.left(Fault::Rival)
    }

    /// Checks that a VM may be powered off: no job runs in it, or a declared limit is reached.
    pub(super) fn check_stop(&self, vm: &Vm) -> Result<(), Violation> {
        if vm.job.is_none() && vm.handed.is_none() {
            return Ok(());
        }
        let pool = &self.rules.config.pools[0];
        let seconds = |seconds: u32| SignedDuration::from_secs(i64::from(seconds));
        let (job, idle) = (seconds(pool.job_limit_seconds), seconds(pool.idle_limit_seconds));
        let is_over = |since: jiff::Timestamp, limit| self.now.duration_since(since) >= limit;
        let job_is_over = vm.job.is_some_and(|(_, started)| is_over(started, job));
        let registration_is_over = vm.armed.is_some_and(|(_, armed)| is_over(armed, job + idle));
        let stopping = self.fleet.record(&vm.name).map(|intent| intent.life.since);
        let was_silent = vm.mute && stopping.is_some_and(|since| is_over(since, job + idle));
        match job_is_over || registration_is_over || was_silent {
            true => Ok(()),
            false => self.breach(format!("I5: a running job of {} is killed", vm.name)),
        }
    }

    /// Checks that the diagnostics of a failed VM were asked for before it is stopped (I10). A restart, or a lane that is full, may take
    /// longer than the time that there is for them.
    pub(super) fn check_diagnosed(&self, vm: &Vm) -> Result<(), Violation> {
        let is_missing = |intent: &Intent| {
            let life = &intent.life;
            let is_late = self.now.duration_since(life.since) >= diagnostics::DEADLINE;
            diagnostics::has_failed(life) && !vm.diagnosed && !is_late
        };
        match self.fleet.record(&vm.name).is_some_and(is_missing) {
            true => self.breach(format!("I10: {} failed and is stopped before its diagnostics were read", vm.name)),
            false => Ok(()),
        }
    }

    fn breach(&self, message: String) -> Result<(), Violation> {
        Err(Violation(message))
    }

    /// Returns true if the world was built with this defect.
    pub(super) fn has(&self, mutant: Mutant) -> bool {
        self.rules.mutant == Some(mutant)
    }
}
