//! What fails half-way: the state says what is there, nothing is lost, and the next apply heals.

use std::time::{Duration, Instant};

use crate::lab::{Lab, with_each_core};

const VM: &str = "pxci_runner_vm.it";
const SNIPPET: &str = "pxci_cloudinit_snippet.it";
/// On a busy machine everything takes longer; nothing here waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_creation_that_fails_leaves_nothing() {
    let calls = [
        ("POST", "/nodes/pve1/qemu/9000/clone"),
        ("PUT", "/nodes/pve1/qemu/*/config"),
        ("POST", "/nodes/pve1/qemu/*/status/start"),
    ];
    with_each_core("runner_vm.tf", async |lab| {
        lab.template(9000).await;
        lab.set("started", "true");
        for (method, path) in calls {
            lab.refuse(method, path, "internal error");
            lab.refused("apply").await.says(&["Unable to", "runner VM", "internal error"]);
            lab.is_as_before().await;
        }
        lab.work.apply().await.expect("the next apply");
        lab.work.destroy().await.expect("destroy");
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_undone_is_tainted_and_healed_by_the_next_apply() {
    with_each_core("runner_vm.tf", async |lab| {
        lab.template(9000).await;
        lab.set("started", "true");
        lab.refuse("POST", "/nodes/pve1/qemu/*/status/start", "internal error");
        lab.refuse("DELETE", "/nodes/pve1/qemu/*", "no luck either");
        let problems = lab.problems("apply").await;
        let told: Vec<&str> = problems.iter().map(|problem| problem.summary.as_str()).collect();
        assert!(told.len() == 2 && told[0].contains("start") && told[1].contains("destroy"), "{problems:?}");

        assert!(lab.is_tainted("pxci_runner_vm"), "what is there is tainted");
        let state = lab.attributes(VM).await.expect("what is there is in the state");
        assert_eq!(lab.guests(), [state["vmid"].as_u64().unwrap()]);
        assert_eq!(lab.changes(&[]).await, [format!("{VM}: delete+create")]);
        lab.work.apply().await.expect("the next apply");
        assert_eq!(lab.guests().len(), 1, "the failed one is gone");
        lab.work.destroy().await.expect("destroy");
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn a_lost_reply_makes_no_second_vm() {
    with_each_core("runner_vm.tf", async |lab| {
        lab.template(9000).await;
        lab.drop_reply("POST", "/nodes/pve1/qemu/9000/clone");
        lab.work.apply().await.expect("the clone is found");
        assert_eq!(lab.guests().len(), 1);
        assert_eq!(lab.changes(&[]).await, [""; 0]);
        lab.work.destroy().await.expect("destroy");
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn an_update_that_fails_keeps_what_was() {
    with_each_core("runner_vm.tf", async |lab| {
        lab.template(9000).await;
        lab.work.apply().await.expect("apply");
        lab.set("started", "true");
        lab.refuse("POST", "/nodes/pve1/qemu/*/status/start", "internal error");
        lab.refused("apply").await.says(&["Unable to start", "internal error"]);
        let state = lab.attributes(VM).await.expect("it is in the state");
        assert!(state["started"] == false && !lab.is_tainted("pxci_runner_vm"), "{state}");
        assert_eq!(lab.changes(&[]).await, [format!("{VM}: update")]);
        lab.work.apply().await.expect("the next apply");
        assert_eq!(lab.attributes(VM).await.expect("it is in the state")["started"], true);
        lab.work.destroy().await.expect("destroy");
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_fails_leaves_nothing_or_is_in_the_state() {
    with_each_core("snippet.tf", async |lab| {
        let upload = "/nodes/pve1/storage/local/upload";
        lab.refuse("POST", upload, "no space left");
        lab.refused("apply").await.says(&["Unable to upload", "no space left"]);
        lab.drop_reply("POST", upload);
        lab.problems("apply").await;
        // Whether the file is there or not: the next apply ends with exactly one.
        lab.work.apply().await.expect("the next apply");
        assert_eq!(lab.changes(&[]).await, [""; 0]);
        assert!(lab.attributes(SNIPPET).await.is_some());
        lab.work.destroy().await.expect("destroy");
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn an_interrupt_ends_a_creation_in_seconds() {
    with_each_core("runner_vm.tf", async |lab| {
        lab.template(9000).await;
        lab.set("started", "true");
        // A guest whose agent does not come up.
        let ping = "/nodes/pve1/qemu/*/agent/ping";
        lab.refuse_always("POST", ping, "QEMU guest agent is not running");
        let ended = interrupted(lab, "/agent/ping").await;
        assert!(ended < Duration::from_secs(30), "it took {ended:?}");
        heals(lab).await;
    })
    .await;
}

/// Applies, sends SIGINT when that call was seen, and tells how long the core took to end.
async fn interrupted(lab: &Lab, call: &str) -> Duration {
    let core = lab.work.start(&["apply", "-no-color", "-auto-approve"]).expect("the core starts");
    let begun = Instant::now();
    while !lab.calls().iter().any(|path| path.contains(call)) {
        assert!(begun.elapsed() < PATIENCE, "{call} was never asked for");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    core.interrupt().expect("signal");
    let finished = core.finish_within(PATIENCE).await.and_then(|finished| finished.refused()).expect("it is cut short");
    assert!(finished.text().contains("interrupted"), "it says why:\n{}", finished.text());
    begun.elapsed()
}

/// The state is what is there, and a further apply and destroy leave nothing.
async fn heals(lab: &mut Lab) {
    let known = lab.attributes(VM).await.map(|state| state["vmid"].as_u64().unwrap());
    assert_eq!(lab.guests(), known.into_iter().collect::<Vec<_>>(), "what is there, and what the state knows");
    // Without waiting for the agent, which still does not come up.
    lab.set("started", "false");
    lab.work.apply().await.expect("the next apply");
    assert_eq!(lab.changes(&[]).await, [""; 0]);
    lab.work.destroy().await.expect("destroy");
    lab.is_as_before().await;
}
