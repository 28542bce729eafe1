//! Everything that can happen next, and how often each fault may.

use ownership::{RunnerName, Vmid};

use super::effects::{Request, Running, failure};
use super::guests::GuestMove;
use super::{LONGEST_START, Violation, World};
use crate::unrecorded::LONGEST_CLONE;
use crate::*;

/// Kind of a fault. The move of the clock is one too, because it is limited in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum Fault {
    Pass,
    Crash,
    LedgerLoss,
    FailedCommit,
    LostReply,
    Refusal,
    Delay,
    Lasting,
    WrongGone,
    WrongList,
    LateList,
    Ghost,
    HandOver,
    Silence,
    Cut,
    PowerLoss,
    Rival,
    Moved,
    StartedAgain,
    Careless,
    Outage,
    Drain,
}

/// Number of kinds of faults.
const KINDS: usize = Fault::Drain as usize + 1;

/// Number of times that each fault may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) struct Faults([u16; KINDS]);

impl Faults {
    pub(in super::super) const NONE: Self = Self([0; KINDS]);

    /// Returns the faults with this one as often as `times`.
    pub(in super::super) const fn with(mut self, fault: Fault, times: u16) -> Self {
        self.0[fault as usize] = times;
        self
    }

    pub(in super::super) fn left(&self, fault: Fault) -> u16 {
        self.0[fault as usize]
    }

    fn spend(&mut self, fault: Fault) {
        self.0[fault as usize] -= 1;
    }
}

/// Way in which an effect fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum Failing {
    /// The effect takes place, and the reply is lost.
    Lost,
    /// The other side refuses the effect before it does anything.
    Refused,
    /// The effect takes place after the sender has given up.
    Delayed,
    /// It is refused for good.
    Lasting,
    /// The VM is wrongly called gone.
    WronglyGone,
    /// GitHub removes the registration of a runner that has a job.
    Careless,
}

impl Failing {
    const ALL: [Self; 6] = [Self::Lost, Self::Refused, Self::Delayed, Self::Lasting, Self::WronglyGone, Self::Careless];

    fn fault(self) -> Fault {
        match self {
            Self::Lost => Fault::LostReply,
            Self::Refused => Fault::Refusal,
            Self::Delayed => Fault::Delay,
            Self::Lasting => Fault::Lasting,
            Self::WronglyGone => Fault::WrongGone,
            Self::Careless => Fault::Careless,
        }
    }
}

/// A move of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) enum Move {
    /// An effect takes place.
    Happen(RunnerName),
    /// Its outcome arrives.
    Reply(RunnerName),
    /// An effect fails.
    Fail(RunnerName, Failing),
    /// A request takes effect that nobody waits for.
    Arrive(usize),
    /// A VM does something.
    Guest(Vmid, GuestMove),
    /// GitHub gives up a job whose VM is gone.
    GiveUp(u64),
    LookAtGuests,
    LookAtGithub,
    /// A list of guests leaves out this VM.
    WrongList(Vmid),
    /// A list is taken that arrives later; of GitHub's if true.
    Post(bool),
    /// It arrives.
    Deliver,
    /// The disk takes the changes.
    Commit,
    /// The disk refuses the changes.
    FailCommit,
    /// The process is killed, and starts again.
    Crash,
    /// The same, while the request of this effect is on its way.
    CrashInFlight(RunnerName),
    /// The machine of the process loses its power, while the request of this effect is on its way, and the process starts again
    /// with the records of the last synchronised commit.
    LosePower(Option<RunnerName>),
    /// The process is killed, and starts again without its records.
    CrashWithoutLedger,
    /// The drain begins.
    Drain,
    /// Time passes.
    Pass,
}

impl Move {
    /// Returns the fault that the move is, if it is one.
    pub(in super::super) fn fault(&self) -> Option<Fault> {
        Some(match self {
            Self::Fail(_, failing) => failing.fault(),
            Self::Guest(_, made) => return made.fault(),
            Self::WrongList(_) => Fault::WrongList,
            Self::Post(_) => Fault::LateList,
            Self::FailCommit => Fault::FailedCommit,
            Self::Crash | Self::CrashInFlight(_) => Fault::Crash,
            Self::LosePower(_) => Fault::Outage,
            Self::CrashWithoutLedger => Fault::LedgerLoss,
            Self::Drain => Fault::Drain,
            Self::Pass => Fault::Pass,
            _ => return None,
        })
    }
}

