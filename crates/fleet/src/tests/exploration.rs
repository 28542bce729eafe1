//! Every order of events in a small world, within bounds; each state is checked, and from each sampled one a fair future must lead to
//! the end of all jobs with nothing left.
//!
//! One kind of fault happens at a time. The ordinary run ends early where the world is large: `cargo xtask explore` goes on.

use std::collections::{HashMap, VecDeque};

use jiff::SignedDuration;

use super::world::{Fault, Faults, Move, Mutant, Rules, Violation, World};

/// The states that were reached.
#[derive(Debug)]
struct Explored {
    states: usize,
    is_complete: bool,
    breach: Option<String>,
}

/// Breadth-first search, so that the first breach has the shortest way to it.
struct Explorer {
    start: World,
    /// Number of each state by its fingerprint.
    seen: HashMap<u64, usize>,
    /// Predecessor of each state, and the move from there.
    ways: Vec<(usize, Option<Move>)>,
    queue: VecDeque<(usize, World)>,
}

impl Explorer {
    fn new(start: World) -> Self {
        Self {
            seen: [(start.fingerprint(), 0)].into(),
            ways: vec![(0, None)],
            queue: [(0, start.clone())].into(),
            start,
        }
    }

    /// Explores until all states are known, or at least `most`. A fair future is tried from each state whose number `sample` divides.
    fn explore(mut self, most: usize, sample: usize) -> Explored {
        let mut breach = None;
        while breach.is_none() && self.ways.len() < most {
            let Some((number, world)) = self.queue.pop_front() else { break };
            breach = self.expand(number, &world, number.is_multiple_of(sample)).err();
        }
        Explored { states: self.ways.len(), is_complete: self.queue.is_empty() && breach.is_none(), breach }
    }

    fn expand(&mut self, number: usize, world: &World, tries_future: bool) -> Result<(), String> {
        if tries_future {
            ends_well(world.clone()).map_err(|Violation(text)| self.tell(number, None, &text))?;
        }
        for made in world.moves() {
            let mut next = world.clone();
            next.make(&made).map_err(|Violation(text)| self.tell(number, Some(made.clone()), &text))?;
            let found = self.ways.len();
            if *self.seen.entry(next.fingerprint()).or_insert(found) == found {
                self.ways.push((number, Some(made)));
                self.queue.push_back((found, next));
            }
        }
        Ok(())
    }

    /// Returns the breach with the way to it.
    fn tell(&self, number: usize, last: Option<Move>, text: &str) -> String {
        let mut way = Vec::new();
        let mut at = number;
        while let (before, Some(made)) = &self.ways[at] {
            way.push(made.clone());
            at = *before;
        }
        way.reverse();
        way.extend(last);
        let lines: Vec<String> = way.iter().map(|made| format!("  {made:?}")).collect();
        let mut world = self.start.clone();
        let made = way.iter().take_while(|made| world.make(made).is_ok()).count();
        format!("{text}\nafter {made} moves:\n{}\n{}", lines.join("\n"), world.brief())
    }
}

/// Most moves of a fair future.
const LONGEST_FUTURE: usize = 6_000;

/// Follows a future in which everything that can happen does, and no further fault happens (I3, I7, I8).
pub(super) fn ends_well(mut world: World) -> Result<(), Violation> {
    world.faults = Faults::NONE.with(Fault::Pass, u16::MAX);
    let drains = world.fleet.is_draining();
    for turn in 0..LONGEST_FUTURE {
        if world.is_finished() || (drains && world.is_clean()) {
            return Ok(());
        }
        let moves = world.moves();
        let Some(next) = moves.iter().min_by_key(|made| urgency(made, turn)) else { break };
        world.make(next)?;
    }
    Err(Violation(format!("I3, I7: this does not come to an end: {}", world.brief())))
}

/// Guests and effects go on first; looks follow; time passes when nothing else is left.
fn urgency(made: &Move, turn: usize) -> u8 {
    match made {
        Move::Commit => 0,
        Move::Pass => 9,
        Move::LookAtGuests => 5,
        Move::LookAtGithub => 4 + 2 * u8::from(turn.is_multiple_of(2)),
        _ => 1,
    }
}

