//! The simulated runner program, run for real: downloaded from the simulator, unpacked, started.
#![cfg(test)]

mod hook;
mod hook_verdicts;

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use flate2::read::GzDecoder;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sim_github::{EventKind, JobSpec, JobState, JobStep, RunSpec, Server, ServerHandle, ServerOptions, Token, World};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Deadline that is longer than any wait on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A simulated GitHub on real time whose runner program can run.
struct GitHubWithRunners {
    server: ServerHandle,
    token: String,
    http: reqwest::Client,
}

impl GitHubWithRunners {
    async fn start() -> Self {
        // Another test of this process may have installed it first.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let server = Server::start(ServerOptions::default()).await.unwrap();
        let token = server.world(|world, _| {
            world.add_repository("acme/tools");
            world.add_token(Token::for_repository_runners())
        });
        let http = reqwest::Client::builder().no_proxy().user_agent("test").build().unwrap();
        Self { server, token, http }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/repos/acme/tools/actions/{path}", self.server.url())
    }

    /// Downloads and unpacks the runner program as an image's scripts do.
    async fn install(&self) -> TempDir {
        let list = self.http.get(self.url("runners/downloads")).bearer_auth(&self.token).send().await.unwrap();
        let list: Value = list.json().await.unwrap();
        let archive = list[0]["download_url"].as_str().unwrap();
        let archive = self.http.get(archive).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(json!(hex::encode(Sha256::digest(&archive))), list[0]["sha256_checksum"]);
        let mut unpacked = Vec::new();
        GzDecoder::new(archive.as_ref()).read_to_end(&mut unpacked).unwrap();
        let root = TempDir::new().unwrap();
        tar::Archive::new(unpacked.as_slice()).unpack(root.path()).unwrap();
        root
    }

    async fn mint(&self, name: &str) -> String {
        let body = json!({ "name": name, "runner_group_id": 1, "labels": ["self-hosted", "Linux"] });
        let request = self.http.post(self.url("runners/generate-jitconfig")).bearer_auth(&self.token).json(&body);
        let minted: Value = request.send().await.unwrap().json().await.unwrap();
        minted["encoded_jit_config"].as_str().unwrap().to_owned()
    }

    fn queue(&self, event: &str, fork: Option<&str>, steps: &[&str]) -> u64 {
        self.queue_steps(event, fork, steps.iter().map(|step| JobStep::from(*step)).collect())
    }

    fn queue_steps(&self, event: &str, fork: Option<&str>, steps: Vec<JobStep>) -> u64 {
        let job = JobSpec { name: "build".into(), labels: vec!["linux".into()], steps };
        let (event, fork) = (event.to_owned(), fork.map(str::to_owned));
        self.server.queue_run(RunSpec { repository: "acme/tools".into(), event, fork, jobs: vec![job] })[0]
    }

    async fn conclusion(&self, job: u64) -> String {
        let ended = self.server.wait_for(LIMIT, |world| match &world.job(job)?.state {
            JobState::Completed { conclusion } => Some(conclusion.clone()),
            _ => None,
        });
        ended
            .await
            .unwrap_or_else(|| panic!("the job has not ended: {:?}", self.server.world(|w, _| w.job(job).cloned())))
    }

    async fn started(&self, job: u64) {
        let running = self.server.wait_for(LIMIT, |world| world.job(job)?.log.contains("ready").then_some(()));
        running.await.expect("the job runs");
    }

    fn log(&self, job: u64) -> String {
        self.server.world(|world, _| world.job(job).unwrap().log.clone())
    }
}

