//! The execution of effects by Proxmox VE, GitHub and the guests, with their outcomes.

use ownership::{RunnerName, Vmid};

use super::super::fixture::repository;
use super::{FOREIGN_RUNNER, Mutant, Runner, Violation, Vm, World};
use crate::*;

/// Most times in a row that one step of a VM is started while the clock stands.
const MOST_BEGINS: u8 = 3;

/// An effect that the process carries out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct Running {
    pub(super) step: Step,
    /// True once the clone was asked for.
    pub(super) asked: bool,
    /// Outcome that has not arrived yet.
    pub(super) answer: Option<Outcome>,
}

/// A request that takes effect although nobody waits for its answer any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) effect: Effect,
    pub(super) secret: Option<u64>,
    /// True once the clock has moved since it was sent. It is lost at the next move.
    pub(super) is_old: bool,
}

pub(super) fn failure(kind: FailureKind) -> Outcome {
    Err(Failure { kind, message: "fault".to_owned(), retry_at: None })
}

fn number(step: &Step) -> u8 {
    match step {
        Step::Clone { .. } => 0,
        Step::Configure => 1,
        Step::Start => 2,
        Step::AwaitAgent => 3,
        Step::Mint { .. } => 4,
        Step::Arm => 5,
        Step::Examine => 6,
        Step::Deregister => 7,
        Step::Watch => 8,
        Step::Probe => 9,
        Step::Stop { .. } => 10,
        Step::Destroy => 11,
        Step::DestroyLent { .. } => 12,
        Step::RemoveRegistration { .. } => 13,
        Step::KeepDiagnostics => 14,
    }
}

impl World {
    /// Begins an effect, as the engine does.
    pub(super) fn begin(&mut self, effect: Effect) -> Result<(), Violation> {
        let number = number(&effect.step);
        let (last, count) = self.started.entry(effect.name.clone()).or_default();
        *count = if *last == number { *count + 1 } else { 1 };
        *last = number;
        if *count > MOST_BEGINS {
            return Err(Violation(format!("I11: {effect:?} is started again and again")));
        }
        let Effect { name, step } = effect;
        let earlier = self.running.insert(name.clone(), Running { step, asked: false, answer: None });
        match earlier {
            Some(earlier) => Err(Violation(format!("{name} has two effects under way, one of them {earlier:?}"))),
            None => Ok(()),
        }
    }

    /// Returns true if the effect can take place now. An effect that waits for something cannot.
    pub(super) fn can_happen(&self, name: &RunnerName, running: &Running) -> bool {
        let vm = self.vm_of(name);
        match running.step {
            Step::Clone { .. } if running.asked => vm.is_none_or(|vm| vm.complete || vm.cut),
            Step::Clone { is_first: false } => vm.is_none_or(|vm| vm.complete || vm.cut),
            Step::AwaitAgent => vm.is_none_or(|vm| vm.agent || vm.mute || !vm.running),
            _ => true,
        }
    }

    /// Carries out an effect. Returns its outcome, or `None` if that takes longer.
    pub(super) fn carry_out(&mut self, name: &RunnerName, step: &Step) -> Result<Option<Outcome>, Violation> {
        let outcome = match step {
            Step::Clone { .. } => return Ok(self.clone_vm(name)),
            Step::Configure => self.on_vm(name, |_| Ok(Success::Done)),
            Step::Start => self.on_vm(name, |vm| {
                vm.running = true;
                Ok(Success::Done)
            }),
            Step::AwaitAgent => self.on_vm(name, |vm| match vm.answers() {
                true => Ok(Success::Done),
                false => failure(FailureKind::Passing),
            }),
            Step::Mint { .. } => self.mint(name)?,
            Step::Arm => self.arm(name, self.secrets.get(name).copied())?,
            Step::Examine => self.examine(name),
            Step::Deregister => self.deregister(name),
            Step::Watch => self.on_vm(name, |vm| Ok(Success::Watched { is_off: !vm.running })),
            Step::Probe => self.on_vm(name, |vm| match vm.answers() {
                true => Ok(Success::Probed { sign: vm.sign() }),
                false => failure(FailureKind::Passing),
            }),
            Step::KeepDiagnostics => self.on_vm(name, |vm| {
                vm.diagnosed = true;
                match vm.answers() {
                    true => Ok(Success::Kept { file: "kept/vm.log".to_owned() }),
                    false => Ok(Success::NothingToKeep),
                }
            }),
            Step::Stop { asks_first } => self.stop(name, *asks_first && !self.has(Mutant::StopUnasked))?,
            Step::Destroy => self.destroy(name),
            Step::DestroyLent { .. } => return Err(Violation(format!("I4: {name} was not lent"))),
            Step::RemoveRegistration { runner_id, .. } => self.remove_registration(name, *runner_id)?,
        };
        Ok(Some(outcome))
    }

    /// Lets a request take effect that nobody waits for.
    pub(super) fn arrive(&mut self, request: Request) -> Result<(), Violation> {
        let name = &request.effect.name;
        match &request.effect.step {
            Step::Clone { .. } if !self.vms.contains_key(&name.vmid()) => {
                self.vms.insert(name.vmid(), Vm::new(name.clone()));
            }
            Step::Clone { .. } => {}
            Step::Arm => drop(self.arm(name, request.secret)?),
            Step::Mint { .. } if self.runner_of(name).is_none() => {
                self.register(name);
            }
            Step::Mint { .. } => {}
            Step::Stop { .. } => drop(self.stop(name, false)?),
            step => drop(self.carry_out(name, step)?),
        }
        Ok(())
    }