/// A world to explore.
#[derive(Debug, Clone, Copy)]
struct Case {
    kind: Fault,
    /// Number of VMs that the pool may have.
    size: u32,
    jobs: u64,
    /// VMIDs that the pool has in addition.
    spare: u32,
    passes: u16,
    pass_seconds: i64,
    /// True if the exploration begins when the first VM waits for a job.
    from_idle: bool,
    /// Number of VMs that may be in quarantine.
    quota: u32,
    mutant: Option<Mutant>,
}

impl Case {
    const fn new(kind: Fault, size: u32) -> Self {
        let (passes, pass_seconds, from_idle) = (1, 80, false);
        Self { kind, size, jobs: size as u64, spare: 0, passes, pass_seconds, from_idle, quota: 0, mutant: None }
    }

    fn world(&self) -> World {
        let faults = Faults::NONE.with(self.kind, 1).with(Fault::Pass, self.passes);
        let mut rules = Rules::new(self.size, self.spare, faults);
        rules.slow_disk =
            matches!(self.kind, Fault::Crash | Fault::FailedCommit) || self.mutant == Some(Mutant::EffectFirst);
        rules.slow_replies = matches!(self.kind, Fault::Crash | Fault::Outage | Fault::LateList);
        rules.pass = SignedDuration::from_secs(self.pass_seconds);
        rules.mutant = self.mutant;
        if self.quota > 0 {
            rules = rules.with_quarantine(self.quota);
        }
        let mut world = World::new(rules, self.jobs);
        if self.from_idle {
            until_idle(&mut world);
        }
        world
    }

    fn explore(&self, most: usize, sample: usize) -> Explored {
        let explored = Explorer::new(self.world()).explore(most, sample);
        println!(
            "{:?}, {} VMs, {} jobs, {} × {} s{}: {} states{}",
            self.kind,
            self.size,
            self.jobs,
            self.passes,
            self.pass_seconds,
            if self.from_idle { ", from an idle VM" } else { "" },
            explored.states,
            if explored.is_complete { "" } else { ", and more" },
        );
        explored
    }
}

/// Goes on without faults until a VM waits for a job.
fn until_idle(world: &mut World) {
    let is_idle = |world: &World| world.fleet.records().any(|intent| intent.life.state == crate::State::Idle);
    while !is_idle(world) {
        let moves = world.moves();
        let next = moves.iter().filter(|made| made.fault().is_none()).min_by_key(|made| urgency(made, 0)).unwrap();
        world.make(next).unwrap();
    }
}

/// Returns true in the run that explores more.
fn is_whole() -> bool {
    std::env::var_os("PXCI_EXPLORATION").is_some()
}

/// States that the ordinary run visits in one world that is too large for it.
const FEW: usize = 1_000;
/// The same of the run that explores more.
const MANY: usize = 200_000;

/// Explores worlds that are too large to be known in full, up to a number of states.
fn explore_some(cases: impl IntoIterator<Item = Case>) {
    let (most, sample) = if is_whole() { (MANY, 997) } else { (FEW, 331) };
    for case in cases {
        let explored = case.explore(most, sample);
        if let Some(breach) = explored.breach {
            panic!("{case:?}: {breach}");
        }
        assert!(explored.is_complete || explored.states >= most, "{case:?} ends at {} states", explored.states);
    }
}

/// The kinds of faults, with the number of states of a world with one VM and one job in which one such fault happens.
const KINDS: [(Fault, usize); 22] = [
    (Fault::Pass, 361),
    (Fault::Crash, 21_216),
    (Fault::LedgerLoss, 2_726),
    (Fault::FailedCommit, 730),
    (Fault::LostReply, 1_412),
    (Fault::Refusal, 555),
    (Fault::Delay, 1_562),
    (Fault::Lasting, 646),
    (Fault::WrongGone, 2_067),
    (Fault::WrongList, 1_154),
    (Fault::LateList, 12_762),
    (Fault::Ghost, 410),
    (Fault::HandOver, 615),
    (Fault::Silence, 731),
    (Fault::Cut, 737),
    (Fault::PowerLoss, 1_399),
    (Fault::Rival, 1_836),
    (Fault::Moved, 984),
    (Fault::StartedAgain, 1_174),
    (Fault::Careless, 361),
    (Fault::Outage, 16_285),
    (Fault::Drain, 1_304),
];

