//! The destroy of a dispatcher that has a runner VM and cannot reach Proxmox VE. The log reports the runner VM, the
//! problem and what to do, and each advice works.

#![expect(clippy::disallowed_methods, reason = "the test does by hand what the log advises")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use farm::harness::Finished;
use farm::simulation::{Guests, REPOSITORY};
use pve::{ApiToken, Client, ClientConfig, Trust, Upid, WaitOptions};
use reqwest::Method;
use serde_json::Value;
use sim_github::{JobSpec, RunSpec};
use sim_guest::Namespaces;
use tokio_util::sync::CancellationToken;

use super::{DEADLINE, Life, POLL_PAUSE, running_guests};

/// First VMID of the pool.
const RUNNER: u32 = 9100;
const TEMPLATE: u32 = 9000;
const LOG_FILE: &str = "provider.log";
const DESTROY: [&str; 3] = ["destroy", "-no-color", "-auto-approve"];
/// Parts of the line in the log about a runner VM that a dispatcher without its network cannot destroy.
const PROGRESS: [&str; 4] = [
    "pool \"plain\" has 1 VMs, 0 of them with a running job",
    "It cannot use Proxmox VE",
    "the destroy continues when the problem is solved, or when you have destroyed these VMs by hand",
    "an interrupt (Ctrl-C) ends the wait and destroys nothing",
];

/// A dispatcher with a runner VM that never boots, because its disk is empty.
struct Farm {
    life: Life,
    guests: Arc<Namespaces>,
}

impl Farm {
    async fn with_a_runner_vm() -> Self {
        let guests = running_guests().await;
        let mut life = Life::begin(Guests::Running(guests.clone())).await;
        let log = life.directory.path().join(LOG_FILE);
        life.work.set("TF_LOG", "INFO");
        life.work.set("TF_LOG_PATH", log.to_str().expect("a path"));
        let farm = Self { life, guests };
        farm.make_template().await;
        farm.life.work.apply().await.expect("a dispatcher");
        farm
    }

    /// Makes the pool's template, whose disk is empty.
    async fn make_template(&self) {
        let options = [
            ("vmid", "9000"),
            ("name", "plain"),
            ("pool", "pxci-runners"),
            ("agent", "1"),
            ("memory", "512"),
            ("net0", "virtio,bridge=vmbr0"),
            ("scsi0", "local-lvm:1"),
        ];
        self.task(Method::POST, "", &options).await;
        self.task(Method::POST, &format!("/{TEMPLATE}/template"), &[]).await;
    }

    /// Queues a job, and waits until its runner VM runs.
    async fn start_runner_vm(&self) {
        let job = JobSpec {
            name: "waits".to_owned(),
            labels: ["self-hosted", "linux"].map(str::to_owned).to_vec(),
            steps: Vec::new(),
        };
        let run = RunSpec { repository: REPOSITORY.to_owned(), event: "push".to_owned(), fork: None, jobs: vec![job] };
        self.life.farm.simulated_github.as_ref().expect("a simulator").queue_run(run);
        self.until("the runner VM runs", || self.life.pve().running().contains(&RUNNER)).await;
    }

    /// Takes the container's network card down, and waits until the dispatcher notices it.
    async fn cut_dispatcher_off(&self) {
        let vmid = self.life.vmid().await.try_into().expect("a VMID");
        let words = ["/bin/busybox", "ip", "link", "set", "dev", "eth0", "down"];
        let output = self.guests.container_attach(vmid, &words).await.expect("a running container");
        assert!(output.status.success(), "{output:?}");
        let has_noticed =
            || self.guests.guest_log(vmid).iter().any(|line| line.contains("Proxmox VE cannot be reached"));
        self.until("the dispatcher notices it", has_noticed).await;
    }

    /// Waits for a condition with a deadline.
    async fn until(&self, expected: &str, condition: impl Fn() -> bool) {
        let begin = Instant::now();
        while !condition() {
            assert!(
                begin.elapsed() < DEADLINE,
                "not within the deadline: {expected}\n{}\n{:#?}",
                self.log(),
                self.guests.guest_log(8100)
            );
            tokio::time::sleep(POLL_PAUSE).await;
        }
    }

