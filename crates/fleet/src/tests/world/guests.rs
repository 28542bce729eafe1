//! The lives of guests: boot, registration, job, power-off.

use ownership::Vmid;

use super::{Fault, Job, Move, Vm, World};
use crate::JobPhase;

/// A move of one VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum GuestMove {
    /// The clone is complete.
    Cloned,
    /// The guest has booted.
    Booted,
    /// The runner connects.
    Online,
    /// The runner takes a queued job and starts it.
    Take(u64),
    /// The job ends, and GitHub removes the registration.
    End,
    /// The runner exits, and the guest powers itself off.
    Exit,
    /// GitHub hands over a job, which starts later.
    HandOver(u64),
    /// The job that was handed over starts, whatever became of the registration.
    Begin,
    /// The runner will not notice that its registration is gone.
    Haunt,
    /// The agent never answers again.
    Silence,
    /// The clone is interrupted.
    Cut,
    /// A person removes the rest of an interrupted clone.
    Clear,
    /// The VM loses power.
    LosePower,
    /// Another dispatcher registers the VM and hands it the registration.
    ArmedByRival,
    /// The cluster moves the VM to another node.
    Moved,
    /// Somebody starts the VM again.
    StartedAgain,
}

impl GuestMove {
    pub(super) fn fault(self) -> Option<Fault> {
        match self {
            Self::HandOver(_) => Some(Fault::HandOver),
            Self::Haunt => Some(Fault::Ghost),
            Self::Silence => Some(Fault::Silence),
            Self::Cut => Some(Fault::Cut),
            Self::LosePower => Some(Fault::PowerLoss),
            Self::ArmedByRival => Some(Fault::Rival),
            Self::Moved => Some(Fault::Moved),
            Self::StartedAgain => Some(Fault::StartedAgain),
            _ => None,
        }
    }
}

impl World {
    /// Adds the moves of one VM.
    pub(super) fn guest_moves(&self, vmid: Vmid, vm: &Vm, moves: &mut Vec<Move>) {
        let mut add = |made: GuestMove| moves.push(Move::Guest(vmid, made));
        if !vm.complete {
            add(if vm.cut { GuestMove::Clear } else { GuestMove::Cloned });
            if !vm.cut {
                add(GuestMove::Cut);
            }
            return;
        }
        add(GuestMove::Moved);
        if !vm.running {
            add(GuestMove::StartedAgain);
            return;
        }
        add(GuestMove::LosePower);
        if !vm.agent && !vm.mute {
            add(GuestMove::Booted);
        }
        if !vm.mute {
            add(GuestMove::Silence);
        }
        // Two dispatchers both adopt a VM that has booted. Earlier, the one that made it has not let go of it.
        let is_ready = self.fleet.record(&vm.name).is_none_or(|intent| intent.life.ready_at.is_some());
        if vm.answers() && !vm.used && is_ready && self.runner_of(&vm.name).is_none() {
            add(GuestMove::ArmedByRival);
        }
        if vm.armed.is_some() {
            self.runner_moves(vm, add);
        }
    }

    fn runner_moves(&self, vm: &Vm, mut add: impl FnMut(GuestMove)) {
        if vm.job.is_some() {
            return add(GuestMove::End);
        }
        if vm.handed.is_some() {
            return add(GuestMove::Begin);
        }
        // A runner takes one job. Only another dispatcher, which the fleet cannot know, can have armed the VM before.
        let is_over = self.had_rival() && vm.jobs_taken > 0;
        let runner = vm.armed.and_then(|(id, _)| self.runners.get(&id));
        let runner = runner.filter(|runner| runner.name == vm.name && !is_over);
        let queued = self.jobs.iter().filter(|(_, job)| job.phase == JobPhase::Queued).map(|(id, _)| *id);
        let handed: Vec<u64> = self.vms.values().filter_map(|vm| vm.handed).map(|(id, _)| id).collect();
        let queued = queued.filter(|id| !handed.contains(id));
        match runner {
            Some(runner) if !runner.online => add(GuestMove::Online),
            Some(_) => queued.for_each(|id| {
                add(GuestMove::Take(id));
                add(GuestMove::HandOver(id));
            }),
            None if !vm.ghost => {
                add(GuestMove::Exit);
                add(GuestMove::Haunt);
            }
            None => {}
        }
    }