fn listener(root: &Path, jitconfig: &str) -> Command {
    let mut command = Command::new(root.join("bin/Runner.Listener"));
    command.arg("run").env("ACTIONS_RUNNER_INPUT_JITCONFIG", jitconfig).env("NO_PROXY", "127.0.0.1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn end(child: Child) -> Output {
    tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("the runner ends").unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

fn script(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn one_job_is_taken_and_the_registration_is_gone() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    let job = github.queue("push", None, &["echo \"I am $RUNNER_NAME in $GITHUB_REPOSITORY\"", "false || echo second"]);
    let later = github.queue("push", None, &["echo never"]);
    let child = listener(root.path(), &github.mint("lab-1").await).spawn().unwrap();
    assert_eq!(github.conclusion(job).await, "success");
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("Listening for Jobs"), "{}", said(&output));
    assert_eq!(github.log(job), "I am lab-1 in acme/tools\nsecond\n");
    let kinds: Vec<EventKind> =
        github.server.world(|w, _| w.job(job).unwrap().events.iter().map(|event| event.kind.clone()).collect());
    let name = || "lab-1".to_owned();
    let expected = [
        EventKind::Queued,
        EventKind::Assigned(name()),
        EventKind::Started(name()),
        EventKind::Completed("success".into()),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(github.server.world(|world, _| world.leftovers()), Vec::<String>::new());
    assert_eq!(github.server.world(|world, _| world.job(later).unwrap().state.clone()), JobState::Queued);
    assert!(!root.path().join(".credentials_rsaparams").exists(), "a runner for one job forgets its key");
    assert_eq!(github.server.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_failing_step_fails_the_job_and_ends_it() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    let job = github.queue("push", None, &["echo one; exit 3", "echo two"]);
    let child = listener(root.path(), &github.mint("lab-1").await).spawn().unwrap();
    assert_eq!(github.conclusion(job).await, "failure");
    assert_eq!(end(child).await.status.code(), Some(0));
    assert_eq!(github.log(job), "one\n##[error]Process completed with exit code 3.\n");
}

#[tokio::test]
async fn a_hook_that_the_real_runner_refuses_is_refused() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    let hook = script(root.path(), "job-started", "#!/bin/sh\n");
    let job = github.queue("push", None, &["echo never"]);
    let mut command = listener(root.path(), &github.mint("lab-1").await);
    end(command.env("ACTIONS_RUNNER_HOOK_JOB_STARTED", hook).spawn().unwrap()).await;
    assert_eq!(github.conclusion(job).await, "failure");
    assert!(github.log(job).contains("is not a valid path to a script"), "{}", github.log(job));
}

#[tokio::test]
async fn an_idle_runner_ends_when_its_registration_is_deleted() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    let child = listener(root.path(), &github.mint("lab-1").await).spawn().unwrap();
    let online = |world: &World| world.leftovers().iter().any(|l| l.contains("online")).then_some(());
    github.server.wait_for(LIMIT, online).await.expect("the runner comes online");
    let deleted = github.http.delete(github.url("runners/1")).bearer_auth(&github.token).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("token has been revoked"), "{}", said(&output));
}

#[tokio::test]
async fn a_runner_without_registration_cannot_start() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    let jitconfig = github.mint("lab-1").await;
    github.http.delete(github.url("runners/1")).bearer_auth(&github.token).send().await.unwrap();
    let output = end(listener(root.path(), &jitconfig).spawn().unwrap()).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let garbled = end(listener(root.path(), "%%%").spawn().unwrap()).await;
    assert_eq!(garbled.status.code(), Some(1), "{}", said(&garbled));
}

#[tokio::test]
async fn a_version_that_is_too_old_ends_with_its_own_exit_code() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    github.server.world(|world, _| world.behaviour.minimum_runner_version = "2.400.0".into());
    let jitconfig = github.mint("lab-1").await;
    let mut command = listener(root.path(), &jitconfig);
    let output = end(command.env("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1").spawn().unwrap()).await;
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    let version = Command::new(root.path().join("bin/Runner.Listener")).arg("--version").output().await.unwrap();
    assert_eq!(said(&version), "2.336.0\n");
}

#[tokio::test]
async fn a_cancelled_job_is_stopped_in_the_middle() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    let job = github.queue("push", None, &["echo ready", "sleep 600", "echo never"]);
    let child = listener(root.path(), &github.mint("lab-1").await).spawn().unwrap();
    github.started(job).await;
    let busy = github.http.delete(github.url("runners/1")).bearer_auth(&github.token).send().await.unwrap();
    assert_eq!(busy.status(), 422, "a runner with a job keeps its registration");
    assert!(github.server.world(|world, now| world.cancel_job(job, now)));
    assert_eq!(github.conclusion(job).await, "cancelled");
    assert_eq!(end(child).await.status.code(), Some(0));
    assert!(!github.log(job).contains("never"));
}

