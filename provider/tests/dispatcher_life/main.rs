//! `pxci_dispatcher_lxc` with a real dispatcher. A core drives the provider, and the container runs the uploaded
//! appliance. Only Proxmox VE and GitHub are simulated. `conformance` in the acceptance suite covers everything that a
//! fake dispatcher can show.
//!
//! The tests need the appliance (`PXCI_APPLIANCE`) and the guests' base system (`PXCI_GUEST_BASE`), which `cargo xtask
//! test` makes.

mod cut_off;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use farm::engines::preferred_core;
use farm::harness::WorkingDirectory;
use farm::mirror::Mirror;
use farm::simulation::{Farm, Guests, REPOSITORY};
use serde_json::Value;
use sim_guest::Namespaces;
use sim_pve::Handle;

const NAME: &str = "pxci_dispatcher_lxc.it";
const APPLIANCE: &str = "pxci-dispatcher-appliance_0.1.0_amd64.tar.zst";

/// First part of the configuration: the provider, and values that the steps change.
const VARIABLES: &str = r#"
terraform {
  required_providers {
    pxci = { source = "pxci/pxci" }
  }
}

variable "pve_token_secret" {
  type      = string
  ephemeral = true
}

variable "github_token" {
  type      = string
  ephemeral = true
}

variable "github_token_version" {
  type    = number
  default = 1
}

variable "max" {
  type    = number
  default = 2
}

variable "hostname" {
  type    = string
  default = "pxci-dispatcher"
}

variable "network" {
  type    = object({ ip = string, gateway = optional(string) })
  default = { ip = "dhcp" }
}

variable "appliance" {
  type    = string
  default = null
}

variable "delete_timeout" {
  type    = string
  default = "30m"
}
"#;

fn configuration(farm: &Farm) -> String {
    let (pve, reached) = (&farm.pve, &farm.dispatcher);
    let ca = reached.github_ca_pem.as_ref().expect("the certificate authority of the simulated GitHub");
    format!(
        r#"
{VARIABLES}

resource "pxci_dispatcher_lxc" "it" {{
  vmid_range       = "8100-8109"
  resource_pool    = "{}"
  storage          = "{}"
  template_storage = "{}"
  hostname         = var.hostname
  network          = {{ bridge = "{}", ip = var.network.ip, gateway = var.network.gateway }}
  appliance_file   = var.appliance
  poll_interval    = 1
  timeouts         = {{ delete = var.delete_timeout }}

  pve                 = {{ endpoints = ["{}"], token_id = "{}" }}
  pve_token_secret_wo = var.pve_token_secret

  github                  = {{ api_url = "{}", ca_certificate = {ca:?} }}
  github_token_wo         = var.github_token
  github_token_wo_version = var.github_token_version

  pools = {{
    plain = {{
      labels        = ["self-hosted", "linux"]
      repositories  = ["{REPOSITORY}"]
      max           = var.max
      vmid_range    = "9100-9199"
      resource_pool = "{}"
      family        = "plain"
      template_vmid = 9000
    }}
  }}
}}
"#,
        pve.control_pool,
        pve.vm_storage,
        pve.iso_storage,
        pve.bridge,
        reached.pve_endpoint,
        pve.dispatcher.id,
        reached.github_api_url,
        pve.runners_pool
    )
}

