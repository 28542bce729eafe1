//! `pxci_runner_vm` and the end of its one job: a VM that has finished never runs again.

use serde_json::value::to_raw_value;

use crate::lab::{Lab, with_each_core};

const VM: &str = "pxci_runner_vm.it";

/// The guest powers itself off, as a runner does after its job.
async fn finishes(lab: &Lab, vmid: u64) {
    lab.administrator.task("POST", &format!("/nodes/pve1/qemu/{vmid}/status/shutdown"), &[]).await;
}

async fn vmid(lab: &Lab) -> u64 {
    lab.attributes(VM).await.expect("it is in the state")["vmid"].as_u64().expect("a VMID")
}

async fn is_off(lab: &Lab) {
    assert_eq!(lab.pve().handle.running(), [0; 0], "it was started again");
}

#[tokio::test]
async fn a_vm_that_has_finished_is_kept_and_never_started_again() {
    with_each_core("runner_vm.tf", async |lab| {
        lab.template(9000).await;
        lab.set("started", "true");
        lab.work.apply().await.expect("a VM that runs");
        finishes(lab, vmid(lab).await).await;

        assert_eq!(lab.changes(&[]).await, [""; 0], "a finished VM is nothing to change");
        lab.work.apply().await.expect("apply");
        let state = lab.attributes(VM).await.expect("it is in the state");
        assert_eq!((&state["started"], &state["finished"]), (&true.into(), &true.into()));
        is_off(lab).await;

        lab.set("reap", "finished");
        assert_eq!(lab.changes(&[]).await, [format!("{VM}: update")]);
        lab.work.apply().await.expect("another argument changes");
        is_off(lab).await;

        for started in ["false", "true"] {
            lab.set("started", started);
            lab.work.apply().await.expect("apply");
            is_off(lab).await;
        }
        assert_eq!(lab.changes(&[]).await, [""; 0]);
        lab.work.destroy().await.expect("destroy");
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn a_vm_that_has_finished_is_replaced_where_that_is_asked_for() {
    with_each_core("runner_vm.tf", async |lab| {
        lab.template(9000).await;
        lab.set("started", "true");
        lab.set("when_finished", "replace");
        lab.work.apply().await.expect("a VM that runs");
        assert_eq!(lab.changes(&[]).await, [""; 0], "it runs");
        let before = lab.attributes(VM).await.expect("it is in the state");
        finishes(lab, vmid(lab).await).await;
        lab.work.plan().await.expect("a plan").replaces(VM, "finished").expect("a replacement");
        lab.work.apply().await.expect("a new VM");
        let after = lab.attributes(VM).await.expect("it is in the state");
        assert_ne!(after["runner_name"], before["runner_name"], "it is another VM");
        assert_eq!((&after["started"], &after["finished"]), (&true.into(), &false.into()));
        assert_eq!(lab.changes(&[]).await, [""; 0]);
        lab.work.destroy().await.expect("destroy");
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn a_vm_that_was_never_started_is_started_when_that_is_asked_for() {
    with_each_core("runner_vm.tf", async |lab| {
        lab.template(9000).await;
        lab.work.apply().await.expect("a VM that does not run");
        is_off(lab).await;
        lab.set("started", "true");
        assert_eq!(lab.changes(&[]).await, [format!("{VM}: update")]);
        lab.work.apply().await.expect("it is started");
        assert_eq!(lab.pve().handle.running().len(), 1);
        lab.work.destroy().await.expect("destroy");
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn a_finished_vm_in_a_state_of_release_0_1_is_not_started() {
    with_each_core("runner_vm.tf", async |lab| {
        lab.template(9000).await;
        lab.set("started", "true");
        lab.work.apply().await.expect("a VM that runs");
        finishes(lab, vmid(lab).await).await;
        // As release 0.1 left it after a refresh.
        let aged = lab.work.downgrade_state("pxci_runner_vm", 0, |attributes| {
            attributes.remove("finished");
            attributes.remove("when_finished");
            attributes.insert("started".to_owned(), to_raw_value(&false).expect("JSON"));
            attributes.insert("ip_address".to_owned(), to_raw_value("10.0.0.7").expect("JSON"));
        });
        aged.expect("an older state");
        lab.work.apply().await.expect("apply");
        is_off(lab).await;
        assert_eq!(lab.changes(&[]).await, [""; 0]);
        lab.work.destroy().await.expect("destroy");
        lab.is_as_before().await;
    })
    .await;
}
