//! `@octokit/rest` with `@octokit/auth-app`, authenticated as an App.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sim_github::{JobSpec, Level, RunSpec, SAMPLE_APP_KEY, Server, ServerHandle, ServerOptions, Token};
use tokio::process::Command;

use super::{installed, report};

/// A simulated GitHub with an installed App.
struct InstalledApp {
    github: ServerHandle,
    /// Arguments of the program.
    arguments: Value,
}

async fn installed_app(clock: Arc<dyn Fn() -> Timestamp + Send + Sync>) -> InstalledApp {
    let github = Server::start(ServerOptions { clock, ..ServerOptions::default() }).await.unwrap();
    let arguments = github.world(|world, now| {
        world.add_repository("acme/tools");
        world.add_organization("acme");
        let permissions = Token {
            actions: Level::Write,
            administration: Level::Write,
            organization_runners: Level::Write,
            ..Token::default()
        };
        let (app, _) = world.add_app("Farm", "acme", permissions, SAMPLE_APP_KEY, now).unwrap();
        let installation = world.install_app(app, "acme", &[], now).unwrap();
        let token = world.add_token(Token { administration: Level::Read, ..Token::default() });
        json!({ "appId": app, "installationId": installation, "privateKey": SAMPLE_APP_KEY, "token": token })
    });
    InstalledApp { github, arguments }
}

impl InstalledApp {
    async fn run(&self, skewed: bool) -> Value {
        // Node.js searches modules next to the script.
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(
            installed("PXCI_JS_CLIENTS").join("node_modules"),
            directory.path().join("node_modules"),
        )
        .unwrap();
        let script = directory.path().join("octokit.mjs");
        std::fs::write(&script, include_str!("octokit.mjs")).unwrap();
        let mut arguments = self.arguments.clone();
        arguments["url"] = self.github.url().into();
        arguments["skewed"] = skewed.into();
        let found = report(Command::new("node").arg(script).arg(arguments.to_string())).await;
        assert_eq!(self.github.violations(), Vec::<String>::new());
        found
    }
}

#[tokio::test]
async fn octokit_manages_a_farm_as_an_app() {
    let app = installed_app(Arc::new(Timestamp::now)).await;
    let job = |n| JobSpec { name: format!("job {n}"), labels: vec!["linux".into()], steps: Vec::new() };
    let jobs = (0..2).map(job).collect();
    app.github.queue_run(RunSpec { repository: "acme/tools".into(), event: "push".into(), fork: None, jobs });
    let found = app.run(false).await;
    assert_eq!((&found["app"], &found["installation"]), (&json!("Farm"), &app.arguments["installationId"]));
    assert_eq!(found["minted"].as_array().unwrap().len(), 5);
    let runners: Vec<Value> = ["a", "b", "c", "d", "e"].map(|name| json!([name, "offline", ["linux", "x64"]])).to_vec();
    assert_eq!(found["runners"], json!(runners), "read over three pages");
    assert_eq!(found["jobs"], json!([["job 0", "queued", ["linux"]], ["job 1", "queued", ["linux"]]]));
    assert_eq!(found["job"], json!("job 0"));
    let refused = |field: &str, status: u16, words: &str| {
        let refusal = &found[field];
        assert_eq!((&refusal["name"], &refusal["status"]), (&json!("HttpError"), &json!(status)), "{field}: {refusal}");
        assert!(refusal["message"].as_str().unwrap().contains(words), "{field}: {refusal}");
    };
    refused("taken", 409, "Already exists");
    refused("unchanged", 304, "");
    refused("gone", 404, "Not Found");
    refused("forbidden", 403, "Resource not accessible by personal access token");
    refused("unknown", 401, "Bad credentials");
    assert_eq!(found["labels"], json!(["linux", "x64", "gpu"]));
    assert_eq!(found["groups"], json!([["Default", false], ["trusted", true]]));
    assert_eq!(found["downloads"], json!(["x64", "arm64"]));
    assert_eq!((&found["registration"], &found["limit"]), (&json!(true), &json!(5000)));
    assert_eq!(found["repositories"], json!(["acme/tools"]));
    assert_eq!((&found["cancelled"], &found["attempt"]), (&json!(202), &json!(2)));
    assert_eq!(app.github.world(|world, _| world.runner_names()), ["b", "c", "d", "e"]);
}

#[tokio::test]
async fn octokit_corrects_its_clock_by_the_server_s() {
    let late = || Timestamp::now() - SignedDuration::from_mins(5);
    let app = installed_app(Arc::new(late)).await;
    assert_eq!(app.run(true).await["app"], json!("Farm"));
    let statuses: Vec<u16> = app.github.requests().entries().iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [401, 200], "refused once, for the time that it claimed");
}
