//! `pxci_dispatcher_lxc` with fake dispatchers. `tests/dispatcher_life` runs a real dispatcher.

use std::fs;
use std::path::{Path, PathBuf};

use farm::harness::conformance::{Body, Import, Moment, Operation, RoundTrip, Secrets, Subject, Words};
use farm::harness::{Failed, Harness};
use serde_json::{Value, json};

use super::world::{FAULT, Simulators};
use crate::fake_dispatcher::Held;

const GITHUB: &str = "ghp_Zx81kQm2Vn73bTc90sLpWq45RtYu67IoPaSd";
const UPLOAD: &str = "/nodes/pve1/storage/local/upload";
const CONTAINER: &str = "/nodes/pve1/lxc/*";
const START: &str = "/nodes/pve1/lxc/*/status/start";
/// First bytes of a file that the simulator accepts as an appliance.
const APPLIANCE: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 1, 0, 0];

pub(super) struct Dispatcher {
    appliances: [PathBuf; 2],
}

fn appliance(directory: &Path, version: &str) -> PathBuf {
    let path = directory.join(format!("pxci-dispatcher-appliance_{version}_amd64.tar.zst"));
    fs::write(&path, [&APPLIANCE, version.as_bytes()].concat()).expect("written");
    path
}

fn pools(max: u32) -> String {
    format!(
        r#"{{
    plain = {{
      labels        = ["self-hosted", "linux"]
      repositories  = ["octo/app"]
      max           = {max}
      vmid_range    = "9100-9199"
      resource_pool = "pxci-runners"
      family        = "plain"
      template_vmid = 9000
    }}
  }}"#
    )
}

impl Subject for Dispatcher {
    type World = Simulators;
    const TYPE: &'static str = "pxci_dispatcher_lxc";

    async fn begin(_: &mut Simulators, harness: &mut Harness) -> Result<Self, Failed> {
        let appliances = ["1.0.0", "1.1.0"].map(|version| appliance(harness.directory(), version));
        harness.work_mut().set("PXCI_APPLIANCE", &appliances[0].display().to_string());

        Ok(Self { appliances })
    }

    fn full(&self) -> Body {
        self.required()
            .set("node", "\"pve1\"")
            .set("hostname", "\"farmer\"")
            .set("state_volume_size", "2")
            .set("cores", "2")
            .set("memory", "512")
            .set("swap", "128")
            .set("nameservers", "[\"10.0.0.1\"]")
            .set("appliance_file", format!("{:?}", self.appliances[0].display().to_string()))
            .set("pve", "{ token_id = \"pxci-dispatcher@pve!farm\" }")
            .set("pve_token_secret_wo", "\"6f4d0a5e-1c8e-4d3b-9b1e-1f2a3b4c5d6e\"")
            .set("pve_token_secret_wo_version", "1")
            .set("github", "{ api_url = \"https://git.example.net/api/v3\" }")
            .set("github_token_wo_version", "1")
            .set("poll_interval", "30")
            .set("timeouts", "{ create = \"9m\" }")
    }

    fn required(&self) -> Body {
        Body::new([
            ("vmid_range", "\"8100-8109\""),
            ("resource_pool", "\"pxci-control\""),
            ("storage", "\"local-lvm\""),
            ("template_storage", "\"local\""),
            ("network", "{ bridge = \"vmbr0\" }"),
            ("github_token_wo", "\"ghp_none\""),
        ])
        .set("pools", pools(2))
    }

    fn updates(&self) -> Vec<(&'static str, String)> {
        let mut updates: Vec<(&str, String)> = [
            ("hostname", "\"foreman\""),
            ("cores", "3"),
            ("memory", "640"),
            ("swap", "0"),
            ("network", "{ bridge = \"vmbr0\", ip = \"10.0.0.5/24\", gateway = \"10.0.0.1\", ip6 = \"2001:db8::5/64\", gateway6 = \"fe80::1\", vlan = 7 }"),
            ("nameservers", "[\"10.0.0.1\", \"10.0.0.2\"]"),
            ("pve", "{ token_id = \"pxci-dispatcher@pve!farm\", endpoints = [\"https://10.0.0.9:8006\"] }"),
            ("pve_token_secret_wo_version", "2"),
            ("github", "{ api_url = \"https://git.example.org/api/v3\" }"),
            ("github_token_wo_version", "2"),
            ("poll_interval", "20"),
            ("vmid_range", "\"8100-8105\""),
            ("timeouts", "{ create = \"8m\" }"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into();
        updates.push(("pools", pools(3)));
        updates.push(("appliance_file", format!("{:?}", self.appliances[1].display().to_string())));
        updates
    }

    fn replacements(&self) -> Vec<(&'static str, String)> {
        vec![("state_volume_size", "3".to_owned()), ("vmid_range", "\"8120-8129\"".to_owned())]
    }

    fn exempt(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("node", "the simulated cluster has one"),
            ("vmid", "it conflicts with `vmid_range`"),
            ("resource_pool", "the token may use one"),
            ("storage", "one of the simulated storages takes containers"),
            ("template_storage", "one of the simulated storages takes container templates"),
        ]
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("hostname", json!("pxci-dispatcher")),
            ("state_volume_size", json!(1)),
            ("cores", json!(1)),
            ("memory", json!(256)),
            ("swap", json!(0)),
            ("poll_interval", json!(15)),
        ]
    }

