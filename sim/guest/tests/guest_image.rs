//! The image of the Ubuntu 22.04 flavour in simulated guests: its installation, its provisioners as Packer runs them,
//! and the jobs of its clones.
#![cfg(test)]

mod guest_lab;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use guest_lab::{Lab, PASSWORD, PASSWORD_HASH};
use serde_json::{Value, json};
use sim_backend::{AgentCall, AgentReply, Backend as _, GuestEventKind};
use sim_github::{Condition, JobSpec, JobState, JobStep, RunSpec, Server, ServerHandle, ServerOptions, Token};
use tokio::process::Command;

const TEMPLATE: u32 = 9000;
const IMAGE: &str = "store:base-9000/disk";

fn flavour() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("runners/ubuntu-2204")
}

fn rendered(file: &str, values: &[(&str, &str)]) -> String {
    let text = std::fs::read_to_string(flavour().join(file)).unwrap();
    values.iter().fold(text, |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

/// Returns the output of the image's own `relay` function for these lines of the listener, without the lines themselves.
async fn relayed(lines: &str) -> String {
    let script = std::fs::read_to_string(flavour().join("files/opt/runner-once")).unwrap();
    let begin = script.find("relay() {").unwrap();
    let end = begin + script[begin..].find("\n}\n").unwrap() + 3;
    let program = format!("say() {{ echo \"said $*\"; }}\n{}\nrelay <<< \"$1\" | grep '^said'", &script[begin..end]);
    let output = Command::new("bash").args(["-c", &program, "relay", lines]).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_job_is_recorded_as_a_job_whatever_its_name_says() {
    let lines = "2026-01-02 03:04:05Z: Listening for Jobs\n2026-01-02 03:04:06Z: Running job: x: Listening for Jobs\n";
    assert_eq!(relayed(lines).await, "said listening\nsaid job x: Listening for Jobs\n");
}

struct GitHub {
    server: ServerHandle,
    token: String,
    http: reqwest::Client,
}

impl GitHub {
    async fn start() -> Self {
        // Another test of this process may have done this already.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let server = Server::start(ServerOptions::default()).await.unwrap();
        let token = server.world(|world, _| {
            world.add_repository("acme/tools");
            world.add_token(Token::for_repository_runners())
        });
        Self { server, token, http: reqwest::Client::builder().no_proxy().user_agent("test").build().unwrap() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/repos/acme/tools/actions/{path}", self.server.url())
    }

    /// Returns address, checksum and version of the runner program.
    async fn runner(&self) -> (String, String, String) {
        let list = self.http.get(self.url("runners/downloads")).bearer_auth(&self.token).send().await.unwrap();
        let list: Value = list.json().await.unwrap();
        let text = |name: &str| list[0][name].as_str().unwrap().to_owned();
        let version = text("filename").trim_end_matches(".tar.gz").rsplit('-').next().unwrap().to_owned();
        (text("download_url"), text("sha256_checksum"), version)
    }

    async fn mint(&self, name: &str) -> String {
        let body = json!({ "name": name, "runner_group_id": 1, "labels": ["linux"] });
        let request = self.http.post(self.url("runners/generate-jitconfig")).bearer_auth(&self.token).json(&body);
        let minted: Value = request.send().await.unwrap().json().await.unwrap();
        minted["encoded_jit_config"].as_str().unwrap().to_owned()
    }

    async fn registration_token(&self) -> String {
        let request = self.http.post(self.url("runners/registration-token")).bearer_auth(&self.token);
        let minted: Value = request.send().await.unwrap().json().await.unwrap();
        minted["token"].as_str().unwrap().to_owned()
    }

    fn queue(&self, event: &str, fork: Option<&str>, step: impl Into<JobStep>) -> u64 {
        let job = JobSpec { name: "build".into(), labels: vec!["linux".into()], steps: vec![step.into()] };
        let (event, fork) = (event.to_owned(), fork.map(str::to_owned));
        self.server.queue_run(RunSpec { repository: "acme/tools".into(), event, fork, jobs: vec![job] })[0]
    }

    /// Returns the conclusion of the job, and its output.
    async fn result(&self, job: u64) -> (String, String) {
        let ended = self.server.wait_for(Duration::from_secs(120), |world| {
            let job = world.job(job)?;
            match &job.state {
                JobState::Completed { conclusion } => Some((conclusion.clone(), job.log.clone())),
                _ => None,
            }
        });
        ended.await.expect("the job ends")
    }
}

/// Runs the flavour's build block with Packer over the guests' SSH: its provisioners, scripts and files, without the
/// creation of a machine.
async fn provision(lab: &Lab, github: &GitHub) {
    let build = lab.directory.path().join("build");
    copy(&flavour(), &build);
    std::fs::remove_file(build.join("plugins.pkr.hcl")).unwrap();
    let block = std::fs::read_to_string(build.join("build.pkr.hcl")).unwrap();
    std::fs::write(build.join("build.pkr.hcl"), block.replace("source.proxmox-iso.", "source.null.")).unwrap();
    let source = "source \"null\" \"ubuntu-2204\" {\n  ssh_host = var.ssh_host\n  ssh_port = var.ssh_port\n  ssh_username = var.ssh_username\n  ssh_password = var.ssh_password\n}\n";
    std::fs::write(build.join("source.pkr.hcl"), source).unwrap();
    let (url, sha256, version) = github.runner().await;
    let address = lab.guests.ssh_address();
    let values = json!({
        "proxmox_url": "", "proxmox_username": "", "proxmox_token": "", "proxmox_node": "", "resource_pool": "", "vm_id": TEMPLATE, "template_name": "image",
        "ssh_host": address.ip().to_string(), "ssh_port": address.port(), "ssh_password": PASSWORD, "ssh_password_hash": PASSWORD_HASH,
        "runner_version": version, "runner_url": url, "runner_sha256": sha256,
    });
    let file = lab.directory.path().join("values.pkrvars.json");
    std::fs::write(&file, values.to_string()).unwrap();
    let mut command = Command::new(std::env::var_os("PXCI_PACKER").unwrap_or_else(|| "packer".into()));
    command.args(["build", "-color=false", "-var-file"]).arg(&file).arg(&build).env("CHECKPOINT_DISABLE", "1");
    command.env("PACKER_CACHE_DIR", lab.directory.path().join("cache")).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("verify: all checks passed"), "{said}");
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// A clone of the image, powered on with the pool's seed CD.
async fn clone(lab: &mut Lab, vmid: u32, trust: &str) {
    let disk = format!("store:{vmid}/disk");
    lab.guests.disk_clone(IMAGE, &disk, true).await.unwrap();
    let seed = lab.seed(
        &format!("seed-{vmid}"),
        &rendered("cloud-init/runner-user-data.pkrtpl", &[("pool", "ubuntu-2204"), ("trust", trust)]),
    );
    lab.power_on(vmid, &disk, vec![seed]).await;
    lab.wait_for(vmid, GuestEventKind::AgentUp).await;
}

/// Writes the registration into a clone, like the dispatcher.
async fn arm(lab: &Lab, vmid: u32, name: &str, jit_config: &str) {
    for (file, content) in [("hostname", name), ("jitconfig", jit_config), ("armed", name)] {
        let call = AgentCall::FileWrite { path: format!("/run/pxci/{file}"), content: content.as_bytes().to_vec() };
        assert_eq!(lab.guests.agent(vmid, call).await, Ok(AgentReply::Done));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_is_built_and_its_clones_run_one_job_each() {
    let mut lab = Lab::start().await;
    let github = GitHub::start().await;

    let values = [("ssh_username", "ci"), ("ssh_password_hash", PASSWORD_HASH)];
    lab.install(TEMPLATE, "store:9000/disk", &rendered("autoinstall/user-data.pkrtpl", &values)).await;
    provision(&lab, &github).await;
    lab.guests.vm_shutdown(TEMPLATE).await;
    lab.wait_for(TEMPLATE, GuestEventKind::PoweredOff).await;
    lab.guests.disk_rename("store:9000/disk", IMAGE).await.unwrap();

    clone(&mut lab, 101, "private").await;
    let (_, prepared) = lab
        .run(
            101,
            "stat -c '%a %U' /run/pxci; cat /etc/pxci/pool; wc -c < /etc/machine-id; getent shadow ci | cut -d: -f2",
        )
        .await;
    assert_eq!(prepared, "700 root\nubuntu-2204\n33\n!\n");
    let step = "hostname; id -un; pwd; findmnt -no FSTYPE -T . ; cat /opt/actions-runner/.credentials >/dev/null && findmnt -no FSTYPE -T /opt/actions-runner/.credentials; ls /run/pxci 2>&1 || true";
    let job = github.queue("push", None, step);
    let jit_config = github.mint("lab-ubuntu-2204-101-abc123").await;
    arm(&lab, 101, "lab-ubuntu-2204-101-abc123", &jit_config).await;
    let (conclusion, log) = github.result(job).await;
    assert_eq!(conclusion, "success", "{log}\n{:#?}", lab.guests.guest_log(101));
    assert!(log.starts_with("lab-ubuntu-2204-101-abc123\nrunner\n/opt/actions-runner/_work/"), "{log}");
    assert!(log.contains("Permission denied"), "the runner's user cannot look into /run/pxci: {log}");
    lab.wait_for(101, GuestEventKind::PoweredOff).await;
    let said = lab.guests.guest_log(101).join("\n");
    assert!(said.contains("Listening for Jobs") && !said.contains(&jit_config), "{said}");

    let disks = lab.guests.state_directory().join("layers");
    assert!(
        is_on_a_disk(&disks, "workspace") && !is_on_a_disk(&disks, ".credentials"),
        "a registration never reaches a disk"
    );

    clone(&mut lab, 102, "private").await;
    let always = JobStep::under(Condition::Always, "echo I got in");
    let refused = github.queue("pull_request", Some("outsider/tools"), always);
    arm(&lab, 102, "lab-ubuntu-2204-102-abc123", &github.mint("lab-ubuntu-2204-102-abc123").await).await;
    let (conclusion, log) = github.result(refused).await;
    assert_eq!(conclusion, "failure", "a fork's job ends before its first step");
    assert!(log.contains("pull requests from forks") && !log.contains("I got in"), "{log}");
    lab.wait_for(102, GuestEventKind::PoweredOff).await;

    used_up_without_a_job(&mut lab).await;
    registers_by_hand(&mut lab, &github).await;
    assert_eq!(github.server.world(|world, _| world.leftovers()), Vec::<String>::new());
    lab.guests.end().await;
}

/// Checks that a machine with an invalid registration, or with an invalid name, powers itself off too.
async fn used_up_without_a_job(lab: &mut Lab) {
    clone(lab, 103, "private").await;
    arm(lab, 103, "lab-ubuntu-2204-103-abc123", "bm9uc2Vuc2U=").await;
    lab.wait_for(103, GuestEventKind::PoweredOff).await;
    clone(lab, 104, "private").await;
    arm(lab, 104, "Not A Host Name", "bm9uc2Vuc2U=").await;
    lab.wait_for(104, GuestEventKind::PoweredOff).await;
}

/// Registers a machine of a public pool with the script for people. It takes a fork's job.
async fn registers_by_hand(lab: &mut Lab, github: &GitHub) {
    clone(lab, 105, "public").await;
    let job = github.queue("pull_request", Some("outsider/tools"), "id -un; sudo -n id -un");
    let url = format!("{}/acme/tools", github.server.url());
    let token = github.registration_token().await;
    let line = format!("/opt/actions-runner/run-once.sh {url} {token} linux by-hand 2>&1");
    let (code, said) = lab.run(105, &line).await;
    assert_eq!((code, github.result(job).await), (Some(0), ("success".into(), "runner\nroot\n".into())), "{said}");
    lab.guests.vm_stop(105).await;
}

/// Returns true if a file of this name is on any disk.
fn is_on_a_disk(directory: &Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        entry.file_name() == name || (is_directory && is_on_a_disk(&entry.path(), name))
    })
}