/// Longest wait for a start of the container on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// Time between two checks of a condition.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// Returns the path that the environment names.
fn prepared(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask test`")))
}

/// Starts guests whose programs run.
async fn running_guests() -> Arc<Namespaces> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Namespaces::start(&prepared("PXCI_GUEST_BASE")).await.expect("guests")
}

/// A farm with a working directory that has a dispatcher in its configuration.
struct Life {
    farm: Farm,
    work: WorkingDirectory,
    directory: tempfile::TempDir,
}

impl Life {
    async fn begin(guests: Guests) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("work");
        std::fs::create_dir(&path).expect("directory");
        let provider = std::env::var_os("PXCI_PROVIDER")
            .map_or_else(|| env!("CARGO_BIN_EXE_terraform-provider-pxci").into(), PathBuf::from);
        let mirror = Mirror::lay_out(directory.path(), &provider, Some(&prepared("PXCI_APPLIANCE"))).expect("mirror");
        let mut work = mirror.working_directory(preferred_core().expect("a core"), path);
        let farm = Farm::simulated(guests).await.expect("farm");
        for (name, value) in farm.provider_environment(directory.path()).expect("environment") {
            work.set(&name, &value);
        }
        work.set("TF_VAR_pve_token_secret", &farm.pve.dispatcher.secret);
        work.set("TF_VAR_github_token", &farm.github.token);
        work.write("main.tf", &configuration(&farm)).expect("written");
        work.init().await.expect("init");
        Self { farm, work, directory }
    }

    fn pve(&self) -> &Handle {
        &self.farm.simulated_pve.as_ref().expect("a simulator").handle
    }

    async fn attributes(&self) -> Value {
        let state = self.work.state().await.expect("state");
        let resources = state["values"]["root_module"]["resources"].as_array().cloned().unwrap_or_default();
        resources
            .into_iter()
            .find(|resource| resource["address"] == NAME)
            .map(|mut resource| resource["values"].take())
            .expect("a dispatcher")
    }

    async fn vmid(&self) -> u64 {
        self.attributes().await["vmid"].as_u64().expect("a VMID")
    }

    /// Asserts that a plan has exactly these changes.
    async fn assert_plan(&self, expected: &[&str]) {
        assert_eq!(self.work.plan().await.expect("plan").changes(), expected);
    }

    /// Writes an appliance with the same content and another digest: it has a further frame, which decompressors skip.
    fn newer_appliance(&self, appliance: &Path) -> PathBuf {
        let mut content = std::fs::read(appliance).expect("appliance");
        content.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
        let newer = self.directory.path().join(APPLIANCE);
        std::fs::write(&newer, content).expect("written");
        newer
    }
}

#[tokio::test]
async fn a_dispatcher_is_created_changed_replaced_and_destroyed_without_leftovers() {
    let namespaces = running_guests().await;
    let mut life = Life::begin(Guests::Running(namespaces.clone())).await;

    life.work.apply().await.expect("create");
    life.assert_plan(&[]).await;
    let first = life.vmid().await;
    life.work.set("TF_VAR_max", "3");
    life.assert_plan(&["pxci_dispatcher_lxc.it: update"]).await;
    life.work.apply().await.expect("more runners");
    life.assert_plan(&[]).await;
    assert_eq!(life.vmid().await, first, "pools change without a new container");

    change_with_restart(&mut life, "TF_VAR_hostname", "renamed").await;
    change_with_restart(&mut life, "TF_VAR_network", r#"{"ip":"10.78.0.20/24","gateway":"10.78.0.1"}"#).await;
    cut_power(&life).await;
    reboot_from_inside(&life, &namespaces).await;

    refused_token_is_reported(&mut life).await;
    successor_takes_over(&mut life, &prepared("PXCI_APPLIANCE"), first).await;

    life.work.destroy().await.expect("destroy");
    assert_eq!(life.farm.leftovers(), Vec::<String>::new());
    namespaces.end().await;
}

/// Waits until the dispatcher has sent further requests to Proxmox VE and to GitHub.
async fn wait_for_new_requests(life: &Life) {
    let pve = life.pve();
    let github = life.farm.simulated_github.as_ref().expect("a simulator");
    let calls = || {
        let dispatcher = &life.farm.pve.dispatcher.id;
        let pve = pve.requests().entries().iter().filter(|entry| entry.caller == *dispatcher).count();
        (pve, github.requests().entries().len())
    };
    let before = calls();
    let started = Instant::now();
    loop {
        let now = calls();
        if now.0 > before.0 && now.1 > before.1 {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "no new request to both: {before:?}, {now:?}");
        tokio::time::sleep(POLL_PAUSE).await;
    }
}

/// Changes a variable that takes effect at the next start. The same container must work afterwards.
async fn change_with_restart(life: &mut Life, variable: &str, value: &str) {
    let vmid = life.vmid().await;
    life.work.set(variable, value);
    life.assert_plan(&["pxci_dispatcher_lxc.it: update"]).await;
    life.work.apply().await.expect(variable);
    life.assert_plan(&[]).await;
    assert_eq!(life.vmid().await, vmid, "the same container");
    wait_for_new_requests(life).await;
}

/// Cuts the power of the node and restores it. The dispatcher must work afterwards.
async fn cut_power(life: &Life) {
    let pve = life.pve();
    assert!(pve.node_away(&life.farm.pve.node).await);
    assert!(pve.node_back(&life.farm.pve.node));
    wait_for_new_requests(life).await;
    life.assert_plan(&[]).await;
}

/// Reboots the container from inside. The dispatcher must work afterwards.
async fn reboot_from_inside(life: &Life, guests: &Namespaces) {
    let vmid = life.vmid().await.try_into().expect("a VMID");
    // Init may end this command too, so its status is ignored.
    guests.container_attach(vmid, &["/sbin/reboot"]).await.expect("a running container");
    let pve = life.pve();
    let started = Instant::now();
    while !pve.timeline().iter().any(|happening| happening.kind == "rebooted") {
        assert!(started.elapsed() < DEADLINE, "it does not reboot");
        tokio::time::sleep(POLL_PAUSE).await;
    }
    wait_for_new_requests(life).await;
    life.assert_plan(&[]).await;
}

/// Applies a wrong token, which must be reported, and then the right one.
async fn refused_token_is_reported(life: &mut Life) {
    life.work.set("TF_VAR_github_token", "ghp_wrong");
    life.work.set("TF_VAR_github_token_version", "2");
    let refused = life.work.try_apply().await.expect("the core runs");
    assert!(!refused.status.success(), "a wrong token passed");
    let text = refused.text();
    assert!(text.contains("It cannot use GitHub") && text.contains("github_token_wo"), "{text}");
    assert!(!text.contains("ghp_wrong"), "the token is shown");
    let good = life.farm.github.token.clone();
    life.work.set("TF_VAR_github_token", &good);
    life.assert_plan(&["pxci_dispatcher_lxc.it: update"]).await;
    life.work.apply().await.expect("the right token again");
    life.assert_plan(&[]).await;
}

/// Applies a new appliance, whose container must replace the first one.
async fn successor_takes_over(life: &mut Life, appliance: &Path, first: u64) {
    let newer = life.newer_appliance(appliance);
    life.work.set("TF_VAR_appliance", newer.to_str().expect("a path"));
    life.assert_plan(&["pxci_dispatcher_lxc.it: update"]).await;
    life.work.apply().await.expect("a new appliance");
    life.assert_plan(&[]).await;
    assert_ne!(life.vmid().await, first, "the successor is another container");
    let guests = life.pve().guests();
    assert_eq!(guests.len(), 1, "the old container is left: {guests:?}");
}
