//! Runner groups, labels and attempts: REST calls that a farm seldom makes.

use reqwest::Method;
use serde_json::{Value, json};
use sim_github::Token;

use crate::stepped_github::{Answer, RUNNERS, SteppedGitHub};

const GROUPS: &str = "/orgs/acme/actions/runner-groups";

#[tokio::test]
async fn a_group_is_made_changed_and_removed() {
    let github = SteppedGitHub::start().await;
    let admin = github.server.world(|world, _| world.add_token(Token::for_organization_runners()));
    let id_of = |repository: &Value| repository["id"].as_u64().unwrap();
    let tools = id_of(&github.get("/repos/acme/tools", &admin).await.body);
    let body = json!({ "name": "trusted", "visibility": "selected", "selected_repository_ids": [tools] });
    let made = github.post(GROUPS, &admin, &body).await;
    assert_eq!(made.status, 201);
    assert_eq!(github.post(GROUPS, &admin, &body).await.status, 409);
    let group = format!("{GROUPS}/{}", made.body["id"]);
    let listed = github.get(&format!("{group}/repositories"), &admin).await;
    assert_eq!(listed.body["repositories"][0]["full_name"], json!("acme/tools"));
    let jit = json!({ "name": "one", "runner_group_id": made.body["id"], "labels": ["linux"] });
    let minted = github.post("/orgs/acme/actions/runners/generate-jitconfig", &admin, &jit).await;
    assert_eq!(minted.body["runner"]["runner_group_id"], made.body["id"]);
    assert_eq!(github.get(&format!("{group}/runners"), &admin).await.body["total_count"], json!(1));
    let renamed = github.request(Method::PATCH, &group, &admin).json(&json!({ "name": "ours" })).send().await.unwrap();
    assert_eq!(Answer::read(renamed).await.body["name"], json!("ours"));
    assert_eq!(github.delete(&group, &admin).await.status, 204);
    assert_eq!(github.get(&group, &admin).await.status, 404);
    let groups = github.get(GROUPS, &admin).await;
    assert_eq!((&groups.body["total_count"], &groups.body["runner_groups"][0]["default"]), (&json!(1), &json!(true)));
    let runner = format!("/orgs/acme/actions/runners/{}", minted.body["runner"]["id"]);
    assert_eq!(github.get(&runner, &admin).await.body["runner_group_id"], json!(1), "runners go to the default group");
    github.assert_clean();
}

#[tokio::test]
async fn a_groups_runners_serve_its_repositories_only() {
    let github = SteppedGitHub::start().await;
    let (admin, group) = github.server.world(|world, _| {
        world.add_repository("acme/other");
        (world.add_token(Token::for_organization_runners()), world.add_runner_group("acme", "g", &["acme/other"]))
    });
    let jit = json!({ "name": "one", "runner_group_id": group, "labels": ["linux"] });
    let minted = github.post("/orgs/acme/actions/runners/generate-jitconfig", &admin, &jit).await;
    let runner = github.connect(minted.body["encoded_jit_config"].as_str().unwrap()).await;
    github.queue(1);
    let job = sim_github::JobSpec { name: "there".into(), labels: vec!["linux".into()], steps: Vec::new() };
    let run =
        sim_github::RunSpec { repository: "acme/other".into(), event: "push".into(), fork: None, jobs: vec![job] };
    let there = github.server.queue_run(run)[0];
    assert_eq!(runner.message().await, (200, Some(there)));
}

#[tokio::test]
async fn labels_are_added_replaced_and_removed() {
    let github = SteppedGitHub::start().await;
    let id = github.mint("one").await.body["runner"]["id"].clone();
    let path = format!("{RUNNERS}/{id}/labels");
    let names = |answer: &Answer| -> Vec<String> {
        let labels = answer.body["labels"].as_array().unwrap();
        labels.iter().map(|label| label["name"].as_str().unwrap().to_owned()).collect()
    };
    let added = github.post(&path, &github.token, &json!({ "labels": ["gpu", "LINUX"] })).await;
    assert_eq!(names(&added), ["linux", "gpu"]);
    let removed = github.delete(&format!("{path}/gpu"), &github.token).await;
    assert_eq!(names(&removed), ["linux"]);
    assert_eq!(github.delete(&format!("{path}/gpu"), &github.token).await.status, 404);
    let request = github.request(Method::PUT, &path, &github.token).json(&json!({ "labels": ["arm64"] }));
    assert_eq!(names(&Answer::read(request.send().await.unwrap()).await), ["arm64"]);
    assert_eq!(github.post(&path, &github.token, &json!({})).await.status, 422);
    github.assert_clean();
}

#[tokio::test]
async fn a_failed_job_is_run_again_as_the_next_attempt() {
    let github = SteppedGitHub::start().await;
    let writer = github.server.world(|world, _| {
        world.add_token(Token { actions: sim_github::Level::Write, ..Token::for_repository_runners() })
    });
    let jobs = github.queue(2);
    let runs = github.get("/repos/acme/tools/actions/runs", &writer).await;
    let run = format!("/repos/acme/tools/actions/runs/{}", runs.body["workflow_runs"][0]["id"]);
    let again = format!("{run}/rerun-failed-jobs");
    assert_eq!(github.post(&again, &writer, &Value::Null).await.status, 403, "it runs still");
    assert_eq!(github.post(&format!("{run}/cancel"), &writer, &Value::Null).await.status, 202);
    assert_eq!(github.get(&run, &writer).await.body["conclusion"], json!("cancelled"));
    assert_eq!(github.post(&format!("{run}/cancel"), &writer, &Value::Null).await.status, 409);
    let job = format!("/repos/acme/tools/actions/jobs/{}", jobs[0]);
    assert_eq!(github.post(&format!("{job}/rerun"), &writer, &Value::Null).await.status, 201);
    let read = github.get(&run, &writer).await;
    assert_eq!((&read.body["status"], &read.body["run_attempt"]), (&json!("in_progress"), &json!(2)));
    assert_eq!(github.get(&format!("{run}/jobs?filter=latest"), &writer).await.body["total_count"], json!(2));
    let all = github.get(&format!("{run}/jobs?filter=all"), &writer).await;
    assert_eq!((&all.body["total_count"], &all.body["jobs"][2]["run_attempt"]), (&json!(3), &json!(2)));
    assert_eq!(github.get(&format!("{run}/jobs"), &github.token).await.status, 200);
    assert_eq!(
        github.post(&format!("{run}/cancel"), &github.token, &Value::Null).await.status,
        403,
        "reading is not enough"
    );
    github.pass(24 * 3600);
    assert_eq!(github.get(&run, &writer).await.body["conclusion"], json!("cancelled"));
    github.assert_clean();
}
