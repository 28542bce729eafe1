//! Faults between a client and GitHub.

use std::time::Duration;

use sim_http::faults::{Fault, Rule, When};

use crate::stepped_github::{RUNNERS, SteppedGitHub};

fn rule(path: &str, fault: Fault, when: When) -> Rule {
    Rule { method: "*".into(), path: path.into(), fault, when }
}

#[tokio::test]
async fn a_refusal_is_given_once() {
    let github = SteppedGitHub::start().await;
    let fault = Fault::Refuse { status: 502, text: "Server Error".into() };
    github.server.faults().add(rule(RUNNERS, fault, When::Next(1)));
    let refused = github.get(&format!("/api/v3{RUNNERS}"), &github.token).await;
    assert_eq!((refused.status, refused.message()), (502, "Server Error"));
    assert_eq!(github.get(RUNNERS, &github.token).await.status, 200);
    let fired: Vec<String> = github.server.faults().fired().iter().map(ToString::to_string).collect();
    assert_eq!(fired.len(), 1);
    assert!(fired[0].ends_with("(seed 1, rule 0, call 1)"), "{fired:?}");
}

#[tokio::test]
async fn a_lost_request_does_nothing_and_a_lost_reply_hides_what_was_done() {
    let github = SteppedGitHub::start().await;
    let path = format!("{RUNNERS}/generate-jitconfig");
    let body = serde_json::json!({ "name": "one", "runner_group_id": 1, "labels": ["linux"] });
    let mint = || github.request(reqwest::Method::POST, &path, &github.token).json(&body).send();
    let minted = || github.server.world(|world, _| world.minted());
    for (fault, done) in [(Fault::DropRequest, 0), (Fault::Restart, 0), (Fault::DropReply, 1)] {
        github.server.faults().add(rule(&path, fault.clone(), When::Next(1)));
        mint().await.expect_err(&format!("{fault:?}"));
        assert_eq!(minted(), done, "{fault:?}");
    }
    assert_eq!(mint().await.unwrap().status(), 409, "the name is taken by the one whose reply was lost");
}

#[tokio::test]
async fn an_answer_breaks_off_in_the_middle() {
    let github = SteppedGitHub::start().await;
    github.server.faults().add(rule(RUNNERS, Fault::Cut { after: 5 }, When::Next(1)));
    let mut response = github.request(reqwest::Method::GET, RUNNERS, &github.token).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut got = Vec::new();
    let broken = loop {
        match response.chunk().await {
            Ok(Some(bytes)) => got.extend_from_slice(&bytes),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "the client notices");
    assert!(got.len() <= 5, "{got:?}");
}

#[tokio::test]
async fn a_restart_ends_waiting_requests() {
    let github = SteppedGitHub::start().await;
    let minted = github.mint("one").await;
    let runner = github.connect(minted.body["encoded_jit_config"].as_str().unwrap()).await;
    let waits = async {
        let path = "/orgs/acme/repos";
        github.server.faults().add(rule(path, Fault::Delay(Duration::from_secs(3600)), When::Next(1)));
        github.request(reqwest::Method::GET, path, &github.token).send().await
    };
    let restarts = async {
        while github.server.faults().fired().is_empty() {
            tokio::task::yield_now().await;
        }
        github.server.faults().add(rule(RUNNERS, Fault::Restart, When::Next(1)));
        github.request(reqwest::Method::GET, RUNNERS, &github.token).send().await
    };
    let (waiting, hit) = tokio::join!(waits, restarts);
    assert!(waiting.is_err() && hit.is_err());
    let job = github.queue(1)[0];
    assert_eq!(runner.message().await, (200, Some(job)), "the world is as it was");
}

#[tokio::test]
async fn a_delay_is_counted_in_the_worlds_time() {
    let github = SteppedGitHub::start().await;
    github.server.faults().add(rule(RUNNERS, Fault::Delay(Duration::from_secs(3600)), When::Next(1)));
    let passes = async {
        while github.server.faults().fired().is_empty() {
            tokio::task::yield_now().await;
        }
        github.pass(3600);
    };
    let (answer, ()) = tokio::join!(github.get(RUNNERS, &github.token), passes);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn random_faults_can_be_repeated() {
    let hits = async |rules: Vec<Rule>| {
        let github = SteppedGitHub::start().await;
        rules.into_iter().for_each(|rule| github.server.faults().add(rule));
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(github.get(RUNNERS, &github.token).await.status);
        }
        (statuses, github.server.faults().repetition())
    };
    let fault = Fault::Refuse { status: 500, text: "Oops".into() };
    let (first, repetition) = hits(vec![rule("*", fault, When::Chance(0.3))]).await;
    assert!(first.contains(&500) && first.contains(&200), "{first:?}");
    assert_eq!(hits(repetition).await.0, first);
}