    fn log_file(&self) -> PathBuf {
        self.life.directory.path().join(LOG_FILE)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Returns the number of lines in the log that report the progress of the destroy.
    fn progress_lines(&self) -> usize {
        self.log()
            .lines()
            .filter(|line| PROGRESS.iter().all(|words| line.replace("\\\"", "\"").contains(words)))
            .count()
    }

    /// Returns true if the container is in the state, and it and its runner VM run.
    async fn is_untouched(&self) -> bool {
        let vmid: u32 = self.life.vmid().await.try_into().expect("a VMID");
        let running = self.life.pve().running();
        running.contains(&vmid) && running.contains(&RUNNER)
    }

    /// Runs a task on a VM at Proxmox VE with the provider's token.
    async fn task(&self, method: Method, path: &str, options: &[(&str, &str)]) {
        let (pve, token) = (&self.life.farm.pve, &self.life.farm.pve.provider);
        let pem = pve.ca_pem.clone().expect("a CA");
        let ca = reqwest::Certificate::from_pem(pem.as_bytes()).expect("a certificate");
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
        let request = client.request(method, format!("{}/api2/json/nodes/pve1/qemu{path}", pve.endpoint));
        let request = request.header("Authorization", format!("PVEAPIToken={}={}", token.id, token.secret));
        let answer = request.form(options).send().await.expect("an answer").error_for_status().expect("a success");
        let mut answer: Value = answer.json().await.expect("JSON");
        self.ends(serde_json::from_value(answer["data"].take()).expect("a task")).await;
    }

    /// Waits for the end of a task, which must succeed.
    async fn ends(&self, task: Upid) {
        let options = WaitOptions { deadline: DEADLINE, cancel: CancellationToken::new() };
        self.user().wait(&task, &options).await.expect("a task that succeeds");
    }

    /// Returns a client with the provider's token.
    fn user(&self) -> Client {
        let (pve, token) = (&self.life.farm.pve, &self.life.farm.pve.provider);
        let config = ClientConfig {
            endpoints: vec![pve.endpoint.parse().expect("an address")],
            token: ApiToken::new(&token.id, &token.secret.clone().into()).expect("a token"),
            trust: Trust::CaPem(pve.ca_pem.clone().expect("a CA")),
            user_agent: "test".into(),
        };
        Client::new(config).expect("a client")
    }

    async fn end(self) {
        let destroy = self.life.work.start(&DESTROY).expect("it starts");
        destroy.finish_within(DEADLINE).await.expect("an end").succeeded().expect("a destroy");
        self.ends(self.user().qemu(&node(), id(TEMPLATE)).delete().await.expect("a task")).await;
        assert_eq!(self.life.farm.leftovers(), Vec::<String>::new());
        self.guests.end().await;
    }
}

fn says(finished: &Finished, all: &[&str]) {
    let text = finished.flat();
    for words in all {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}

fn node() -> ownership::NodeName {
    "pve1".parse().expect("a node name")
}

fn id(number: u32) -> ownership::Vmid {
    ownership::Vmid::new(number).expect("a VMID")
}

#[tokio::test]
async fn a_destroy_reports_its_progress_can_be_interrupted_and_continues_when_the_vms_are_destroyed_by_hand() {
    let farm = Farm::with_a_runner_vm().await;
    farm.start_runner_vm().await;
    farm.cut_dispatcher_off().await;

    let destroy = farm.life.work.start(&DESTROY).expect("it starts");
    farm.until("two lines of progress", || farm.progress_lines() >= 2).await;
    destroy.interrupt().expect("it runs");
    let interrupted = destroy.finish_within(DEADLINE).await.expect("an end").refused().expect("a failure");
    says(&interrupted, &["The run was interrupted", "pool \"plain\" has 1 VMs", "destroy these VMs by hand"]);
    assert!(farm.is_untouched().await, "an interrupt destroys nothing");

    std::fs::remove_file(farm.log_file()).expect("a log");
    let destroy = farm.life.work.start(&DESTROY).expect("it starts");
    farm.until("a line of progress", || farm.progress_lines() >= 1).await;
    let vm = farm.user().qemu(&node(), id(RUNNER));
    farm.ends(vm.stop().await.expect("a task")).await;
    vm.set_config(&[("protection", "0")], None).await.expect("a change");
    farm.ends(vm.delete().await.expect("a task")).await;
    let destroyed = destroy.finish_within(DEADLINE).await.expect("an end").succeeded().expect("it continues");
    says(&destroyed, &["reports problems", "None of its runner VMs is left", "It cannot use Proxmox VE"]);
    farm.end().await;
}

#[tokio::test]
async fn a_destroy_that_times_out_destroys_nothing_and_the_next_one_succeeds_after_a_restart_of_the_container() {
    let mut farm = Farm::with_a_runner_vm().await;
    farm.life.work.set("TF_VAR_delete_timeout", "60s");
    farm.life.work.apply().await.expect("another limit");
    farm.start_runner_vm().await;
    farm.cut_dispatcher_off().await;

    let late = farm.life.work.try_destroy().await.expect("the core runs").refused().expect("a failure");
    let advice = ["Solve the problem, or destroy these VMs by hand", "allow more time in `timeouts.delete`"];
    says(&late, &["pool \"plain\" has 1 VMs", "It cannot use Proxmox VE", advice[0], advice[1]]);
    assert!(farm.is_untouched().await, "nothing is destroyed");

    // A restart of the container restores its network.
    let vmid = u32::try_from(farm.life.vmid().await).expect("a VMID");
    farm.ends(farm.user().lxc(&node(), id(vmid)).stop().await.expect("a task")).await;
    farm.life.work.unset("TF_VAR_delete_timeout");
    farm.life.work.apply().await.expect("more time");
    farm.end().await;
}
