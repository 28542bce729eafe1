//! Samples of configurations, records and answers. The tests use them, and so does the program of the benchmark
//! (`examples/passes.rs`), which sees only the public part of the crate.

use super::{
    Claim, GuestSeen, Guests, Intent, JobPhase, JobSeen, Jobs, Life, Power, RepositorySeen, RunnerSeen, Runners,
    Unshown,
};
use dispatcher_api::{Config, GithubConfig, PveConfig, RunnerPool, TemplateSource};
use jiff::Timestamp;
use ownership::{Installation, PoolName, RepositoryName, RunnerName, Vmid, VmidRange};

/// Returns a configuration of these pools.
pub(crate) fn config(installation: Installation, pools: Vec<RunnerPool>) -> Config {
    Config {
        installation,
        pve: PveConfig {
            endpoints: vec!["https://h:8006".into()],
            ca_pem: None,
            fingerprint: None,
            token_id: "a@pve!b".into(),
        },
        github: GithubConfig::default(),
        poll_interval_seconds: 15,
        pools,
    }
}

/// Returns a pool of at most `max` VMs that serves jobs with the labels `linux` and `x64`.
pub(crate) fn pool(
    name: PoolName,
    repositories: Vec<RepositoryName>,
    (max, vmid_range): (u32, VmidRange),
    template: TemplateSource,
) -> RunnerPool {
    RunnerPool {
        name,
        labels: vec!["linux".into(), "x64".into()],
        repositories,
        runner_group_id: 1,
        max,
        vmid_range,
        resource_pool: "ci".into(),
        template,
        seed_iso: None,
        cores: None,
        memory_mib: None,
        bridge: None,
        boot_limit_seconds: 300,
        idle_limit_seconds: 600,
        job_limit_seconds: 3600,
        quarantine: None,
    }
}

/// Returns the record of a VM of this pool.
pub(crate) fn intent(name: RunnerName, pool: &RunnerPool, created_at: Timestamp, life: Life) -> Intent {
    Intent {
        vmid: name.vmid(),
        name,
        pool: pool.name.clone(),
        node: pool.template.node.clone(),
        template: pool.template.vmid,
        resource_pool: pool.resource_pool.clone(),
        created_at,
        life,
        retry_at: None,
        attempts: 0,
        holds_registration: false,
        failure: None,
        failing_since: None,
        entered: Vec::new(),
    }
}

/// Returns the VM of a record as Proxmox VE lists it.
pub(crate) fn guest(intent: &Intent, power: Power) -> (Vmid, GuestSeen) {
    let claim = Claim::Ours { name: intent.name.clone(), pool: intent.pool.clone() };
    (intent.vmid, GuestSeen { node: intent.node.clone(), power, locked: false, claim, name: None, run: None })
}

/// Returns a list of guests.
pub(crate) fn guests(taken_at: Timestamp, seen: impl IntoIterator<Item = (Vmid, GuestSeen)>) -> Guests {
    Guests { taken_at, seen: seen.into_iter().collect(), absent: Default::default(), unshown: Unshown::default() }
}

/// Returns a job that asks for the label `linux`.
pub(crate) fn job(id: u64, phase: JobPhase, runner: Option<&RunnerName>, created_at: Timestamp) -> JobSeen {
    JobSeen {
        id,
        name: format!("job {id}"),
        labels: vec!["linux".into()],
        phase,
        runner_name: runner.map(ToString::to_string),
        created_at: Some(created_at),
        renewed_at: None,
    }
}

/// Returns the lists of a repository.
pub(crate) fn repository_seen(taken_at: Timestamp, jobs: Vec<JobSeen>, runners: Vec<RunnerSeen>) -> RepositorySeen {
    RepositorySeen { jobs: Some(Jobs { taken_at, list: jobs }), runners: Some(Runners { taken_at, list: runners }) }
}
