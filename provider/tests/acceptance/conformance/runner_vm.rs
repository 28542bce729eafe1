//! `pxci_runner_vm`.

use std::path::PathBuf;

use acceptance::harness::conformance::{Body, Import, Moment, Operation, RoundTrip, Secrets, Subject};
use acceptance::harness::{Failed, Harness};
use serde_json::{Value, json};

use super::world::{SOURCE, World};
use crate::lab::provider;

const JIT: &str = "ZW5jb2RlZC1qaXQtY29uZmlnLW9mLWEtcnVubmVy";
const PING: &str = "/nodes/pve1/qemu/*/agent/ping";

pub(super) struct RunnerVm(World);

fn vmid(attributes: &Value) -> u64 {
    attributes["vmid"].as_u64().expect("a VMID")
}

impl Subject for RunnerVm {
    const TYPE: &'static str = "pxci_runner_vm";
    const SOURCE: &'static str = SOURCE;

    fn program() -> PathBuf {
        provider()
    }

    fn snapshot() -> PathBuf {
        World::snapshot()
    }

    async fn begin(harness: &mut Harness) -> Result<Self, Failed> {
        let mut world = World::begin(harness).await?;
        for vmid in [9000, 9001] {
            world.administrator.make_template(vmid, "by-hand", "somebody's", "").await;
        }
        let seed = harness.directory().join("seed.iso");
        std::fs::write(&seed, "something").expect("written");
        for volid in ["local:iso/one.iso", "local:iso/other.iso"] {
            world.pve().handle.put_file(volid, &seed).expect("placed");
        }
        world.counts_as_before();
        Ok(Self(world))
    }

    fn beside(&self) -> String {
        "provider \"pxci\" {}\n".to_owned()
    }

    fn full(&self) -> Body {
        Body::new([
            ("name", "\"by-hand\""),
            ("node", "\"pve1\""),
            ("resource_pool", "\"pxci-runners\""),
            ("vmid_range", "\"9090-9099\""),
            ("template_vmid", "9000"),
            ("seed_iso", "\"local:iso/one.iso\""),
            ("cores", "1"),
            ("memory", "512"),
            ("bridge", "\"vmbr0\""),
            ("started", "true"),
            ("ready_when", "\"agent\""),
            ("reap", "\"never\""),
            ("timeouts", "{ create = \"9m\" }"),
        ])
    }

    fn required(&self) -> Body {
        let optional = ["node", "seed_iso", "cores", "memory", "bridge", "started", "ready_when", "reap", "timeouts"];
        optional.into_iter().fold(self.full(), Body::without)
    }

    fn updates(&self) -> Vec<(&'static str, String)> {
        [
            ("reap", "\"finished\""),
            ("started", "false"),
            ("ready_when", "\"none\""),
            ("started", "true"),
            ("vmid_range", "\"9090-9095\""),
            ("timeouts", "{ create = \"8m\" }"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
    }

    fn replacements(&self) -> Vec<(&'static str, String)> {
        [
            ("name", "\"other\""),
            ("template_vmid", "9001"),
            ("seed_iso", "\"local:iso/other.iso\""),
            ("cores", "2"),
            ("memory", "1024"),
            ("jit_config_wo_version", "1"),
            ("vmid_range", "\"9080-9085\""),
            ("vmid", "9083"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
    }

    fn exempt(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("node", "the simulated cluster has one"),
            ("resource_pool", "the token may use one"),
            ("bridge", "the token may use one"),
        ]
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![("started", json!(true)), ("ready_when", json!("agent")), ("reap", json!("never"))]
    }

    fn import(&self, attributes: &Value) -> Import {
        Import {
            id: format!("pve1/{}/9090-9099", vmid(attributes)),
            identity: None,
            unknowable: &["timeouts", "ip_address"],
            then: "update",
        }
    }

    async fn remove(&mut self, attributes: &Value) {
        self.0.administrator.destroy_vm(vmid(attributes)).await;
    }

    async fn change(&mut self, attributes: &Value) -> Option<&'static str> {
        let path = format!("/nodes/pve1/qemu/{}/status/stop", vmid(attributes));
        self.0.administrator.task("POST", &path, &[]).await;
        Some("started")
    }

    async fn break_create(&mut self, moment: Moment) -> bool {
        match moment {
            Moment::Before => self.0.refuse("POST", "/nodes/pve1/qemu/9000/clone"),
            Moment::Middle => {
                self.0.refuse("POST", "/nodes/pve1/qemu/*/status/start");
                // So that what is there cannot be cleared away either.
                self.0.refuse("DELETE", "/nodes/pve1/qemu/*");
            }
            Moment::After => self.0.drop_reply("POST", "/nodes/pve1/qemu/9000/clone"),
        }
        true
    }

    async fn break_delete(&mut self) {
        self.0.refuse("DELETE", "/nodes/pve1/qemu/*");
    }

    async fn hold(&mut self, operation: Operation) -> Option<Body> {
        if operation != Operation::Create {
            // An update starts what is stopped, or stops it at once; a destruction once begun is brought to its end.
            return None;
        }
        self.0.listen();
        // A guest whose agent does not come up.
        self.0.refuse_always("POST", PING);
        Some(self.full())
    }

    async fn is_held(&mut self, _: Operation) -> bool {
        self.0.was_called("/agent/ping")
    }

    async fn heal(&mut self) {
        self.0.heal();
    }

    async fn existing(&mut self) -> Vec<String> {
        self.0.existing()
    }

    fn secrets(&self) -> Option<Secrets> {
        Some(Secrets {
            variables: vec![("jit", JIT.to_owned())],
            body: self.full().set("jit_config_wo", "var.jit").set("jit_config_wo_version", "1"),
            others: vec![self.0.token()],
        })
    }

    fn round_trips(&self) -> Vec<RoundTrip> {
        let number = "9007199254740993".to_owned();
        vec![RoundTrip { attribute: "jit_config_wo_version", expression: number.clone(), stored: number }]
    }

    fn numbered(&self) -> Body {
        self.full().set("vmid_range", "\"9100-9199\"")
    }
}
