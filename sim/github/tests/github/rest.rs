//! Runs, jobs and runners, read with a personal access token.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;
use sim_github::{Level, Token};

use crate::stepped_github::{Answer, RUNNERS, SteppedGitHub};

/// Returns status and message of a refusal.
fn refusal(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.message())
}

#[tokio::test]
async fn runs_and_jobs_have_githubs_shape() {
    let github = SteppedGitHub::start().await;
    let jobs = github.queue(2);
    let runs = github.read("/repos/acme/tools/actions/runs?status=queued").await.body;
    assert_eq!((&runs["total_count"], &runs["workflow_runs"][0]["status"]), (&json!(1), &json!("queued")));
    let run = runs["workflow_runs"][0]["id"].as_u64().unwrap();
    let listed = github.read(&format!("/repos/acme/tools/actions/runs/{run}/jobs?filter=latest")).await.body;
    assert_eq!(listed["jobs"][1]["id"], json!(jobs[1]));
    let one = github.read(&format!("/repos/acme/tools/actions/jobs/{}", jobs[0])).await.body;
    assert_eq!((&one["status"], &one["labels"]), (&json!("queued"), &json!(["linux"])));
    github.assert_clean();
}

#[tokio::test]
async fn a_minted_runner_is_listed_offline_until_it_is_deleted() {
    let github = SteppedGitHub::start().await;
    let minted = github.mint("one").await;
    assert_eq!(minted.status, 201);
    let minted = minted.body;
    let id = minted["runner"]["id"].as_u64().unwrap();
    let list = github.read(&format!("{RUNNERS}?name=one")).await.body;
    assert_eq!(list["runners"][0]["status"], json!("offline"));
    assert_eq!(list["runners"][0]["labels"].as_array().unwrap().len(), 1, "no label is added to those asked for");
    let path = format!("{RUNNERS}/{id}");
    assert_eq!(github.delete(&path, &github.token).await.status, 204);
    assert_eq!(github.read(&path).await.status, 404);
    assert_eq!(github.delete(&path, &github.token).await.status, 404);
    assert_eq!(github.server.world(|world, _| world.leftovers()), Vec::<String>::new());
    github.assert_clean();
}

#[tokio::test]
async fn mistakes_in_a_registration_are_named() {
    let github = SteppedGitHub::start().await;
    let path = format!("{RUNNERS}/generate-jitconfig");
    let post = async |body: &'static str| {
        Answer::read(github.request(Method::POST, &path, &github.token).body(body).send().await.unwrap()).await
    };
    assert_eq!(refusal(&post("{").await), (400, "Problems parsing JSON"));
    let incomplete = post(r#"{"name":"one","labels":["x"]}"#).await;
    assert_eq!(refusal(&incomplete), (422, "Invalid request.\n\n\"runner_group_id\" wasn't supplied."));
    let other_group = r#"{"name":"one","labels":["x"],"runner_group_id":9}"#;
    assert_eq!(post(other_group).await.status, 404);
    assert_eq!(github.mint("one").await.status, 201);
    let taken = github.mint("ONE").await;
    assert_eq!(taken.status, 409);
    assert!(taken.message().starts_with("Already exists"), "{taken:?}");
    assert_eq!(github.server.world(|world, _| world.minted()), 1);
}

#[tokio::test]
async fn a_token_has_only_its_permissions() {
    let reader = Token { actions: Level::Read, administration: Level::Read, ..Token::default() };
    let github = SteppedGitHub::with_token(reader).await;
    assert_eq!(github.read(RUNNERS).await.status, 200);
    let response = github.mint("one").await;
    assert_eq!(response.header("x-accepted-github-permissions"), "administration=write");
    assert_eq!(refusal(&response), (403, "Resource not accessible by personal access token"));
    assert_eq!(github.read("/orgs/acme/actions/runners").await.status, 403);
    assert_eq!(refusal(&github.read("/repos/acme/secret/actions/runs").await), (404, "Not Found"));
    let url = format!("{}{RUNNERS}", github.server.url());
    let anonymous = Answer::read(github.http.get(&url).send().await.unwrap()).await;
    assert_eq!(refusal(&anonymous), (401, "Requires authentication"));
    github.server.world(|world, _| world.revoke_token(&github.token));
    assert_eq!(refusal(&github.read(RUNNERS).await), (401, "Bad credentials"));
}

