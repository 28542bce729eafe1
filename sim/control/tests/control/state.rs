//! The contents that the control API shows, and the secrets that it masks.

use serde_json::json;
use sim_pve::Latency;

use crate::simulators::{Simulators, TOKEN, until};

#[tokio::test]
async fn guests_tasks_and_requests_are_shown() {
    let simulators = Simulators::start(Latency::Instant).await;
    let form = [("newid", "9100"), ("name", "runner-1"), ("pool", "farm")];
    let (status, cloned) = simulators.pve("POST", "/nodes/pve1/qemu/8000/clone", &form).await.unwrap();
    assert_eq!(status, 200, "{cloned}");
    let upid = cloned["data"].as_str().unwrap().to_owned();
    until("the clone is there", || simulators.control.task(&upid).is_some_and(|task| task["status"] == "OK")).await;
    simulators.pve("POST", "/nodes/pve1/qemu/9100/status/start", &[]).await.unwrap();
    until("it runs", || simulators.control.guest(9100).is_some_and(|guest| guest["agent"] == true)).await;

    let state = simulators.get("/v1/state").await;
    assert_eq!(state["pve"]["nodes"][0]["node"], "pve1");
    assert_eq!((&state["pve"]["nodes"][0]["guests"], &state["pve"]["nodes"][0]["running"]), (&json!(2), &json!(1)));
    assert_eq!(state["pve"]["storages"][0]["volumes"], 2);
    assert_eq!(state["pve"]["tasks"]["items"][1]["type"], "qmclone", "the newest first");
    let found = simulators.get("/v1/state?search=RUNNER&limit=1").await;
    assert_eq!(found["pve"]["guests"]["total"], 1);
    let row = &found["pve"]["guests"]["items"][0];
    assert_eq!((&row["name"], &row["pool"], &row["status"]), (&json!("runner-1"), &json!("farm"), &json!("running")));
    assert_eq!(row["console"], "booted; the guest agent answers");

    let guest = simulators.get("/v1/guests/9100").await;
    assert_eq!(guest["console"], json!(["runner-1: powered on", "booted; the guest agent answers"]));
    assert_eq!(guest["config"]["agent"], "1");
    let task = simulators.get(&format!("/v1/tasks/{upid}")).await;
    assert_eq!(task["log"].as_array().unwrap().last().unwrap(), "TASK OK");
    let requests = simulators.get("/v1/requests/pve?first=1").await;
    assert_eq!((&requests["total"], requests["items"].as_array().unwrap().len()), (&json!(2), 1));
    let second = &requests["items"][0];
    assert_eq!((&second["number"], &second["caller"], &second["status"]), (&json!(1), &json!(TOKEN), &json!(200)));
    assert_eq!(second["path"], "/api2/json/nodes/pve1/qemu/9100/status/start");
    assert!(second["took"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn no_secret_is_shown_even_where_a_guest_prints_one() {
    let simulators = Simulators::start(Latency::Instant).await;
    let secrets = [simulators.control.pve().token_secret(TOKEN).unwrap(), "the-password-of-root".to_owned()];
    simulators.guests.print(8000, &format!("my secrets: {}", secrets.join(" and ")));
    simulators.pve("PUT", "/nodes/pve1/qemu/8000/config", &[("cipassword", "hidden-in-config")]).await.unwrap();
    simulators.pve("GET", &format!("/version?secret={}", secrets[0]), &[]).await.unwrap();
    let guest = simulators.get("/v1/guests/8000").await;
    assert_eq!(guest["console"], json!(["my secrets: *** and ***"]));
    assert_eq!(guest["config"]["cipassword"], "**********");
    for path in ["/v1/state", "/v1/guests/8000", "/v1/requests/pve", "/v1/faults"] {
        let text = simulators.get(path).await.to_string();
        let shown: Vec<&String> = secrets.iter().filter(|secret| text.contains(*secret)).collect();
        assert!(shown.is_empty() && !text.contains("hidden-in-config"), "{path} shows {shown:?}");
    }
}

#[tokio::test]
async fn nodes_lose_power_and_boot_and_storages_fill_up() {
    let simulators = Simulators::start(Latency::Stepped).await;
    let all = simulators.post("/v1/nodes/pve1/away", json!({})).await;
    assert_eq!((&all["nodes"][0]["node"], &all["nodes"][0]["online"]), (&json!("pve1"), &json!(false)));
    assert_eq!(simulators.control.pve().now().as_secs(), 0, "no time passes by that");
    let (status, again) = simulators.call("POST", "/v1/nodes/pve1/away", "").await;
    assert_eq!((status, &again["error"]["what"]), (409, &json!("pve1 is already off")));
    assert!(simulators.pve("GET", "/version", &[]).await.is_none(), "a node without power does not answer");
    let all = simulators.post("/v1/nodes/pve1/back", json!({})).await;
    assert_eq!(all["nodes"][0]["online"], true);
    let (status, _) = simulators.pve("GET", "/version", &[]).await.unwrap();
    assert_eq!(status, 200);

    let all = simulators.post("/v1/storages/local-lvm/fill", json!({ "node": "pve1", "free": 1_000_000 })).await;
    assert_eq!(all["storages"][0]["places"][0]["free"], 1_000_000);
    simulators.control.pve().fill_volume("local-lvm:8000/base-8000-disk-0.raw", 1 << 29);
    simulators.control.run(1000.0);
    let form = [("newid", "9100"), ("full", "1")];
    let (_, cloned) = simulators.pve("POST", "/nodes/pve1/qemu/8000/clone", &form).await.unwrap();
    let upid = cloned["data"].as_str().unwrap().to_owned();
    until("the clone fails", || simulators.control.task(&upid).is_some_and(|task| !task["end"].is_null())).await;
    assert_ne!(simulators.control.task(&upid).unwrap()["status"], "OK");
}
