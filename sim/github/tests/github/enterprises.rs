//! Runners of an enterprise: access to them, and the jobs that they take.

use serde_json::{Value, json};
use sim_github::{Level, Token};

use crate::stepped_github::SteppedGitHub;

const RUNNERS: &str = "/enterprises/umbrella/actions/runners";
const GROUPS: &str = "/enterprises/umbrella/actions/runner-groups";

async fn enterprise() -> (SteppedGitHub, String) {
    let github = SteppedGitHub::start().await;
    let token = github.server.world(|world, _| {
        world.add_enterprise("umbrella", &["acme", "beta"]);
        world.add_repository("other/tools");
        world.add_classic_token(&["manage_runners:enterprise"])
    });
    (github, token)
}

fn runner(name: &str, group: u64) -> Value {
    json!({ "name": name, "runner_group_id": group, "labels": ["linux"] })
}

#[tokio::test]
async fn only_a_classic_token_with_the_right_scope_is_accepted() {
    let (github, token) = enterprise().await;
    let everything = Token {
        actions: Level::Write,
        administration: Level::Write,
        organization_runners: Level::Write,
        ..Token::default()
    };
    let others =
        github.server.world(|world, _| [world.add_token(everything), world.add_classic_token(&["repo", "admin:org"])]);
    for other in &others {
        for path in [RUNNERS, GROUPS] {
            assert_eq!(github.get(path, other).await.status, 404, "{path}");
        }
        assert_eq!(github.post(&format!("{RUNNERS}/generate-jitconfig"), other, &runner("a", 1)).await.status, 404);
    }
    assert_eq!(github.get(RUNNERS, &token).await.body, json!({ "total_count": 0, "runners": [] }));
    assert_eq!(github.get("/enterprises/nobody/actions/runners", &token).await.status, 404);
    let made = github.post(&format!("{RUNNERS}/registration-token"), &token, &Value::Null).await;
    assert_eq!((made.status, made.body["token"].is_string()), (201, true));
}

#[tokio::test]
async fn its_runners_take_jobs_of_its_organizations_only() {
    let (github, token) = enterprise().await;
    let job = github.queue(1)[0];
    let minted = github.post(&format!("{RUNNERS}/generate-jitconfig"), &token, &runner("shared", 1)).await;
    assert_eq!(minted.status, 201, "{}", minted.body);
    let connected = github.connect(minted.body["encoded_jit_config"].as_str().unwrap()).await;
    assert_eq!(connected.message().await, (200, Some(job)));
    let spec = |repository: &str| sim_github::RunSpec {
        repository: repository.into(),
        event: "push".into(),
        fork: None,
        jobs: vec![sim_github::JobSpec { name: "x".into(), labels: vec!["linux".into()], steps: Vec::new() }],
    };
    let outsider = github.server.queue_run(spec("other/tools"))[0];
    let minted = github.post(&format!("{RUNNERS}/generate-jitconfig"), &token, &runner("second", 1)).await;
    let second = github.connect(minted.body["encoded_jit_config"].as_str().unwrap()).await;
    let beta = github.server.queue_run(spec("beta/app"))[0];
    assert_eq!(second.message().await, (200, Some(beta)), "not the outsider's {outsider}, which was first");
}

#[tokio::test]
async fn its_groups_choose_organizations() {
    let (github, token) = enterprise().await;
    let ids: Vec<u64> = {
        let group = json!({ "name": "all of them", "visibility": "selected" });
        let made = github.post(GROUPS, &token, &group).await;
        assert_eq!(
            (made.status, &made.body["visibility"], &made.body["inherited"]),
            (201, &json!("selected"), &Value::Null)
        );
        assert!(
            made.body["selected_organizations_url"]
                .as_str()
                .unwrap()
                .ends_with("/enterprises/umbrella/actions/runner-groups/2/organizations")
        );
        let list = github.get(GROUPS, &token).await;
        list.body["runner_groups"].as_array().unwrap().iter().map(|group| group["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids, [1, 2]);
    let minted = github.post(&format!("{RUNNERS}/generate-jitconfig"), &token, &runner("chosen", 2)).await;
    let encoded = minted.body["encoded_jit_config"].as_str().unwrap().to_owned();
    let acme = github.queue(1)[0];
    let connected = github.connect(&encoded).await;
    assert_eq!(
        github.server.world(|world, _| world.job(acme).unwrap().runner_name.clone()),
        None,
        "no organization is chosen"
    );
    // FNV-1a of "acme", as for all numbers of accounts here.
    let number = "acme".bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let unknown = json!({ "selected_organization_ids": [1] });
    let chosen =
        |body: Value| github.request(reqwest::Method::PUT, &format!("{GROUPS}/2/organizations"), &token).json(&body);
    assert_eq!(chosen(unknown).send().await.unwrap().status(), 404);
    assert_eq!(chosen(json!({ "selected_organization_ids": [number] })).send().await.unwrap().status(), 204);
    let listed = github.get(&format!("{GROUPS}/2/organizations"), &token).await;
    assert_eq!(listed.body["organizations"][0]["login"], "acme");
    assert_eq!(github.get(&format!("{GROUPS}/2/repositories"), &token).await.status, 404);
    assert_eq!(connected.message().await, (200, Some(acme)));
}
