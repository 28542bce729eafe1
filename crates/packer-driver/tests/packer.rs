//! These tests run the Packer program of this machine with its null builder.

#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use packer_driver::{Build, Class, Error, Event, Failure, Packer};
use secrecy::SecretString;
use serde_json::json;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);

async fn packer() -> Packer {
    let named = std::env::var_os("PXCI_PACKER").map(PathBuf::from);
    let search = std::env::var_os("PATH").unwrap_or_default();
    Packer::locate(named.as_deref(), &search).await.unwrap_or_else(|error| panic!("{error}; run `cargo xtask setup`"))
}

fn template(provisioners: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "variable \"word\" {{\n  type = string\n}}\nsource \"null\" \"x\" {{\n  communicator = \"none\"\n}}\nbuild {{\n  sources = [\"source.null.x\"]\n{provisioners}\n}}\n"
    );
    std::fs::write(directory.path().join("x.pkr.hcl"), text).unwrap();
    directory
}

fn build(directory: &Path) -> Build<'_> {
    Build {
        directory,
        variables: [("word".to_owned(), json!("hunter2,with comma")), ("undeclared".to_owned(), json!(1))]
            .into_iter()
            .collect(),
        secrets: vec![SecretString::from("hunter2,with comma")],
        certificates: None,
        cancel: CancellationToken::new(),
        deadline: None,
        grace: Duration::from_secs(20),
    }
}

async fn failure(directory: &Path, build: Build<'_>) -> Failure {
    let error = packer().await.build(&build, |_| ()).await.expect_err("the build must fail");
    let Error::Failed(failure) = error else { panic!("{directory:?}: {error:?}") };
    failure
}

/// Returns the processes of this machine whose command line contains `text`.
fn processes(text: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if name.bytes().all(|byte| byte.is_ascii_digit()) && name != own && line.contains(text) {
            found.push(format!("{name} {line}"));
        }
    }
    found
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_build_ends_with_its_artifact_and_without_its_secret() {
    let directory =
        template("  provisioner \"shell-local\" {\n    inline = [\"echo word: ${var.word}\", \"echo done >&2\"]\n  }");
    let mut lines = Vec::new();
    let built = packer()
        .await
        .build(&build(directory.path()), |event| {
            if let Event::Line { text, .. } = event {
                lines.push(text.clone());
            }
        })
        .await
        .unwrap();
    assert_eq!(built.artifacts, ["Null"]);
    let all = lines.join("\n");
    assert!(all.contains("word: (secret)") && all.contains("done"), "{all}");
    assert!(!all.contains("hunter2"), "{all}");
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["x.pkr.hcl"]);
}

#[tokio::test]
async fn a_failing_provisioner_has_its_own_class_and_the_lines_that_explain_it() {
    let directory = template(
        "  provisioner \"shell-local\" {\n    inline = [\"echo E: no such package ${var.word} >&2; exit 7\"]\n  }",
    );
    let failure = failure(directory.path(), build(directory.path())).await;
    assert_eq!(failure.class, Class::Provisioner);
    let text = failure.to_string();
    assert!(text.contains("E: no such package (secret)") && text.contains("exit status: 7"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_failure_names_the_cd_images_among_the_temporary_files() {
    let directory = template(
        "  provisioner \"shell-local\" {\n    inline = [\"touch $TMPDIR/packer4711.iso $TMPDIR/other.iso; exit 7\"]\n  }",
    );
    let failure = failure(directory.path(), build(directory.path())).await;
    assert_eq!(failure.cds, ["packer4711.iso"]);
}

#[tokio::test]
async fn a_mistake_in_the_template_is_found_before_anything_is_built() {
    let directory = template("  provisioner \"no-such-provisioner\" {}");
    let failure = failure(directory.path(), build(directory.path())).await;
    assert_eq!(failure.class, Class::Config);
    assert!(failure.to_string().contains("no-such-provisioner"), "{failure}");
}

#[tokio::test]
async fn an_unset_variable_is_a_configuration_error() {
    let directory = template("");
    let mut build = build(directory.path());
    build.variables.clear();
    let failure = failure(directory.path(), build).await;
    assert_eq!(failure.class, Class::Config);
    assert!(failure.to_string().contains("word"), "{failure}");
}

#[tokio::test]
async fn cancelling_ends_the_whole_group_and_removes_the_scratch_directory() {
    let directory =
        template("  provisioner \"shell-local\" {\n    inline = [\"touch started; exec sleep 86391\"]\n  }");
    let build = build(directory.path());
    let (cancel, started) = (build.cancel.clone(), directory.path().join("started"));
    let (failure, ()) = tokio::join!(failure(directory.path(), build), async {
        until("the provisioner starts", || started.exists()).await;
        cancel.cancel();
    });
    assert_eq!(failure.class, Class::Cancelled);
    until("the provisioner is gone", || processes("sleep 86391").is_empty()).await;
    until("packer is gone", || processes(&directory.path().display().to_string()).is_empty()).await;
}

#[tokio::test]
async fn a_deadline_ends_a_build_that_ignores_requests() {
    let directory = template("  provisioner \"shell-local\" {\n    inline = [\"trap '' TERM INT; sleep 86392\"]\n  }");
    let mut build = build(directory.path());
    build.deadline = Some(Instant::now() + Duration::from_secs(3));
    build.grace = Duration::from_secs(1);
    let failure = failure(directory.path(), build).await;
    assert_eq!(failure.class, Class::TimedOut);
    until("the provisioner is gone", || processes("sleep 86392").is_empty()).await;
}

#[tokio::test]
async fn our_credentials_are_not_in_a_provisioners_environment() {
    let directory = template(
        "  provisioner \"shell-local\" {\n    inline = [\"env | cut -d= -f1 > names; cp $SSL_CERT_FILE certificates\"]\n  }",
    );
    let mut build = build(directory.path());
    build.certificates = Some("PEM".to_owned());
    packer().await.build(&build, |_| ()).await.unwrap();
    let names = std::fs::read_to_string(directory.path().join("names")).unwrap();
    for name in names.lines().filter(|name| !name.starts_with("PACKER_")) {
        assert!(
            !["PXCI_", "PROXMOX_", "TF_", "PKR_VAR_", "GITHUB_TOKEN"].iter().any(|start| name.starts_with(start)),
            "{names}"
        );
    }
    assert_eq!(std::fs::read_to_string(directory.path().join("certificates")).unwrap(), "PEM");
}

/// Returns the path of an example. Cargo builds examples together with the tests, next to the directory of the test
/// programs.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    let example = test.ancestors().nth(2).expect("target directory").join("examples").join(name);
    assert!(example.is_file(), "the example is not built: `cargo build -p pxci-packer-driver --example {name}`");
    example
}

#[tokio::test]
async fn packer_ends_when_its_parent_is_killed() {
    let directory = template(
        "  provisioner \"shell-local\" {\n    inline = [\"echo $PPID > core; touch started; sleep 86393\"]\n  }",
    );
    let scratch = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(example("build"))
        .arg(directory.path())
        .arg("word=any")
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = directory.path().join("started");
    until("the provisioner starts", || started.exists()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let core = std::fs::read_to_string(directory.path().join("core")).unwrap();
    let core = PathBuf::from("/proc").join(core.trim());
    until("the core has ended", || !core.exists()).await;
    until("the provisioner's own children have ended", || processes("sleep 86393").is_empty()).await;
    until("the scratch directory is gone", || std::fs::read_dir(scratch.path()).unwrap().next().is_none()).await;
}