/// All states are visited in which the clock stands. The sampled futures let it go on.
#[test]
fn i1_to_i11_one_vm_with_each_kind_of_fault() {
    let mut wrong = Vec::new();
    for (kind, expected) in KINDS {
        let explored = Case { passes: 0, ..Case::new(kind, 1) }.explore(usize::MAX, 61);
        if let Some(breach) = explored.breach {
            panic!("{kind:?}: {breach}");
        }
        if explored.states != expected {
            wrong.push(format!("(Fault::{kind:?}, {}),", explored.states));
        }
    }
    assert!(wrong.is_empty(), "other numbers of states:\n{}", wrong.join("\n"));
}

#[test]
fn i1_to_i11_one_vm_while_time_passes() {
    explore_some(KINDS.map(|(kind, _)| Case::new(kind, 1)));
}

#[test]
fn i1_to_i11_two_vms_and_two_jobs_with_each_kind_of_fault() {
    if is_whole() {
        explore_some(KINDS.map(|(kind, _)| Case { passes: 0, ..Case::new(kind, 2) }));
    }
    explore_some(KINDS.map(|(kind, _)| Case::new(kind, 2)));
}

/// The end of a VM without a job takes long: idle limit, deregistration, two negatives.
#[test]
fn i5_d8_a_vm_without_a_job_is_fenced_before_it_ends() {
    let kinds = [
        Fault::Pass,
        Fault::HandOver,
        Fault::Ghost,
        Fault::Careless,
        Fault::WrongList,
        Fault::LateList,
        Fault::Silence,
    ];
    explore_some(kinds.map(|kind| Case { passes: 4, pass_seconds: 50, from_idle: true, ..Case::new(kind, 1) }));
}

/// VMs that fail and stay for a person: a silent guest, and a runner that does not notice that it was deregistered.
#[test]
fn i1_to_i11_failed_vms_in_quarantine() {
    let silent = Case { passes: 3, quota: 1, ..Case::new(Fault::Silence, 1) };
    let kinds = [Fault::Pass, Fault::Ghost, Fault::PowerLoss, Fault::WrongList, Fault::LateList, Fault::Drain];
    let lingering = |kind| Case { passes: 5, pass_seconds: 50, from_idle: true, quota: 1, ..Case::new(kind, 1) };
    explore_some(kinds.map(lingering).into_iter().chain([silent, Case { size: 2, jobs: 2, ..silent }]));
}

/// Each defect, the world in which it shows, and the invariant that is breached.
const MUTANTS: [(Mutant, Case, &str); 11] = [
    (Mutant::MintAgain, Case::new(Fault::LostReply, 1), "I1"),
    (Mutant::StopUnasked, Case::new(Fault::Rival, 1), "I5"),
    (Mutant::RecordsTakeNoSlot, Case { spare: 1, jobs: 2, ..Case::new(Fault::Pass, 1) }, "I2"),
    (Mutant::NoRest, Case::new(Fault::Silence, 1), "I11"),
    (Mutant::OneNegative, Case { passes: 4, pass_seconds: 50, from_idle: true, ..Case::new(Fault::HandOver, 1) }, "I5"),
    (Mutant::OneLook, Case { from_idle: true, ..Case::new(Fault::WrongList, 1) }, "I5"),
    (Mutant::EffectFirst, Case::new(Fault::Crash, 1), "I8"),
    (Mutant::NeverDestroyed, Case::new(Fault::Pass, 1), "I3"),
    (Mutant::RegistrationStays, Case::new(Fault::Delay, 1), "I3"),
    (
        Mutant::RegisteredQuarantine,
        Case { passes: 2, pass_seconds: 50, from_idle: true, quota: 1, ..Case::new(Fault::Ghost, 1) },
        "I1",
    ),
    (Mutant::NoDiagnostics, Case { passes: 2, ..Case::new(Fault::Silence, 1) }, "I10"),
];

/// A check that cannot fail proves nothing.
#[test]
fn each_mutant_is_caught() {
    for (mutant, case, invariant) in MUTANTS {
        let explored = Case { mutant: Some(mutant), ..case }.explore(MANY, 31);
        let breach = explored.breach.unwrap_or_else(|| panic!("{mutant:?} survives {} states", explored.states));
        assert!(breach.starts_with(invariant), "{mutant:?} breaches {breach}");
    }
}
