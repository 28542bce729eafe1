//! Creation and deletion of repositories and runs, and `GET /meta`.

use serde_json::{Value, json};
use sim_github::{Level, Token};

use crate::held_github::{HeldGitHub, REPOSITORY, RUNNERS};

fn administrator() -> Token {
    Token { administration: Level::Write, actions: Level::Write, ..Token::default() }
}

#[tokio::test]
async fn a_repository_is_made_once_and_goes_with_all_that_is_its_own() {
    let site = HeldGitHub::start().await;
    let (token, reader, classic) = site.github.world(|world, _| {
        let reader = world.add_token(Token { actions: Level::Read, ..Token::default() });
        (world.add_token(administrator()), reader, world.add_classic_token(&["repo"]))
    });
    let made = site.post("/orgs/acme/repos", &token, &json!({ "name": "brand new", "private": true })).await;
    assert_eq!((made.status, &made.body["full_name"]), (201, &json!("acme/brand-new")));
    let again = site.post("/orgs/acme/repos", &token, &json!({ "name": "Brand-New" })).await;
    assert_eq!((again.status, again.message()), (422, "Repository creation failed."));
    assert_eq!(again.body["errors"][0]["message"], "name already exists on this account");
    assert_eq!(site.post("/orgs/acme/repos", &token, &json!({ "private": true })).await.status, 422);
    assert_eq!(site.post("/orgs/acme/repos", &token, &json!({ "name": ".." })).await.status, 422);
    assert_eq!(site.post("/orgs/acme/repos", &reader, &json!({ "name": "x" })).await.status, 403);
    assert_eq!(site.post("/orgs/nobody/repos", &token, &json!({ "name": "x" })).await.status, 404);

    site.queue(2);
    site.mint("a").await;
    let path = format!("/repos/{REPOSITORY}");
    assert_eq!(site.delete(&path, &reader).await.status, 403);
    assert_eq!(site.delete(&path, &classic).await.status, 403, "delete_repo is a scope of its own");
    assert_eq!(site.delete(&path, &token).await.status, 204);
    assert_eq!((site.get(&path, &token).await.status, site.get(RUNNERS, &token).await.status), (404, 404));
    assert_eq!(site.github.world(|world, _| world.leftovers()), Vec::<String>::new());
    site.assert_clean();
}

#[tokio::test]
async fn a_run_is_deleted_when_it_has_ended() {
    let site = HeldGitHub::start().await;
    let token = site.github.world(|world, _| world.add_token(administrator()));
    let job = site.queue(1)[0];
    let run = site.github.world(|world, _| world.job(job).unwrap().run_id);
    let path = format!("/repos/{REPOSITORY}/actions/runs/{run}");
    assert_eq!(site.delete(&path, &token).await.message(), "Could not delete the workflow run");
    assert!(site.github.world(|world, now| world.cancel_job(job, now)));
    assert_eq!(site.delete(&path, &token).await.status, 204);
    assert_eq!(site.get(&path, &token).await.status, 404);
    assert_eq!(site.delete(&path, &token).await.status, 404);
    assert!(site.github.world(|world, _| world.job(job).is_none()));
    site.assert_clean();
}

#[tokio::test]
async fn anybody_may_ask_what_the_service_says_about_itself() {
    let site = HeldGitHub::start().await;
    let url = format!("{}/meta", site.github.url());
    let meta: Value = site.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&meta["verifiable_password_authentication"], &meta["hooks"][0]),
        (&json!(false), &json!("127.0.0.0/8"))
    );
    site.assert_clean();
}
