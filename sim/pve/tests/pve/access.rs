//! Users, tokens and groups, and `root@pam`, which declared checks do not apply to.

use super::simulated_cluster::{ADMIN, SimulatedCluster, world};

#[tokio::test(flavor = "multi_thread")]
async fn declared_checks_do_not_apply_to_root_itself() {
    let cluster =
        SimulatedCluster::start(&world().user("root@pam", "secret-1").token("root@pam", "admin", false)).await;
    let client = cluster.client(ADMIN);
    let login = client.login("root@pam", "secret-1").await;
    let text = |key: &str| login.data()[key].as_str().expect("a text").to_owned();
    let (ticket, csrf) = (text("ticket"), text("CSRFPreventionToken"));
    let path = "/access/users?userid=nobody";
    // The declared check looks at the realm; the handler checks the name itself.
    let token = client.call("POST", path, &[]).await;
    assert_eq!(token.refusal(), (500, "value 'nobody' does not look like a valid user name"));
    let root = client.with_ticket("POST", path, &ticket, Some(&csrf)).await;
    assert_eq!(root.status, 400);
    assert_eq!(root.body["errors"]["userid"], "invalid format - value 'nobody' does not look like a valid user name\n");
    let path = "/access/users/gone@pve/token/ab";
    assert_eq!(client.call("POST", path, &[]).await.refusal(), (403, "Permission check failed"));
    let root = client.with_ticket("POST", path, &ticket, Some(&csrf)).await;
    assert_eq!(root.refusal(), (500, "no such user ('gone@pve')"));
    // Options for root only are refused to its tokens.
    client.vm("pve1", "100", "thin").await;
    let stop = "/nodes/pve1/qemu/100/status/stop?skiplock=1";
    assert_eq!(client.call("POST", stop, &[]).await.body["errors"]["skiplock"], "Only root may use this option.");
    assert_eq!(client.with_ticket("POST", stop, &ticket, Some(&csrf)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_are_trimmed_and_blank_ones_removed() {
    let cluster = SimulatedCluster::start(&world().user("ci@pve", "secret-1")).await;
    let client = cluster.client(ADMIN);
    let things = [
        ("/access/users", "userid", "new@pve"),
        ("/access/groups", "groupid", "builders"),
        ("/pools", "poolid", "runners"),
        ("/access/users/ci@pve/token", "tokenid", "farm"),
    ];
    for (path, key, name) in things {
        let one = format!("{path}/{name}");
        let made = match key {
            "tokenid" => client.call("POST", &one, &[("comment", "  made here ")]).await,
            _ => client.call("POST", path, &[(key, name), ("comment", "  made here ")]).await,
        };
        assert_eq!(made.status, 200, "{path}: {made:?}");
        assert_eq!(client.get(&one).await.data()["comment"], "made here", "{path}");
        for blank in ["   ", "0", ""] {
            assert_eq!(client.call("PUT", &one, &[("comment", "x")]).await.status, 200, "{path}");
            assert_eq!(client.call("PUT", &one, &[("comment", blank)]).await.status, 200, "{path}");
            let left = client.get(&one).await.data().get("comment").cloned();
            assert_eq!(left, None, "{path}: {blank:?} is not a comment");
        }
    }
}
