//! The client against the simulator, which shares no types with it.
#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use github::{
    BaseUrl, Client, ClientConfig, Conclusion, Credential, Error, JitRequest, JobStatus, RunnerStatus, Scope,
};
use ownership::{RepositoryName, RunnerName};
use secrecy::{ExposeSecret, SecretString};
use sim_github::{JobSpec, Level, RunSpec, Server, ServerHandle, ServerOptions, Token};

/// A simulated GitHub, and a client of it.
struct AskedGitHub {
    github: ServerHandle,
    client: Client,
    token: String,
    repository: RepositoryName,
    scope: Scope,
}

async fn site() -> AskedGitHub {
    site_with(ServerOptions::default(), Token::for_repository_runners(), "").await
}

async fn site_with(options: ServerOptions, token: Token, path: &str) -> AskedGitHub {
    let github = Server::start(options).await.unwrap();
    let token = github.world(|world, _| {
        world.add_repository("acme/tools");
        world.add_organization("acme");
        world.add_token(token)
    });
    let client = client(&format!("{}{path}", github.url()), &token);
    let repository: RepositoryName = "acme/tools".parse().unwrap();
    AskedGitHub { github, client, token, scope: repository.clone().into(), repository }
}

fn client(url: &str, token: &str) -> Client {
    Client::new(config(url, token)).unwrap()
}

/// Returns the name of one of our runners, by its VMID.
fn runner_name(vmid: usize) -> RunnerName {
    format!("lab-plain-{vmid}-abcdef").parse().unwrap()
}

fn config(url: &str, token: &str) -> ClientConfig {
    ClientConfig {
        base_url: BaseUrl::parse(url).unwrap(),
        credential: Credential::Token(SecretString::from(token)),
        user_agent: "pxci-test/1".into(),
    }
}

impl AskedGitHub {
    fn queue(&self, jobs: usize) -> Vec<u64> {
        let job = |n| JobSpec { name: format!("job {n}"), labels: vec!["Linux".into()], steps: vec!["true".into()] };
        let run = RunSpec {
            repository: "acme/tools".into(),
            event: "pull_request".into(),
            fork: Some("outsider/tools".into()),
            jobs: (0..jobs).map(job).collect(),
        };
        self.github.queue_run(run)
    }

    async fn mint(&self, vmid: usize) -> Result<github::JitConfig, Error> {
        let request =
            JitRequest { name: runner_name(vmid), labels: vec!["linux".into(), "x64".into()], runner_group_id: 1 };
        self.client.generate_jitconfig(&self.scope, &request).await
    }

    fn requests(&self) -> usize {
        self.github.requests().entries().len()
    }
}