#[tokio::test]
async fn a_runner_that_is_asked_to_end_closes_its_session() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    let terminate = |child: &Child| {
        let process = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    };
    let idle = listener(root.path(), &github.mint("lab-1").await).spawn().unwrap();
    let left = |word: &'static str| move |w: &World| w.leftovers().iter().any(|l| l.contains(word)).then_some(());
    github.server.wait_for(LIMIT, left("online")).await.expect("the runner comes online");
    terminate(&idle);
    assert_eq!(end(idle).await.status.code(), Some(0));
    github.server.wait_for(LIMIT, left("offline")).await.expect("its session is closed");
    let job = github.queue("push", None, &["echo ready", "sleep 600"]);
    let busy = listener(root.path(), &github.mint("lab-2").await).spawn().unwrap();
    github.started(job).await;
    terminate(&busy);
    assert_eq!(end(busy).await.status.code(), Some(0));
    assert_eq!(github.conclusion(job).await, "failure");
}

#[tokio::test]
async fn a_job_continues_when_its_registration_is_removed() {
    let github = GitHubWithRunners::start().await;
    github.server.world(|world, _| world.behaviour.deletes_busy = true);
    let root = github.install().await;
    let go = root.path().join("go");
    let wait = format!("until [ -e {} ]; do sleep 0.1; done; echo done", go.display());
    let job = github.queue("push", None, &["echo ready", &wait]);
    let child = listener(root.path(), &github.mint("lab-1").await).spawn().unwrap();
    github.started(job).await;
    let deleted = github.http.delete(github.url("runners/1")).bearer_auth(&github.token).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    std::fs::write(&go, "").unwrap();
    assert_eq!(github.conclusion(job).await, "success");
    assert_eq!(end(child).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_runner_that_is_switched_off_loses_its_job_after_the_lease() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    let job = github.queue("push", None, &["echo ready", "sleep 600"]);
    let mut child = listener(root.path(), &github.mint("lab-1").await).process_group(0).spawn().unwrap();
    github.started(job).await;
    let group = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    child.wait().await.unwrap();
    assert!(github.server.world(|world, _| !world.job(job).unwrap().log.contains("lost")));
    github.server.world(|world, now| world.step(now + SignedDuration::from_mins(11)));
    assert_eq!(github.conclusion(job).await, "failure");
    assert!(github.log(job).contains("lost communication"));
    assert_eq!(github.server.world(|world, _| world.leftovers()), Vec::<String>::new());
}

#[tokio::test]
async fn a_registration_token_makes_a_runner_by_hand() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    let token =
        github.http.post(github.url("runners/registration-token")).bearer_auth(&github.token).send().await.unwrap();
    let token: Value = token.json().await.unwrap();
    let configure = |token: String| {
        let mut command = Command::new(root.path().join("config.sh"));
        command.args(["--unattended", "--ephemeral", "--name", "by-hand", "--labels", "special", "--disableupdate"]);
        command.args(["--url", &format!("{}/acme/tools", github.server.url()), "--token", &token]);
        command.env("RUNNER_ALLOW_RUNASROOT", "1").env("NO_PROXY", "127.0.0.1").stdin(Stdio::null());
        command
    };
    let refused = configure("wrong".into()).output().await.unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let output = configure(token["token"].as_str().unwrap().to_owned()).output().await.unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let job = github.queue("push", None, &["echo hello"]);
    let mut command = Command::new(root.path().join("run.sh"));
    command.env("RUNNER_ALLOW_RUNASROOT", "1").env("NO_PROXY", "127.0.0.1").stdin(Stdio::null()).kill_on_drop(true);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(github.conclusion(job).await, "success");
    let output = end(child).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(github.server.world(|world, _| world.leftovers()), Vec::<String>::new());
    assert_eq!(github.server.violations(), Vec::<String>::new());
}
