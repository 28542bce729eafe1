//! `pxci_template` with a program that stands for Packer. The test makes the VMs that the program is asked to build.
//! The real Packer builds in the demo.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use farm::harness::conformance::{Body, Import, Moment, Operation, RoundTrip, Secrets, Subject, Words};
use farm::harness::{Failed, Harness};
use serde_json::{Value, json};
use tokio::task::{AbortHandle, JoinSet};

use super::world::{FAULT, Simulators};
use crate::administrator::Administrator;
use crate::working_directory::FIXTURES;

/// Answers of the test to a request for a build.
const BUILD: u8 = 0;
const FAIL_AT_ONCE: u8 = 1;
const FAIL_WITH_A_VM: u8 = 2;
const STAND_STILL: u8 = 3;

pub(super) struct Template {
    directory: PathBuf,
    mode: Arc<AtomicU8>,
    builder: AbortHandle,
}

impl Drop for Template {
    fn drop(&mut self) {
        self.builder.abort();
    }
}

/// Returns a script that stands for Packer, writes the variables of a build into `asked` and waits for the answer.
fn packer_script(directory: &Path, started: &Path) -> String {
    let (asked, started) = (directory.join("asked").display().to_string(), started.display());
    format!(
        r#"#!/bin/sh
echo "$0 $*" >> {started}
for word; do case $word in -var-file=*) variables=${{word#-var-file=}} ;; esac; done
case $1 in
  version) echo '1600000000,,version,1.6.6' ;;
  build)
    echo '0,,ui,say,==> null.plain: Creating VM'
    cp "$variables" {asked}/$$.part && mv {asked}/$$.part {asked}/$$.json
    until [ -e {asked}/$$.answer ]; do sleep 0.05; done
    # Packer 1.6 prints variables marked sensitive; this one prints all that it has.
    cat "$variables"; cat "$variables" >&2; echo "0,,error,$(cat "$variables")"
    read -r answer < {asked}/$$.answer
    [ "$answer" = built ] && echo '0,null.plain,artifact,0,id,1' && exit 0
    echo '0,,ui,error,the disk is odd'
    exit 1 ;;
esac
"#
    )
}

