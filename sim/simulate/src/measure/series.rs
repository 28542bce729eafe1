//! Jobs one after another.

use std::sync::atomic::Ordering;

use sim_github::Behaviour;

use super::{farm, on_virtual_time, pace, until};
use crate::demand::run_of;
use crate::site::Site;

/// Commits to the ledger for each of a series of jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Commits for each job.
    pub commits: f64,
    /// Synchronised commits for each job.
    pub synchronised: f64,
}

/// Queues each job when nothing is left of the one before.
///
/// # Errors
/// When the farm cannot be set up, or a job does not end.
pub fn series(jobs: u32) -> anyhow::Result<Series> {
    on_virtual_time(async {
        let site = Site::new(&farm(1, 1, 1, 1), pace(), Behaviour::default(), 1)?;
        let dispatcher = site.start_dispatcher();
        for _ in 0..jobs {
            let pool = &site.farm.pools[0];
            let queued = site.github.queue_run(run_of(pool, &pool.repositories[0], 1));
            until("the job has ended", || site.succeeded(&queued) == 1).await?;
            until("the VM is gone", || site.is_clean()).await?;
        }
        // Changes that nothing waits for are written within five seconds.
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        dispatcher.kill().await;
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 commits")]
        let per_job = |number: u64| number as f64 / f64::from(jobs);
        let [commits, synchronised] = [0, 1].map(|of: usize| per_job(site.commits[of].load(Ordering::Relaxed)));
        Ok(Series { commits, synchronised })
    })
}
