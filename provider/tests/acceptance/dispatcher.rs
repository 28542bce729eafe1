//! `pxci_dispatcher_lxc` with fake dispatchers: refusals of its plan, its tags, and containers that a killed apply
//! leaves.

use serde_json::Value;
use sim_pve::Fault;

use crate::lab::{Fixture, Lab, refused_with_each_core, with_each_core};

const DISPATCHER: &str = "pxci_dispatcher_lxc.it";

#[tokio::test]
async fn its_plan_refuses_invalid_arguments() {
    let cases: [(&str, &str, &[&str]); 8] = [
        ("runner_vmids", "8105-8110", &["overlap", "plain"]),
        ("vmid_range", "8109-8100", &["8109-8100"]),
        ("repositories", "[\"octo\"]", &["octo"]),
        ("labels", "[]", &["label"]),
        ("appliance_file", "nothing.tar.zst", &["cargo xtask appliance", "`appliance_file`"]),
        ("network", r#"{ bridge = "vmbr0", ip6 = "dhcp" }"#, &["ip6", "DHCPv6 client", "auto", "2001:db8::5/64"]),
        ("network", r#"{ bridge = "vmbr0", ip6 = "2001:db8::5" }"#, &["ip6", "prefix length"]),
        (
            "network",
            r#"{ bridge = "vmbr0", ip6 = "auto", gateway6 = "fe80::1" }"#,
            &["gateway6", "router advertisements"],
        ),
    ];
    refused_with_each_core(Fixture::Dispatcher, async |lab| {
        for (variable, value, words) in cases {
            println!("{variable} = {value}");
            lab.set(variable, value);
            lab.refused("plan").await.says(words);
            lab.unset(variable);
        }
        assert_eq!(lab.changes(&[]).await, [format!("{DISPATCHER}: create")]);
    })
    .await;
}

/// Returns the container's configuration.
async fn config(lab: &Lab, vmid: u32) -> Value {
    lab.administrator.call("GET", &format!("/nodes/pve1/lxc/{vmid}/config"), &[]).await
}

#[tokio::test]
async fn its_container_gets_tags_after_its_creation_and_keeps_tags_of_users() {
    with_each_core(Fixture::Dispatcher, async |lab| {
        lab.work.apply().await.expect("a dispatcher");
        assert_eq!(config(lab, 8100).await["tags"], "pxci;pxci-pxci");
        lab.administrator.call("PUT", "/nodes/pve1/lxc/8100/config", &[("tags", "zoo")]).await;
        lab.set("labels", "[\"self-hosted\"]");
        lab.work.apply().await.expect("a change");
        assert_eq!(config(lab, 8100).await["tags"], "pxci;pxci-pxci;zoo");
    })
    .await;
}

/// Marks a container as being set up, as it is marked until its dispatcher works.
async fn mark_unfinished(lab: &Lab, vmid: u32) {
    let description = config(lab, vmid).await["description"].as_str().expect("a description").to_owned();
    assert!(!description.contains("building"), "{description}");
    let unfinished = description.replacen('{', "{\"build\":\"building\",", 1);
    let options = [("description", unfinished.as_str()), ("tags", "")];
    lab.administrator.call("PUT", &format!("/nodes/pve1/lxc/{vmid}/config"), &options).await;
}

/// Brings the container and the state into the condition after an apply that was killed before the dispatcher worked.
async fn pretend_killed_apply(lab: &Lab) {
    lab.forget_state();
    mark_unfinished(lab, 8100).await;
}

#[tokio::test]
async fn a_container_that_a_killed_apply_left_is_finished_by_the_next() {
    with_each_core(Fixture::Dispatcher, async |lab| {
        lab.work.apply().await.expect("a dispatcher");
        pretend_killed_apply(lab).await;
        lab.work.apply().await.expect("the next apply");
        assert_eq!(lab.guests(), [8100], "the existing container is adopted");
        let finished = config(lab, 8100).await;
        assert_eq!(finished["tags"], "pxci;pxci-pxci");
        assert!(!finished["description"].as_str().expect("a description").contains("building"));
        assert_eq!(lab.changes(&[]).await, [""; 0]);

        // A container that differs is not adopted.
        pretend_killed_apply(lab).await;
        lab.administrator.call("PUT", "/nodes/pve1/lxc/8100/config", &[("hostname", "other")]).await;
        let text = lab.work.apply().await.expect("a new container").flat();
        assert!(text.contains("\"8100\" is unfinished"), "{text}");
        assert_eq!(lab.guests(), [8100, 8101]);
        lab.work.destroy().await.expect("destroy");
        assert_eq!(lab.guests(), [8100]);
        lab.counts_as_before();
    })
    .await;
}

#[tokio::test]
async fn a_container_that_was_only_created_is_finished_by_the_next_apply() {
    with_each_core(Fixture::Dispatcher, async |lab| {
        // The container is created, but the requests after its creation fail, the clean-up included.
        let handle = &lab.pve().handle;
        handle.inject(
            "PUT",
            "/nodes/pve1/lxc/*/config",
            Fault::Refuse { status: 500, text: "unavailable".to_owned() },
            1,
        );
        handle.inject("DELETE", "/nodes/pve1/lxc/*", Fault::Refuse { status: 500, text: "unavailable".to_owned() }, 1);
        lab.refused("apply").await.says(&["Unable to mark", "unavailable", "Cleaning up failed too"]);
        let left = config(lab, 8100).await;
        assert!(left["tags"].is_null(), "{left}");
        assert!(left["description"].as_str().expect("a description").contains("\"build\":\"building\""), "{left}");
        lab.forget_state();
        lab.work.apply().await.expect("the next apply");
        assert_eq!(lab.guests(), [8100]);
        assert_eq!(config(lab, 8100).await["tags"], "pxci;pxci-pxci");
    })
    .await;
}

#[tokio::test]
async fn a_successor_that_a_killed_apply_left_keeps_the_state_that_it_took_over() {
    with_each_core(Fixture::Dispatcher, async |lab| {
        lab.work.apply().await.expect("a dispatcher");
        let newer = lab.newer_appliance();
        let state = lab.work.path().join("terraform.tfstate");
        let before = std::fs::read(&state).expect("a state");
        lab.set("appliance_file", &newer);
        // The new container has taken over, and the old one still exists when the apply is killed.
        let unavailable = Fault::Refuse { status: 500, text: "unavailable".to_owned() };
        lab.pve().handle.inject("DELETE", "/nodes/pve1/lxc/8100", unavailable, 1);
        lab.refused("apply").await.says(&["unavailable", "The new container works"]);
        mark_unfinished(lab, 8101).await;
        std::fs::write(&state, before).expect("the state before");

        lab.work.apply().await.expect("the next apply");
        assert_eq!(lab.guests(), [8101], "the successor is adopted");
        let finished = config(lab, 8101).await;
        assert!(finished["mp0"].is_string() && finished["tags"] == "pxci;pxci-pxci", "{finished}");
        assert!(!finished["description"].as_str().expect("a description").contains("building"));
        assert_eq!(lab.changes(&[]).await, [""; 0]);
    })
    .await;
}

async fn describe(lab: &Lab, text: &str) {
    lab.administrator.call("PUT", "/nodes/pve1/lxc/8100/config", &[("description", text)]).await;
}

#[tokio::test]
async fn a_container_without_its_marker_is_not_changed_until_the_marker_is_restored() {
    with_each_core(Fixture::Dispatcher, async |lab| {
        lab.work.apply().await.expect("a dispatcher");
        let marked = config(lab, 8100).await["description"].as_str().expect("a description").to_owned();
        describe(lab, "Mine.").await;
        let before = config(lab, 8100).await;
        lab.refused("destroy").await.says(&["Unable to destroy", "no pxci marker", "`pxci:v1`"]);
        lab.set("labels", "[\"self-hosted\"]");
        lab.refused("apply").await.says(&["Unable to change", "no pxci marker", "`pxci:v1`"]);
        assert_eq!(config(lab, 8100).await, before);
        describe(lab, &marked).await;
        lab.work.apply().await.expect("a change");
    })
    .await;
}
