//! A toy world: PVE, GitHub and guests as one value, and an executor of single micro-steps over it, so that a test can stop, repeat,
//! reorder and lose anything between any two of them.
//!
//! It follows what is documented of the real ones, unpleasant parts included: a deletion that GitHub accepts although a job runs, a
//! listener that never notices that its registration is gone, clones that are invisible until they are complete.

mod looks;
mod steps;

use std::collections::BTreeMap;

use super::fixture::{at, repository, vmid};
use crate::*;
use dispatcher_api::Config;
use jiff::Timestamp;
use looks::never;
use ownership::{PoolName, RunnerName, Vmid};
pub(super) use steps::Task;
use steps::is_call;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Vm {
    pub(super) name: RunnerName,
    pub(super) complete: bool,
    pub(super) running: bool,
    pub(super) agent: bool,
    pub(super) armed: bool,
    /// Does not notice that its registration is gone.
    pub(super) ghost: bool,
    pub(super) job: Option<u64>,
    pub(super) jobs_taken: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Runner {
    pub(super) name: RunnerName,
    pub(super) online: bool,
    pub(super) busy: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct WorldJob {
    pub(super) phase: JobPhase,
    pub(super) runner: Option<RunnerName>,
}

/// What can happen next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Move {
    /// A task does its next micro-step.
    Advance(RunnerName),
    /// The same, but the reply to an outside call is lost: it has happened, and the dispatcher does not know.
    Lose(RunnerName),
    /// The clone at this VMID is complete.
    CloneDone(Vmid),
    /// The guest has booted.
    Booted(Vmid),
    /// The guest's runner connects.
    Online(Vmid),
    /// The runner takes a job.
    Take(Vmid, u64),
    /// The job ends, and the guest powers itself off.
    End(Vmid),
    /// An idle listener without a registration exits, and the guest powers itself off.
    Exit(Vmid),
    /// It does not, for ever.
    Haunt(Vmid),
    LookAtGuests,
    LookAtGithub,
    /// Time passes without anything happening.
    Pass,
    /// The process is killed, and starts again.
    Crash,
    /// The same, and the ledger is lost.
    CrashWithoutLedger,
}

/// How much may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    pub(super) crashes: u8,
    pub(super) ledger_losses: u8,
    pub(super) lost_replies: u8,
    pub(super) ghosts: u8,
    pub(super) passes: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) now: i64,
    pub(super) config: std::rc::Rc<Hashless<Config>>,
    pub(super) vms: BTreeMap<Vmid, Vm>,
    pub(super) runners: BTreeMap<u64, Runner>,
    pub(super) jobs: BTreeMap<u64, WorldJob>,
    pub(super) ledger: BTreeMap<RunnerName, Intent>,
    pub(super) observed: Observed,
    pub(super) tasks: BTreeMap<RunnerName, Task>,
    pub(super) faults: Faults,
    census: bool,
    names: u32,
    runner_ids: u64,
}

/// Never changes during a run, so it need not be compared.
#[derive(Debug, Clone)]
pub(super) struct Hashless<T>(pub(super) T);
impl<T> PartialEq for Hashless<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<T> Eq for Hashless<T> {}
impl<T> std::hash::Hash for Hashless<T> {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

/// A guest that somebody else runs in the pool's range.
pub(super) fn foreign() -> Vmid {
    vmid(9103)
}

impl World {
    pub(super) fn new(config: Config, jobs: u64, faults: Faults) -> Self {
        let stranger = Vm {
            name: "other-precious-9103-aaaaaa".parse().unwrap(),
            complete: true,
            running: true,
            agent: false,
            armed: false,
            ghost: false,
            job: None,
            jobs_taken: 0,
        };
        let queued = WorldJob { phase: JobPhase::Queued, runner: None };
        let mut world = Self {
            now: 0,
            config: std::rc::Rc::new(Hashless(config)),
            vms: [(foreign(), stranger)].into(),
            runners: BTreeMap::new(),
            jobs: (1..=jobs).map(|id| (id, queued.clone())).collect(),
            ledger: BTreeMap::new(),
            observed: Observed::default(),
            tasks: BTreeMap::new(),
            faults,
            census: true,
            names: 0,
            runner_ids: 0,
        };
        world.decide();
        world
    }

