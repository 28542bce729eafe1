//! `pxci_cloudinit_snippet`.

use farm::harness::conformance::{Body, Import, Moment, Operation, RoundTrip, Secrets, Subject, Words};
use farm::harness::{Failed, Harness};
use serde_json::{Value, json};

use super::world::{FAULT, Simulators};

const CONTENT: &str = "/nodes/pve1/storage/local/content";
const UPLOAD: &str = "/nodes/pve1/storage/local/upload";
const TASKS: &str = "/nodes/pve1/tasks/*/status";

pub(super) struct Snippet;

impl Subject for Snippet {
    type World = Simulators;
    const TYPE: &'static str = "pxci_cloudinit_snippet";

    async fn begin(world: &mut Simulators, harness: &mut Harness) -> Result<Self, Failed> {
        // Here the token comes by the provider block, and by nothing else.
        harness.work_mut().unset("PXCI_TOKEN_SECRET");
        harness.work_mut().set("TF_VAR_token_secret", &world.token());
        Ok(Self)
    }

    fn other_blocks(&self, _: &Simulators) -> String {
        "provider \"pxci\" {\n  token_secret = var.token_secret\n}\n\
         variable \"token_secret\" {\n  type      = string\n  sensitive = true\n  ephemeral = true\n}\n"
            .to_owned()
    }

    fn full(&self) -> Body {
        Body::new([
            ("name", "\"runner\""),
            ("node", "\"pve1\""),
            ("storage", "\"local\""),
            ("user_data", r##""#cloud-config\npackages: [git]\n""##),
            ("meta_data", r#""instance-id: one\n""#),
            ("network_config", r#""version: 2\nethernets: {}\n""#),
            ("vendor_data", r##""#cloud-config\ntimezone: Etc/UTC\n""##),
            ("timeouts", "{ create = \"4m\" }"),
        ])
    }

    fn required(&self) -> Body {
        ["node", "meta_data", "network_config", "vendor_data", "timeouts"].into_iter().fold(self.full(), Body::without)
    }

    fn updates(&self) -> Vec<(&'static str, String)> {
        [
            ("user_data", r##""#cloud-config\npackages: [git, curl]\n""##),
            ("meta_data", r#""instance-id: two\n""#),
            ("network_config", r#""version: 1\nconfig: []\n""#),
            ("vendor_data", r##""#cloud-config\ntimezone: Europe/Berlin\n""##),
            ("timeouts", "{ create = \"3m\" }"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
    }

    fn replacements(&self) -> Vec<(&'static str, String)> {
        vec![("name", "\"other\"".to_owned())]
    }

    fn exempt(&self) -> Vec<(&'static str, &'static str)> {
        vec![("node", "the simulated cluster has one"), ("storage", "one of its storages takes images")]
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![("node", json!("pve1"))]
    }

    fn import(&self, attributes: &Value) -> Import {
        Import {
            id: format!("pve1/{}", attributes["volid"].as_str().expect("a volume")),
            identity: None,
            // Proxmox VE does not return the content of images.
            unknowable: &["user_data", "meta_data", "network_config", "vendor_data", "sha256", "size", "timeouts"],
            then: "update",
        }
    }

    async fn remove(&mut self, world: &mut Simulators, attributes: &Value) {
        let volid = attributes["volid"].as_str().expect("a volume");
        world.administrator.task("DELETE", &format!("{CONTENT}/{volid}"), &[]).await;
    }

    /// Does nothing, because the name of the file contains the digest of its content.
    async fn change(&mut self, _: &mut Simulators, _: &Value) -> Option<&'static str> {
        None
    }

    async fn break_create(&mut self, world: &mut Simulators, moment: Moment) -> Option<Words> {
        match moment {
            Moment::Undone(0) => Some(world.refuse("POST", UPLOAD, &["Unable to upload", FAULT])),
            // A file is uploaded as a whole, or not at all.
            Moment::Undone(_) | Moment::Middle => None,
            Moment::After => {
                world.drop_reply("POST", UPLOAD);
                Some(&["Unable to upload"])
            }
        }
    }

    async fn break_update(&mut self, world: &mut Simulators) -> Option<(Body, Words)> {
        let body = self.full().set("meta_data", r#""instance-id: two\n""#);
        Some((body, world.refuse("POST", UPLOAD, &["Unable to upload", FAULT])))
    }

    async fn break_delete(&mut self, world: &mut Simulators) -> Words {
        world.refuse("DELETE", &format!("{CONTENT}/*"), &["Unable to delete", FAULT])
    }

    async fn hold(&mut self, world: &mut Simulators, operation: Operation) -> Option<(Body, Words)> {
        world.listen();
        world.silence("GET", TASKS);
        let body = match operation {
            Operation::Create | Operation::Delete => self.full(),
            Operation::Update => self.full().set("meta_data", r#""instance-id: two\n""#),
        };
        Some((body, &["Unable to upload", "stopped while waiting"]))
    }

    async fn is_held(&mut self, world: &mut Simulators, _: Operation) -> bool {
        world.was_called("/tasks/")
    }

    fn secrets(&self, world: &Simulators) -> Option<Secrets> {
        Some(Secrets { variables: Vec::new(), body: self.full(), others: vec![world.token()] })
    }

    fn round_trips(&self) -> Vec<RoundTrip> {
        vec![
            RoundTrip::alike("user_data", "\"#!/bin/sh\\necho 'ü ☃ 漢字 🎉' \\\"\\\\\\\"\\n\""),
            RoundTrip::alike("vendor_data", "\"#cloud-config\\n{}\\n\""),
            RoundTrip::alike("meta_data", "\"instance-id: 'größer'\\n\""),
        ]
    }

    fn numbered(&self) -> Body {
        self.full().set("name", "\"runner-${count.index}\"")
    }
}
