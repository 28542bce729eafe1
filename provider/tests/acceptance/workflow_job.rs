//! A workflow job at a real or simulated GitHub, through its REST API.

use std::time::{Duration, Instant};

use farm::simulation::Farm;
use farm::targets::GitHubTarget;
use github::{BaseUrl, Client, ClientConfig, Conclusion, Credential, Job, JobStatus};
use ownership::{RepositoryName, RunnerName};
use sim_github::{JobSpec, RunSpec};

/// Longest wait for a job, which may wait for the first boot of a VM on real hardware.
const DEADLINE: Duration = Duration::from_secs(15 * 60);
const POLL_PAUSE: Duration = Duration::from_secs(1);

/// A job that was queued for the pool `acceptance`.
pub(crate) struct Queued {
    client: Client,
    repository: RepositoryName,
    run_id: u64,
    name: String,
    /// Id of the earlier attempt at a real GitHub.
    earlier: Option<u64>,
}

impl Queued {
    /// Queues a new job at a simulated GitHub, or runs a finished job of a real GitHub again. Returns `None` if the
    /// environment names no job of the real GitHub.
    pub(crate) async fn start(farm: &Farm) -> Option<Self> {
        let client = client(&farm.github);
        let repository: RepositoryName = farm.github.repository.parse().expect("a repository");
        let (id, earlier) = match &farm.simulated_github {
            Some(simulated) => (simulated.queue_run(run(&farm.github.repository))[0], None),
            None => {
                let id = farm.github.job?;
                again(&farm.github, id).await;
                (id, Some(id))
            }
        };
        let Job { run_id, name, .. } = client.job(&repository, id).await.expect("the job");
        Some(Self { client, repository, run_id, name, earlier })
    }

    /// Waits for the job's end. Returns the name of the runner that took it.
    pub(crate) async fn finish(&self) -> RunnerName {
        let started = Instant::now();
        loop {
            let jobs = self.client.jobs_of_run(&self.repository, self.run_id).await.expect("jobs");
            let latest = jobs.into_iter().find(|job| job.name == self.name && Some(job.id) != self.earlier);
            if let Some(job) = latest.filter(|job| job.status == JobStatus::Completed) {
                assert_eq!(job.conclusion, Some(Conclusion::Success), "{job:?}");
                return job.runner_name.expect("a runner").parse().expect("a name that pxci gives");
            }
            assert!(started.elapsed() < DEADLINE, "the job {} of run {} does not end", self.name, self.run_id);
            tokio::time::sleep(POLL_PAUSE).await;
        }
    }

    /// Waits until no runner of this name is registered.
    pub(crate) async fn deregistered(&self, runner: &RunnerName) {
        let started = Instant::now();
        let scope = github::Scope::Repository(self.repository.clone());
        while !self.client.runners(&scope, Some(runner)).await.expect("runners").is_empty() {
            assert!(started.elapsed() < DEADLINE, "{runner} stays registered");
            tokio::time::sleep(POLL_PAUSE).await;
        }
    }
}

fn run(repository: &str) -> RunSpec {
    let job = JobSpec {
        name: "acceptance".to_owned(),
        labels: ["self-hosted", "pxci-acceptance"].map(str::to_owned).to_vec(),
        steps: vec!["hostname".into()],
    };
    RunSpec { repository: repository.to_owned(), event: "push".to_owned(), fork: None, jobs: vec![job] }
}

fn client(site: &GitHubTarget) -> Client {
    let config = ClientConfig {
        base_url: BaseUrl::parse(&site.api_url).expect("a base URL"),
        credential: Credential::Token(site.token.clone().into()),
        user_agent: "pxci-acceptance".to_owned(),
    };
    let client = match &site.ca_pem {
        Some(pem) => Client::with_certificate_authority(config, pem),
        None => Client::new(config),
    };
    client.expect("a client")
}

/// Runs a finished job again.
async fn again(site: &GitHubTarget, job: u64) {
    let url = format!("{}/repos/{}/actions/jobs/{job}/rerun", site.api_url.trim_end_matches('/'), site.repository);
    let request = reqwest::Client::new()
        .post(url)
        .bearer_auth(&site.token)
        .header("Accept", "application/vnd.github+json")
        .header("User-Agent", "pxci-acceptance");
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    assert!(status.is_success(), "running job {job} again: {status} {}", answer.text().await.unwrap_or_default());
}