    /// The world in a few lines, for messages.
    pub(super) fn brief(&self) -> String {
        let ledger: Vec<_> = self
            .ledger
            .values()
            .filter(|intent| intent.is_live())
            .map(|intent| (&intent.name, &intent.life, intent.retry_at))
            .collect();
        format!(
            "now {:?}\nvms {:?}\nrunners {:?}\njobs {:?}\nledger {ledger:?}\ntasks {:?}\nobserved {:?}\nmoves {:?}",
            self.time(),
            self.vms,
            self.runners,
            self.jobs,
            self.tasks,
            self.observed,
            self.moves()
        )
    }

    fn time(&self) -> Timestamp {
        at(self.now)
    }

    pub(super) fn ours(&self) -> usize {
        self.vms.keys().filter(|vmid| **vmid != foreign()).count()
    }

    /// All jobs are over and nothing is left of any of them.
    pub(super) fn is_finished(&self) -> bool {
        let over = self.jobs.values().all(|job| job.phase == JobPhase::Completed);
        over && self.ours() == 0 && self.runners.is_empty() && !self.ledger.values().any(Intent::is_live)
    }

    /// Everything that can happen next.
    pub(super) fn moves(&self) -> Vec<Move> {
        let mut moves: Vec<Move> = Vec::new();
        for (name, task) in &self.tasks {
            if self.can_advance(name, task) {
                moves.push(Move::Advance(name.clone()));
                if self.faults.lost_replies > 0 && is_call(task) {
                    moves.push(Move::Lose(name.clone()));
                }
            }
        }
        for (vmid, vm) in self.vms.iter().filter(|(vmid, _)| **vmid != foreign()) {
            moves.extend(self.guest_moves(*vmid, vm));
        }
        if self.guests_now()
            != self
                .observed
                .guests
                .as_ref()
                .map(|guests| Guests { taken_at: at(0), ..guests.clone() })
                .unwrap_or(never())
            || self.has_news()
        {
            moves.push(Move::LookAtGuests);
        }
        if self.github_changed() || self.has_news() {
            moves.push(Move::LookAtGithub);
        }
        if self.faults.passes > 0 {
            moves.push(Move::Pass);
        }
        if self.faults.crashes > 0 {
            moves.push(Move::Crash);
        }
        if self.faults.ledger_losses > 0 {
            moves.push(Move::CrashWithoutLedger);
        }
        moves
    }

    fn guest_moves(&self, vmid: Vmid, vm: &Vm) -> Vec<Move> {
        let mut moves = Vec::new();
        if !vm.complete {
            moves.push(Move::CloneDone(vmid));
        }
        if vm.running && !vm.agent {
            moves.push(Move::Booted(vmid));
        }
        let runner = self.runners.values().find(|runner| runner.name == vm.name);
        match (vm.running && vm.armed && !vm.ghost, vm.job, runner) {
            (true, Some(_), _) => moves.push(Move::End(vmid)),
            (true, None, Some(runner)) if !runner.online => moves.push(Move::Online(vmid)),
            (true, None, Some(_)) => {
                let queued = self.jobs.iter().filter(|(_, job)| job.phase == JobPhase::Queued);
                moves.extend(queued.map(|(id, _)| Move::Take(vmid, *id)));
            }
            (true, None, None) => {
                moves.push(Move::Exit(vmid));
                if self.faults.ghosts > 0 {
                    moves.push(Move::Haunt(vmid));
                }
            }
            (false, _, _) => {}
        }
        moves
    }

    /// A fact is younger than the last look.
    fn has_news(&self) -> bool {
        let youngest = self.ledger.values().map(|intent| intent.life.since).max();
        let guests = self.observed.guests.as_ref().map(|guests| guests.taken_at);
        let jobs =
            self.observed.repositories.get(&repository()).and_then(|seen| seen.jobs.as_ref()).map(|jobs| jobs.taken_at);
        youngest.is_some_and(|youngest| guests.is_none_or(|at| at <= youngest) || jobs.is_none_or(|at| at <= youngest))
    }

