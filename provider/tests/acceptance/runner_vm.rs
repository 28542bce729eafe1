//! `pxci_runner_vm`: a VM that has finished never runs again, and a VM that was moved is followed.

use serde_json::value::to_raw_value;

use crate::lab::{Fixture, Lab, with_each_core, with_each_core_and_two_nodes};

const VM: &str = "pxci_runner_vm.it";

/// Powers the guest off from inside, as a runner does after its job.
async fn finish(lab: &Lab, vmid: u64) {
    lab.administrator.task("POST", &format!("/nodes/pve1/qemu/{vmid}/status/shutdown"), &[]).await;
}

async fn vmid(lab: &Lab) -> u64 {
    lab.attributes(VM).await.expect("it is in the state")["vmid"].as_u64().expect("a VMID")
}

async fn assert_off(lab: &Lab) {
    assert_eq!(lab.pve().handle.running(), [0; 0], "it was started again");
}

#[tokio::test]
async fn a_vm_that_has_finished_is_kept_and_never_started_again() {
    with_each_core(Fixture::RunnerVm, async |lab| {
        lab.set("started", "true");
        lab.work.apply().await.expect("a VM that runs");
        finish(lab, vmid(lab).await).await;

        assert_eq!(lab.changes(&[]).await, [""; 0], "a finished VM needs no change");
        lab.work.apply().await.expect("apply");
        let state = lab.attributes(VM).await.expect("it is in the state");
        assert_eq!((&state["started"], &state["finished"]), (&true.into(), &true.into()));
        assert_off(lab).await;

        lab.set("reap", "finished");
        assert_eq!(lab.changes(&[]).await, [format!("{VM}: update")]);
        lab.work.apply().await.expect("another argument changes");
        assert_off(lab).await;

        for started in ["false", "true"] {
            lab.set("started", started);
            lab.work.apply().await.expect("apply");
            assert_off(lab).await;
        }
        assert_eq!(lab.changes(&[]).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_vm_that_has_finished_is_replaced_if_when_finished_says_so() {
    with_each_core(Fixture::RunnerVm, async |lab| {
        lab.set("started", "true");
        lab.set("when_finished", "replace");
        lab.work.apply().await.expect("a VM that runs");
        assert_eq!(lab.changes(&[]).await, [""; 0], "it runs");
        let before = lab.attributes(VM).await.expect("it is in the state");
        finish(lab, vmid(lab).await).await;
        lab.work.plan().await.expect("a plan").replaces(VM, "finished").expect("a replacement");
        lab.work.apply().await.expect("a new VM");
        let after = lab.attributes(VM).await.expect("it is in the state");
        assert_ne!(after["runner_name"], before["runner_name"], "it is another VM");
        assert_eq!((&after["started"], &after["finished"]), (&true.into(), &false.into()));
        assert_eq!(lab.changes(&[]).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_vm_that_was_never_started_can_be_started() {
    with_each_core(Fixture::RunnerVm, async |lab| {
        lab.work.apply().await.expect("a VM that does not run");
        assert_off(lab).await;
        lab.set("started", "true");
        assert_eq!(lab.changes(&[]).await, [format!("{VM}: update")]);
        lab.work.apply().await.expect("it is started");
        assert_eq!(lab.pve().handle.running().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_finished_vm_in_a_state_of_release_0_1_is_not_started() {
    with_each_core(Fixture::RunnerVm, async |lab| {
        lab.set("started", "true");
        lab.work.apply().await.expect("a VM that runs");
        finish(lab, vmid(lab).await).await;
        // The state of release 0.1 after a refresh.
        let aged = lab.work.downgrade_state("pxci_runner_vm", 0, |attributes| {
            attributes.remove("finished");
            attributes.remove("when_finished");
            attributes.insert("started".to_owned(), to_raw_value(&false).expect("JSON"));
            attributes.insert("ip_address".to_owned(), to_raw_value("10.0.0.7").expect("JSON"));
        });
        aged.expect("an older state");
        lab.work.apply().await.expect("apply");
        assert_off(lab).await;
        assert_eq!(lab.changes(&[]).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_vm_that_was_moved_to_another_node_is_followed() {
    with_each_core_and_two_nodes(Fixture::RunnerVm, async |lab| {
        lab.set("started", "true");
        lab.work.apply().await.expect("a VM that runs");
        // The simulated cluster cannot move a guest, so the state names the node that the VM would have come from.
        let moved = lab.work.downgrade_state("pxci_runner_vm", 0, |attributes| {
            attributes.insert("node".to_owned(), to_raw_value("pve2").expect("JSON"));
        });
        moved.expect("a state that names another node");
        assert_eq!(lab.changes(&[]).await, [""; 0], "a move needs no change");
        let vmid = vmid(lab).await;

        lab.set("reap", "finished");
        lab.work.apply().await.expect("an argument of a moved VM changes");
        let description = lab.pve().handle.description(u32::try_from(vmid).expect("a VMID"));
        assert!(description.expect("a description").contains("\"reap\":\"finished\""));
        finish(lab, vmid).await;
        lab.work.apply().await.expect("the end of a moved VM is seen");
        assert_eq!(lab.attributes(VM).await.expect("it is in the state")["finished"], true);
    })
    .await;
}

#[tokio::test]
async fn a_vm_that_was_moved_is_imported_from_the_node_that_holds_it_now() {
    with_each_core_and_two_nodes(Fixture::RunnerVm, async |lab| {
        lab.work.apply().await.expect("a VM");
        let id = format!("pve2/{}/9090-9099", vmid(lab).await);
        lab.forget_state();
        lab.succeed(&["import", "-no-color", VM, &id]).await;
        assert_eq!(lab.attributes(VM).await.expect("it is in the state")["template_vmid"], 9000);
    })
    .await;
}
