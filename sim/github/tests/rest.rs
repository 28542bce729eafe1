//! The front's REST side, asked by a plain HTTP client.
#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sim_github::{JobSpec, Level, RunSpec, Server, ServerHandle, ServerOptions, Token};

const RUNNERS: &str = "/repos/acme/tools/actions/runners";

/// A simulator with one repository, whose clock stands still until it is moved.
struct Site {
    github: ServerHandle,
    token: String,
    now: Arc<AtomicI64>,
    http: reqwest::Client,
}

async fn site() -> Site {
    site_with(Token::for_repository_runners()).await
}

async fn site_with(token: Token) -> Site {
    // Another test of this process may have been first.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let now = Arc::new(AtomicI64::new(1_800_000_000));
    let seconds = Arc::clone(&now);
    let clock = Arc::new(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap());
    let github = Server::start(ServerOptions { seed: 1, clock, ..ServerOptions::default() }).await.unwrap();
    let token = github.world(|world, _| {
        world.add_repository("acme/tools");
        world.add_organization("acme");
        world.add_token(token)
    });
    let http = reqwest::Client::builder().no_proxy().user_agent("test").build().unwrap();
    Site { github, token, now, http }
}

impl Site {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.github.url())).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn mint(&self, name: &str) -> Response {
        let body = json!({ "name": name, "runner_group_id": 1, "labels": ["linux"] });
        self.request(Method::POST, &format!("{RUNNERS}/generate-jitconfig")).json(&body).send().await.unwrap()
    }

    fn queue(&self, jobs: usize) -> Vec<u64> {
        let job = |n| JobSpec { name: format!("job {n}"), labels: vec!["linux".into()], steps: vec!["true".into()] };
        let jobs = (0..jobs).map(job).collect();
        self.github.queue_run(RunSpec { repository: "acme/tools".into(), event: "push".into(), fork: None, jobs })
    }

    fn assert_clean(&self) {
        assert_eq!(self.github.violations(), Vec::<String>::new());
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

async fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn runs_and_jobs_have_githubs_shape() {
    let site = site().await;
    let jobs = site.queue(2);
    let runs: Value = site.get("/repos/acme/tools/actions/runs?status=queued").await.json().await.unwrap();
    assert_eq!((&runs["total_count"], &runs["workflow_runs"][0]["status"]), (&json!(1), &json!("queued")));
    let run = runs["workflow_runs"][0]["id"].as_u64().unwrap();
    let listed: Value =
        site.get(&format!("/repos/acme/tools/actions/runs/{run}/jobs?filter=latest")).await.json().await.unwrap();
    assert_eq!(listed["jobs"][1]["id"], json!(jobs[1]));
    let one: Value = site.get(&format!("/repos/acme/tools/actions/jobs/{}", jobs[0])).await.json().await.unwrap();
    assert_eq!((&one["status"], &one["labels"]), (&json!("queued"), &json!(["linux"])));
    site.assert_clean();
}

#[tokio::test]
async fn a_minted_runner_is_listed_offline_until_it_is_deleted() {
    let site = site().await;
    let minted = site.mint("one").await;
    assert_eq!(minted.status(), 201);
    let minted: Value = minted.json().await.unwrap();
    let id = minted["runner"]["id"].as_u64().unwrap();
    let list: Value = site.get(&format!("{RUNNERS}?name=one")).await.json().await.unwrap();
    assert_eq!(list["runners"][0]["status"], json!("offline"));
    assert_eq!(list["runners"][0]["labels"].as_array().unwrap().len(), 1, "no label is added to those asked for");
    let path = format!("{RUNNERS}/{id}");
    assert_eq!(site.request(Method::DELETE, &path).send().await.unwrap().status(), 204);
    assert_eq!(site.get(&path).await.status(), 404);
    assert_eq!(site.request(Method::DELETE, &path).send().await.unwrap().status(), 404);
    assert_eq!(site.github.world(|world, _| world.leftovers()), Vec::<String>::new());
    site.assert_clean();
}

#[tokio::test]
async fn what_is_wrong_with_a_registration_is_said() {
    let site = site().await;
    let path = format!("{RUNNERS}/generate-jitconfig");
    let post = |body: &str| site.request(Method::POST, &path).body(body.to_owned()).send();
    assert_eq!(refusal(post("{").await.unwrap()).await, (400, "Problems parsing JSON".into()));
    let (status, message) = refusal(post(r#"{"name":"one","labels":["x"]}"#).await.unwrap()).await;
    assert_eq!((status, message.as_str()), (422, "Invalid request.\n\n\"runner_group_id\" wasn't supplied."));
    let other_group = r#"{"name":"one","labels":["x"],"runner_group_id":9}"#;
    assert_eq!(refusal(post(other_group).await.unwrap()).await.0, 404);
    assert_eq!(site.mint("one").await.status(), 201);
    let (status, message) = refusal(site.mint("ONE").await).await;
    assert_eq!(status, 409);
    assert!(message.starts_with("Already exists"), "{message}");
    assert_eq!(site.github.world(|world, _| world.minted()), 1);
}

#[tokio::test]
async fn a_token_sees_and_does_what_it_may() {
    let reader = Token { actions: Level::Read, administration: Level::Read, ..Token::default() };
    let site = site_with(reader).await;
    assert_eq!(site.get(RUNNERS).await.status(), 200);
    let response = site.mint("one").await;
    assert_eq!(header(&response, "x-accepted-github-permissions"), "administration=write");
    assert_eq!(refusal(response).await, (403, "Resource not accessible by personal access token".into()));
    assert_eq!(site.get("/orgs/acme/actions/runners").await.status(), 403);
    assert_eq!(refusal(site.get("/repos/acme/secret/actions/runs").await).await, (404, "Not Found".into()));
    let url = format!("{}{RUNNERS}", site.github.url());
    let anonymous = site.http.get(&url).send().await.unwrap();
    assert_eq!(refusal(anonymous).await, (401, "Requires authentication".into()));
    site.github.world(|world, _| world.revoke_token(&site.token));
    assert_eq!(refusal(site.get(RUNNERS).await).await, (401, "Bad credentials".into()));
}

#[tokio::test]
async fn a_token_limited_to_one_repository_does_not_learn_of_others() {
    let only = Token { repositories: ["acme/tools".to_owned()].into(), ..Token::for_repository_runners() };
    let site = site_with(only).await;
    site.github.world(|world, _| world.add_repository("acme/other"));
    assert_eq!(site.get(RUNNERS).await.status(), 200);
    assert_eq!(site.get("/repos/acme/other/actions/runners").await.status(), 404);
}

#[tokio::test]
async fn an_unchanged_answer_is_free() {
    let site = site().await;
    site.queue(1);
    let path = "/repos/acme/tools/actions/runs?status=queued";
    let first = site.get(path).await;
    assert_eq!(header(&first, "x-ratelimit-used"), "1");
    let etag = header(&first, "etag").to_owned();
    let again = || site.request(Method::GET, path).header("if-none-match", &etag).send();
    let second = again().await.unwrap();
    assert_eq!((second.status().as_u16(), header(&second, "x-ratelimit-used")), (304, "1"));
    site.queue(1);
    let third = again().await.unwrap();
    assert_eq!((third.status().as_u16(), header(&third, "x-ratelimit-used")), (200, "2"));
}

#[tokio::test]
async fn the_hourly_limit_ends_and_begins_again() {
    let site = site().await;
    site.github.world(|world, _| world.behaviour.rate_limit = 2);
    for _ in 0..2 {
        assert_eq!(site.get(RUNNERS).await.status(), 200);
    }
    let limited = site.get(RUNNERS).await;
    assert_eq!((limited.status().as_u16(), header(&limited, "x-ratelimit-remaining")), (403, "0"));
    let reset: i64 = header(&limited, "x-ratelimit-reset").parse().unwrap();
    site.now.store(reset, Ordering::SeqCst);
    assert_eq!(site.get(RUNNERS).await.status(), 200);
}

#[tokio::test]
async fn a_secondary_limit_says_how_long_to_wait() {
    let site = site().await;
    let until = Timestamp::from_second(site.now.load(Ordering::SeqCst) + 30).unwrap();
    site.github.world(|world, _| world.throttle(&site.token, until));
    let limited = site.get(RUNNERS).await;
    assert_eq!((limited.status().as_u16(), header(&limited, "retry-after")), (403, "30"));
}

#[tokio::test]
async fn lists_come_in_pages_that_link_to_each_other() {
    let site = site().await;
    for n in 0..5 {
        assert_eq!(site.mint(&format!("runner-{n}")).await.status(), 201);
    }
    let page = site.get(&format!("{RUNNERS}?per_page=2&page=2")).await;
    let link = header(&page, "link").to_owned();
    for expected in ["per_page=2&page=1>; rel=\"prev\"", "per_page=2&page=3>; rel=\"next\"", "page=3>; rel=\"last\""] {
        assert!(link.contains(expected), "{link}");
    }
    let page: Value = page.json().await.unwrap();
    assert_eq!((&page["total_count"], page["runners"].as_array().unwrap().len()), (&json!(5), 2));
    let beyond: Value = site.get(&format!("{RUNNERS}?page=99999999999999999")).await.json().await.unwrap();
    assert_eq!(beyond["runners"], json!([]));
    site.assert_clean();
}

#[tokio::test]
async fn requests_are_logged_without_secrets() {
    let site = site().await;
    site.get(RUNNERS).await;
    let entries = site.github.requests().entries();
    let last = entries.last().unwrap();
    assert_eq!((last.method.as_str(), last.path.as_str(), last.status), ("GET", RUNNERS, 200));
    assert_eq!(last.caller, "token 1");
}

#[tokio::test]
async fn an_enterprise_servers_path_is_answered_and_kept_in_links() {
    let site = site().await;
    site.mint("one").await;
    site.mint("two").await;
    let page = site.get(&format!("/api/v3{RUNNERS}?per_page=1")).await;
    assert!(header(&page, "link").contains("/api/v3/repos/acme/tools"), "{}", header(&page, "link"));
    site.github.stop().await;
}