#[tokio::test]
async fn a_token_limited_to_one_repository_cannot_see_others() {
    let only = Token { repositories: ["acme/tools".to_owned()].into(), ..Token::for_repository_runners() };
    let github = SteppedGitHub::with_token(only).await;
    github.server.world(|world, _| world.add_repository("acme/other"));
    assert_eq!(github.read(RUNNERS).await.status, 200);
    assert_eq!(github.read("/repos/acme/other/actions/runners").await.status, 404);
}

#[tokio::test]
async fn an_unchanged_answer_is_not_counted() {
    let github = SteppedGitHub::start().await;
    github.queue(1);
    let path = "/repos/acme/tools/actions/runs?status=queued";
    let first = github.read(path).await;
    assert_eq!(first.header("x-ratelimit-used"), "1");
    let etag = first.header("etag").to_owned();
    let again = async || {
        let request = github.request(Method::GET, path, &github.token).header("if-none-match", &etag);
        Answer::read(request.send().await.unwrap()).await
    };
    let second = again().await;
    assert_eq!((second.status, second.header("x-ratelimit-used")), (304, "1"));
    github.queue(1);
    let third = again().await;
    assert_eq!((third.status, third.header("x-ratelimit-used")), (200, "2"));
}

#[tokio::test]
async fn the_hourly_limit_ends_and_starts_again() {
    let github = SteppedGitHub::start().await;
    github.server.world(|world, _| world.behaviour.rate_limit = 2);
    for _ in 0..2 {
        assert_eq!(github.read(RUNNERS).await.status, 200);
    }
    let limited = github.read(RUNNERS).await;
    assert_eq!((limited.status, limited.header("x-ratelimit-remaining")), (403, "0"));
    let reset: i64 = limited.header("x-ratelimit-reset").parse().unwrap();
    github.pass(reset - github.now());
    assert_eq!(github.read(RUNNERS).await.status, 200);
}

#[tokio::test]
async fn a_secondary_limit_says_how_long_to_wait() {
    let github = SteppedGitHub::start().await;
    let until = Timestamp::from_second(github.now() + 30).unwrap();
    github.server.world(|world, _| world.throttle(&github.token, until));
    let limited = github.read(RUNNERS).await;
    assert_eq!((limited.status, limited.header("retry-after")), (403, "30"));
}

#[tokio::test]
async fn lists_come_in_pages_that_link_to_each_other() {
    let github = SteppedGitHub::start().await;
    for n in 0..5 {
        assert_eq!(github.mint(&format!("runner-{n}")).await.status, 201);
    }
    let page = github.read(&format!("{RUNNERS}?per_page=2&page=2")).await;
    let link = page.header("link").to_owned();
    for expected in ["per_page=2&page=1>; rel=\"prev\"", "per_page=2&page=3>; rel=\"next\"", "page=3>; rel=\"last\""] {
        assert!(link.contains(expected), "{link}");
    }
    let page = page.body;
    assert_eq!((&page["total_count"], page["runners"].as_array().unwrap().len()), (&json!(5), 2));
    let beyond = github.read(&format!("{RUNNERS}?page=99999999999999999")).await.body;
    assert_eq!(beyond["runners"], json!([]));
    github.assert_clean();
}

#[tokio::test]
async fn requests_are_logged_without_secrets() {
    let github = SteppedGitHub::start().await;
    github.read(RUNNERS).await;
    let entries = github.server.requests().entries();
    let last = entries.last().unwrap();
    assert_eq!((last.method.as_str(), last.path.as_str(), last.status), ("GET", RUNNERS, 200));
    assert_eq!(last.caller, "token 1");
}

#[tokio::test]
async fn an_enterprise_servers_path_is_answered_and_kept_in_links() {
    let github = SteppedGitHub::start().await;
    github.mint("one").await;
    github.mint("two").await;
    let page = github.read(&format!("/api/v3{RUNNERS}?per_page=1")).await;
    assert!(page.header("link").contains("/api/v3/repos/acme/tools"), "{}", page.header("link"));
    github.server.stop().await;
}
