//! What the plan of `pxci_dispatcher_lxc` refuses.

use crate::lab::with_each_core;

const DISPATCHER: &str = "pxci_dispatcher_lxc.it";

#[tokio::test]
async fn its_plan_refuses_what_could_not_work() {
    let cases: [(&str, &str, &[&str]); 5] = [
        ("runner_vmids", "8105-8110", &["overlap", "plain"]),
        ("vmid_range", "8109-8100", &["8109-8100"]),
        ("repositories", "[\"octo\"]", &["octo"]),
        ("labels", "[]", &["label"]),
        ("appliance_file", "nothing.tar.zst", &["cargo xtask appliance", "`appliance_file`"]),
    ];
    with_each_core("dispatcher.tf", async |lab| {
        lab.stub_appliance();
        for (variable, value, words) in cases {
            println!("{variable} = {value}");
            lab.set(variable, value);
            lab.refused("plan").await.says(words);
            lab.unset(variable);
        }
        assert_eq!(lab.changes(&[]).await, [format!("{DISPATCHER}: create")]);
        lab.is_as_before().await;
    })
    .await;
}
