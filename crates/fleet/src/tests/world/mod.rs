//! A world around one real [`Fleet`]: Proxmox VE, GitHub, the guests, the ledger's disk and the clock as one value. A test can stop,
//! repeat, reorder and lose anything between any two moves.
//!
//! The world carries out the effects that the fleet asks for and answers with their outcomes. It has no states of a VM's life and takes no decision.
//! It follows what is documented of the real ones, unpleasant parts included: a deletion that GitHub accepts although a job runs, a
//! listener that never notices that its registration is gone, clones that are invisible until they are complete.

mod canonical;
mod effects;
mod guests;
mod invariants;
mod looks;
mod moves;
mod mutants;

use std::collections::BTreeMap;
use std::sync::Arc;

use dispatcher_api::Config;
use jiff::{SignedDuration, Timestamp};
use ownership::{NodeName, RunnerName, Vmid};

use super::fixture::{at, config, node};
use crate::*;

use effects::Request;
pub(super) use effects::Running;
pub(super) use moves::{Fault, Faults, Move};
pub(super) use mutants::Mutant;

/// Longest chain of commits and passes that follows from one move.
const MOST_PASSES: usize = 12;
/// Longest time from the handing over of a job to its start.
const LONGEST_START: SignedDuration = SignedDuration::from_secs(60);

/// Breach of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation(pub(super) String);

/// A virtual machine in a VMID range of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Vm {
    pub(super) name: RunnerName,
    pub(super) node: NodeName,
    pub(super) is_ours: bool,
    /// False while the clone is being made.
    pub(super) complete: bool,
    /// True if the clone was interrupted, so that only a person can remove the rest.
    pub(super) cut: bool,
    pub(super) running: bool,
    pub(super) agent: bool,
    /// True if its agent never answers again.
    pub(super) mute: bool,
    /// True if its runner does not notice that its registration is gone.
    pub(super) ghost: bool,
    /// Number of the registration that it was given, and the time.
    pub(super) armed: Option<(u64, Timestamp)>,
    /// Job that GitHub has handed over and that has not started, and the time.
    pub(super) handed: Option<(u64, Timestamp)>,
    /// Job that runs in it, and its start.
    pub(super) job: Option<(u64, Timestamp)>,
    pub(super) jobs_taken: u8,
    /// True once it was given a registration.
    pub(super) used: bool,
    /// True once somebody tried to read its diagnostics.
    pub(super) diagnosed: bool,
}

/// A registration at GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Runner {
    pub(super) name: RunnerName,
    pub(super) online: bool,
    pub(super) busy: bool,
}

/// A workflow job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Job {
    pub(super) phase: JobPhase,
    pub(super) runner: Option<RunnerName>,
}

/// Changes on their way to the disk, and the effects that wait for them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Commit {
    changes: Changes,
    then: Vec<Effect>,
}

/// A list that was taken and has not arrived.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Late {
    Guests(Guests),
    Github(RepositorySeen),
}

/// The parts of a world that never change.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) config: Config,
    /// True if writing to the disk takes time, so that other things happen meanwhile.
    pub(super) slow_disk: bool,
    /// True if an outcome arrives later than the effect takes place.
    pub(super) slow_replies: bool,
    pub(super) mutant: Option<Mutant>,
    /// Time that one move of the clock takes.
    pub(super) pass: SignedDuration,
    /// Faults that the world began with.
    pub(super) faults: Faults,
}

impl Rules {
    /// Returns the rules with a quarantine for this number of VMs.
    pub(super) fn with_quarantine(mut self, max: u32) -> Self {
        self.config.pools[0].quarantine = Some(dispatcher_api::Quarantine { max, keep_for_seconds: 120 });
        self
    }

    /// Returns the rules of a pool of at most `max` VMs. Its range has a VMID for each, `spare` more, and that of a foreign guest.
    pub(super) fn new(max: u32, spare: u32, faults: Faults) -> Self {
        let mut config = config(max);
        let pool = &mut config.pools[0];
        pool.vmid_range = format!("9100-{}", 9100 + max + spare).parse().unwrap();
        (pool.boot_limit_seconds, pool.idle_limit_seconds, pool.job_limit_seconds) = (150, 50, 230);
        let pass = SignedDuration::from_secs(80);
        Self { config, slow_disk: false, slow_replies: false, mutant: None, pass, faults }
    }
}

