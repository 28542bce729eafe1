//! What only a real dispatcher shows of `pxci_dispatcher_lxc`: a real core drives the provider, the container really runs out
//! of the uploaded appliance, and only Proxmox VE and GitHub are simulated. Everything else is in the acceptance suite's
//! `conformance`.
//!
//! Needs the appliance (`PXCI_APPLIANCE`) and the guests' base system (`PXCI_GUEST_BASE`), which `cargo xtask test` makes.

use std::path::{Path, PathBuf};

use acceptance::engines::preferred_core;
use acceptance::farm::{Farm, Guests, REPOSITORY};
use acceptance::harness::WorkingDirectory;
use acceptance::mirror::Mirror;
use serde_json::Value;
use sim::guest::Namespaces;

const NAME: &str = "pxci_dispatcher_lxc.it";
const APPLIANCE: &str = "pxci-dispatcher-appliance_0.1.0_amd64.tar.zst";

fn configuration(farm: &Farm) -> String {
    let (pve, github) = (&farm.pve, &farm.github);
    format!(
        r#"
terraform {{
  required_providers {{
    pxci = {{ source = "pxci/pxci" }}
  }}
}}

variable "pve_token_secret" {{
  type      = string
  ephemeral = true
}}

variable "github_token" {{
  type      = string
  ephemeral = true
}}

variable "github_token_version" {{
  type    = number
  default = 1
}}

variable "max" {{
  type    = number
  default = 2
}}

variable "appliance" {{
  type    = string
  default = null
}}

resource "pxci_dispatcher_lxc" "it" {{
  vmid_range       = "8100-8109"
  resource_pool    = "{}"
  storage          = "{}"
  template_storage = "{}"
  network          = {{ bridge = "{}" }}
  appliance_file   = var.appliance
  poll_interval    = 1

  pve                 = {{ token_id = "{}" }}
  pve_token_secret_wo = var.pve_token_secret

  github                  = {{ api_url = "{}" }}
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
        pve.dispatcher.id,
        github.api_url,
        pve.runners_pool
    )
}

struct Life {
    farm: Farm,
    work: WorkingDirectory,
    directory: tempfile::TempDir,
}

impl Life {
    async fn begin(guests: Guests, appliance: &Path) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("work");
        std::fs::create_dir(&path).expect("directory");
        let provider = std::env::var_os("PXCI_PROVIDER")
            .map_or_else(|| env!("CARGO_BIN_EXE_terraform-provider-pxci").into(), PathBuf::from);
        let mirror = Mirror::lay_out(directory.path(), &provider, Some(appliance)).expect("mirror");
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

    async fn plans(&self, expected: &[&str]) {
        assert_eq!(self.work.plan().await.expect("plan").changes(), expected);
    }

    /// The same appliance with other bytes: a frame that decompressors skip.
    fn newer_appliance(&self, appliance: &Path) -> PathBuf {
        let mut content = std::fs::read(appliance).expect("appliance");
        content.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
        let newer = self.directory.path().join(APPLIANCE);
        std::fs::write(&newer, content).expect("written");
        newer
    }
}

#[tokio::test]
async fn a_dispatcher_lives_and_leaves_nothing() {
    let made = |name: &str| {
        PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask test`")))
    };
    let (appliance, base) = (made("PXCI_APPLIANCE"), made("PXCI_GUEST_BASE"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let namespaces = Namespaces::start(&base).await.expect("guests");
    let mut life = Life::begin(Guests::Running(namespaces.clone()), &appliance).await;

    life.work.apply().await.expect("create");
    life.plans(&[]).await;
    let first = life.vmid().await;
    life.work.set("TF_VAR_max", "3");
    life.plans(&["pxci_dispatcher_lxc.it: update"]).await;
    life.work.apply().await.expect("more runners");
    life.plans(&[]).await;
    assert_eq!(life.vmid().await, first, "pools change without a new container");

    refused_token_is_told(&mut life).await;
    successor_takes_over(&mut life, &appliance, first).await;

    life.work.destroy().await.expect("destroy");
    assert_eq!(life.farm.leftovers(), Vec::<String>::new());
    namespaces.end().await;
}

async fn refused_token_is_told(life: &mut Life) {
    life.work.set("TF_VAR_github_token", "ghp_wrong");
    life.work.set("TF_VAR_github_token_version", "2");
    let refused = life.work.try_apply().await.expect("the core runs");
    assert!(!refused.status.success(), "a wrong token passed");
    let text = refused.text();
    assert!(text.contains("It cannot use GitHub") && text.contains("github_token_wo"), "{text}");
    assert!(!text.contains("ghp_wrong"), "the token is shown");
    let good = life.farm.github.token.clone();
    life.work.set("TF_VAR_github_token", &good);
    life.plans(&["pxci_dispatcher_lxc.it: update"]).await;
    life.work.apply().await.expect("the right token again");
    life.plans(&[]).await;
}

async fn successor_takes_over(life: &mut Life, appliance: &Path, first: u64) {
    let newer = life.newer_appliance(appliance);
    life.work.set("TF_VAR_appliance", newer.to_str().expect("a path"));
    life.plans(&["pxci_dispatcher_lxc.it: update"]).await;
    life.work.apply().await.expect("a new appliance");
    life.plans(&[]).await;
    assert_ne!(life.vmid().await, first, "the successor is another container");
    let guests = life.farm.simulated_pve.as_ref().map(|pve| pve.handle.guests()).unwrap_or_default();
    assert_eq!(guests.len(), 1, "the old container is left: {guests:?}");
}
