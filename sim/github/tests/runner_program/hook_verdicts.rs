//! The shipped job-started hook's verdict on each kind of event, below a program that plays the runner's listener.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::script;

const HOOK: &str = include_str!("../../../../runners/ubuntu-2204/files/opt/hooks/job-started.sh");
/// File in which an image declares its trust.
const TRUST: &str = "/etc/pxci/trust";
/// Exit status of the listener once it was asked to end.
const ASKED_TO_END: i32 = 99;
/// Starts the hook as the runner's worker does, and ends when the hook ends or when it is asked to.
const LISTENER: &str = r#"#!/bin/bash
trap 'kill -KILL "$hook"; exit 99' TERM
bash -e "$1" &
hook=$!
wait "$hook"
"#;

/// A verdict of the hook.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Admitted,
    /// The listener was asked to end, and the hook had not returned.
    Refused(String),
}

/// An image with the hook, in a directory.
struct Image {
    directory: TempDir,
}

impl Image {
    fn new(trust: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let trust_file = directory.path().join("trust");
        std::fs::write(&trust_file, format!("{trust}\n")).unwrap();
        assert!(HOOK.contains(TRUST));
        script(directory.path(), "hook.sh", &HOOK.replace(TRUST, trust_file.to_str().unwrap()));
        std::fs::create_dir(directory.path().join("bin")).unwrap();
        script(&directory.path().join("bin"), "Runner.Listener", LISTENER);
        Self { directory }
    }

    fn judge(&self, event: &str, document: &str) -> Verdict {
        let file = self.directory.path().join("event.json");
        std::fs::write(&file, document).unwrap();
        self.judge_file(event, &file, std::env::var("PATH").unwrap().as_str())
    }