/// The world.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) rules: Arc<Rules>,
    pub(super) now: Timestamp,
    pub(super) fleet: Fleet,
    /// Records on the disk.
    disk: BTreeMap<RunnerName, Intent>,
    /// Records on the disk that survive a power loss.
    safe: BTreeMap<RunnerName, Intent>,
    commit: Option<Commit>,
    /// Effects that the dispatcher's process carries out.
    pub(super) running: BTreeMap<RunnerName, Running>,
    /// Secrets of registrations in the memory of the process.
    secrets: BTreeMap<RunnerName, u64>,
    /// Requests whose sender no longer waits for them.
    requests: Vec<Request>,
    late: Option<Late>,
    pub(super) vms: BTreeMap<Vmid, Vm>,
    pub(super) runners: BTreeMap<u64, Runner>,
    pub(super) jobs: BTreeMap<u64, Job>,
    pub(super) faults: Faults,
    /// Last step that was started for each name, and how often in a row since the clock moved or the process started.
    started: BTreeMap<RunnerName, (u8, u8)>,
    /// True once records were lost, so that the fleet cannot know what its predecessor did.
    forgot: bool,
}

/// Returns the VMID of a guest that somebody else runs in the pool's range.
pub(super) fn foreign(rules: &Rules) -> Vmid {
    rules.config.pools[0].vmid_range.last()
}

/// Number of a registration that another program made.
pub(super) const FOREIGN_RUNNER: u64 = 900;

impl World {
    pub(super) fn new(rules: Rules, jobs: u64) -> Self {
        let faults = rules.faults;
        let other_guest = Vm {
            is_ours: false,
            running: true,
            complete: true,
            ..Vm::new("other-precious-9109-aaaaaa".parse().unwrap())
        };
        let other = Runner { name: "lab-other-9500-aaaaaa".parse().unwrap(), online: false, busy: false };
        let queued = Job { phase: JobPhase::Queued, runner: None };
        let mut world = Self {
            now: at(0),
            fleet: Fleet::default().without_history(),
            disk: BTreeMap::new(),
            safe: BTreeMap::new(),
            commit: None,
            running: BTreeMap::new(),
            secrets: BTreeMap::new(),
            requests: Vec::new(),
            late: None,
            vms: [(foreign(&rules), other_guest)].into(),
            runners: [(FOREIGN_RUNNER, other)].into(),
            jobs: (1..=jobs).map(|id| (id, queued.clone())).collect(),
            faults,
            started: BTreeMap::new(),
            forgot: false,
            rules: Arc::new(rules),
        };
        world.decide().unwrap();
        world
    }

    /// Lets the fleet decide until it waits for the outside.
    pub(super) fn decide(&mut self) -> Result<(), Violation> {
        for _ in 0..MOST_PASSES {
            let nonces = self.unused_numbers();
            let rules = Arc::clone(&self.rules);
            let config = self.config_for_pass(&rules.config);
            let pass = self.fleet.pass(&config, &mut super::fixture::nonces_from(nonces), self.now);
            self.tamper();
            for effect in pass.start {
                self.begin(effect)?;
            }
            let Some(changes) = pass.commit else {
                return match pass.start_after_commit.is_empty() {
                    true => Ok(()),
                    false => Err(Violation(format!("effects wait for a commit that is not made: {self:#?}"))),
                };
            };
            let mut then = pass.start_after_commit;
            if self.has(Mutant::EffectFirst) {
                for effect in then.drain(..) {
                    self.begin(effect)?;
                }
            }
            self.commit = Some(Commit { changes, then });
            if self.rules.slow_disk {
                return Ok(());
            }
            self.write()?;
        }
        Err(Violation(format!("the fleet never comes to rest: {self:#?}")))
    }

    /// Writes the changes under way, and begins what waited for them.
    fn write(&mut self) -> Result<(), Violation> {
        let Some(commit) = self.commit.take() else { return Ok(()) };
        for name in &commit.changes.forgotten {
            self.disk.remove(name);
        }
        let is_synchronised = commit.changes.must_survive_power_loss();
        self.disk.extend(commit.changes.records);
        if is_synchronised {
            self.safe = self.disk.clone();
        }
        self.fleet.take(Input::Committed, self.now);
        for effect in commit.then {
            self.begin(effect)?;
        }
        Ok(())
    }

