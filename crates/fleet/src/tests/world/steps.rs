//! The executor's steps over the toy world, one micro-step at a time.

use super::super::fixture::repository;
use super::{Runner, Vm, World, power_off};
use crate::*;
use ownership::{RepositoryName, RunnerName};

/// A step under way: what it does next, and what it has learned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct Task {
    step: Step,
    counter: u8,
    runner_id: u64,
    outcome: Option<Event>,
}

impl Task {
    pub(super) fn begin(step: Step) -> Self {
        Self { step, counter: 0, runner_id: 0, outcome: None }
    }
}

impl World {
    /// Waiting tasks advance when what they wait for has happened.
    pub(super) fn can_advance(&self, name: &RunnerName, task: &Task) -> bool {
        let Some(intent) = self.ledger.get(name) else { return true };
        let vm = self.vms.get(&intent.vmid).filter(|vm| vm.name == *name);
        match (&task.step, task.counter) {
            (Step::Clone, 2) => vm.is_none_or(|vm| vm.complete),
            (Step::Boot, 1) => vm.is_none_or(|vm| vm.agent || !vm.running),
            _ => true,
        }
    }

    pub(super) fn advance(&mut self, name: &RunnerName, lost: bool) {
        let mut task = self.tasks.remove(name).unwrap();
        let Some(intent) = self.ledger.get(name).cloned() else { return };
        let goes_on = match task.step.clone() {
            Step::Clone => self.clone_step(&mut task, &intent, lost),
            Step::Configure => self.ends(&mut task, &intent, lost, Event::Configured, 1),
            Step::Boot => self.boot_step(&mut task, &intent, lost),
            Step::Register { repository } => self.register_step(&mut task, &intent, lost, repository),
            Step::Examine | Step::Probe => self.ask_step(&mut task, &intent, lost),
            Step::Watch => self.watch_step(&mut task, &intent, lost),
            Step::Deregister => self.deregister_step(&mut task, &intent, lost),
            Step::Stop => self.stop_step(&mut task, &intent, lost),
            Step::Destroy => self.destroy_step(&mut task, &intent, lost),
        };
        if goes_on {
            task.counter += 1;
            self.tasks.insert(name.clone(), task);
        }
    }

    /// The outcome is written down; or the reply was lost, and the step is tried again after a rest.
    fn finish(&mut self, intent: &Intent, event: Event) -> bool {
        self.note(&intent.name, &event);
        false
    }

    fn give_up(&mut self, intent: &Intent) -> bool {
        let until = self.time() + jiff::SignedDuration::from_secs(5);
        if let Some(intent) = self.ledger.get_mut(&intent.name) {
            intent.retry_at = Some(until);
        }
        false
    }

    /// A step whose effect does not matter to the world.
    fn ends(&mut self, task: &mut Task, intent: &Intent, lost: bool, event: Event, at_counter: u8) -> bool {
        if lost {
            return self.give_up(intent);
        }
        if self.vms.get(&intent.vmid).is_none_or(|vm| vm.name != intent.name) {
            return self.finish(intent, Event::Vanished);
        }
        if task.counter < at_counter { true } else { self.finish(intent, event) }
    }

    fn clone_step(&mut self, task: &mut Task, intent: &Intent, lost: bool) -> bool {
        match task.counter {
            0 => self.note(&intent.name, &Event::CloneBegun),
            1 => {
                let occupant = self.vms.get(&intent.vmid).map(|vm| vm.name == intent.name);
                match occupant {
                    Some(false) => return self.finish(intent, Event::Failed(Reason::VmidTaken)),
                    Some(true) => {}
                    None => self.clone_vm(intent),
                }
                if lost { self.give_up(intent) } else { true }
            }
            _ if lost => self.give_up(intent),
            2 => true,
            _ => self.finish(intent, Event::Cloned),
        }
    }

    fn clone_vm(&mut self, intent: &Intent) {
        let vm = Vm {
            name: intent.name.clone(),
            complete: false,
            running: false,
            agent: false,
            armed: false,
            ghost: false,
            job: None,
            jobs_taken: 0,
        };
        self.vms.insert(intent.vmid, vm);
    }

    fn boot_step(&mut self, task: &mut Task, intent: &Intent, lost: bool) -> bool {
        let Some(vm) = self.vms.get_mut(&intent.vmid).filter(|vm| vm.name == intent.name) else {
            return self.finish(intent, Event::Vanished);
        };
        match task.counter {
            0 => {
                vm.running = true;
                if lost { self.give_up(intent) } else { true }
            }
            _ if lost => self.give_up(intent),
            1 if !vm.running => self.finish(intent, Event::Failed(Reason::BootDeadline)),
            1 => true,
            _ => self.finish(intent, Event::Ready),
        }
    }

