//! `pxci_template` and versions that exist already. `conformance` has builds with a program that stands for Packer, and
//! the demo has builds with the real Packer.

use std::fs;

use serde_json::Value;

use crate::lab::{Fixture, Lab, refused_with_each_core, with_each_core};

const TEMPLATE: &str = "pxci_template.it";
/// Command that prints the line of Packer at the start of its builder.
const BEGIN: &str = "echo '0,,ui,say,==> null.plain: Creating VM'";

/// Makes a version, as an earlier apply did.
async fn make_version(lab: &Lab, vmid: u32, number: u32, fingerprint: &str) {
    let marker = format!(
        r#"pxci:v1 {{"installation":"pxci","owner":"provider","kind":"template","vmid":{vmid},"nonce":"aaaaa{number}","family":"plain","fingerprint":"{fingerprint}","version":{number},"built_at":"2026-11-0{number}T00:00:00Z","build":"ready"}}"#
    );
    lab.administrator
        .make_template(
            vmid,
            &format!("plain-2026110{number}-{}", &fingerprint[..8]),
            &marker,
            "pxci;pxci-pxci;pxci-family-plain",
        )
        .await;
}

async fn planned(lab: &Lab) -> Value {
    lab.work.plan().await.expect("a plan").change(TEMPLATE).expect("a change").clone()
}

async fn planned_fingerprint(lab: &Lab) -> String {
    planned(lab).await["after"]["fingerprint"].as_str().expect("it is known when planned").to_owned()
}

async fn assert_settled(lab: &Lab) {
    assert_eq!(lab.changes(&["-refresh=false"]).await, [""; 0], "without refresh");
    assert_eq!(lab.changes(&[]).await, [""; 0], "with refresh");
}

async fn current(lab: &Lab) -> (Value, Value) {
    let state = lab.attributes(TEMPLATE).await.expect("it is in the state");
    (state["vmid"].clone(), state["version"].clone())
}

#[tokio::test]
async fn existing_versions_are_adopted() {
    with_each_core(Fixture::Template, async |lab| {
        lab.stub_packer(&format!("{BEGIN}; exit 1"));
        let first = planned_fingerprint(lab).await;
        make_version(lab, 9000, 1, &first).await;
        lab.work.apply().await.expect("version 1 is adopted");
        assert_eq!(current(lab).await, (9000.into(), 1.into()));
        assert_settled(lab).await;

        lab.forget_state();
        lab.succeed(&["import", "-no-color", TEMPLATE, "plain"]).await;
        assert_eq!(lab.changes(&[]).await, [format!("{TEMPLATE}: update")]);
        lab.work.apply().await.expect("apply after import");
        assert_eq!(current(lab).await, (9000.into(), 1.into()));
        assert_settled(lab).await;

        // The plan names the file that changed; a failing build keeps the current version.
        fs::write(lab.work.path().join("image/install.sh"), "#!/bin/sh\nexit 2\n").unwrap();
        let change = planned(lab).await;
        assert_ne!(change["before"]["inputs"]["install.sh"], change["after"]["inputs"]["install.sh"]);
        assert_eq!(change["before"]["inputs"]["plain.pkr.hcl"], change["after"]["inputs"]["plain.pkr.hcl"]);
        lab.refused("apply").await.says(&["Unable to build template", "the current version stays"]);
        let state = lab.attributes(TEMPLATE).await.expect("it is in the state");
        assert!(state["fingerprint"] == first.as_str() && !lab.is_tainted("pxci_template"), "{state}");
        assert_eq!(current(lab).await, (9000.into(), 1.into()));

        let second = planned_fingerprint(lab).await;
        make_version(lab, 9001, 2, &second).await;
        assert_eq!(lab.changes(&[]).await, [format!("{TEMPLATE}: update")]);
        lab.work.apply().await.expect("version 2 is adopted");
        assert_eq!(current(lab).await, (9001.into(), 2.into()));
        assert_eq!(lab.guests(), [9000, 9001], "the version that was current stays until the next apply");
        assert_settled(lab).await;

        // After a removal of the current version by hand, the newest remaining version is current.
        lab.administrator.destroy_vm(9001).await;
        let change = planned(lab).await;
        assert_eq!(change["before"]["vmid"], 9000);
        make_version(lab, 9001, 2, &second).await;
        apply_and_assert_settled(lab).await;

        a_clone_keeps_its_version(lab).await;
    })
    .await;
}

