//! Files on a storage that several guests, states or installations could use. A file is deleted with its last user, and
//! with nothing else.

use farm::harness::WorkingDirectory;
use serde_json::value::to_raw_value;

use crate::lab::{Fixture, Lab, refused_with_each_core, with_each_core};

const SNIPPET: &str = "pxci_cloudinit_snippet.it";
const OTHER_DATA: &str = "#cloud-config\npackages: [curl]\n";
const THIRD_DATA: &str = "#cloud-config\npackages: [jq]\n";

async fn volid(work: &WorkingDirectory) -> String {
    let state = work.state().await.expect("state");
    let volid = state["values"]["root_module"]["resources"][0]["values"]["volid"].as_str().map(str::to_owned);
    volid.expect("a snippet with a volume")
}

/// Makes a foreign VM with the seed ISO in its drive.
async fn make_vm_with(lab: &Lab, vmid: u32, volid: &str) {
    let drive = format!("{volid},media=cdrom");
    let number = vmid.to_string();
    let parameters = [("vmid", number.as_str()), ("name", "user"), ("pool", "pxci-runners"), ("ide2", &drive)];
    lab.administrator.task("POST", "/nodes/pve1/qemu", &parameters).await;
}

#[tokio::test]
async fn two_installations_with_the_same_data_have_separate_files() {
    with_each_core(Fixture::Snippet, async |lab| {
        let mut other = lab.other_state(Fixture::Snippet).await;
        other.set("PXCI_INSTALLATION", "prod");
        lab.work.apply().await.expect("the first farm");
        other.apply().await.expect("the second farm");
        let theirs = volid(&other).await;
        assert!(theirs.starts_with("local:iso/pxci-prod_runner_"), "{theirs}");
        lab.work.destroy().await.expect("the first farm is destroyed");
        assert_eq!(lab.volumes(), [theirs]);
        assert_eq!(other.plan().await.expect("a plan").changes(), [""; 0]);
        other.destroy().await.expect("the second farm is destroyed");
    })
    .await;
}

#[tokio::test]
async fn two_states_of_an_installation_with_the_same_data_have_separate_files() {
    for first_goes_first in [true, false] {
        with_each_core(Fixture::Snippet, async |lab| {
            let other = lab.other_state(Fixture::Snippet).await;
            lab.work.apply().await.expect("one state");
            other.apply().await.expect("another state");
            assert_eq!(lab.volumes().len(), 2);
            let (first, second) = if first_goes_first { (&lab.work, &other) } else { (&other, &lab.work) };
            first.destroy().await.expect("destroy");
            assert_eq!(lab.volumes(), [volid(second).await]);
            assert_eq!(second.plan().await.expect("a plan").changes(), [""; 0]);
            second.destroy().await.expect("destroy");
        })
        .await;
    }
}

#[tokio::test]
async fn a_file_in_a_vms_drive_is_not_deleted() {
    with_each_core(Fixture::Snippet, async |lab| {
        lab.work.apply().await.expect("apply");
        let first = volid(&lab.work).await;
        make_vm_with(lab, 700, &first).await;
        lab.refused("destroy").await.says(&["Unable to delete", &first, "VM 700 (user)", "create_before_destroy"]);
        assert_eq!(volid(&lab.work).await, first, "it stays in the state");

        // The first change supersedes the file, and the second one would delete it.
        for data in [OTHER_DATA, THIRD_DATA] {
            lab.set("user_data", data);
            lab.work.apply().await.expect("other data");
        }
        assert!(lab.volumes().contains(&first), "{:?}", lab.volumes());
        lab.refused("destroy").await.says(&[&first, "VM 700"]);
        lab.administrator.destroy_vm(700).await;
    })
    .await;
}

