//! Measurements of the production dispatcher: a burst of jobs, jobs one after another, a lost ledger, and the program itself.
//!
//! `cargo xtask bench fleet` prints them with their targets. All but those of the program are on virtual time, so they do not
//! depend on the machine.

mod burst;
mod lost;
mod program;
mod series;

pub use burst::{Burst, burst};
pub use lost::{Lost, lost};
pub use program::{Measured, program};
pub use series::{Series, series};

use std::future::Future;
use std::time::Duration;

use anyhow::ensure;
use sim_github::JobState;
use tokio::time::{Instant, sleep};

use crate::farm::{Farm, Pool};
use crate::guests::Pace;
use crate::site::Site;

/// Time between two checks of a condition.
const CHECK: Duration = Duration::from_millis(20);
/// Time after which a condition no longer comes true.
const LIMIT: Duration = Duration::from_secs(3 * 3_600);

/// Runs a measurement on a runtime whose clock is paused.
fn on_virtual_time<T>(measured: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(measured)
}

/// Waits until a condition comes true.
async fn until(what: &str, mut is_true: impl FnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_true() {
        ensure!(began.elapsed() < LIMIT, "{what}: not within three hours");
        sleep(CHECK).await;
    }
    Ok(())
}

/// Returns the pace of the measurements: the times of a tuned server, without chance.
fn pace() -> Pace {
    Pace {
        storage_held: Duration::from_millis(500),
        clone: (200, 200),
        start: (1_100, 1_100),
        boot: (6_000, 6_000),
        runner: (3_000, 3_000),
        power_off: (1_000, 1_000),
        deletion: (500, 500),
        job: Some(Duration::from_secs(30)),
        silent: 0.0,
        worker: Duration::from_millis(10),
    }
}

/// Returns a farm with a runner pool, and a template, on each storage. Storages are distributed over the nodes. All pools
/// serve all repositories.
fn farm(vms: usize, storages: usize, nodes: usize, repositories: usize) -> Farm {
    let node = |number: usize| format!("pve{}", number + 1);
    let name = |number: usize| format!("disks{}", number + 1);
    let repositories: Vec<String> = (1..=repositories).map(|number| format!("acme/app-{number}")).collect();
    let pool = |number: usize| {
        let offset = u32::try_from(number).unwrap_or_default();
        Pool {
            name: format!("pool{}", number + 1),
            label: format!("label{}", number + 1),
            repositories: repositories.clone(),
            node: node(number % nodes),
            storage: name(number),
            template: 9_000 + offset,
            first: 10_000 + 1_000 * offset,
            last: 10_999 + 1_000 * offset,
            max: vms.div_ceil(storages),
        }
    };
    Farm {
        nodes: (0..nodes).map(node).collect(),
        storages: (0..storages).map(name).collect(),
        pools: (0..storages).map(pool).collect(),
        poll_interval: 5,
    }
}

impl Site {
    /// Returns the number of these jobs that have started, ended ones included.
    fn started(&self, jobs: &[u64]) -> usize {
        let has_started = |state: &JobState| matches!(state, JobState::InProgress { .. } | JobState::Completed { .. });
        self.github.inspect(|world, _| {
            jobs.iter().filter(|id| world.job(**id).is_some_and(|job| has_started(&job.state))).count()
        })
    }

    /// Returns the number of these jobs that have succeeded.
    fn succeeded(&self, jobs: &[u64]) -> usize {
        let has_succeeded =
            |state: &JobState| matches!(state, JobState::Completed { conclusion } if conclusion == "success");
        self.github.inspect(|world, _| {
            jobs.iter().filter(|id| world.job(**id).is_some_and(|job| has_succeeded(&job.state))).count()
        })
    }
}
