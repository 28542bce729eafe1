//! A burst of jobs into an empty farm.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sim_github::Behaviour;
use tokio::time::Instant;

use super::{farm, on_virtual_time, pace, until};
use crate::demand::run_of;
use crate::guests::Pace;
use crate::site::Site;

/// Number of single jobs before the burst. They teach the dispatcher how long tasks take.
const ALONE: usize = 3;

/// Result of a burst. Times are in seconds of simulated time, from the first clone to the start of the last job.
#[derive(Debug, Clone, PartialEq)]
pub struct Burst {
    /// Time of the burst.
    pub took: f64,
    /// Time of a job that came alone, when the dispatcher had learned how long tasks take.
    pub alone: f64,
    /// Number of clones × time for which each holds its storage ÷ number of storages + [`Burst::alone`].
    pub least: f64,
    /// Number of tasks of Proxmox VE that failed, and of jobs that did not succeed.
    pub failures: usize,
    /// Greatest number of the three daemon workers of a node that were held at a time.
    pub most_workers: usize,
    /// Commits to the ledger for each job, until all VMs were gone.
    pub commits: f64,
    /// Synchronised commits for each job.
    pub synchronised: f64,
}

/// Queues jobs, evenly for the runner pool of each storage, and measures until all VMs are gone. Storages are distributed over
/// the nodes.
///
/// # Errors
/// When the farm cannot be set up, or the jobs do not end.
pub fn burst(jobs: usize, storages: usize, nodes: usize) -> anyhow::Result<Burst> {
    on_virtual_time(async {
        // No VM ends while others begin.
        let pace = Pace { job: Some(Duration::from_secs(600)), ..pace() };
        let site = Site::new(&farm(jobs, storages, nodes, 1), pace, Behaviour::default(), 1)?;
        let dispatcher = site.start_dispatcher();
        let mut alone = 0.0;
        for _ in 0..ALONE {
            alone = run(&site, 1).await?.0;
        }
        drop((site.pve.take_most_workers(), site.pve.take_timeline()));
        site.commits.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        let (took, succeeded) = run(&site, jobs).await?;
        dispatcher.kill().await;
        let most_workers = site.pve.take_most_workers().into_values().max().unwrap_or_default();
        let events = site.pve.take_timeline();
        let failed = events.iter().filter(|event| event.kind == "task_end" && !event.what.ends_with(" OK")).count();
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 of anything")]
        let per_job = |number: u64| number as f64 / jobs as f64;
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 of anything")]
        let held = jobs as f64 * pace.storage_held.as_secs_f64() / storages as f64;
        Ok(Burst {
            took,
            alone,
            least: held + alone,
            failures: failed + jobs - succeeded,
            most_workers,
            commits: per_job(site.commits[0].load(Ordering::Relaxed)),
            synchronised: per_job(site.commits[1].load(Ordering::Relaxed)),
        })
    })
}

/// Queues jobs, evenly for all pools, and waits until all VMs are gone. Returns the time from the first clone to the start of the last
/// job, and the number of jobs that succeeded.
async fn run(site: &Site, jobs: usize) -> anyhow::Result<(f64, usize)> {
    let guests = site.pve.guests().len();
    let pools = &site.farm.pools;
    let share = |number: usize| jobs / pools.len() + usize::from(number < jobs % pools.len());
    let mut queued = Vec::new();
    for (number, pool) in pools.iter().enumerate().filter(|(number, _)| share(*number) > 0) {
        queued.extend(site.github.queue_run(run_of(pool, &pool.repositories[0], share(number))));
    }
    until("the first clone", || site.pve.guests().len() > guests).await?;
    let began = Instant::now();
    until("all jobs started", || site.started(&queued) == jobs).await?;
    let took = began.elapsed().as_secs_f64();
    until("all VMs are gone", || site.is_clean()).await?;
    Ok((took, site.succeeded(&queued)))
}