    fn judge_file(&self, event: &str, file: &Path, path: &str) -> Verdict {
        let output = Command::new(self.directory.path().join("bin/Runner.Listener"))
            .arg(self.directory.path().join("hook.sh"))
            .env("GITHUB_EVENT_NAME", event)
            .env("GITHUB_EVENT_PATH", file)
            .env("PATH", path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.code() {
            Some(0) => Verdict::Admitted,
            Some(ASKED_TO_END) => Verdict::Refused(said),
            other => panic!("{other:?}: {said}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

fn assert_refused(verdict: &Verdict, why: &str) {
    assert!(matches!(verdict, Verdict::Refused(said) if said.contains(why)), "{verdict:?}");
}

/// Returns the event of a pull request from this repository, or from a deleted one.
fn pull_request(from: Option<&str>) -> Value {
    let head = from.map(|name| json!({ "full_name": name }));
    json!({ "repository": { "full_name": "o/r" }, "pull_request": { "head": { "repo": head } } })
}

fn workflow_run(from: Option<&str>) -> Value {
    let head = from.map(|name| json!({ "full_name": name }));
    json!({ "repository": { "full_name": "o/r" }, "workflow_run": { "head_repository": head } })
}

#[test]
fn a_private_pool_admits_the_repositorys_own_jobs() {
    let image = Image::new("private");
    let push = json!({ "repository": { "full_name": "o/r" } });
    for (event, document) in [
        ("push", push),
        ("schedule", json!({ "schedule": "0 3 * * *" })),
        ("pull_request", pull_request(Some("o/r"))),
        ("pull_request_target", pull_request(Some("o/r"))),
        ("workflow_run", workflow_run(Some("o/r"))),
    ] {
        assert_eq!(image.judge(event, &document.to_string()), Verdict::Admitted, "{event}");
    }
}

#[test]
fn a_private_pool_refuses_forks_also_deleted_ones() {
    let image = Image::new("private");
    for from in [Some("x/r"), None] {
        for event in ["pull_request", "pull_request_target", "pull_request_review"] {
            assert_refused(&image.judge(event, &pull_request(from).to_string()), "pull requests from forks");
        }
        assert_refused(&image.judge("workflow_run", &workflow_run(from).to_string()), "a fork caused");
    }
}

#[test]
fn a_public_pool_takes_forks_and_refuses_events_that_can_read_secrets() {
    let image = Image::new("public");
    assert_eq!(image.judge("pull_request", &pull_request(Some("x/r")).to_string()), Verdict::Admitted);
    assert_eq!(image.judge("pull_request", &pull_request(Some("o/r")).to_string()), Verdict::Admitted);
    for from in ["o/r", "x/r"] {
        let verdict = image.judge("pull_request_target", &pull_request(Some(from)).to_string());
        assert_refused(&verdict, "the repository's secrets");
        assert_refused(&image.judge("workflow_run", &workflow_run(Some(from)).to_string()), "the repository's secrets");
    }
}

#[test]
fn an_unknown_word_of_trust_counts_as_private() {
    let image = Image::new("publik");
    assert_refused(&image.judge("pull_request", &pull_request(Some("x/r")).to_string()), "from forks");
}

#[test]
fn an_event_that_cannot_be_read_is_refused() {
    for trust in ["private", "public"] {
        let image = Image::new(trust);
        let two = format!("{0}{0}", pull_request(Some("o/r")));
        let no_repository = r#"{"pull_request":{"head":{"repo":null}}}"#;
        for document in ["", "nonsense", "[]", "{", r#"{"pull_request":"text"}"#, no_repository, two.as_str()] {
            assert_refused(&image.judge("pull_request", document), "cannot read the job's event");
        }
        assert_refused(&image.judge("", "{}"), "cannot read the job's event");
        let path = std::env::var("PATH").unwrap();
        let missing = image.directory.path().join("missing.json");
        assert_refused(&image.judge_file("push", &missing, &path), "cannot read the job's event");
        assert_refused(&image.judge_file("push", image.directory.path(), &path), "cannot read the job's event");
    }
}

#[test]
fn an_image_without_jq_refuses_every_job() {
    let image = Image::new("private");
    let programs = image.directory.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    for name in ["bash", "tr", "sed", "sleep"] {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|directory| directory.join(name))
            .find(|program| program.is_file());
        symlink(found.unwrap(), programs.join(name)).unwrap();
    }
    let file = image.directory.path().join("event.json");
    std::fs::write(&file, json!({ "repository": { "full_name": "o/r" } }).to_string()).unwrap();
    let verdict = image.judge_file("push", &file, programs.to_str().unwrap());
    assert_refused(&verdict, "cannot read the job's event");
}

#[test]
fn a_huge_event_is_judged_like_any_other() {
    let image = Image::new("private");
    let mut document = pull_request(Some("x/r"));
    document["commits"] = json!(vec!["x".repeat(1024); 20 * 1024]);
    assert_refused(&image.judge("pull_request", &document.to_string()), "from forks");
    document["pull_request"]["head"]["repo"]["full_name"] = json!("o/r");
    assert_eq!(image.judge("pull_request", &document.to_string()), Verdict::Admitted);
}

#[test]
fn without_a_listener_the_worker_is_killed() {
    let image = Image::new("private");
    let file = image.directory.path().join("event.json");
    std::fs::write(&file, "nonsense").unwrap();
    // The shell is the worker. The hook outlives it, and ends with the test's own signal.
    let worker = "bash -e \"$1\" & echo $! > \"$2\"; wait; echo a later step";
    let process = image.directory.path().join("process");
    let output = Command::new("bash")
        .args(["-c", worker, "worker"])
        .arg(image.directory.path().join("hook.sh"))
        .arg(&process)
        .env("GITHUB_EVENT_NAME", "push")
        .env("GITHUB_EVENT_PATH", &file)
        .stdout(std::fs::File::create(image.directory.path().join("said")).unwrap())
        .status()
        .unwrap();
    let hook = std::fs::read_to_string(&process).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(hook).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    assert!(!output.success());
    let said = std::fs::read_to_string(image.directory.path().join("said")).unwrap();
    assert!(said.contains("listener was not found") && !said.contains("a later step"), "{said}");
}