#[tokio::test]
async fn queued_jobs_are_found_through_their_runs() {
    let site = site().await;
    let queued = site.queue(3);
    let cancelled = site.github.world(|world, now| world.cancel_job(queued[2], now));
    assert!(cancelled);
    let runs = site.client.runs_not_completed(&site.repository).await.unwrap();
    assert_eq!((runs.len(), runs[0].event.as_str()), (1, "pull_request"));
    let jobs = site.client.jobs_of_run(&site.repository, runs[0].id).await.unwrap();
    let waiting: Vec<u64> = jobs.iter().filter(|job| job.status == JobStatus::Queued).map(|job| job.id).collect();
    assert_eq!(waiting, queued[..2]);
    assert_eq!((jobs[0].labels.as_slice(), jobs[0].runner_id), (["Linux".to_owned()].as_slice(), None));
    let ended = site.client.job(&site.repository, queued[2]).await.unwrap();
    assert_eq!((ended.status, ended.conclusion), (JobStatus::Completed, Some(Conclusion::Cancelled)));
    assert_eq!(site.github.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_queued_job_is_found_in_a_run_with_a_running_job() {
    let site = site().await;
    let jobs = site.queue(2);
    site.github.world(|world, now| world.cancel_job(jobs[0], now));
    let runs = site.client.runs_not_completed(&site.repository).await.unwrap();
    assert_eq!(runs.len(), 1, "the run is no longer \"queued\" but not completed");
    site.github.world(|world, now| world.cancel_job(jobs[1], now));
    assert_eq!(site.client.runs_not_completed(&site.repository).await.unwrap(), []);
}

#[tokio::test]
async fn long_lists_are_read_to_the_end() {
    let site = site().await;
    // GitHub would not accept this many requests at once.
    site.github.world(|world, _| world.behaviour.secondary.points_per_minute = u64::MAX);
    for vmid in 9100..9305 {
        site.mint(vmid).await.unwrap();
    }
    let runners = site.client.runners(&site.scope, None).await.unwrap();
    assert_eq!(runners.len(), 205);
    let entries = site.github.requests().entries();
    assert_eq!(entries.iter().filter(|entry| entry.method == "GET").count(), 3);
    let jobs = site.queue(120);
    let run = site.client.runs_not_completed(&site.repository).await.unwrap()[0].id;
    let listed = site.client.jobs_of_run(&site.repository, run).await.unwrap();
    assert_eq!(listed.iter().map(|job| job.id).collect::<Vec<_>>(), jobs);
}

#[tokio::test]
async fn an_enterprise_servers_path_is_kept_through_all_pages() {
    let site = site_with(ServerOptions::default(), Token::for_repository_runners(), "/api/v3").await;
    for vmid in 9100..9201 {
        site.mint(vmid).await.unwrap();
    }
    assert_eq!(site.client.runners(&site.scope, None).await.unwrap().len(), 101);
    let entries = site.github.requests().entries();
    assert!(entries.iter().all(|entry| entry.path.starts_with("/api/v3/")), "{entries:?}");
}

#[tokio::test]
async fn a_runner_is_registered_looked_up_and_removed() {
    let site = site().await;
    let minted = site.mint(9101).await.unwrap();
    assert!(!minted.encoded.expose_secret().is_empty());
    let found = site.client.runners(&site.scope, Some(&runner_name(9101))).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id, &found[0].status, found[0].busy), (minted.runner.id, &RunnerStatus::Offline, false));
    let labels: Vec<&str> = found[0].labels.iter().map(|label| label.name.as_str()).collect();
    assert_eq!(labels, ["linux", "x64"]);
    assert_eq!(site.client.runners(&site.scope, Some(&runner_name(9102))).await.unwrap(), []);
    assert_eq!(site.client.runner(&site.scope, minted.runner.id).await.unwrap(), found[0]);
    site.client.delete_runner(&site.scope, minted.runner.id).await.unwrap();
    assert!(site.client.delete_runner(&site.scope, minted.runner.id).await.unwrap_err().is_not_found());
    assert!(site.client.runner(&site.scope, minted.runner.id).await.unwrap_err().is_not_found());
    assert_eq!(site.github.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_can_be_registered_only_once() {
    let site = site().await;
    site.mint(9101).await.unwrap();
    let error = site.mint(9101).await.unwrap_err();
    assert!(matches!(error, Error::NameTaken { .. }), "{error:?}");
    assert!(error.to_string().contains("lab-plain-9101-abcdef"), "{error}");
}

#[tokio::test]
async fn an_organizations_runners_are_managed_like_those_of_a_repository() {
    let token = Token { organization_runners: Level::Write, ..Token::default() };
    let site = site_with(ServerOptions::default(), token, "").await;
    let scope = Scope::Organization("acme".into());
    let request = JitRequest { name: runner_name(9101), labels: vec!["linux".into()], runner_group_id: 1 };
    let minted = site.client.generate_jitconfig(&scope, &request).await.unwrap();
    assert_eq!(site.client.runners(&scope, None).await.unwrap(), std::slice::from_ref(&minted.runner));
    site.client.delete_runner(&scope, minted.runner.id).await.unwrap();
    let error = site.client.runners(&site.scope, None).await.unwrap_err().to_string();
    assert!(error.contains("Administration: write"), "{error}");
    assert_eq!(site.github.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn the_newest_release_is_read_without_a_token() {
    let site = site().await;
    let nobody =
        Client::new(ClientConfig { credential: Credential::Anonymous, ..config(site.github.url(), "") }).unwrap();
    let release = nobody.latest_runner_release().await.unwrap();
    let linux = release.iter().find(|download| download.os == "linux" && download.architecture == "x64").unwrap();
    assert_eq!(linux.version(), Some("2.336.0"));
    assert_eq!(linux.sha256_checksum.as_ref().unwrap().len(), 64);
    assert_eq!(nobody.budget().limit, Some(60));
    let refused = nobody.runners(&site.scope, None).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthorized { .. }), "{refused:?}");
    assert_eq!(site.github.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_poll_of_an_unchanged_repository_costs_nothing() {
    let site = site().await;
    site.queue(1);
    let first = site.client.runs_not_completed(&site.repository).await.unwrap();
    let used = site.client.budget().remaining;
    let sent = site.requests();
    assert_eq!(site.client.runs_not_completed(&site.repository).await.unwrap(), first);
    assert!(site.requests() > sent, "the second poll asked GitHub");
    assert_eq!(site.client.budget().remaining, used);
    site.queue(1);
    assert_eq!(site.client.runs_not_completed(&site.repository).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_wrong_token_and_a_missing_permission_are_distinguished() {
    let site = site_with(ServerOptions::default(), Token { actions: Level::Read, ..Token::default() }, "").await;
    let forbidden = site.mint(9101).await.unwrap_err();
    assert!(matches!(forbidden, Error::Forbidden { .. }), "{forbidden:?}");
    assert!(forbidden.to_string().contains("Administration: write"), "{forbidden}");
    let unknown: RepositoryName = "acme/secret".parse().unwrap();
    let hidden = site.client.runs_not_completed(&unknown).await.unwrap_err();
    assert!(hidden.is_not_found() && hidden.to_string().contains("Actions: read"), "{hidden}");
    let outsider = client(site.github.url(), "github_pat_wrong");
    let unauthorized = outsider.runners(&site.scope, None).await.unwrap_err();
    assert!(matches!(unauthorized, Error::Unauthorized { .. }), "{unauthorized:?}");
}

#[tokio::test]
async fn nothing_is_sent_while_a_limit_holds() {
    let now = Arc::new(AtomicI64::new(jiff::Timestamp::now().as_second()));
    let seconds = Arc::clone(&now);
    let clock = Arc::new(move || jiff::Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap());
    let site =
        site_with(ServerOptions { clock, ..ServerOptions::default() }, Token::for_repository_runners(), "").await;
    site.github.world(|world, _| world.behaviour.rate_limit = 2);
    site.client.runners(&site.scope, None).await.unwrap();
    site.mint(9101).await.unwrap();
    let error = site.client.runners(&site.scope, None).await.unwrap_err();
    let until = error.retry_at().expect("a rate limit says until when");
    assert!(until.as_second() > now.load(Ordering::SeqCst) + 3_000, "{until}");
    assert_eq!(site.client.budget().remaining, Some(0));
    let sent = site.requests();
    assert!(site.client.runners(&site.scope, None).await.unwrap_err().retry_at().is_some());
    assert_eq!(site.requests(), sent, "the second call did not leave the client");
}

#[tokio::test]
async fn a_secondary_limit_holds_as_long_as_github_says() {
    let site = site().await;
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(90);
    site.github.world(|world, _| world.throttle(&site.token, until));
    let reported = site.client.runners(&site.scope, None).await.unwrap_err().retry_at().unwrap();
    assert!((80..=100).contains(&reported.duration_since(jiff::Timestamp::now()).as_secs()), "{reported}");
}

#[tokio::test]
async fn no_secret_is_shown() {
    let site = site().await;
    let minted = site.mint(9101).await.unwrap();
    let shown =
        format!("{minted:?} {:?} {:?}", site.client, Credential::Token(SecretString::from(site.token.as_str())));
    assert!(!shown.contains(minted.encoded.expose_secret()) && !shown.contains(&site.token), "{shown}");
    let refused = Client::new(ClientConfig {
        base_url: BaseUrl::parse(site.github.url()).unwrap(),
        credential: Credential::Token(SecretString::from("line\nbreak")),
        user_agent: "pxci-test/1".into(),
    });
    assert!(!format!("{:?}", refused.unwrap_err()).contains("break"));
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_transport_error_and_its_outcome_unknown() {
    let AskedGitHub { github, client, scope, .. } = site().await;
    github.stop().await;
    let request = JitRequest { name: runner_name(9101), labels: vec!["linux".into()], runner_group_id: 1 };
    let minting = client.generate_jitconfig(&scope, &request);
    let error = tokio::time::timeout(Duration::from_secs(20), minting).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_if_it_is_configured() {
    let site = site().await;
    for vmid in 9100..9201 {
        site.mint(vmid).await.unwrap();
    }
    let url = site.github.url().replacen("http://", "https://", 1);
    let trusting = Client::with_certificate_authority(config(&url, &site.token), site.github.ca_pem()).unwrap();
    assert_eq!(trusting.runners(&site.scope, None).await.unwrap().len(), 101, "pages link to https too");
    let error = client(&url, &site.token).runners(&site.scope, None).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    let garbled = Client::with_certificate_authority(config(&url, &site.token), "no certificate");
    assert!(matches!(garbled, Err(Error::Setup { .. })));
}