    fn register_step(&mut self, task: &mut Task, intent: &Intent, lost: bool, repository: RepositoryName) -> bool {
        match task.counter {
            0 => self.note(&intent.name, &Event::MintBegun { repository }),
            1 => {
                if self.runners.values().any(|runner| runner.name == intent.name) {
                    return self.finish(intent, Event::Failed(Reason::MintFailed));
                }
                let armed = self.vms.get(&intent.vmid).is_some_and(|vm| vm.name == intent.name && vm.armed);
                assert!(!armed, "I1: {} is registered once more", intent.name);
                self.runner_ids += 1;
                task.runner_id = self.runner_ids;
                self.runners.insert(task.runner_id, Runner { name: intent.name.clone(), online: false, busy: false });
                if lost { self.finish(intent, Event::Failed(Reason::MintFailed)) } else { true }
            }
            2 => self.note(&intent.name, &Event::Minted { runner_id: task.runner_id }),
            3 => {
                let vm = self.vms.get_mut(&intent.vmid).filter(|vm| vm.name == intent.name && vm.running);
                let taken = vm.map(|vm| vm.armed = true).is_some();
                if lost || !taken { self.finish(intent, Event::Failed(Reason::ArmFailed)) } else { true }
            }
            _ => self.finish(intent, Event::Armed),
        }
    }

    fn ask_step(&mut self, task: &mut Task, intent: &Intent, lost: bool) -> bool {
        if task.counter > 0 {
            return match task.outcome.take() {
                Some(event) => self.finish(intent, event),
                None => self.give_up(intent),
            };
        }
        let vm = self.vms.get(&intent.vmid).filter(|vm| vm.name == intent.name && vm.agent);
        let registration = self.runners.iter().find(|(_, runner)| runner.name == intent.name).map(|(id, _)| *id);
        task.outcome = vm.filter(|_| !lost).map(|vm| match (&task.step, vm.armed, vm.jobs_taken > 0, registration) {
            (_, _, true, _) => Event::JobSeen { job: None },
            (Step::Probe, _, false, _) => Event::NoJobFound,
            (_, false, _, None) => Event::FoundUnarmed,
            (_, true, _, Some(runner_id)) => Event::FoundRegistered { repository: repository(), runner_id },
            _ => Event::Retire(Reason::Orphan),
        });
        true
    }

    fn watch_step(&mut self, task: &mut Task, intent: &Intent, lost: bool) -> bool {
        if task.counter > 0 {
            return match task.outcome.take() {
                Some(event) => self.finish(intent, event),
                None => self.give_up(intent),
            };
        }
        let vm = self.vms.get(&intent.vmid).filter(|vm| vm.name == intent.name);
        task.outcome = match vm {
            _ if lost => None,
            Some(vm) => (!vm.running).then_some(Event::PoweredOff),
            None => Some(Event::Vanished),
        };
        true
    }

    /// GitHub has been seen to accept the removal of a runner that has a job; here it always does.
    fn deregister_step(&mut self, task: &mut Task, intent: &Intent, lost: bool) -> bool {
        if task.counter > 0 {
            return self.finish(intent, Event::Deregistered);
        }
        self.runners.retain(|_, runner| runner.name != intent.name);
        if lost { self.give_up(intent) } else { true }
    }

    fn stop_step(&mut self, task: &mut Task, intent: &Intent, lost: bool) -> bool {
        if task.counter > 0 {
            return self.finish(intent, Event::Stopped);
        }
        let declared = matches!(intent.life.reason, Some(Reason::JobLimit));
        if let Some(vm) = self.vms.get_mut(&intent.vmid).filter(|vm| vm.name == intent.name) {
            assert!(vm.job.is_none() || declared, "I5: a running job was killed: {intent:#?}");
            power_off(vm);
        }
        if lost { self.give_up(intent) } else { true }
    }

    fn destroy_step(&mut self, task: &mut Task, intent: &Intent, lost: bool) -> bool {
        match task.counter {
            0 => {
                if intent.life.may_be_registered() && intent.life.reason != Some(Reason::Finished) {
                    self.runners.retain(|_, runner| runner.name != intent.name);
                }
                true
            }
            1 => {
                let written = self.ledger[&intent.name].life.state;
                assert_eq!(written, State::Destroying, "I10: it is not written down that {} is destroyed", intent.name);
                if self.vms.get(&intent.vmid).is_some_and(|vm| vm.name == intent.name) {
                    assert!(!self.vms[&intent.vmid].running, "a running VM would be destroyed: {intent:#?}");
                    self.vms.remove(&intent.vmid);
                }
                if lost { self.give_up(intent) } else { true }
            }
            _ => self.finish(intent, Event::Destroyed),
        }
    }
}

/// Micro-steps that call outside, so that their reply can be lost.
pub(super) fn is_call(task: &Task) -> bool {
    match task.step {
        Step::Clone => matches!(task.counter, 1 | 2),
        Step::Register { .. } => matches!(task.counter, 1 | 3),
        Step::Destroy => task.counter == 1,
        _ => task.counter == 0,
    }
}