    /// Ends the process, and starts another with the records on the disk.
    fn restart(&mut self) {
        (self.commit, self.late) = (None, None);
        self.running.clear();
        self.secrets.clear();
        self.started.clear();
        // Each start is a synchronised commit.
        self.safe = self.disk.clone();
        self.fleet = Fleet::new(self.disk.values().map(as_stored), Default::default());
    }

    /// Returns numbers for nonces that nothing refers to, so that the names of forgotten VMs do not distinguish worlds.
    fn unused_numbers(&self) -> impl Iterator<Item = u32> + use<> {
        let names = self.fleet.records.keys().chain(self.disk.keys()).chain(self.running.keys());
        let names =
            names.chain(self.vms.values().map(|vm| &vm.name)).chain(self.runners.values().map(|runner| &runner.name));
        let number = |name: &RunnerName| name.nonce().as_str().strip_prefix('n')?.parse::<u32>().ok();
        let used: std::collections::BTreeSet<u32> = names.filter_map(number).collect();
        (1..).filter(move |number| !used.contains(number))
    }

    fn vm_of(&self, name: &RunnerName) -> Option<&Vm> {
        self.vms.get(&name.vmid()).filter(|vm| vm.name == *name)
    }

    fn vm_mut(&mut self, name: &RunnerName) -> Option<&mut Vm> {
        self.vms.get_mut(&name.vmid()).filter(|vm| vm.name == *name)
    }

    fn runner_of(&self, name: &RunnerName) -> Option<u64> {
        self.runners.iter().find(|(_, runner)| runner.name == *name).map(|(id, _)| *id)
    }

    /// Returns the number of VMs that exist and are ours. The rest of an interrupted clone has no marker, so that nothing shows
    /// whose it is once its record is lost.
    pub(super) fn ours(&self) -> usize {
        self.vms.values().filter(|vm| vm.is_ours && !(vm.cut && self.forgot)).count()
    }

    /// Returns true if all jobs are over and nothing is left of any of them.
    pub(super) fn is_finished(&self) -> bool {
        let over = self.jobs.values().all(|job| job.phase == JobPhase::Completed);
        over && self.is_clean()
    }

    /// Returns true if nothing of ours is left.
    pub(super) fn is_clean(&self) -> bool {
        let registered = self.runners.keys().any(|id| *id != FOREIGN_RUNNER);
        self.ours() == 0 && !registered && !self.fleet.records().any(Intent::is_live)
    }

    /// Returns the world in a few lines, for messages.
    pub(super) fn brief(&self) -> String {
        let live: Vec<_> = self.fleet.records().filter(|intent| intent.is_live()).collect();
        format!(
            "now {}\nvms {:#?}\nrunners {:?}\njobs {:?}\nrecords {live:#?}\nrunning {:?}\nrequests {:?}\nfacts {:?}\nmoves {:?}",
            self.now,
            self.vms,
            self.runners,
            self.jobs,
            self.running,
            self.requests,
            self.fleet.facts(),
            self.moves()
        )
    }
}

impl Vm {
    /// Returns a clone in the making.
    fn new(name: RunnerName) -> Self {
        Self {
            name,
            node: node(),
            is_ours: true,
            complete: false,
            cut: false,
            running: false,
            agent: false,
            mute: false,
            ghost: false,
            armed: None,
            handed: None,
            job: None,
            jobs_taken: 0,
            used: false,
            diagnosed: false,
        }
    }

    fn answers(&self) -> bool {
        self.running && self.agent && !self.mute
    }

    fn power_off(&mut self) {
        (self.running, self.agent) = (false, false);
        // The registration is on tmpfs.
        (self.armed, self.job, self.handed) = (None, None, None);
    }

    /// Returns what its guest says about its runner.
    fn sign(&self) -> Sign {
        match (self.armed, self.jobs_taken) {
            (None, _) => Sign::Unarmed,
            (Some(_), 0) => Sign::Waiting,
            (Some(_), _) => Sign::Job,
        }
    }
}

/// Returns a record as the disk gives it back: without the fields that live in memory only.
fn as_stored(intent: &Intent) -> Intent {
    let intent = intent.to_stored().from_stored();
    let life = Life { started_at: None, ..intent.life };
    Intent { life, retry_at: None, attempts: 0, holds_registration: false, ..intent }
}

/// Returns the node that VMs are moved to.
fn other_node() -> NodeName {
    "pve2".parse().unwrap()
}
