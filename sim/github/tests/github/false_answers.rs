//! Undocumented behaviour and false answers that were observed at GitHub: each by its setting, and the correct
//! behaviour without it.

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};
use sim_github::{Behaviour, Gap, JobState};

use crate::scale_sets::{Admin, kinds, messages, request_of};
use crate::stepped_github::{RUNNERS, Runner, SteppedGitHub};

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

/// Returns a running job, and the path and the program of its runner.
async fn working(github: &SteppedGitHub) -> (u64, String, Runner<'_>) {
    let job = github.queue(1)[0];
    let minted = github.mint("one").await;
    let runner = github.connect(minted.body["encoded_jit_config"].as_str().unwrap()).await;
    assert_eq!(runner.message().await, (200, Some(job)));
    assert_eq!(runner.report(job, "acquire", "").await, 200);
    (job, format!("{RUNNERS}/{}", minted.body["runner"]["id"]), runner)
}

#[tokio::test]
async fn busy_may_be_stale_and_deletion_may_rely_on_it() {
    let behaviour = Behaviour { busy_lag: seconds(30), deletion_believes_busy: true, ..Behaviour::default() };
    let github = SteppedGitHub::behaving(behaviour).await;
    let (job, path, runner) = working(&github).await;
    assert_eq!(github.get(&path, &github.token).await.body["busy"], json!(false));
    assert_eq!(github.delete(&path, &github.token).await.status, 204, "a runner with a job is deregistered");
    assert_eq!(runner.report(job, "finish", "success").await, 200, "its job goes on");

    let honest = SteppedGitHub::start().await;
    let (_, path, _runner) = working(&honest).await;
    assert_eq!(honest.get(&path, &honest.token).await.body["busy"], json!(true));
    assert_eq!(honest.delete(&path, &honest.token).await.status, 422);
}

#[tokio::test]
async fn busy_flips_to_false_in_the_middle_of_a_job() {
    let gap = Gap { after: seconds(300), lasts: seconds(60) };
    let behaviour = Behaviour { busy_gap: Some(gap), deletion_believes_busy: true, ..Behaviour::default() };
    let github = SteppedGitHub::behaving(behaviour).await;
    let (_, path, _runner) = working(&github).await;
    let mut shown = Vec::new();
    for step in [0, 299, 1, 59, 1] {
        github.pass(step);
        shown.push(github.get(&path, &github.token).await.body["busy"].as_bool().unwrap());
    }
    assert_eq!(shown, [true, true, false, false, true]);
    assert_eq!(github.delete(&path, &github.token).await.status, 422);
}

#[tokio::test]
async fn a_ghost_listener_never_receives_a_message() {
    for ghost_runners in [true, false] {
        let behaviour =
            Behaviour { ghost_listeners: ghost_runners, session_limit: seconds(600), ..Behaviour::default() };
        let github = SteppedGitHub::behaving(behaviour).await;
        let job = github.queue(1)[0];
        let minted = github.mint("one").await;
        let runner = github.connect(minted.body["encoded_jit_config"].as_str().unwrap()).await;
        assert_eq!(runner.message().await, (200, Some(job)));
        github.pass(61);
        assert_eq!(runner.report(job, "acquire", "").await, 409, "the job was given back");
        let path = format!("{RUNNERS}/{}", minted.body["runner"]["id"]);
        let registered = github.get(&path, &github.token).await.status == 200;
        assert_eq!(registered, !ghost_runners);
        if ghost_runners {
            let another = github.mint("two").await;
            let another = github.connect(another.body["encoded_jit_config"].as_str().unwrap()).await;
            assert_eq!(another.message().await, (200, Some(job)));
            let waiting = tokio::time::timeout(std::time::Duration::from_millis(200), runner.message());
            assert!(waiting.await.is_err(), "it hears neither of a job nor of its end");
        } else {
            assert_eq!(runner.message().await, (200, Some(job)));
        }
    }
}