    fn import(&self, attributes: &Value) -> Import {
        Import {
            id: format!("pve1/{}", attributes["vmid"]),
            identity: None,
            // Only the digest of the dispatcher's configuration can be read back.
            unknowable: &[
                "vmid_range",
                "appliance_file",
                "appliance_sha256",
                "appliance_version",
                "pve",
                "pve_token_secret_wo_version",
                "github",
                "github_token_wo_version",
                "poll_interval",
                "pools",
                "timeouts",
            ],
            then: "update",
        }
    }

    async fn remove(&mut self, world: &mut Simulators, attributes: &Value) {
        let container = format!("/nodes/pve1/lxc/{}", attributes["vmid"]);
        world.administrator.task("POST", &format!("{container}/status/stop"), &[]).await;
        world.administrator.task("DELETE", &container, &[]).await;
    }

    async fn change(&mut self, world: &mut Simulators, attributes: &Value) -> Option<&'static str> {
        let path = format!("/nodes/pve1/lxc/{}/config", attributes["vmid"]);
        world.administrator.call("PUT", &path, &[("cores", "4")]).await;
        Some("cores")
    }

    async fn break_create(&mut self, world: &mut Simulators, moment: Moment) -> Option<Words> {
        const WORDS: Words = &["Unable to", FAULT];
        match moment {
            Moment::Undone(0) => Some(world.refuse("POST", UPLOAD, WORDS)),
            Moment::Undone(1) => Some(world.refuse("POST", "/nodes/pve1/lxc", WORDS)),
            Moment::Undone(2) => Some(world.refuse("POST", START, WORDS)),
            Moment::Undone(_) => None,
            Moment::Middle => {
                world.refuse("POST", START, WORDS);
                Some(world.refuse("DELETE", CONTAINER, &["Unable to start", "Cleaning up failed too", FAULT]))
            }
            Moment::After => {
                world.drop_reply("POST", "/nodes/pve1/lxc");
                Some(&["Unable to create"])
            }
        }
    }

    async fn break_update(&mut self, world: &mut Simulators) -> Option<(Body, Words)> {
        let words = world.refuse("PUT", "/nodes/pve1/lxc/*/config", &["Unable to change", FAULT]);
        Some((self.full().set("cores", "3"), words))
    }

    async fn break_delete(&mut self, world: &mut Simulators) -> Words {
        world.refuse("DELETE", CONTAINER, &["Unable to destroy", FAULT])
    }

    async fn hold(&mut self, world: &mut Simulators, operation: Operation) -> Option<(Body, Words)> {
        world.dispatchers.hold(match operation {
            Operation::Create | Operation::Update => Held::Configuring,
            Operation::Delete => Held::Draining,
        });
        let body = match operation {
            Operation::Create | Operation::Delete => self.full(),
            Operation::Update => self.full().set("pools", pools(3)),
        };
        Some((body, &["The run was interrupted"]))
    }

    async fn is_held(&mut self, world: &mut Simulators, _: Operation) -> bool {
        world.dispatchers.is_holding()
    }

    fn secrets(&self, world: &Simulators) -> Option<Secrets> {
        Some(Secrets {
            variables: vec![
                ("github_token", GITHUB.to_owned()),
                ("pve_secret", world.farm.pve.dispatcher.secret.clone()),
            ],
            body: self.full().set("github_token_wo", "var.github_token").set("pve_token_secret_wo", "var.pve_secret"),
            others: vec![world.token()],
        })
    }

    fn round_trips(&self) -> Vec<RoundTrip> {
        vec![
            RoundTrip::alike("github_token_wo_version", "9007199254740993"),
            RoundTrip::alike("pve_token_secret_wo_version", "9007199254740993"),
            RoundTrip::alike("nameservers", "[]"),
        ]
    }

    fn numbered(&self) -> Body {
        self.full().set("hostname", "\"farmer-${count.index}\"").set("vmid_range", "\"8100-8199\"")
    }
}
