//! Workflow runs over time: mostly single ones, now and then a burst.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use sim_github::{JobSpec, RunSpec, ServerHandle};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::farm::{Farm, Pool};
use crate::run::Options;

/// Mean time between two workflow runs. With the durations of jobs it keeps about two thirds of the slots busy.
const BETWEEN_RUNS: Duration = Duration::from_secs(45);

/// Probability that a person cancels a job.
const CANCELLED: f64 = 0.03;

/// Queues jobs, and adds their numbers to `ids`. If `is_disturbed`, a few are cancelled.
pub(crate) async fn queue(
    farm: Farm,
    github: Arc<ServerHandle>,
    chance: Chance,
    options: Options,
    ids: Arc<Mutex<Vec<u64>>>,
) {
    let jobs = options.jobs;
    let mut random = chance.of("demand", 0);
    let mut queued = 0;
    while queued < jobs {
        let runs = if random.random_ratio(1, 40) { random.random_range(4..12) } else { 1 };
        for _ in 0..runs {
            let spec = workflow_run(&farm, &mut random, jobs - queued);
            queued += spec.jobs.len();
            let new = github.queue_run(spec);
            if options.is_disturbed {
                new.iter().for_each(|job| cancel_perhaps(&github, chance, *job));
            }
            ids.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
            if queued == jobs {
                return;
            }
        }
        // Exponentially distributed, as of people who do not know of each other.
        let waits = -(1.0 - random.random::<f64>()).ln();
        sleep(BETWEEN_RUNS.mul_f64(waits * f64::from(runs)).max(Duration::from_millis(1))).await;
    }
}

/// Cancels a few of the jobs some time after they were queued.
fn cancel_perhaps(github: &Arc<ServerHandle>, chance: Chance, job: u64) {
    if !chance.is_hit("cancelled", job, CANCELLED) {
        return;
    }
    let (github, after) = (Arc::clone(github), chance.milliseconds("time of cancelling", job, 1_000, 300_000));
    tokio::spawn(async move {
        sleep(after).await;
        let _had_not_ended = github.world(|world, now| world.cancel_job(job, now));
    });
}

fn workflow_run(farm: &Farm, random: &mut StdRng, most: usize) -> RunSpec {
    // The first pool has twice the slots of the second.
    let pool = &farm.pools[usize::from(random.random_ratio(1, 3))];
    let repository = &pool.repositories[random.random_range(0..pool.repositories.len())];
    let count = random.random_range(1..=3).min(most);
    run_of(pool, repository, count)
}

/// Returns a workflow run of jobs for this pool.
pub(crate) fn run_of(pool: &Pool, repository: &str, jobs: usize) -> RunSpec {
    let job = |number| JobSpec {
        name: format!("job {number}"),
        labels: vec![pool.label.clone(), "linux".to_owned()],
        steps: Vec::new(),
    };
    RunSpec {
        repository: repository.to_owned(),
        event: "push".to_owned(),
        fork: None,
        jobs: (0..jobs).map(job).collect(),
    }
}
