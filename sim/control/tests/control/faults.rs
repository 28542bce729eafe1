//! Faults: adding rules, firing, listing, repeating.

use serde_json::{Value, json};
use sim_pve::Latency;

use crate::simulators::Simulators;

async fn calls(simulators: &Simulators) -> Vec<Option<u16>> {
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(simulators.pve("GET", "/version", &[]).await.map(|(status, _)| status));
    }
    statuses
}

#[tokio::test]
async fn a_repetition_hits_the_same_calls_with_another_seed() {
    let simulators = Simulators::seeded(Latency::Instant, 7).await;
    let rules = json!({ "rules": [
        { "service": "pve", "method": "GET", "path": "/ver*", "fault": "drop_reply", "when": { "chance": 0.3 } },
        { "service": "pve", "path": "*", "fault": { "refuse": { "status": 503, "text": "try later" } }, "when": { "calls": [2, 3] } },
        { "service": "github", "path": "/never", "fault": "restart" },
    ] });
    simulators.post("/v1/faults", rules).await;
    let hits = calls(&simulators).await;
    assert!(hits.contains(&None) && hits.contains(&Some(200)), "{hits:?}");
    assert!(hits[1..3].contains(&Some(503)), "{hits:?}");
    let listed = simulators.get("/v1/faults").await;
    let fired = listed["fired"].as_array().unwrap();
    assert_eq!(fired.len(), hits.iter().filter(|status| **status != Some(200)).count());
    assert!(fired.iter().all(|fault| fault["seed"] == 7 && fault["path"] == "/version"), "{listed}");
    assert_eq!((&listed["rules"][0]["calls"], &listed["rules"][2]["calls"]), (&json!(30), &json!(0)));

    let other = Simulators::seeded(Latency::Instant, 8).await;
    other.post("/v1/faults", simulators.get("/v1/faults/repetition").await).await;
    assert_eq!(calls(&other).await, hits);
    let (status, cleared) = other.call("DELETE", "/v1/faults", "").await;
    assert_eq!((status, cleared["rules"][0]["when"].clone()), (200, json!({ "next": 0 })));
    assert!(calls(&other).await.iter().all(|status| *status == Some(200)));
}

#[tokio::test]
async fn of_several_rules_all_are_added_or_none() {
    let simulators = Simulators::start(Latency::Instant).await;
    let rules = json!({ "rules": [
        { "service": "pve", "path": "/a", "fault": "restart" },
        { "service": "pve", "path": "/b", "fault": { "delay": { "seconds": -1 } } },
    ] });
    let (status, answer) = simulators.call("POST", "/v1/faults", &rules.to_string()).await;
    let problem =
        json!({ "at": "rules[1].fault.delay.seconds", "what": "-1 seconds is not a delay", "allowed": "0 to 86400" });
    assert_eq!((status, &answer["error"]), (422, &problem));
    assert_eq!(simulators.get("/v1/faults").await["rules"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn the_lock_of_an_incomplete_clone_is_removed_by_hand() {
    let simulators = Simulators::start(Latency::Instant).await;
    let half = json!({ "service": "pve", "method": "POST", "path": "/nodes/*/qemu/*/clone", "fault": "kill_task" });
    simulators.post("/v1/faults", half).await;
    let (status, started) = simulators.pve("POST", "/nodes/pve1/qemu/8000/clone", &[("newid", "9100")]).await.unwrap();
    assert_eq!(status, 200, "{started}");
    simulators.control.pve().task_end(started["data"].as_str().unwrap()).await.unwrap();
    assert_eq!(simulators.get("/v1/guests/9100").await["config"]["lock"], "clone");
    let (status, guest) = simulators.call("POST", "/v1/guests/9100/unlock", "").await;
    assert_eq!((status, &guest["config"]["lock"]), (200, &Value::Null));
    let rules = [("daemon_stopped", 595), ("daemon_dies", 596)];
    for (fault, status) in rules {
        simulators.post("/v1/faults", json!({ "service": "pve", "path": "/nodes/pve1/qemu", "fault": fault })).await;
        assert_eq!(simulators.pve("GET", "/nodes/pve1/qemu", &[]).await.map(|(status, _)| status), Some(status));
    }
    assert_eq!(simulators.pve("GET", "/nodes/pve1/qemu", &[]).await.map(|(status, _)| status), Some(200));
}