    pub(super) fn move_guest(&mut self, vmid: Vmid, made: GuestMove) {
        let now = self.now;
        let Some(vm) = self.vms.get_mut(&vmid) else { return };
        match made {
            GuestMove::Cloned => vm.complete = true,
            GuestMove::Booted => vm.agent = true,
            GuestMove::Exit | GuestMove::LosePower => vm.power_off(),
            GuestMove::Haunt => vm.ghost = true,
            GuestMove::Silence => (vm.mute, vm.agent) = (true, false),
            GuestMove::Cut => vm.cut = true,
            GuestMove::Moved => vm.node = super::other_node(),
            GuestMove::StartedAgain => vm.running = true,
            GuestMove::HandOver(job) => vm.handed = Some((job, now)),
            GuestMove::Clear => {
                self.vms.remove(&vmid);
            }
            GuestMove::Online => {
                let id = vm.armed.map(|(id, _)| id);
                if let Some(runner) = id.and_then(|id| self.runners.get_mut(&id)) {
                    runner.online = true;
                }
            }
            GuestMove::Take(job) => self.start_job(vmid, job),
            GuestMove::Begin => {
                if let Some((job, _)) = vm.handed.take() {
                    self.start_job(vmid, job);
                }
            }
            GuestMove::End => self.end_job(vmid),
            GuestMove::ArmedByRival => {
                let name = vm.name.clone();
                let id = self.register(&name);
                if let Some(vm) = self.vm_mut(&name) {
                    (vm.armed, vm.used) = (Some((id, now)), true);
                }
            }
        }
    }

    fn start_job(&mut self, vmid: Vmid, job: u64) {
        let now = self.now;
        let Some(vm) = self.vms.get_mut(&vmid) else { return };
        vm.job = Some((job, now));
        vm.jobs_taken += 1;
        let runner = vm.armed.and_then(|(id, _)| self.runners.get_mut(&id));
        if let Some(runner) = runner.filter(|runner| runner.name == vm.name) {
            runner.busy = true;
        }
        self.jobs.insert(job, Job { phase: JobPhase::Running, runner: Some(vm.name.clone()) });
    }

    fn end_job(&mut self, vmid: Vmid) {
        let Some(vm) = self.vms.get_mut(&vmid) else { return };
        let Some((job, _)) = vm.job.take() else { return };
        let name = vm.name.clone();
        self.runners.retain(|_, runner| runner.name != name);
        if let Some(job) = self.jobs.get_mut(&job) {
            job.phase = JobPhase::Completed;
        }
    }

    /// Marks the registrations of VMs that are off or gone as offline.
    pub(super) fn disconnect(&mut self) {
        for (id, runner) in &mut self.runners {
            let armed = |vm: &Vm| vm.name == runner.name && vm.armed.is_some_and(|(armed, _)| armed == *id);
            if runner.online && !self.vms.values().any(armed) {
                runner.online = false;
            }
        }
    }

    /// Returns the jobs whose VM no longer runs them. GitHub gives them up.
    pub(super) fn cut_off_jobs(&self) -> impl Iterator<Item = u64> {
        let runs = |id: u64| self.vms.values().any(|vm| vm.job.is_some_and(|(job, _)| job == id));
        let running = self.jobs.iter().filter(|(_, job)| job.phase == JobPhase::Running);
        running.map(|(id, _)| *id).filter(move |id| !runs(*id))
    }

    pub(super) fn give_up_job(&mut self, id: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.phase = JobPhase::Completed;
        if let Some(name) = job.runner.clone() {
            self.runners.retain(|_, runner| runner.name != name);
        }
    }
}