impl World {
    /// Returns everything that can happen next.
    pub(in super::super) fn moves(&self) -> Vec<Move> {
        let mut moves: Vec<Move> = Vec::new();
        for (name, running) in &self.running {
            self.effect_moves(name, running, &mut moves);
        }
        moves.extend((0..self.requests.len()).map(Move::Arrive));
        for (vmid, vm) in self.vms.iter().filter(|(_, vm)| vm.is_ours) {
            self.guest_moves(*vmid, vm, &mut moves);
            moves.push(Move::WrongList(*vmid));
        }
        moves.extend(self.cut_off_jobs().map(Move::GiveUp));
        if self.guests_have_news() {
            moves.push(Move::LookAtGuests);
        }
        if self.github_has_news() {
            moves.push(Move::LookAtGithub);
        }
        match self.late {
            Some(_) => moves.push(Move::Deliver),
            None => moves.extend([Move::Post(false), Move::Post(true)]),
        }
        if self.commit.is_some() {
            moves.extend([Move::Commit, Move::FailCommit]);
        }
        if !self.has_unknown_clone() {
            moves.extend([Move::Crash, Move::LosePower(None), Move::CrashWithoutLedger]);
            let in_flight = self.running.iter().filter(|(_, running)| running.answer.is_none());
            moves.extend(
                in_flight
                    .flat_map(|(name, _)| [Move::CrashInFlight(name.clone()), Move::LosePower(Some(name.clone()))]),
            );
        }
        if !self.fleet.is_draining() {
            moves.push(Move::Drain);
        }
        if self.can_pass() {
            moves.push(Move::Pass);
        }
        moves.retain(|made| made.fault().is_none_or(|fault| self.faults.left(fault) > 0));
        moves
    }

    fn effect_moves(&self, name: &RunnerName, running: &Running, moves: &mut Vec<Move>) {
        if running.answer.is_some() {
            return moves.push(Move::Reply(name.clone()));
        }
        if !self.can_happen(name, running) {
            return;
        }
        moves.push(Move::Happen(name.clone()));
        let fails = |failing: &Failing| self.faults.left(failing.fault()) > 0 && self.can_fail(name, running, *failing);
        moves.extend(Failing::ALL.into_iter().filter(fails).map(|failing| Move::Fail(name.clone(), failing)));
    }

    fn can_fail(&self, name: &RunnerName, running: &Running, failing: Failing) -> bool {
        let step = &running.step;
        match failing {
            Failing::Lost | Failing::Refused => true,
            // The other steps change nothing, so that it does not matter when they are carried out.
            Failing::Delayed => match step {
                Step::Clone { .. } => !running.asked,
                Step::Configure
                | Step::AwaitAgent
                | Step::Examine
                | Step::Watch
                | Step::Probe
                | Step::KeepDiagnostics => false,
                Step::Stop { asks_first } => {
                    !asks_first || self.vm_of(name).is_some_and(|vm| vm.answers() && vm.armed.is_none())
                }
                _ => true,
            },
            Failing::Lasting => matches!(
                step,
                Step::Clone { .. } | Step::Configure | Step::Start | Step::AwaitAgent | Step::Mint { .. } | Step::Arm
            ),
            Failing::WronglyGone => matches!(
                step,
                Step::Configure
                    | Step::Start
                    | Step::AwaitAgent
                    | Step::Watch
                    | Step::Probe
                    | Step::Examine
                    | Step::Stop { .. }
            ),
            Failing::Careless => matches!(step, Step::Deregister),
        }
    }

    /// Returns true if a clone is being made that only a process without records looks for. A second crash in the seconds that it
    /// takes would let it be overlooked.
    fn has_unknown_clone(&self) -> bool {
        let is_recorded = |vmid: &Vmid| self.fleet.records().any(|intent| intent.is_live() && intent.vmid == *vmid);
        self.forgot && self.vms.iter().any(|(vmid, vm)| !vm.complete && !is_recorded(vmid))
    }

    /// Returns true if time may pass. A job that was handed over starts within 60 s, a clone that was found hidden is complete
    /// within 120 s, and a request arrives or is lost.
    fn can_pass(&self) -> bool {
        let age = |at: jiff::Timestamp| (self.now + self.rules.pass).duration_since(at);
        let is_early = |at: jiff::Timestamp| age(at) <= LONGEST_START;
        let in_the_making = |vmid: &Vmid| self.vms.get(vmid).is_some_and(|vm| !vm.complete && !vm.cut);
        let mut hidden = self.fleet.unrecorded.hidden.iter().filter(|(vmid, _)| in_the_making(vmid));
        self.vms.values().all(|vm| vm.handed.is_none_or(|(_, at)| is_early(at)))
            && hidden.all(|(_, hidden)| age(hidden.since) < LONGEST_CLONE)
    }

