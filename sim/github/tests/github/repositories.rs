//! Creation and deletion of repositories and runs, and `GET /meta`.

use serde_json::{Value, json};
use sim_github::{Level, Token};

use crate::stepped_github::{REPOSITORY, RUNNERS, SteppedGitHub};

fn administrator() -> Token {
    Token { administration: Level::Write, actions: Level::Write, ..Token::default() }
}

#[tokio::test]
async fn a_repository_is_created_once_and_deleted_with_its_contents() {
    let github = SteppedGitHub::start().await;
    let (token, reader, classic) = github.server.world(|world, _| {
        let reader = world.add_token(Token { actions: Level::Read, ..Token::default() });
        (world.add_token(administrator()), reader, world.add_classic_token(&["repo"]))
    });
    let made = github.post("/orgs/acme/repos", &token, &json!({ "name": "brand new", "private": true })).await;
    assert_eq!((made.status, &made.body["full_name"]), (201, &json!("acme/brand-new")));
    let again = github.post("/orgs/acme/repos", &token, &json!({ "name": "Brand-New" })).await;
    assert_eq!((again.status, again.message()), (422, "Repository creation failed."));
    assert_eq!(again.body["errors"][0]["message"], "name already exists on this account");
    assert_eq!(github.post("/orgs/acme/repos", &token, &json!({ "private": true })).await.status, 422);
    assert_eq!(github.post("/orgs/acme/repos", &token, &json!({ "name": ".." })).await.status, 422);
    assert_eq!(github.post("/orgs/acme/repos", &reader, &json!({ "name": "x" })).await.status, 403);
    assert_eq!(github.post("/orgs/nobody/repos", &token, &json!({ "name": "x" })).await.status, 404);

    github.queue(2);
    github.mint("a").await;
    let path = format!("/repos/{REPOSITORY}");
    assert_eq!(github.delete(&path, &reader).await.status, 403);
    assert_eq!(github.delete(&path, &classic).await.status, 403, "delete_repo is a scope of its own");
    assert_eq!(github.delete(&path, &token).await.status, 204);
    assert_eq!((github.get(&path, &token).await.status, github.get(RUNNERS, &token).await.status), (404, 404));
    assert_eq!(github.server.world(|world, _| world.leftovers()), Vec::<String>::new());
    github.assert_clean();
}

#[tokio::test]
async fn a_run_is_deleted_when_it_has_ended() {
    let github = SteppedGitHub::start().await;
    let token = github.server.world(|world, _| world.add_token(administrator()));
    let job = github.queue(1)[0];
    let run = github.server.world(|world, _| world.job(job).unwrap().run_id);
    let path = format!("/repos/{REPOSITORY}/actions/runs/{run}");
    assert_eq!(github.delete(&path, &token).await.message(), "Could not delete the workflow run");
    assert!(github.server.world(|world, now| world.cancel_job(job, now)));
    assert_eq!(github.delete(&path, &token).await.status, 204);
    assert_eq!(github.get(&path, &token).await.status, 404);
    assert_eq!(github.delete(&path, &token).await.status, 404);
    assert!(github.server.world(|world, _| world.job(job).is_none()));
    github.assert_clean();
}

#[tokio::test]
async fn the_information_about_the_service_needs_no_token() {
    let github = SteppedGitHub::start().await;
    let url = format!("{}/meta", github.server.url());
    let meta: Value = github.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&meta["verifiable_password_authentication"], &meta["hooks"][0]),
        (&json!(false), &json!("127.0.0.0/8"))
    );
    github.assert_clean();
}