    /// Makes one move, then lets the core decide, as the loop does. Panics where an invariant breaks.
    pub(super) fn make(&mut self, made: &Move) {
        match made {
            Move::Advance(name) => self.advance(name, false),
            Move::Lose(name) => {
                self.faults.lost_replies -= 1;
                self.advance(name, true);
            }
            Move::CloneDone(vmid) => self.vm(*vmid).complete = true,
            Move::Booted(vmid) => self.vm(*vmid).agent = true,
            Move::Online(vmid) => self.connect(*vmid),
            Move::Take(vmid, job) => self.take(*vmid, *job),
            Move::End(vmid) => self.end(*vmid),
            Move::Exit(vmid) => power_off(self.vm(*vmid)),
            Move::Haunt(vmid) => {
                self.faults.ghosts -= 1;
                self.vm(*vmid).ghost = true;
            }
            Move::LookAtGuests => self.look_at_guests(),
            Move::LookAtGithub => self.look_at_github(),
            Move::Pass => {
                self.faults.passes -= 1;
                self.now += 80;
            }
            Move::Crash => {
                self.faults.crashes -= 1;
                self.restart();
            }
            Move::CrashWithoutLedger => {
                self.faults.ledger_losses -= 1;
                self.ledger.clear();
                self.census = true;
                self.restart();
            }
        }
        self.decide();
        self.check();
    }

    /// The same world with its times replaced by their order, so far as only that matters: two ways to it count as one.
    pub(super) fn canonical(&self) -> Self {
        let mut world = self.clone();
        let mut times: Vec<Timestamp> = vec![self.time()];
        world.each_time(|time| times.push(*time));
        times.sort();
        times.dedup();
        let mut ranks = vec![0_i64];
        for pair in times.windows(2) {
            let gap = pair[1].duration_since(pair[0]).as_secs();
            ranks.push(ranks.last().unwrap() + if gap < 5 { 1 } else { gap });
        }
        let last = *ranks.last().unwrap();
        let rank = |time: Timestamp| at(ranks[times.binary_search(&time).unwrap()] - last);
        world.each_time(|time| *time = rank(*time));
        world.now = 0;
        world
    }

    fn each_time(&mut self, mut visit: impl FnMut(&mut Timestamp)) {
        for intent in self.ledger.values_mut() {
            let life = &mut intent.life;
            visit(&mut intent.created_at);
            visit(&mut life.since);
            let optional = [
                &mut life.armed_at,
                &mut life.busy_at,
                &mut life.job_over_at,
                &mut life.ended_at,
                &mut life.negative_at,
            ];
            optional.into_iter().flatten().for_each(&mut visit);
            intent.retry_at.iter_mut().for_each(&mut visit);
        }
        self.observed.guests.iter_mut().for_each(|guests| visit(&mut guests.taken_at));
        for seen in self.observed.repositories.values_mut() {
            seen.jobs.iter_mut().for_each(|jobs| visit(&mut jobs.taken_at));
            seen.runners.iter_mut().for_each(|runners| visit(&mut runners.taken_at));
        }
    }

    fn vm(&mut self, vmid: Vmid) -> &mut Vm {
        self.vms.get_mut(&vmid).unwrap()
    }

    fn connect(&mut self, vmid: Vmid) {
        let name = self.vms[&vmid].name.clone();
        for runner in self.runners.values_mut().filter(|runner| runner.name == name) {
            runner.online = true;
        }
    }

    fn take(&mut self, vmid: Vmid, job: u64) {
        let vm = self.vm(vmid);
        vm.job = Some(job);
        vm.jobs_taken += 1;
        let name = vm.name.clone();
        for runner in self.runners.values_mut().filter(|runner| runner.name == name) {
            runner.busy = true;
        }
        *self.jobs.get_mut(&job).unwrap() = WorldJob { phase: JobPhase::Running, runner: Some(name) };
    }

