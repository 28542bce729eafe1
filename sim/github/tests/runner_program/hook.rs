//! The job-started hook: the real runner's rules about steps, and the hook of the shipped image under them.

use std::path::Path;

use sim_github::{Condition, JobStep};

use super::{GitHubWithRunners, end, listener, script};

const HOOK: &str = include_str!("../../../../runners/ubuntu-2204/files/opt/hooks/job-started.sh");

/// Steps with each condition that a workflow's author can choose.
fn steps() -> Vec<JobStep> {
    vec![
        "echo plain".into(),
        JobStep::under(Condition::Always, "echo always"),
        JobStep::under(Condition::Failure, "echo failed"),
        JobStep::under(Condition::Cancelled, "echo cancelled"),
    ]
}

/// Makes the hook known to the runner, as its service does.
fn install_hook(root: &Path, text: &str) {
    let hook = script(root, "hook.sh", text);
    std::fs::write(root.join(".env"), format!("ACTIONS_RUNNER_HOOK_JOB_STARTED={hook}\n")).unwrap();
}

#[tokio::test]
async fn a_hook_that_only_fails_does_not_keep_later_steps_from_running() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    install_hook(root.path(), "#!/bin/sh\necho \"$GITHUB_EVENT_NAME $GITHUB_REPOSITORY\"\nexit 1\n");
    let job = github.queue_steps("pull_request", Some("outsider/tools"), steps());
    let child = listener(root.path(), &github.mint("lab-1").await).spawn().unwrap();
    assert_eq!(github.conclusion(job).await, "failure");
    end(child).await;
    assert_eq!(github.log(job), "pull_request acme/tools\nalways\nfailed\n");
}

#[tokio::test]
async fn no_step_of_a_forks_job_runs_whatever_its_condition() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    install_hook(root.path(), HOOK);
    let job = github.queue_steps("pull_request", Some("outsider/tools"), steps());
    let child = listener(root.path(), &github.mint("lab-1").await).spawn().unwrap();
    assert_eq!(github.conclusion(job).await, "failure");
    assert!(end(child).await.status.success());
    let log = github.log(job);
    let reason = "::error::This runner pool does not run jobs of pull requests from forks.";
    assert_eq!(log.lines().collect::<Vec<_>>(), [reason, "##[error]The runner has received a shutdown signal."]);
    assert_eq!(github.server.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn of_two_jobs_the_forks_is_refused_and_the_trusted_one_runs() {
    let github = GitHubWithRunners::start().await;
    let fork = github.queue_steps("pull_request", Some("outsider/tools"), steps());
    let trusted = github.queue_steps("pull_request", None, steps());
    let mut runners = Vec::new();
    for name in ["lab-1", "lab-2"] {
        let root = github.install().await;
        install_hook(root.path(), HOOK);
        runners.push((listener(root.path(), &github.mint(name).await).spawn().unwrap(), root));
    }
    assert_eq!(github.conclusion(fork).await, "failure");
    assert_eq!(github.conclusion(trusted).await, "success");
    for (child, _root) in runners {
        end(child).await;
    }
    assert_eq!(github.log(trusted), "plain\nalways\n");
    assert!(!github.log(fork).contains("always"), "{}", github.log(fork));
}

#[tokio::test]
async fn a_cancelled_job_still_runs_the_steps_that_ask_for_it() {
    let github = GitHubWithRunners::start().await;
    let root = github.install().await;
    let mut steps = steps();
    steps.splice(0..0, ["echo ready".into(), "sleep 600".into()]);
    let job = github.queue_steps("push", None, steps);
    let child = listener(root.path(), &github.mint("lab-1").await).spawn().unwrap();
    github.started(job).await;
    assert!(github.server.world(|world, now| world.cancel_job(job, now)));
    assert_eq!(github.conclusion(job).await, "cancelled");
    end(child).await;
    let log = github.log(job);
    assert!(log.ends_with("always\ncancelled\n") && !log.contains("plain") && !log.contains("failed"), "{log}");
}
