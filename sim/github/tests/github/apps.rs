//! GitHub Apps: claims, installations, their tokens.

use serde_json::{Value, json};
use sim_github::{Level, SAMPLE_APP_KEY, Token};

use crate::stepped_github::{RUNNERS, SteppedGitHub, claim, good_claim};

/// Returns the number, the client id and the installation of an App that is installed for `acme`.
fn installed(github: &SteppedGitHub, repositories: &[&str]) -> (u64, String, u64) {
    github.server.world(|world, now| {
        world.add_repository("acme/other");
        world.add_repository("outsider/tools");
        let permissions = Token {
            actions: Level::Read,
            administration: Level::Write,
            organization_runners: Level::Write,
            ..Token::default()
        };
        let (app, client) = world.add_app("Farm", "acme", permissions, SAMPLE_APP_KEY, now).unwrap();
        let installation = world.install_app(app, "acme", repositories, now).unwrap();
        (app, client, installation)
    })
}

async fn token(github: &SteppedGitHub, app: u64, installation: u64, body: &Value) -> String {
    let path = format!("/app/installations/{installation}/access_tokens");
    let made = github.post(&path, &good_claim(&json!(app), github.now()), body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.body["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_app_finds_its_installation_and_gets_a_token_for_an_hour() {
    let github = SteppedGitHub::start().await;
    let (app, client, installation) = installed(&github, &[]);
    let signed = good_claim(&json!(client), github.now());
    assert_eq!(github.get("/app", &signed).await.body["id"], json!(app));
    for path in ["/orgs/acme/installation", "/repos/acme/tools/installation"] {
        assert_eq!(github.get(path, &signed).await.body["id"], json!(installation), "{path}");
    }
    assert_eq!(github.get("/repos/outsider/tools/installation", &signed).await.status, 404);
    let secret = token(&github, app, installation, &json!({})).await;
    assert_eq!(github.get(RUNNERS, &secret).await.status, 200);
    assert_eq!(github.get("/orgs/acme/actions/runners", &secret).await.status, 200);
    assert_eq!(github.get("/repos/outsider/tools/actions/runners", &secret).await.status, 404);
    let seen = github.get("/installation/repositories", &secret).await;
    assert_eq!((&seen.body["total_count"], &seen.body["repository_selection"]), (&json!(2), &json!("all")));
    github.pass(3600);
    let expired = github.get(RUNNERS, &secret).await;
    assert_eq!((expired.status, expired.message()), (401, "Bad credentials"));
    github.assert_clean();
}

#[tokio::test]
async fn a_claim_must_be_signed_and_have_valid_times() {
    let github = SteppedGitHub::start().await;
    let (app, _, _) = installed(&github, &[]);
    let now = github.now();
    let rs256 = json!({ "alg": "RS256" });
    let times = |iat: i64, exp: i64| claim(&rs256, &json!({ "iss": app, "iat": now + iat, "exp": now + exp }));
    let forged = {
        let good = good_claim(&json!(app), now);
        let (head, tail) = good.rsplit_once('.').unwrap();
        format!("{head}.{}", tail.chars().rev().collect::<String>())
    };
    let cases = [
        (forged, 401, "could not be decoded"),
        (claim(&json!({ "alg": "HS256" }), &json!({ "iss": app })), 401, "could not be decoded"),
        (times(30, 300), 401, "'Issued at' claim ('iat') must be"),
        (times(-60, 0), 401, "'Expiration time' claim ('exp') must be"),
        (times(-60, 601), 401, "'Expiration time' claim ('exp') is too far in the future"),
        (claim(&rs256, &json!({ "iat": now, "exp": now + 60 })), 401, "Missing 'issuer' claim"),
        (good_claim(&json!(77), now), 404, "Integration not found"),
        (github.token.clone(), 401, "could not be decoded"),
    ];
    for (secret, status, message) in cases {
        let refused = github.get("/app", &secret).await;
        assert_eq!(refused.status, status, "{message}: {}", refused.body);
        assert!(refused.message().contains(message), "{message}: {}", refused.body);
    }
    assert_eq!(github.get("/app", &times(-60, 600)).await.status, 200, "ten minutes are allowed");
    assert_eq!(github.get(RUNNERS, &good_claim(&json!(app), now)).await.status, 401, "a claim opens nothing else");
}

#[tokio::test]
async fn a_token_can_be_limited_but_not_extended() {
    let github = SteppedGitHub::start().await;
    let (app, _, installation) = installed(&github, &[]);
    let only = json!({ "repositories": ["tools"], "permissions": { "actions": "read" } });
    let secret = token(&github, app, installation, &only).await;
    assert_eq!(github.get("/repos/acme/tools/actions/runs", &secret).await.status, 200);
    assert_eq!(github.get("/repos/acme/other/actions/runs", &secret).await.status, 404);
    let refused = github.get(RUNNERS, &secret).await;
    assert_eq!((refused.status, refused.message()), (403, "Resource not accessible by integration"));
    assert_eq!(refused.header("x-accepted-github-permissions"), "administration=read");
    let path = format!("/app/installations/{installation}/access_tokens");
    let wider = [
        (json!({ "permissions": { "actions": "write" } }), "not granted"),
        (json!({ "permissions": { "issues": "read" } }), "not granted"),
        (json!({ "repositories": ["tools", "missing"] }), "at least one repository"),
    ];
    for (body, message) in wider {
        let refused = github.post(&path, &good_claim(&json!(app), github.now()), &body).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
        assert!(refused.message().contains(message), "{}", refused.body);
    }
    github.assert_clean();
}

#[tokio::test]
async fn an_installation_for_some_repositories_sees_only_these() {
    let github = SteppedGitHub::start().await;
    let (app, _, installation) = installed(&github, &["acme/other"]);
    let secret = token(&github, app, installation, &json!({})).await;
    assert_eq!(github.get("/repos/acme/tools", &secret).await.status, 404);
    assert_eq!(github.get("/repos/acme/other", &secret).await.body["full_name"], json!("acme/other"));
    let repositories = github.get("/orgs/acme/repos", &secret).await;
    assert_eq!(repositories.body.as_array().unwrap().len(), 1);
    github.assert_clean();
}

#[tokio::test]
async fn a_suspended_or_removed_installation_gives_no_access() {
    let github = SteppedGitHub::start().await;
    let (app, _, installation) = installed(&github, &[]);
    let secret = token(&github, app, installation, &json!({})).await;
    github.server.world(|world, _| world.suspend_installation(installation, true));
    assert_eq!(github.get(RUNNERS, &secret).await.message(), "This installation has been suspended");
    let signed = good_claim(&json!(app), github.now());
    let path = format!("/app/installations/{installation}");
    assert_eq!(github.post(&format!("{path}/access_tokens"), &signed, &json!({})).await.status, 403);
    assert_ne!(github.get(&path, &signed).await.body["suspended_at"], Value::Null);
    github.server.world(|world, _| world.suspend_installation(installation, false));
    assert_eq!(github.get(RUNNERS, &secret).await.status, 200);
    assert_eq!(github.delete(&path, &signed).await.status, 204);
    assert_eq!(github.get(RUNNERS, &secret).await.status, 401);
    assert_eq!(github.get("/app/installations", &signed).await.body, json!([]));
    github.assert_clean();
}

#[tokio::test]
async fn tokens_of_one_installation_share_its_limit() {
    let github = SteppedGitHub::start().await;
    let (app, _, installation) = installed(&github, &[]);
    let one = token(&github, app, installation, &json!({})).await;
    let two = token(&github, app, installation, &json!({})).await;
    assert_eq!(github.get(RUNNERS, &one).await.header("x-ratelimit-used"), "1");
    assert_eq!(github.get(RUNNERS, &two).await.header("x-ratelimit-used"), "2");
    github.server.world(|world, _| world.behaviour.rate_limit = 2);
    let limited = github.get(RUNNERS, &one).await;
    assert_eq!(limited.message(), format!("API rate limit exceeded for installation ID {installation}."));
}

#[tokio::test]
async fn a_classic_token_has_scopes() {
    let github = SteppedGitHub::start().await;
    let secret = github.server.world(|world, _| world.add_classic_token(&["repo"]));
    let runners = github.get(RUNNERS, &secret).await;
    assert_eq!((runners.status, runners.header("x-oauth-scopes")), (200, "repo"));
    let refused = github.get("/orgs/acme/actions/runners", &secret).await;
    assert_eq!((refused.status, refused.message()), (403, "Must have admin rights to Repository."));
}
