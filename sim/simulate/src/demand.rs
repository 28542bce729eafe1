//! Workflow runs over time: mostly single ones, now and then a burst.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use sim_github::{JobSpec, RunSpec, ServerHandle};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::farm::{POOLS, Pool};

/// Mean time between two workflow runs. With the durations of jobs it keeps about two thirds of the slots busy.
const BETWEEN_RUNS: Duration = Duration::from_secs(45);

/// Queues this number of jobs, and adds their numbers to `ids`.
pub(crate) async fn queue(github: Arc<ServerHandle>, chance: Chance, jobs: usize, ids: Arc<Mutex<Vec<u64>>>) {
    let mut random = chance.of("demand", 0);
    let mut queued = 0;
    while queued < jobs {
        let runs = if random.random_ratio(1, 40) { random.random_range(4..12) } else { 1 };
        for _ in 0..runs {
            let spec = workflow_run(&mut random, jobs - queued);
            queued += spec.jobs.len();
            ids.lock().unwrap_or_else(PoisonError::into_inner).extend(github.queue_run(spec));
            if queued == jobs {
                return;
            }
        }
        // Exponentially distributed, as of people who do not know of each other.
        let waits = -(1.0 - random.random::<f64>()).ln();
        sleep(BETWEEN_RUNS.mul_f64(waits * f64::from(runs)).max(Duration::from_millis(1))).await;
    }
}

fn workflow_run(random: &mut StdRng, most: usize) -> RunSpec {
    // The first pool has twice the slots of the second.
    let pool: &Pool = &POOLS[usize::from(random.random_ratio(1, 3))];
    let repository = pool.repositories[random.random_range(0..pool.repositories.len())];
    let count = random.random_range(1..=3).min(most);
    let job = |number| JobSpec {
        name: format!("job {number}"),
        labels: vec![pool.label.to_owned(), "linux".to_owned()],
        steps: Vec::new(),
    };
    RunSpec {
        repository: repository.to_owned(),
        event: "push".to_owned(),
        fork: None,
        jobs: (0..count).map(job).collect(),
    }
}
