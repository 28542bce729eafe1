//! Workflow jobs: queuing, cancelling, running again.

use serde_json::json;
use sim_pve::Latency;

use crate::simulators::Simulators;

#[tokio::test]
async fn jobs_are_queued_cancelled_and_run_again() {
    let simulators = Simulators::start(Latency::Instant).await;
    let jobs = simulators.queue(2).await;
    let state = simulators.get("/v1/state").await;
    let names: Vec<_> =
        state["github"]["jobs"]["items"].as_array().unwrap().iter().map(|job| job["name"].clone()).collect();
    assert_eq!(names, ["build-2", "build-1"], "the newest first");
    assert_eq!(state["github"]["repositories"], json!(["acme/tools"]));

    let first = format!("/v1/jobs/{}", jobs[0]);
    let (status, early) = simulators.call("POST", &format!("{first}/rerun"), "").await;
    assert_eq!((status, &early["error"]["what"]), (409, &json!("the job has not ended yet")));
    let cancelled = simulators.post(&format!("{first}/cancel"), json!({})).await;
    assert_eq!((&cancelled["state"], &cancelled["conclusion"]), (&json!("completed"), &json!("cancelled")));
    let events: Vec<_> = cancelled["events"].as_array().unwrap().iter().map(|event| event["what"].clone()).collect();
    assert_eq!(events, ["queued", "completed: cancelled"]);
    let (status, again) = simulators.call("POST", &format!("{first}/cancel"), "").await;
    assert_eq!((status, &again["error"]["what"]), (409, &json!("the job has ended already")));
    let rerun = simulators.post(&format!("{first}/rerun"), json!({})).await;
    let second = simulators.get(&format!("/v1/jobs/{}", rerun["jobs"][0])).await;
    assert_eq!(
        (&second["attempt"], &second["name"], &second["state"]),
        (&json!(2), &json!("build-1"), &json!("queued"))
    );
}

#[tokio::test]
async fn a_step_has_a_condition_of_its_own() {
    let simulators = Simulators::start(Latency::Instant).await;
    let steps = json!(["make", { "run": "make clean", "if": "always()" }, { "run": "make report", "if": "failure()" }]);
    let jobs = json!({ "repository": "acme/tools", "labels": ["linux"], "steps": steps });
    let queued = simulators.post("/v1/jobs", jobs).await;
    let job = simulators.get(&format!("/v1/jobs/{}", queued["jobs"][0])).await;
    assert_eq!(job["steps"], steps);
}