    fn end(&mut self, vmid: Vmid) {
        let vm = self.vm(vmid);
        let job = vm.job.take();
        power_off(vm);
        let name = vm.name.clone();
        self.runners.retain(|_, runner| runner.name != name);
        if let Some(job) = job.and_then(|job| self.jobs.get_mut(&job)) {
            job.phase = JobPhase::Completed;
        }
    }

    fn restart(&mut self) {
        self.tasks.clear();
        self.observed = Observed::default();
        for intent in self.ledger.values_mut() {
            intent.retry_at = None;
        }
    }

    // --- the dispatcher's loop ---

    fn decide(&mut self) {
        for _ in 0..6 {
            self.observed.in_flight = self.tasks.keys().cloned().collect();
            let intents: Vec<Intent> = self.ledger.values().cloned().collect();
            let actions = reconcile(&self.observed, &intents, &self.config.0, self.time());
            if !self.act(actions) {
                return;
            }
        }
        panic!("the core never comes to rest: {self:#?}");
    }

    fn act(&mut self, actions: Vec<Action>) -> bool {
        let mut written = false;
        for action in actions {
            match action {
                Action::Note { name, event } => written |= self.note(&name, &event),
                Action::Reserve { pool, vmid } => {
                    assert_ne!(vmid, foreign(), "I4: a VMID of somebody else");
                    self.names += 1;
                    self.add(pool, vmid, Life::reserved(self.time()), None);
                    written = true;
                }
                Action::Adopt { pool, vmid } => {
                    let vm = self.vms[&vmid].clone();
                    self.add(pool, vmid, Life::adopted(vm.running, self.time()), Some(vm.name));
                    written = true;
                }
                Action::Step { name, step } => {
                    assert!(step.fits(self.ledger[&name].life.state), "{step:?} for {:?}", self.ledger[&name]);
                    self.tasks.insert(name, Task::begin(step));
                }
                Action::RemoveRegistration { runner_id, .. } => {
                    self.runners.remove(&runner_id);
                    let seen = self.observed.repositories.get_mut(&repository()).unwrap();
                    seen.runners.as_mut().unwrap().list.retain(|runner| runner.id != runner_id);
                }
                Action::DestroyLent { .. } => panic!("nothing is lent"),
            }
        }
        written
    }

    fn add(&mut self, pool: PoolName, vmid: Vmid, life: Life, name: Option<RunnerName>) {
        let name = name.unwrap_or_else(|| format!("lab-ubuntu-{vmid}-{:06}", self.names).parse().unwrap());
        let template = self.config.0.pools[0].template.vmid;
        assert!(
            !self.ledger.values().any(|intent| intent.vmid == vmid && intent.is_live()),
            "two live records of {vmid}"
        );
        let intent = Intent {
            name: name.clone(),
            pool,
            vmid,
            node: "pve1".parse().unwrap(),
            template,
            resource_pool: "ci".into(),
            created_at: self.time(),
            life,
            retry_at: None,
            failure: None,
        };
        self.ledger.insert(name, intent);
    }

    fn note(&mut self, name: &RunnerName, event: &Event) -> bool {
        let now = self.time();
        let Some(intent) = self.ledger.get_mut(name) else { return false };
        match intent.life.after(event, now) {
            Ok(life) => {
                intent.life = life;
                intent.retry_at = None;
                true
            }
            Err(_) => false,
        }
    }

    // --- invariants ---

    fn check(&self) {
        let max = usize::try_from(self.config.0.pools[0].max).unwrap();
        assert!(self.ours() <= max, "I2: {} VMs where {max} are allowed: {self:#?}", self.ours());
        assert!(self.vms.values().all(|vm| vm.jobs_taken <= 1), "I1: two jobs on one VM: {self:#?}");
        assert!(self.vms.get(&foreign()).is_some_and(|vm| vm.running), "I4: a guest of somebody else was touched");
    }
}

fn power_off(vm: &mut Vm) {
    vm.running = false;
    vm.agent = false;
}
