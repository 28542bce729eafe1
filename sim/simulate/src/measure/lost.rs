//! A dispatcher that loses its ledger while all VMs run jobs.

use std::time::Duration;

use anyhow::Context as _;
use dispatcher_api::{Phase, Status};
use sim_github::Behaviour;
use tokio::time::Instant;

use super::{farm, on_virtual_time, pace, until};
use crate::demand::run_of;
use crate::guests::Pace;
use crate::site::Site;

/// Time of every job, which is longer than all VMs need to start and to be found again.
const JOB: Duration = Duration::from_secs(5_400);

/// Result of a lost ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Lost {
    /// Seconds until the status shows all VMs with their jobs again.
    pub took: f64,
    /// Requests to Proxmox VE until then.
    pub pve_requests: u64,
    /// Requests to GitHub until then.
    pub github_requests: u64,
    /// Number of requests to GitHub that count against its limit.
    pub github_limited: usize,
    /// Number of jobs that did not succeed afterwards, and of breaches of invariants.
    pub harmed: usize,
}

/// Fills a runner pool with VMs that run jobs of many repositories, kills the dispatcher, deletes its ledger and starts it again.
///
/// # Errors
/// When the farm cannot be set up, or the VMs are not found again.
pub fn lost(vms: usize, repositories: usize) -> anyhow::Result<Lost> {
    on_virtual_time(async {
        let pace = Pace { job: Some(JOB), ..pace() };
        let site = Site::new(&farm(vms, 1, 1, repositories), pace, Behaviour::default(), 1)?;
        let dispatcher = site.start_dispatcher();
        let queued = queue(&site, vms);
        until("all jobs run", || site.started(&queued) == vms && busy(&dispatcher.control.status()) == vms).await?;
        dispatcher.kill().await;
        lose(&site)?;

        drop(site.github.requests().take());
        let (before, began) = (site.watch.counts(), Instant::now());
        let dispatcher = site.start_dispatcher();
        until("all VMs are found", || busy(&dispatcher.control.status()) == vms).await?;
        let (after, took) = (site.watch.counts(), began.elapsed().as_secs_f64());
        let answers = site.github.requests().take();
        until("all jobs have ended", || site.is_clean()).await?;
        dispatcher.kill().await;
        Ok(Lost {
            took,
            pve_requests: after.pve_requests - before.pve_requests,
            github_requests: after.github_requests - before.github_requests,
            // GitHub does not count answers that have not changed.
            github_limited: answers
                .iter()
                .filter(|entry| entry.status != 304 && !entry.path.contains("/_sim/"))
                .count(),
            harmed: vms - site.succeeded(&queued) + site.watch.breaches().len(),
        })
    })
}

/// Queues jobs, evenly in all repositories.
fn queue(site: &Site, jobs: usize) -> Vec<u64> {
    let pool = &site.farm.pools[0];
    let repositories = pool.repositories.len();
    let share = |number: usize| jobs / repositories + usize::from(number < jobs % repositories);
    let runs = pool.repositories.iter().enumerate().map(|(number, name)| run_of(pool, name, share(number)));
    runs.flat_map(|run| site.github.queue_run(run)).collect()
}

/// Returns the number of VMs with a job in a status of a dispatcher that has seen everything once.
pub(super) fn busy(status: &Status) -> usize {
    let busy: u32 = status.pools.iter().map(|pool| pool.busy).sum();
    if status.phase == Phase::Running { usize::try_from(busy).unwrap_or(usize::MAX) } else { 0 }
}

/// Deletes the files of the ledger.
fn lose(site: &Site) -> anyhow::Result<()> {
    let ledger = site.ledger();
    let directory = ledger.parent().context("the ledger has no directory")?;
    for file in std::fs::read_dir(directory)? {
        std::fs::remove_file(file?.path()).context("deleting the ledger")?;
    }
    Ok(())
}