/// Answers all requests, several at a time.
async fn answer(administrator: Arc<Administrator>, asked: PathBuf, mode: Arc<AtomicU8>) {
    let (mut seen, mut working) = (BTreeSet::new(), JoinSet::new());
    loop {
        for entry in fs::read_dir(&asked).into_iter().flatten().filter_map(Result::ok) {
            let question = entry.path();
            if question.extension().is_some_and(|extension| extension == "json") && seen.insert(question.clone()) {
                working.spawn(build(Arc::clone(&administrator), question, mode.load(Ordering::SeqCst)));
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn build(administrator: Arc<Administrator>, question: PathBuf, mode: u8) {
    let variables: Value = serde_json::from_slice(&fs::read(&question).expect("question")).expect("JSON");
    let name = variables["template_name"].as_str().expect("a name");
    let vmid = variables["vm_id"].to_string();
    if mode != FAIL_AT_ONCE {
        // Packer's builder makes such a VM.
        let parameters = [
            ("vmid", vmid.as_str()),
            ("name", name),
            ("description", "Packer ephemeral build VM"),
            ("pool", "pxci-runners"),
            ("agent", "1"),
            ("memory", "512"),
            ("net0", "virtio,bridge=vmbr0"),
            ("scsi0", "local-lvm:1"),
        ];
        administrator.task("POST", "/nodes/pve1/qemu", &parameters).await;
    }
    if mode == STAND_STILL {
        fs::write(question.with_extension("held"), "").expect("written");
        return;
    }
    if mode == BUILD {
        administrator.task("POST", &format!("/nodes/pve1/qemu/{vmid}/template"), &[]).await;
    }
    let part = question.with_extension("answer.part");
    let word = if mode == BUILD { "built\n" } else { "failed\n" };
    fs::write(&part, word).and_then(|()| fs::rename(&part, question.with_extension("answer"))).expect("answered");
}

impl Template {
    fn path(&self, name: &str) -> String {
        format!("{:?}", self.directory.join(name).display().to_string())
    }

    fn answer_with(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }
}

impl Subject for Template {
    type World = Simulators;
    const TYPE: &'static str = "pxci_template";

    async fn begin(world: &mut Simulators, harness: &mut Harness) -> Result<Self, Failed> {
        let directory = harness.directory().to_owned();
        for name in ["image", "changed"] {
            farm::image::copy(&Path::new(FIXTURES).join("image"), &directory.join(name)).expect("image");
        }
        fs::write(directory.join("changed/install.sh"), "#!/bin/sh\ntrue\n").expect("written");
        fs::create_dir(directory.join("asked")).expect("directory");
        for name in ["packer", "other-packer"] {
            fs::write(directory.join(name), packer_script(&directory, &world.started)).expect("written");
            fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755)).expect("permissions");
        }
        harness.work_mut().set("PXCI_PACKER", &directory.join("packer").display().to_string());
        let mode = Arc::new(AtomicU8::new(BUILD));
        let administrator = Arc::clone(&world.administrator);
        let builder = tokio::spawn(answer(administrator, directory.join("asked"), Arc::clone(&mode))).abort_handle();
        Ok(Self { directory, mode, builder })
    }

    fn full(&self) -> Body {
        self.required()
            .set("node", "\"pve1\"")
            .set("ignore", "[\"README.md\"]")
            .set("variables", "{ disk_size = \"9G\" }")
            .set("secret_variables_wo", "{ license = \"none\" }")
            .set("secret_variables_wo_version", "1")
            .set("bridge", "\"vmbr0\"")
            .set("runner_version", "\"2.336.0\"")
            .set("runner_url", "\"https://mirror.example.net/runner.tar.gz\"")
            .set("runner_sha256", format!("\"{}\"", "0".repeat(64)))
            .set("github_api_url", "\"https://api.github.example.net\"")
            .set("packer_path", self.path("packer"))
            .set("keep_versions", "3")
            .set("verify", "false")
            .set("timeouts", "{ create = \"2h\" }")
    }

    fn required(&self) -> Body {
        Body::new([
            ("family", "\"plain\""),
            ("resource_pool", "\"pxci-runners\""),
            ("vmid_range", "\"9000-9049\""),
            ("vm_storage", "\"local-lvm\""),
            ("iso_storage", "\"local\""),
        ])
        .set("directory", self.path("image"))
    }

    fn updates(&self) -> Vec<(&'static str, String)> {
        vec![
            ("vmid_range", "\"9000-9059\"".to_owned()),
            ("directory", self.path("changed")),
            ("ignore", "[\"*.md\"]".to_owned()),
            ("variables", "{ disk_size = \"10G\" }".to_owned()),
            ("secret_variables_wo_version", "2".to_owned()),
            ("bridge", "\"vmbr1\"".to_owned()),
            ("runner_version", "\"2.337.0\"".to_owned()),
            ("runner_url", "\"https://mirror.example.net/other.tar.gz\"".to_owned()),
            ("runner_sha256", format!("\"{}\"", "1".repeat(64))),
            ("github_api_url", "\"https://api.github.example.org\"".to_owned()),
            ("packer_path", self.path("other-packer")),
            ("keep_versions", "2".to_owned()),
            ("verify", "true".to_owned()),
            ("timeouts", "{ create = \"1h\" }".to_owned()),
        ]
    }

    fn replacements(&self) -> Vec<(&'static str, String)> {
        vec![("family", "\"other\"".to_owned()), ("vmid_range", "\"9040-9049\"".to_owned())]
    }

    fn exempt(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("node", "the simulated cluster has one"),
            ("resource_pool", "the token may use one"),
            ("vm_storage", "one of the simulated storages takes disks"),
            ("iso_storage", "one of the simulated storages takes images"),
        ]
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("bridge", json!("vmbr0")),
            ("runner_version", json!("latest")),
            ("github_api_url", json!("https://api.github.com")),
            ("keep_versions", json!(2)),
            ("verify", json!(true)),
        ]
    }

    fn import(&self, _: &Value) -> Import {
        Import {
            id: "plain".to_owned(),
            identity: Some("installation = \"pxci\", family = \"plain\"".to_owned()),
            // Only the digest of the inputs can be read back.
            unknowable: &[
                "vmid_range",
                "directory",
                "ignore",
                "variables",
                "secret_variables_wo_version",
                "vm_storage",
                "iso_storage",
                "bridge",
                "runner_version",
                "runner_url",
                "runner_sha256",
                "github_api_url",
                "packer_path",
                "keep_versions",
                "verify",
                "inputs",
                "timeouts",
            ],
            then: "update",
        }
    }

    async fn remove(&mut self, world: &mut Simulators, attributes: &Value) {
        world.administrator.destroy_vm(attributes["vmid"].as_u64().expect("a VMID")).await;
    }

    /// A template cannot be changed but for its description, and there is nothing of it in the state.
    async fn change(&mut self, _: &mut Simulators, _: &Value) -> Option<&'static str> {
        None
    }

    async fn break_create(&mut self, world: &mut Simulators, moment: Moment) -> Option<Words> {
        match moment {
            Moment::Undone(0) => self.answer_with(FAIL_AT_ONCE),
            Moment::Undone(1) => self.answer_with(FAIL_WITH_A_VM),
            // A leftover of a failed build is not a version, so it does not belong into the state. The next apply
            // removes it.
            Moment::Undone(_) | Moment::Middle => return None,
            // The next attempt finds the version by its marker.
            Moment::After => {
                world.drop_reply("PUT", "/nodes/pve1/qemu/*/config");
                return Some(&[]);
            }
        }
        Some(&["Unable to build template", "the disk is odd", "The build VM was removed"])
    }

    async fn break_update(&mut self, _: &mut Simulators) -> Option<(Body, Words)> {
        self.answer_with(FAIL_AT_ONCE);
        let words = &["Unable to build template", "the disk is odd", "the current version stays"];
        Some((self.full().set("variables", "{ disk_size = \"10G\" }"), words))
    }

    async fn break_delete(&mut self, world: &mut Simulators) -> Words {
        world.refuse("DELETE", "/nodes/pve1/qemu/*", &["Unable to remove template", FAULT])
    }

    async fn hold(&mut self, _: &mut Simulators, operation: Operation) -> Option<(Body, Words)> {
        if operation == Operation::Delete {
            // A destruction is never interrupted.
            return None;
        }
        self.answer_with(STAND_STILL);
        Some((self.full().set("variables", "{ disk_size = \"11G\" }"), &["the Packer build was cancelled"]))
    }

    async fn is_held(&mut self, _: &mut Simulators, _: Operation) -> bool {
        let entries = fs::read_dir(self.directory.join("asked")).into_iter().flatten().filter_map(Result::ok);
        entries.into_iter().any(|entry| entry.path().extension().is_some_and(|extension| extension == "held"))
    }

    async fn heal(&mut self) {
        self.answer_with(BUILD);
        for entry in fs::read_dir(self.directory.join("asked")).into_iter().flatten().filter_map(Result::ok) {
            if entry.path().extension().is_some_and(|extension| extension == "held") {
                fs::remove_file(entry.path()).expect("removed");
            }
        }
    }

    fn secrets(&self, world: &Simulators) -> Option<Secrets> {
        Some(Secrets {
            variables: vec![("license", "license-c0ffee-4711-of-the-image".to_owned())],
            body: self.full().set("secret_variables_wo", "{ license = var.license }"),
            others: vec![world.token()],
        })
    }

    fn round_trips(&self) -> Vec<RoundTrip> {
        vec![
            RoundTrip::alike("variables", "{}"),
            RoundTrip::new("variables", "{ disk_size = \"ü ☃ 漢字 🎉\" }", "{ \"disk_size\": \"ü ☃ 漢字 🎉\" }"),
            RoundTrip::new("variables", "{ disk_size = \"\" }", "{ \"disk_size\": \"\" }"),
            RoundTrip::alike("ignore", "[]"),
            RoundTrip::alike("secret_variables_wo_version", "9007199254740993"),
        ]
    }

    fn numbered(&self) -> Body {
        self.full().set("family", "\"plain-${count.index}\"").set("vmid_range", "\"9000-9199\"")
    }
}