#[tokio::test]
async fn an_idle_registration_is_evicted_early() {
    let github = SteppedGitHub::behaving(Behaviour { idle_eviction: Some(seconds(180)), ..Behaviour::default() }).await;
    let minted = github.mint("one").await;
    let runner = github.connect(minted.body["encoded_jit_config"].as_str().unwrap()).await;
    let evicts = async {
        let waits =
            |world: &sim_github::World| world.leftovers().iter().any(|line| line.contains("online")).then_some(());
        github.server.wait_for(std::time::Duration::from_secs(60), waits).await.unwrap();
        while github.server.world(|world, _| !world.leftovers().is_empty()) {
            github.pass(180);
            tokio::task::yield_now().await;
        }
    };
    let ((status, _), ()) = tokio::join!(runner.message(), evicts);
    assert_eq!(status, 401);
}

#[tokio::test]
async fn an_assigned_job_is_queued_again_after_sixty_seconds() {
    let github = SteppedGitHub::start().await;
    let job = github.queue(1)[0];
    let minted = github.mint("one").await;
    let runner = github.connect(minted.body["encoded_jit_config"].as_str().unwrap()).await;
    assert_eq!(runner.message().await, (200, Some(job)));
    let state = || github.server.world(|world, _| world.job(job).unwrap().state.clone());
    github.pass(59);
    assert!(matches!(state(), JobState::Assigned { .. }));
    github.pass(1);
    assert_eq!(state(), JobState::Queued);
}

#[tokio::test]
async fn a_scale_set_gets_a_job_three_times_more_and_then_it_stays_queued() {
    let github = SteppedGitHub::behaving(Behaviour { assigns_unasked: true, ..Behaviour::default() }).await;
    let admin = Admin::connect(&github).await;
    let set = admin.linux().await;
    let job = github.queue(1)[0];
    let mut waited = Vec::new();
    let assigned = || github.server.world(|world, _| world.scale_set_of_job(job).is_some());
    for _ in 0..4 {
        assert!(assigned());
        let from = github.now();
        while assigned() {
            github.pass(30);
        }
        let lay = github.now() - from;
        let from = github.now();
        while !assigned() && github.now() - from < 24 * 3600 / 2 {
            github.pass(30);
        }
        waited.push((lay, github.now() - from));
    }
    let lay: Vec<i64> = waited.iter().map(|(lay, _)| *lay).collect();
    assert_eq!(lay, [300, 600, 1200, 2400], "how long it may lie grows");
    let pauses: Vec<i64> = waited.iter().map(|(_, pause)| *pause).collect();
    assert_eq!(pauses[..3], [60, 120, 180], "and so does the pause");
    assert_eq!(pauses[3], 24 * 3600 / 2, "after the third re-assignment there is no other");
    assert_eq!(github.server.world(|world, _| world.job(job).unwrap().state.clone()), JobState::Queued);
    assert_eq!(admin_statistics(&github, set).await["totalAssignedJobs"], json!(0));
}

async fn admin_statistics(github: &SteppedGitHub, set: u64) -> Value {
    Admin::connect(github).await.statistics(set).await
}

#[tokio::test]
async fn accepted_labels_may_not_be_registered() {
    let behaviour = Behaviour { lost_labels: ["gpu".to_owned()].into(), ..Behaviour::default() };
    let github = SteppedGitHub::behaving(behaviour).await;
    let body = json!({ "name": "one", "runner_group_id": 1, "labels": ["linux", "GPU"] });
    let minted = github.post(&format!("{RUNNERS}/generate-jitconfig"), &github.token, &body).await;
    assert_eq!(minted.status, 201);
    assert_eq!(minted.body["runner"]["labels"].as_array().unwrap().len(), 1, "only reading back tells");
    let made = Admin::connect(&github).await.create("both", &["linux", "gpu"]).await;
    assert_eq!(made.body["labels"], json!([{ "type": "System", "name": "linux" }]));
}

