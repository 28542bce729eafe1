//! `pxci_cloudinit_snippet`.

use std::path::PathBuf;

use acceptance::harness::conformance::{Body, Import, Moment, Operation, RoundTrip, Secrets, Subject};
use acceptance::harness::{Failed, Harness};
use serde_json::{Value, json};

use super::world::{SOURCE, World};
use crate::lab::provider;

const CONTENT: &str = "/nodes/pve1/storage/local/content";
const UPLOAD: &str = "/nodes/pve1/storage/local/upload";
const TASKS: &str = "/nodes/pve1/tasks/*/status";

pub(super) struct Snippet(World);

impl Subject for Snippet {
    const TYPE: &'static str = "pxci_cloudinit_snippet";
    const SOURCE: &'static str = SOURCE;

    fn program() -> PathBuf {
        provider()
    }

    fn snapshot() -> PathBuf {
        World::snapshot()
    }

    async fn begin(harness: &mut Harness) -> Result<Self, Failed> {
        World::begin(harness).await.map(Self)
    }

    fn beside(&self) -> String {
        "provider \"pxci\" {}\n".to_owned()
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
            // Proxmox VE does not give out the content of images.
            unknowable: &["user_data", "meta_data", "network_config", "vendor_data", "sha256", "size", "timeouts"],
            then: "update",
        }
    }

    async fn remove(&mut self, attributes: &Value) {
        let volid = attributes["volid"].as_str().expect("a volume");
        self.0.administrator.task("DELETE", &format!("{CONTENT}/{volid}"), &[]).await;
    }

    /// The file is named after its content.
    async fn change(&mut self, _: &Value) -> Option<&'static str> {
        None
    }

    async fn break_create(&mut self, moment: Moment) -> bool {
        match moment {
            Moment::Before => self.0.refuse("POST", UPLOAD),
            // It is there as a whole, or not at all.
            Moment::Middle => return false,
            Moment::After => self.0.drop_reply("POST", UPLOAD),
        }
        true
    }

    async fn break_delete(&mut self) {
        self.0.refuse("DELETE", &format!("{CONTENT}/*"));
    }

    async fn hold(&mut self, operation: Operation) -> Option<Body> {
        self.0.listen();
        self.0.silence("GET", TASKS);
        Some(match operation {
            Operation::Create | Operation::Delete => self.full(),
            Operation::Update => self.full().set("meta_data", r#""instance-id: two\n""#),
        })
    }

    async fn is_held(&mut self, _: Operation) -> bool {
        self.0.was_called("/tasks/")
    }

    async fn heal(&mut self) {
        self.0.heal();
    }

    async fn existing(&mut self) -> Vec<String> {
        self.0.existing()
    }

    fn secrets(&self) -> Option<Secrets> {
        Some(Secrets { variables: Vec::new(), body: self.full(), others: vec![self.0.token()] })
    }

    fn round_trips(&self) -> Vec<RoundTrip> {
        let trip =
            |attribute, text: &str| RoundTrip { attribute, expression: text.to_owned(), stored: text.to_owned() };
        vec![
            trip("user_data", "\"#!/bin/sh\\necho 'ü ☃ 漢字 🎉' \\\"\\\\\\\"\\n\""),
            trip("vendor_data", "\"#cloud-config\\n{}\\n\""),
            trip("meta_data", "\"instance-id: 'größer'\\n\""),
        ]
    }

    fn numbered(&self) -> Body {
        self.full().set("name", "\"runner-${count.index}\"")
    }
}
