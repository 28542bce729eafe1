//! `pxci_runner_vm`.

use farm::harness::conformance::{Body, Import, Moment, Operation, RoundTrip, Secrets, Subject, Words};
use farm::harness::{Failed, Harness};
use serde_json::{Value, json};

use super::world::{FAULT, Simulators};

const JIT: &str = "ZW5jb2RlZC1qaXQtY29uZmlnLW9mLWEtcnVubmVy";
const VM: &str = "/nodes/pve1/qemu/*";
const CLONE: &str = "/nodes/pve1/qemu/9000/clone";
const START: &str = "/nodes/pve1/qemu/*/status/start";
const PING: &str = "/nodes/pve1/qemu/*/agent/ping";

pub(super) struct RunnerVm;

fn vmid(attributes: &Value) -> u64 {
    attributes["vmid"].as_u64().expect("a VMID")
}

impl Subject for RunnerVm {
    type World = Simulators;
    const TYPE: &'static str = "pxci_runner_vm";
    const KEPT: &'static [&'static str] = &["vmid", "runner_name"];

    async fn begin(world: &mut Simulators, harness: &mut Harness) -> Result<Self, Failed> {
        for vmid in [9000, 9001] {
            world.administrator.make_template(vmid, "by-hand", "foreign", "").await;
        }
        let seed = harness.directory().join("seed.iso");
        std::fs::write(&seed, "something").expect("written");
        for volid in ["local:iso/one.iso", "local:iso/other.iso"] {
            world.pve().handle.put_file(volid, &seed).expect("placed");
        }
        world.counts_as_before();
        Ok(Self)
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
            ("when_finished", "\"keep\""),
            ("reap", "\"never\""),
            ("timeouts", "{ create = \"9m\" }"),
        ])
    }

    fn required(&self) -> Body {
        let optional = ["node", "seed_iso", "cores", "memory", "bridge", "started", "ready_when"];
        let optional = optional.into_iter().chain(["when_finished", "reap", "timeouts"]);
        optional.fold(self.full(), Body::without)
    }

    fn imported(&self) -> Body {
        self.full().without("timeouts")
    }

    fn updates(&self) -> Vec<(&'static str, String)> {
        [
            ("reap", "\"finished\""),
            ("when_finished", "\"replace\""),
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
        vec![
            ("started", json!(true)),
            ("ready_when", json!("agent")),
            ("when_finished", json!("keep")),
            ("reap", json!("never")),
        ]
    }

    fn import(&self, attributes: &Value) -> Import {
        Import {
            id: format!("pve1/{}/9090-9099", vmid(attributes)),
            identity: None,
            unknowable: &["ip_address"],
            then: "no-op",
        }
    }

    async fn remove(&mut self, world: &mut Simulators, attributes: &Value) {
        world.administrator.destroy_vm(vmid(attributes)).await;
    }

    async fn change(&mut self, world: &mut Simulators, attributes: &Value) -> Option<&'static str> {
        let path = format!("/nodes/pve1/qemu/{}/config", vmid(attributes));
        let description = world.pve().handle.description(u32::try_from(vmid(attributes)).expect("a VMID"));
        let lent = description.expect("a description").replacen('{', "{\"reap\":\"finished\",", 1);
        world.administrator.call("PUT", &path, &[("description", &lent)]).await;
        Some("reap")
    }

    async fn break_create(&mut self, world: &mut Simulators, moment: Moment) -> Option<Words> {
        const WORDS: Words = &["Unable to", "runner VM", FAULT];
        match moment {
            Moment::Undone(0) => Some(world.refuse("POST", CLONE, WORDS)),
            Moment::Undone(1) => Some(world.refuse("PUT", "/nodes/pve1/qemu/*/config", WORDS)),
            Moment::Undone(2) => Some(world.refuse("POST", START, WORDS)),
            Moment::Undone(_) => None,
            Moment::Middle => {
                world.refuse("POST", START, WORDS);
                // The unfinished VM cannot be destroyed either.
                Some(world.refuse("DELETE", VM, &["Unable to start", "Unable to destroy", FAULT]))
            }
            // The second attempt finds the clone.
            Moment::After => {
                world.drop_reply("POST", CLONE);
                Some(&[])
            }
        }
    }

    async fn break_update(&mut self, world: &mut Simulators) -> Option<(Body, Words)> {
        let words = world.refuse("PUT", "/nodes/pve1/qemu/*/config", &["Unable to update", FAULT]);
        Some((self.full().set("reap", "\"finished\""), words))
    }

    async fn break_delete(&mut self, world: &mut Simulators) -> Words {
        world.refuse("DELETE", VM, &["Unable to destroy", FAULT])
    }

    async fn hold(&mut self, world: &mut Simulators, operation: Operation) -> Option<(Body, Words)> {
        if operation != Operation::Create {
            // An update does not wait for a guest that stops, and a destroy cannot be interrupted.
            return None;
        }
        world.listen();
        // The guest agent never answers.
        world.refuse_always("POST", PING, "QEMU guest agent is not running");
        Some((self.full(), &["interrupted"]))
    }

    async fn is_held(&mut self, world: &mut Simulators, _: Operation) -> bool {
        world.was_called("/agent/ping")
    }

    fn secrets(&self, world: &Simulators) -> Option<Secrets> {
        Some(Secrets {
            variables: vec![("jit", JIT.to_owned())],
            body: self.full().set("jit_config_wo", "var.jit").set("jit_config_wo_version", "1"),
            others: vec![world.token()],
        })
    }

    fn round_trips(&self) -> Vec<RoundTrip> {
        vec![RoundTrip::alike("jit_config_wo_version", "9007199254740993")]
    }

    fn numbered(&self) -> Body {
        self.full().set("vmid_range", "\"9100-9199\"")
    }
}