#[tokio::test]
async fn a_file_that_a_dispatchers_pool_uses_is_not_deleted() {
    with_each_core(Fixture::Snippet, async |lab| {
        let mut farm = lab.other_state(Fixture::Dispatcher).await;
        Lab::stub_appliance_in(&farm);
        lab.work.apply().await.expect("the data");
        let first = volid(&lab.work).await;
        farm.set("TF_VAR_seed_iso", &first);
        farm.apply().await.expect("a dispatcher");
        lab.refused("destroy").await.says(&["Unable to delete", &first, "a pool of the dispatcher in container 8100"]);

        for data in [OTHER_DATA, THIRD_DATA] {
            lab.set("user_data", data);
            lab.work.apply().await.expect("other data");
        }
        assert!(lab.volumes().contains(&first), "{:?}", lab.volumes());
        farm.set("TF_VAR_seed_iso", &volid(&lab.work).await);
        farm.apply().await.expect("the pool gets the new data");
        lab.set("user_data", OTHER_DATA);
        lab.work.apply().await.expect("data again");
        assert!(!lab.volumes().contains(&first), "the dispatcher does not use it any more: {:?}", lab.volumes());

        farm.destroy().await.expect("the dispatcher is destroyed");
        lab.work.destroy().await.expect("the data is destroyed");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_a_killed_apply_uploaded_is_found_again() {
    with_each_core(Fixture::Snippet, async |lab| {
        lab.work.apply().await.expect("apply");
        let state = lab.work.path().join("terraform.tfstate");
        let before = std::fs::read(&state).expect("a state");
        for data in [OTHER_DATA, THIRD_DATA] {
            // The apply is killed between its upload and its state.
            lab.set("user_data", OTHER_DATA);
            lab.work.apply().await.expect("other data");
            let uploaded = volid(&lab.work).await;
            std::fs::write(&state, &before).expect("an older state");
            lab.set("user_data", data);
            lab.work.apply().await.expect("the next apply");
            let kept = lab.volumes();
            assert_eq!(kept.contains(&uploaded), data == OTHER_DATA, "{uploaded}: {kept:?}");
            std::fs::write(&state, &before).expect("an older state");
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_of_a_killed_creation_is_reported_and_can_be_imported() {
    with_each_core(Fixture::Snippet, async |lab| {
        lab.work.apply().await.expect("apply");
        let lost = volid(&lab.work).await;
        lab.forget_state();
        let text = lab.work.apply().await.expect("apply again").flat();
        assert!(text.contains(&lost) && text.contains("an apply that was killed"), "{text}");
        lab.work.destroy().await.expect("destroy");
        assert_eq!(lab.volumes(), std::slice::from_ref(&lost));
        lab.succeed(&["import", "-no-color", SNIPPET, &format!("pve1/{lost}")]).await;
        lab.work.apply().await.expect("the data stays as it is");
        assert_eq!(lab.volumes(), [lost]);
    })
    .await;
}

#[tokio::test]
async fn a_file_of_another_installation_is_not_imported() {
    refused_with_each_core(Fixture::Snippet, async |lab| {
        let theirs = "local:iso/pxci-prod_runner_k3x9ab_0123456789abcdef.iso";
        lab.put_file(theirs);
        lab.counts_as_before();
        let words = ["import", "-no-color", SNIPPET, &format!("pve1/{theirs}")];
        let refused = lab.work.run(&words).await.and_then(|finished| finished.refused()).expect("it is refused");
        assert!(refused.flat().contains("belongs to the installation \"prod\""), "{}", refused.flat());
    })
    .await;
}

/// Renames the file and changes the state, so that both are as release 0.1 left them.
async fn pretend_release_0_1(lab: &Lab) -> String {
    let present = volid(&lab.work).await;
    let digest = present.rsplit('_').next().expect("a digest").to_owned();
    let old = format!("local:iso/pxci-runner-{digest}");
    lab.put_file(&old);
    let path = format!("/nodes/pve1/storage/local/content/{present}");
    lab.administrator.task("DELETE", &path, &[]).await;
    let aged = lab.work.downgrade_state("pxci_cloudinit_snippet", 0, |attributes| {
        let volid: String = serde_json::from_str(attributes["volid"].get()).expect("a volume");
        let digest = volid.rsplit('_').next().expect("a digest");
        let old = to_raw_value(&format!("local:iso/pxci-runner-{digest}")).expect("JSON");
        attributes.insert("volid".to_owned(), old);
    });
    aged.expect("an older state");
    old
}

#[tokio::test]
async fn a_file_of_release_0_1_stays_until_the_data_changes_and_is_never_deleted() {
    with_each_core(Fixture::Snippet, async |lab| {
        lab.work.apply().await.expect("apply");
        let old = pretend_release_0_1(lab).await;
        assert_eq!(lab.changes(&[]).await, [""; 0], "an upgrade changes nothing by itself");
        make_vm_with(lab, 700, &old).await;
        lab.set("user_data", OTHER_DATA);
        let text = lab.work.apply().await.expect("other data").flat();
        assert!(text.contains(&old) && text.contains("Another farm may use the same file"), "{text}");
        assert!(volid(&lab.work).await.starts_with("local:iso/pxci-pxci_runner_"));
        assert!(lab.volumes().contains(&old));
        lab.set("user_data", THIRD_DATA);
        lab.work.apply().await.expect("other data again");
        lab.work.destroy().await.expect("destroy");
        assert_eq!(lab.volumes(), [old], "other farms may use the file");
        lab.counts_as_before();
    })
    .await;
}

#[tokio::test]
async fn an_installations_appliance_is_deleted_with_its_last_container() {
    with_each_core(Fixture::Dispatcher, async |lab| {
        let (mut same, mut prod) =
            (lab.other_state(Fixture::Dispatcher).await, lab.other_state(Fixture::Dispatcher).await);
        prod.set("PXCI_INSTALLATION", "prod");
        for (work, runners) in [(&mut same, "9200-9299"), (&mut prod, "9300-9399")] {
            work.set("TF_VAR_runner_vmids", runners);
            Lab::stub_appliance_in(work);
            work.apply().await.expect("a dispatcher");
        }
        lab.work.apply().await.expect("a dispatcher");
        let archives = || {
            let volumes = lab.volumes().into_iter().filter(|volid| volid.starts_with("local:vztmpl/"));
            volumes.map(|volid| volid.split('_').nth(1).expect("an installation").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(archives(), ["prod", "pxci"]);
        // The tags must not matter.
        for vmid in lab.guests() {
            lab.administrator.call("PUT", &format!("/nodes/pve1/lxc/{vmid}/config"), &[("tags", "")]).await;
        }
        lab.work.destroy().await.expect("destroy");
        assert_eq!(archives(), ["prod", "pxci"], "another container was made from it");
        prod.destroy().await.expect("destroy");
        assert_eq!(archives(), ["pxci"]);
        same.destroy().await.expect("destroy");
    })
    .await;
}
