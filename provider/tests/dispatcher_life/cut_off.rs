//! The end of a dispatcher that cannot reach Proxmox VE while it has a runner VM: `destroy` says in the log what it waits
//! for, and each way on that it names works.

#![expect(clippy::disallowed_methods, reason = "the test does by hand what the text tells a person to do")]

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

use super::{DEADLINE, LOOK_AGAIN, Life, running_guests};

/// First VMID of the pool.
const RUNNER: u32 = 9100;
const TEMPLATE: u32 = 9000;
const LOG_FILE: &str = "provider.log";
const DESTROY: [&str; 3] = ["destroy", "-no-color", "-auto-approve"];
/// The log's words about a runner VM that a dispatcher without its network cannot remove.
const WAITS: [&str; 4] = [
    "pool \"plain\" has 1 VMs, 0 of them with a running job",
    "It cannot use Proxmox VE",
    "it goes on when the hindrance is removed, or when you have destroyed these VMs by hand",
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

    async fn gets_a_runner_vm(&self) {
        let job = JobSpec {
            name: "waits".to_owned(),
            labels: ["self-hosted", "linux"].map(str::to_owned).to_vec(),
            steps: Vec::new(),
        };
        let run = RunSpec { repository: REPOSITORY.to_owned(), event: "push".to_owned(), fork: None, jobs: vec![job] };
        self.life.farm.simulated_github.as_ref().expect("a simulator").queue_run(run);
        self.until("the runner VM runs", || self.life.pve().running().contains(&RUNNER)).await;
    }

    /// Takes the container's network card down.
    async fn cuts_the_dispatcher_off(&self) {
        let vmid = self.life.vmid().await.try_into().expect("a VMID");
        let words = ["/bin/busybox", "ip", "link", "set", "dev", "eth0", "down"];
        let output = self.guests.container_attach(vmid, &words).await.expect("a running container");
        assert!(output.status.success(), "{output:?}");
        let knows = || self.guests.guest_log(vmid).iter().any(|line| line.contains("Proxmox VE cannot be reached"));
        self.until("the dispatcher notices it", knows).await;
    }

    /// Waits for a condition with a deadline.
    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let begin = Instant::now();
        while !condition() {
            assert!(begin.elapsed() < DEADLINE, "never so: {what}\n{}\n{:#?}", self.log(), self.guests.guest_log(8100));
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn log_file(&self) -> PathBuf {
        self.life.directory.path().join(LOG_FILE)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Returns how many lines of the log say all that a user needs to know.
    fn lines_about_the_wait(&self) -> usize {
        self.log().lines().filter(|line| WAITS.iter().all(|words| line.replace("\\\"", "\"").contains(words))).count()
    }

    /// Returns true if the container and its runner VM are still there, and in the state.
    async fn is_untouched(&self) -> bool {
        let vmid: u32 = self.life.vmid().await.try_into().expect("a VMID");
        let running = self.life.pve().running();
        running.contains(&vmid) && running.contains(&RUNNER)
    }

    /// Has Proxmox VE carry out a task on its VMs, as a user with the provider's token.
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
async fn a_destroy_says_what_it_waits_for_can_be_interrupted_and_goes_on_when_the_vms_are_destroyed_by_hand() {
    let farm = Farm::with_a_runner_vm().await;
    farm.gets_a_runner_vm().await;
    farm.cuts_the_dispatcher_off().await;

    let destroy = farm.life.work.start(&DESTROY).expect("it starts");
    farm.until("two lines about the wait", || farm.lines_about_the_wait() >= 2).await;
    destroy.interrupt().expect("it runs");
    let interrupted = destroy.finish_within(DEADLINE).await.expect("an end").refused().expect("a failure");
    says(&interrupted, &["The run was interrupted", "pool \"plain\" has 1 VMs", "destroy these VMs by hand"]);
    assert!(farm.is_untouched().await, "an interrupt destroys nothing");

    std::fs::remove_file(farm.log_file()).expect("a log");
    let destroy = farm.life.work.start(&DESTROY).expect("it starts");
    farm.until("a line about the wait", || farm.lines_about_the_wait() >= 1).await;
    let vm = farm.user().qemu(&node(), id(RUNNER));
    farm.ends(vm.stop().await.expect("a task")).await;
    vm.set_config(&[("protection", "0")], None).await.expect("a change");
    farm.ends(vm.delete().await.expect("a task")).await;
    let destroyed = destroy.finish_within(DEADLINE).await.expect("an end").succeeded().expect("it goes on");
    says(&destroyed, &["was hindered", "None of its machines is left", "It cannot use Proxmox VE"]);
    farm.end().await;
}

#[tokio::test]
async fn a_destroy_whose_time_is_over_keeps_everything_and_the_next_one_succeeds_after_a_restart_of_the_container() {
    let mut farm = Farm::with_a_runner_vm().await;
    farm.life.work.set("TF_VAR_delete_timeout", "60s");
    farm.life.work.apply().await.expect("another limit");
    farm.gets_a_runner_vm().await;
    farm.cuts_the_dispatcher_off().await;

    let late = farm.life.work.try_destroy().await.expect("the core runs").refused().expect("a failure");
    let ways = ["Remove the hindrance, or destroy these VMs by hand", "allow more time in `timeouts.delete`"];
    says(&late, &["pool \"plain\" has 1 VMs", "It cannot use Proxmox VE", ways[0], ways[1]]);
    assert!(farm.is_untouched().await, "nothing is destroyed");

    // The container has its network again at its next start.
    let vmid = u32::try_from(farm.life.vmid().await).expect("a VMID");
    farm.ends(farm.user().lxc(&node(), id(vmid)).stop().await.expect("a task")).await;
    farm.life.work.unset("TF_VAR_delete_timeout");
    farm.life.work.apply().await.expect("more time");
    farm.end().await;
}