#[tokio::test]
async fn lists_lag_behind_single_reads() {
    let github = SteppedGitHub::behaving(Behaviour { list_lag: seconds(10), ..Behaviour::default() }).await;
    let job = github.queue(1)[0];
    let minted = github.mint("one").await;
    let one = format!("{RUNNERS}/{}", minted.body["runner"]["id"]);
    let count = async |path: &str| github.get(path, &github.token).await.body["total_count"].as_u64().unwrap();
    let runs = "/repos/acme/tools/actions/runs";
    assert_eq!((count(runs).await, count(RUNNERS).await), (0, 0), "too new for lists");
    assert_eq!(github.get(&one, &github.token).await.status, 200);
    assert_eq!(github.get(&format!("/repos/acme/tools/actions/jobs/{job}"), &github.token).await.status, 200);
    github.pass(10);
    assert_eq!((count(runs).await, count(RUNNERS).await), (1, 1));
    assert_eq!(github.delete(&one, &github.token).await.status, 204);
    github.server.world(|world, now| world.cancel_job(job, now));
    assert_eq!(github.get(&one, &github.token).await.status, 404);
    let queued = format!("{runs}?status=queued");
    assert_eq!((count(&queued).await, count(RUNNERS).await), (1, 1), "lists show what is over");
    github.pass(10);
    assert_eq!((count(&queued).await, count(RUNNERS).await), (0, 0));
    github.assert_clean();
}

#[tokio::test]
async fn a_running_job_is_reported_as_completed() {
    let github =
        SteppedGitHub::behaving(Behaviour { early_completion: Some(seconds(120)), ..Behaviour::default() }).await;
    let admin = Admin::connect(&github).await;
    let set = admin.linux().await;
    let session = admin.listen(set).await;
    let job = github.queue(1)[0];
    let offer = admin.poll(&session, 0, 1).await;
    admin.acquire(&session, set, &[request_of(&offer)]).await;
    let minted = admin.mint(set, "vm-1").await;
    let runner = github.connect(minted.body["encodedJITConfig"].as_str().unwrap()).await;
    assert_eq!(runner.message().await, (200, Some(job)));
    runner.report(job, "acquire", "").await;
    let before = admin.poll(&session, offer.body["messageId"].as_u64().unwrap(), 1).await;
    assert_eq!(kinds(&before), ["JobAssigned", "JobStarted"]);
    // The session must stay open in between.
    for _ in 0..3 {
        github.pass(40);
        admin
            .call(Method::PATCH, &format!("_apis/runtime/runnerscalesets/{set}/sessions/{}", session.id), &Value::Null)
            .await;
    }
    assert!(matches!(
        github.server.world(|world, _| world.job(job).unwrap().state.clone()),
        JobState::InProgress { .. }
    ));
    let reported = github.server.world(|world, _| world.scale_set_of_job(job));
    assert_eq!(reported, Some("linux-set".to_owned()));
    let session = admin
        .call(Method::PATCH, &format!("_apis/runtime/runnerscalesets/{set}/sessions/{}", session.id), &Value::Null)
        .await;
    let session = crate::scale_sets::Session::of(&session);
    let lie = admin.poll(&session, before.body["messageId"].as_u64().unwrap(), 1).await;
    assert_eq!((kinds(&lie), &messages(&lie)[0]["result"]), (vec!["JobCompleted".into()], &json!("succeeded")));
    assert_eq!(runner.report(job, "finish", "failure").await, 200);
}

#[tokio::test]
async fn jobs_that_run_again_are_not_announced_to_a_set_without_runners() {
    for silent in [true, false] {
        let github = SteppedGitHub::behaving(Behaviour { silent_reruns: silent, ..Behaviour::default() }).await;
        let admin = Admin::connect(&github).await;
        let set = admin.linux().await;
        admin.listen(set).await;
        let job = github.queue(1)[0];
        github.server.world(|world, now| world.cancel_job(job, now));
        let again = github.server.world(|world, now| world.rerun(&[job], now))[0];
        let announced = || github.server.world(|world, _| world.scale_set_of_job(again).is_some());
        assert_eq!(announced(), !silent);
        admin.mint(set, "vm-1").await;
        assert!(announced(), "any later runner brings it in");
    }
}