async fn apply_and_assert_settled(lab: &Lab) {
    lab.work.apply().await.expect("apply");
    assert_eq!(current(lab).await, (9001.into(), 2.into()));
    assert_settled(lab).await;
}

async fn a_clone_keeps_its_version(lab: &Lab) {
    let clone = async |parameters: &[(&str, &str)]| {
        lab.administrator.task("POST", "/nodes/pve1/qemu/9001/clone", parameters).await;
    };
    let refusal = ["Unable to destroy template \"plain\"", "Linked clones still need"];
    clone(&[("newid", "700")]).await;
    lab.refused("destroy").await.says(&refusal).says(&["this token may not see"]);
    clone(&[("newid", "701"), ("pool", "pxci-runners")]).await;
    lab.refused("destroy").await.says(&refusal).says(&["701"]);
    assert_eq!(current(lab).await, (9001.into(), 2.into()), "a version that was not destroyed stays in the state");
    lab.administrator.destroy_vm(700).await;
    lab.administrator.destroy_vm(701).await;
    lab.work.destroy().await.expect("destroy");
}

/// Makes a build VM of version 1 with CDs in its drives, as a killed apply leaves it.
async fn make_half_built_version(lab: &Lab, vmid: u32, cds: &[(&str, &str)]) {
    let marker = format!(
        r#"pxci:v1 {{"installation":"pxci","owner":"provider","kind":"template","vmid":{vmid},"nonce":"aaaaaa","family":"plain","version":1,"build":"building"}}"#
    );
    let (number, description) = (vmid.to_string(), format!("Packer ephemeral build VM\n{marker}"));
    let mut parameters = vec![
        ("vmid", number.as_str()),
        ("name", "plain-20261101-ffffffff"),
        ("description", &description),
        ("pool", "pxci-runners"),
        ("scsi0", "local-lvm:1"),
    ];
    parameters.extend(cds);
    lab.administrator.task("POST", "/nodes/pve1/qemu", &parameters).await;
}

#[tokio::test]
async fn cds_of_a_build_are_deleted_with_its_vm_after_its_apply_was_killed() {
    refused_with_each_core(Fixture::Template, async |lab| {
        lab.stub_packer(&format!("{BEGIN}; exit 1"));
        // A CD of a foreign build, and a CD that a foreign VM uses.
        for volid in ["local:iso/packer12.iso", "local:iso/packer13.iso"] {
            lab.put_file(volid);
        }
        let theirs = [("vmid", "700"), ("name", "theirs"), ("ide2", "local:iso/packer13.iso,media=cdrom")];
        lab.administrator.task("POST", "/nodes/pve1/qemu", &[&theirs[..], &[("pool", "pxci-runners")]].concat()).await;
        lab.counts_as_before();

        lab.put_file("local:iso/packer11.iso");
        let cds = [("sata1", "local:iso/packer11.iso,media=cdrom"), ("sata2", "local:iso/packer13.iso,media=cdrom")];
        make_half_built_version(lab, 9000, &cds).await;
        lab.refused("apply").await.says(&["Unable to build template"]);
    })
    .await;
}

#[tokio::test]
async fn cds_of_a_killed_packer_are_deleted_even_if_it_made_no_vm() {
    refused_with_each_core(Fixture::Template, async |lab| {
        lab.put_file("local:iso/packer22.iso");
        lab.counts_as_before();
        lab.put_file("local:iso/packer21.iso");
        // Packer uploads the CD under the name of its temporary file.
        lab.stub_packer(&format!("{BEGIN}; touch \"$TMPDIR/packer21.iso\"; kill -9 $$"));
        lab.refused("apply").await.says(&["Unable to build template"]);
    })
    .await;
}

#[tokio::test]
async fn a_packer_template_with_tags_is_reported_with_the_reason() {
    refused_with_each_core(Fixture::Template, async |lab| {
        let file = lab.work.path().join("image/plain.pkr.hcl");
        let declared = fs::read_to_string(&file).expect("a Packer template");
        fs::write(&file, format!("{declared}\nvariable \"tags\" {{\n  type = string\n}}\n")).expect("written");
        // Packer repeats the text of Proxmox VE, with its own escape for a comma.
        let refusal = "403 Permission check failed (/vms/9000%!(PACKER_COMMA) VM.Config.Options)";
        lab.stub_packer(&format!(
            "{BEGIN}; grep -q '\"tags\":\"\"' \"$variables\" && echo '0,,ui,error,{refusal}'; exit 1"
        ));
        lab.refused("apply").await.says(&["VM.Config.Options", "must not set `tags`"]);
    })
    .await;
}
