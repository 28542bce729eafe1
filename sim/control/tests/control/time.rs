//! Control of virtual time.

use serde_json::json;
use sim_pve::Latency;

use crate::simulators::{Simulators, until};

#[tokio::test]
async fn time_stands_still_until_it_is_stepped() {
    let simulators = Simulators::start(Latency::Stepped).await;
    let slow = json!({ "service": "pve", "path": "/version", "fault": { "delay": { "seconds": 60 } } });
    simulators.post("/v1/faults", slow).await;
    let call = tokio::spawn(simulators.pve("GET", "/version", &[]));
    until("the call waits", || !simulators.control.pve().faults().fired().is_empty()).await;
    assert_eq!(simulators.get("/v1/clock").await, json!({ "mode": "held", "elapsed": 0.0, "speed": 0.0 }));
    let stepped = simulators.post("/v1/clock", json!({ "step": { "seconds": 59 } })).await;
    assert_eq!(stepped["elapsed"], 59.0);
    assert!(!call.is_finished(), "it waits for 60 s");
    simulators.post("/v1/clock", json!({ "step": { "seconds": 1 } })).await;
    assert_eq!(call.await.unwrap().unwrap().0, 200);
}

#[tokio::test]
async fn both_simulators_see_their_events_at_their_times() {
    let simulators = Simulators::start(Latency::Stepped).await;
    let jobs = simulators.queue(1).await;
    let before = simulators.get("/v1/state").await;
    assert_eq!(before["github"]["now"], before["pve"]["now"]);
    simulators.post("/v1/clock", json!({ "step": { "seconds": 100_000 } })).await;
    let job = simulators.get(&format!("/v1/jobs/{}", jobs[0])).await;
    assert_eq!(job["state"], "completed", "nobody took it for a day");
    let waited = job["completed"].as_f64().unwrap() - job["queued"].as_f64().unwrap();
    assert!((waited - 86_400.0).abs() < 0.001, "it ended after {waited} s, though the step was longer");
}

#[tokio::test]
async fn time_runs_at_the_requested_speed_until_it_is_held() {
    let simulators = Simulators::start(Latency::Stepped).await;
    simulators.post("/v1/clock", json!({ "run": { "speed": 1000 } })).await;
    until("a minute has passed", || simulators.control.pve().now().as_secs() > 60).await;
    let held = simulators.call("POST", "/v1/clock", "\"hold\"").await.1;
    assert_eq!((&held["mode"], &held["speed"]), (&json!("held"), &json!(0.0)));
    // An interval that has started may still end. Afterwards time stands still.
    simulators.post("/v1/clock", json!({ "step": { "seconds": 1 } })).await;
    let then = simulators.control.pve().now();
    simulators.get("/v1/state").await;
    assert_eq!(simulators.control.pve().now(), then);
}

#[tokio::test]
async fn real_time_cannot_be_set() {
    let simulators = Simulators::start(Latency::Instant).await;
    assert_eq!(simulators.get("/v1/clock").await["mode"], "real");
    let (status, refused) = simulators.call("POST", "/v1/clock", "\"hold\"").await;
    assert_eq!(
        (status, &refused["error"]["allowed"]),
        (409, &json!("a simulator on virtual time: `cargo xtask sim --virtual-time`"))
    );
}