    /// Makes one move, then lets the fleet decide, as the engine does.
    pub(in super::super) fn make(&mut self, made: &Move) -> Result<(), Violation> {
        self.tick();
        if let Some(fault) = made.fault() {
            self.faults.spend(fault);
        }
        match made {
            Move::Happen(name) => self.happen(name)?,
            Move::Reply(name) => self.reply(name),
            Move::Fail(name, failing) => self.fail(name, *failing)?,
            Move::Arrive(index) => {
                let request = self.requests.remove(*index);
                self.arrive(request)?;
            }
            Move::Guest(vmid, made) => self.move_guest(*vmid, *made),
            Move::GiveUp(job) => self.give_up_job(*job),
            Move::LookAtGuests => self.look_at_guests(None),
            Move::LookAtGithub => self.look_at_github(),
            Move::WrongList(vmid) => self.look_at_guests(Some(*vmid)),
            Move::Post(is_github) => self.post(*is_github),
            Move::Deliver => self.deliver(),
            Move::Commit => self.write()?,
            Move::FailCommit => {
                self.commit = None;
                self.fleet.take(Input::NotCommitted, self.now);
            }
            Move::Crash => self.restart(),
            Move::CrashInFlight(name) => {
                let sent = self.sent(name);
                self.restart();
                self.requests.extend(sent);
            }
            Move::LosePower(name) => {
                let sent = name.as_ref().and_then(|name| self.sent(name));
                self.disk = self.safe.clone();
                self.restart();
                self.requests.extend(sent);
            }
            Move::CrashWithoutLedger => {
                self.disk.clear();
                self.forgot = true;
                // Nobody can know of a request that is on its way and has no record.
                self.requests.clear();
                self.restart();
                self.fleet.unrecorded.needs_census = true;
            }
            Move::Drain => self.fleet.take(Input::Draining(true), self.now),
            Move::Pass => self.pass_time(),
        }
        self.disconnect();
        self.tamper();
        self.decide()?;
        self.check()
    }

    /// Each move has a time of its own, so that the order of any two is known.
    pub(super) fn tick(&mut self) {
        self.now += jiff::SignedDuration::from_nanos(1);
    }

    fn pass_time(&mut self) {
        self.now += self.rules.pass;
        self.started.clear();
        self.requests.retain(|request| !request.is_old);
        self.requests.iter_mut().for_each(|request| request.is_old = true);
    }

    fn happen(&mut self, name: &RunnerName) -> Result<(), Violation> {
        let Some(step) = self.running.get(name).map(|running| running.step.clone()) else { return Ok(()) };
        self.check_written(name, &step)?;
        let answer = self.carry_out(name, &step)?;
        if let Some(running) = self.running.get_mut(name) {
            running.asked = true;
            running.answer = answer;
        }
        if !self.rules.slow_replies {
            self.reply(name);
        }
        Ok(())
    }

    fn reply(&mut self, name: &RunnerName) {
        if let Some(outcome) = self.running.get(name).and_then(|running| running.answer.clone()) {
            self.end(name, outcome);
        }
    }

    fn end(&mut self, name: &RunnerName, outcome: Outcome) {
        if let Some(running) = self.running.remove(name) {
            let outcome = self.tampered(&running.step, outcome);
            self.fleet.take(Input::Ended(name.clone(), outcome), self.now);
        }
    }

    fn fail(&mut self, name: &RunnerName, failing: Failing) -> Result<(), Violation> {
        let Some(step) = self.running.get(name).map(|running| running.step.clone()) else { return Ok(()) };
        if let Some(vm) = self.vm_mut(name).filter(|_| step == Step::KeepDiagnostics) {
            vm.diagnosed = true;
        }
        let kind = match (failing, &step) {
            (Failing::Lost, _) => {
                self.check_written(name, &step)?;
                self.carry_out(name, &step)?;
                FailureKind::Passing
            }
            (Failing::Refused, Step::Mint { .. } | Step::Clone { is_first: true }) => FailureKind::Refused,
            (Failing::Refused, _) => FailureKind::Passing,
            (Failing::Delayed, _) => {
                let sent = self.sent(name);
                self.requests.extend(sent);
                FailureKind::Passing
            }
            (Failing::Lasting, _) => FailureKind::Lasting,
            (Failing::WronglyGone, _) => FailureKind::Gone,
            (Failing::Careless, _) => {
                self.runners.retain(|_, runner| runner.name != *name);
                self.end(name, Ok(Success::Done));
                return Ok(());
            }
        };
        self.secrets.remove(name);
        self.end(name, failure(kind));
        Ok(())
    }

    /// Returns the request of an effect that is on its way.
    fn sent(&self, name: &RunnerName) -> Option<Request> {
        let step = self.running.get(name)?.step.clone();
        let secret = self.secrets.get(name).copied();
        Some(Request { effect: Effect { name: name.clone(), step }, secret, is_old: false })
    }
}
