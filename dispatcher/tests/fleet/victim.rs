//! A farm whose dispatcher is killed and started again.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;

use jiff::SignedDuration;
use pxci_dispatcher::failpoint::{Boundary, VARIABLE};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::daemon::{Daemon, Home};
use crate::simulated_farm::SimulatedFarm;
use crate::{LIMIT, LOOK, assert_no_secret};

/// Longer than each wait of the dispatcher until two lists are far enough apart, shorter than its limits.
pub(crate) const LONG: SignedDuration = SignedDuration::from_secs(120);
/// Line of the log after which the dispatcher listens, and a stop signal makes it end well.
pub(crate) const CONFIGURED: &str = "a configuration is in force";
/// Event of the log after which a fenced VM waits.
pub(crate) const GITHUBS_NEGATIVE: &str = "NoJobFound { source: Github }";
/// Number of times that a farm may only wait. A dispatcher that makes no progress waits more often.
const WAITS: usize = 6;

pub(crate) struct Victim {
    pub(crate) site: SimulatedFarm,
    pub(crate) home: Home,
    config: String,
    jobs: Vec<u64>,
    /// Largest number of VMs at a time.
    max: usize,
    /// VMs that were there before and stay.
    kept: Vec<u32>,
    _directory: TempDir,
}

impl Victim {
    /// Returns a farm with queued jobs and room for as many VMs.
    pub(crate) fn new(site: SimulatedFarm, max: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let config = site.write_configuration(directory.path(), u32::try_from(max).unwrap());
        let jobs = site.queue(max);
        Self { site, home, config, jobs, max, kept: Vec::new(), _directory: directory }
    }

    /// Returns the farm with VMs that stay.
    pub(crate) fn keeping(self, kept: Vec<u32>) -> Self {
        Self { kept, ..self }
    }

    pub(crate) fn run(&self, variables: &[(String, String)]) -> Daemon {
        self.home.start(&["--config", &self.config], variables)
    }

    /// Runs the dispatcher until it kills itself at the boundary. More jobs come when all are over.
    pub(crate) async fn killed_at(&mut self, boundary: Boundary) {
        let deadline = Instant::now() + LIMIT;
        let mut daemon = self.run(&[(VARIABLE.to_owned(), boundary.to_string())]);
        let status = loop {
            if let Some(status) = daemon.ended() {
                break status;
            }
            assert!(Instant::now() < deadline, "{boundary} was not reached\n{}", self.home.said());
            if self.site.are_over(&self.jobs) {
                self.jobs.extend(self.site.queue(1));
            }
            sleep(LOOK).await;
        };
        assert_eq!(status.signal(), Some(9), "{boundary}: {status}\n{}", self.home.said());
    }

    /// Runs the dispatcher until a condition holds for the log of this run, then asks it to end.
    pub(crate) async fn run_until(&self, what: &str, condition: impl Fn(&str) -> bool) {
        let (deadline, logged) = (Instant::now() + LIMIT, self.home.said().len());
        let daemon = self.run(&[]);
        while !condition(&self.home.said()[logged..]) {
            assert!(Instant::now() < deadline, "{what}\n{}", self.home.said());
            sleep(LOOK).await;
        }
        assert!(daemon.terminate(LIMIT).await, "{}", self.home.said());
    }

    /// Runs the dispatcher until nothing is left, and checks the invariants.
    pub(crate) async fn finish(&self) {
        for _ in 0..WAITS {
            if self.run_while_active().await {
                return self.check().await;
            }
            self.home.let_time_pass(LONG);
        }
        let left = [self.site.pve.leftovers(), self.site.github.inspect(|world, _| world.leftovers())].concat();
        panic!("I3: {left:?} stay\n{}", self.home.said());
    }

    /// Runs the dispatcher until nothing is left or it only waits. Returns true if nothing is left.
    async fn run_while_active(&self) -> bool {
        let (deadline, logged) = (Instant::now() + LIMIT, self.home.said().len());
        let daemon = self.run(&[]);
        loop {
            assert!(Instant::now() < deadline, "{:?}\n{}", self.site.pve.leftovers(), self.home.said());
            let log = self.home.said()[logged..].to_owned();
            let is_clean = self.site.are_over(&self.jobs) && self.is_clean();
            if log.contains(CONFIGURED) && (is_clean || self.only_waits(&log).await) {
                assert!(daemon.terminate(LIMIT).await, "{}", self.home.said());
                return is_clean;
            }
            sleep(LOOK).await;
        }
    }

    /// Returns true if nothing but the kept VMs and foreign guests is left.
    fn is_clean(&self) -> bool {
        self.site.vms() == self.kept
            && self.site.guests.running().is_empty()
            && self.site.github.inspect(|world, _| world.leftovers().is_empty())
    }

    /// Returns true if each VM waits for time to pass, or if only registrations are left, which do so.
    async fn only_waits(&self, log: &str) -> bool {
        let are_jobs_over = self.site.are_over(&self.jobs);
        if !are_jobs_over && !log.contains(GITHUBS_NEGATIVE) {
            return false;
        }
        let has_negative = |name: &str| log.lines().any(|line| line.contains(name) && line.contains(GITHUBS_NEGATIVE));
        let running = self.site.guests.running();
        let waits = |state: &str, name: &str| match state {
            "fenced" => has_negative(name),
            "warm" | "idle" => are_jobs_over && running.iter().any(|guest| guest == name),
            _ => false,
        };
        let machines = self.home.status().await.machines;
        let all_wait = machines.iter().all(|machine| waits(&machine.state, machine.name.as_str()));
        all_wait && (!machines.is_empty() || are_jobs_over && self.site.vms() == self.kept)
    }

    async fn check(&self) {
        let (said, jobs) = (self.home.said(), self.jobs.len());
        let runners =
            self.site.runners_of(&self.jobs, LIMIT).await.unwrap_or_else(|| panic!("I5: a job failed\n{said}"));
        let distinct: BTreeSet<&String> = runners.iter().collect();
        assert_eq!((distinct.len(), self.site.starts_of(&self.jobs)), (jobs, jobs), "I1: {runners:?}\n{said}");
        assert!(self.site.most_clones() <= self.max, "I2: {} VMs at a time\n{said}", self.site.most_clones());
        assert_eq!(self.site.pve.leftovers(), Vec::<String>::new(), "I3\n{said}");
        self.site.assert_foreign_guests_are_unharmed();
        assert_no_secret(&self.site, &self.home);
    }
}