    /// Acts on a VM of this very name, wherever it is.
    fn on_vm(&mut self, name: &RunnerName, act: impl FnOnce(&mut Vm) -> Outcome) -> Outcome {
        match self.vm_mut(name) {
            None => failure(FailureKind::Gone),
            Some(vm) if !vm.complete => failure(FailureKind::Passing),
            Some(vm) => act(vm),
        }
    }

    fn clone_vm(&mut self, name: &RunnerName) -> Option<Outcome> {
        let vmid: Vmid = name.vmid();
        match self.vms.get(&vmid) {
            None => {
                self.vms.insert(vmid, Vm::new(name.clone()));
                None
            }
            Some(vm) if vm.name != *name => Some(failure(FailureKind::VmidTaken)),
            Some(vm) if vm.cut => Some(failure(FailureKind::HalfMade)),
            Some(vm) => vm.complete.then_some(Ok(Success::Done)),
        }
    }

    fn mint(&mut self, name: &RunnerName) -> Result<Outcome, Violation> {
        if self.runner_of(name).is_some() {
            // GitHub refuses a name that is taken.
            self.check_mint(name)?;
            return Ok(failure(FailureKind::Lasting));
        }
        let runner_id = self.register(name);
        self.secrets.insert(name.clone(), runner_id);
        Ok(Ok(Success::Minted { runner_id }))
    }

    /// Makes a registration. Its number follows from its name, so that the order in which names were registered does not
    /// distinguish worlds.
    pub(super) fn register(&mut self, name: &RunnerName) -> u64 {
        let id = name.nonce().as_str().trim_start_matches(['n', '0']).parse().unwrap();
        self.runners.insert(id, Runner { name: name.clone(), online: false, busy: false });
        id
    }

    fn arm(&mut self, name: &RunnerName, secret: Option<u64>) -> Result<Outcome, Violation> {
        let (now, had_rival) = (self.now, self.had_rival());
        let Some(secret) = secret else { return Ok(failure(FailureKind::Lost)) };
        let Some(vm) = self.vm_mut(name) else { return Ok(failure(FailureKind::Gone)) };
        if !vm.answers() {
            return Ok(failure(FailureKind::Passing));
        }
        if vm.armed.is_some() && !had_rival {
            return Err(Violation(format!("I1: {name} is given a second registration")));
        }
        // The guest's runner starts once, so that a second registration does nothing.
        vm.armed.get_or_insert((secret, now));
        vm.used = true;
        self.secrets.remove(name);
        Ok(Ok(Success::Done))
    }

    fn examine(&mut self, name: &RunnerName) -> Outcome {
        let registration = self.runner_of(name).map(|id| (repository(), id));
        self.on_vm(name, |vm| match vm.answers() {
            true => Ok(Success::Examined { sign: vm.sign(), registration }),
            false => failure(FailureKind::Passing),
        })
    }

    fn deregister(&mut self, name: &RunnerName) -> Outcome {
        match self.runner_of(name) {
            Some(id) if self.runners[&id].busy => Ok(Success::RefusedBusy),
            Some(id) => {
                self.runners.remove(&id);
                Ok(Success::Done)
            }
            None => Ok(Success::Done),
        }
    }

    fn stop(&mut self, name: &RunnerName, asks: bool) -> Result<Outcome, Violation> {
        let Some(vm) = self.vm_of(name) else { return Ok(failure(FailureKind::Gone)) };
        if !vm.complete {
            return Ok(failure(if vm.cut { FailureKind::HalfMade } else { FailureKind::Passing }));
        }
        if asks && vm.running {
            match (vm.answers(), vm.sign()) {
                (false, _) => return Ok(failure(FailureKind::Passing)),
                (true, Sign::Unarmed) => {}
                (true, sign) => return Ok(Ok(Success::FoundArmed { job: sign == Sign::Job })),
            }
        }
        self.check_stop(vm)?;
        self.check_diagnosed(vm)?;
        Ok(self.on_vm(name, |vm| {
            vm.power_off();
            Ok(Success::Done)
        }))
    }

    fn destroy(&mut self, name: &RunnerName) -> Outcome {
        let life = self.fleet.record(name).map(|intent| &intent.life);
        let may_be_registered =
            life.is_some_and(|life| life.may_be_registered() && life.reason != Some(Reason::Finished));
        if may_be_registered {
            self.deregister(name).ok();
        }
        if self.has(Mutant::NeverDestroyed) {
            return Ok(Success::Done);
        }
        let Some(vm) = self.vm_of(name) else { return failure(FailureKind::Gone) };
        match (vm.complete, vm.cut, vm.running) {
            (false, true, _) => failure(FailureKind::HalfMade),
            (false, false, _) => failure(FailureKind::Passing),
            (true, _, true) => failure(FailureKind::StillRunning),
            (true, _, false) => {
                self.vms.remove(&name.vmid());
                Ok(Success::Done)
            }
        }
    }

    fn remove_registration(&mut self, name: &RunnerName, runner_id: Option<u64>) -> Result<Outcome, Violation> {
        if self.has(Mutant::RegistrationStays) {
            return Ok(Ok(Success::Done));
        }
        let Some(id) = runner_id.or_else(|| self.runner_of(name)) else { return Ok(Ok(Success::Done)) };
        match self.runners.get(&id) {
            Some(runner) if runner.name != *name || id == FOREIGN_RUNNER => {
                Err(Violation(format!("I4: the registration of {} is removed as that of {name}", runner.name)))
            }
            Some(runner) if runner.busy => Ok(Ok(Success::RefusedBusy)),
            _ => {
                self.runners.remove(&id);
                Ok(Ok(Success::Done))
            }
        }
    }
}
