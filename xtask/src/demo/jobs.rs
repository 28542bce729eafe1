//! Queues the workflow jobs of the demo, watches them, and prints a time line.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use sim_github::{EventKind, Job, JobSpec, JobState, RunSpec};

use super::stage::{REPOSITORY, Stage};
use crate::narrate::Narrator;

/// Limit of the pool in `examples/complete`.
pub(crate) const LIMIT: usize = 2;
/// Labels of the flavour.
const LABELS: [&str; 4] = ["self-hosted", "linux", "x64", "ubuntu-22.04"];
const DEADLINE: Duration = Duration::from_secs(300);

/// Requests that a job caused, rounded up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requests {
    /// Requests to Proxmox VE.
    pub(crate) pve: usize,
    /// Requests to GitHub.
    pub(crate) github: usize,
}

/// Jobs that were queued together.
#[derive(Debug)]
pub(crate) struct Jobs {
    ids: Vec<u64>,
    queued_at: Timestamp,
    requests_before: (usize, usize),
}

impl Jobs {
    /// Queues a run with `count` jobs.
    pub(crate) fn queue(stage: &Stage, count: usize) -> Self {
        let requests_before = stage.requests();
        let jobs = (1..=count).map(|number| JobSpec {
            name: format!("build-{number}"),
            labels: LABELS.map(str::to_owned).to_vec(),
            steps: vec![
                "echo \"job on $(hostname)\"; test -f /etc/pxci-demo && cat /etc/pxci-demo || true; sleep 1".into(),
            ],
        });
        let run =
            RunSpec { repository: REPOSITORY.to_owned(), event: "push".to_owned(), fork: None, jobs: jobs.collect() };
        let ids = stage.github.queue_run(run);
        Self { ids, queued_at: Timestamp::now(), requests_before }
    }

    /// Waits until every job is done and its VM and registration are gone; then prints the times. Returns the requests
    /// per job.
    pub(crate) async fn finish(&self, stage: &Stage, narrator: &Narrator) -> Result<Requests> {
        let done = stage.github.wait_for(DEADLINE, |world| {
            let completed =
                |id: &u64| world.job(*id).is_some_and(|job| matches!(job.state, JobState::Completed { .. }));
            self.ids.iter().all(completed).then_some(())
        });
        if done.await.is_none() {
            self.jobs(stage).iter().for_each(|job| narrator.detail(&format!("{}: {:?}", job.name, job.state)));
            bail!("not every job was done within {} s", DEADLINE.as_secs());
        }
        stage.reaped(DEADLINE).await?;
        self.succeeded_once_each(stage)?;
        self.print_times(stage, narrator)
    }

    /// Checks that each job ran on a clone of this template.
    pub(crate) fn ran_on(&self, stage: &Stage, template: u32) -> Result<()> {
        for job in self.jobs(stage) {
            let runner = job.runner_name.context("a job has no runner")?;
            let life = stage.life(&runner).with_context(|| format!("no VM was called {runner}"))?;
            ensure!(life.template == template, "{runner} was cloned from {}, not from {template}", life.template);
        }
        Ok(())
    }

    fn jobs(&self, stage: &Stage) -> Vec<Job> {
        stage.github.world(|world, _| self.ids.iter().filter_map(|id| world.job(*id).cloned()).collect())
    }

    fn succeeded_once_each(&self, stage: &Stage) -> Result<()> {
        let jobs = self.jobs(stage);
        for job in &jobs {
            let succeeded = matches!(&job.state, JobState::Completed { conclusion } if conclusion == "success");
            ensure!(succeeded, "{} ended with {:?}:\n{}", job.name, job.state, job.log);
        }
        let runners: BTreeSet<_> = jobs.iter().filter_map(|job| job.runner_name.as_deref()).collect();
        ensure!(
            runners.len() == jobs.len(),
            "{} jobs ran on {} runners: each needs its own",
            jobs.len(),
            runners.len()
        );
        let most = stage.most_runner_vms();
        ensure!(most <= LIMIT, "{most} runner VMs existed at once; the limit is {LIMIT}");
        Ok(())
    }

    fn print_times(&self, stage: &Stage, narrator: &Narrator) -> Result<Requests> {
        narrator.detail("seconds after queueing:  cloned  booted  assigned  started   done   reaped   runner");
        for job in self.jobs(stage) {
            let runner = job.runner_name.clone().context("a job has no runner")?;
            let life = stage.life(&runner).with_context(|| format!("no VM was called {runner}"))?;
            let at =
                |kind: fn(&EventKind) -> bool| job.events.iter().find(|event| kind(&event.kind)).map(|event| event.at);
            let columns = [
                Some(life.cloned),
                life.started,
                at(|kind| matches!(kind, EventKind::Assigned(_))),
                at(|kind| matches!(kind, EventKind::Started(_))),
                at(|kind| matches!(kind, EventKind::Completed(_))),
                life.destroyed,
            ];
            let columns: Vec<String> = columns.iter().map(|at| self.seconds(*at)).collect();
            narrator.detail(&format!("{:<23} {}   {runner}", job.name, columns.join(" ")));
        }
        let (pve, github) = stage.requests();
        let jobs = self.ids.len();
        let per_job = |now: usize, before: usize| (now - before).div_ceil(jobs);
        let requests =
            Requests { pve: per_job(pve, self.requests_before.0), github: per_job(github, self.requests_before.1) };
        let noun = if jobs == 1 { "job" } else { "jobs" };
        narrator.detail(&format!(
            "{jobs} {noun}, at most {} VMs at once; requests per job: {} to Proxmox VE, {} to GitHub",
            stage.most_runner_vms(),
            requests.pve,
            requests.github
        ));
        Ok(requests)
    }

    fn seconds(&self, at: Option<Timestamp>) -> String {
        at.map_or_else(|| "      –".to_owned(), |at| format!("{:7.1}", at.duration_since(self.queued_at).as_secs_f64()))
    }
}
