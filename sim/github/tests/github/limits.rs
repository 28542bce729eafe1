//! Rate limits: per hour, for registrations, against bursts, and their units.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use sim_github::{Behaviour, SecondaryLimits};
use sim_http::faults::{Fault, Rule, When};

use crate::stepped_github::{RUNNERS, SteppedGitHub};

#[tokio::test]
async fn registrations_have_a_limit_of_their_own() {
    let github = SteppedGitHub::behaving(Behaviour { registration_limit: 2, ..Behaviour::default() }).await;
    assert_eq!(github.mint("one").await.status, 201);
    assert_eq!(
        github.post(&format!("{RUNNERS}/registration-token"), &github.token, &serde_json::Value::Null).await.status,
        201
    );
    let limited = github.mint("two").await;
    assert_eq!((limited.status, limited.header("x-ratelimit-resource")), (403, "actions_runner_registration"));
    assert_eq!(github.get(RUNNERS, &github.token).await.status, 200, "reading goes on");
    let shown = github.get("/rate_limit", &github.token).await;
    assert_eq!(shown.body["resources"]["actions_runner_registration"]["remaining"], json!(0));
    github.pass(300);
    assert_eq!(github.mint("two").await.status, 201);
    github.assert_clean();
}

#[tokio::test]
async fn a_burst_of_points_on_one_endpoint_is_throttled() {
    let secondary = SecondaryLimits { points_per_minute: 11, status: 429, ..SecondaryLimits::default() };
    let github = SteppedGitHub::behaving(Behaviour { secondary, ..Behaviour::default() }).await;
    for name in ["one", "two"] {
        assert_eq!(github.mint(name).await.status, 201, "five points each");
    }
    let limited = github.mint("three").await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, "60"));
    assert!(limited.message().contains("secondary rate limit"), "{}", limited.body);
    assert_eq!(github.get(RUNNERS, &github.token).await.status, 429, "who is throttled is so everywhere");
    github.pass(60);
    assert_eq!(github.mint("three").await.status, 201);
    github.assert_clean();
}

#[tokio::test]
async fn points_are_counted_per_endpoint() {
    let secondary = SecondaryLimits { points_per_minute: 2, ..SecondaryLimits::default() };
    let github = SteppedGitHub::behaving(Behaviour { secondary, ..Behaviour::default() }).await;
    for path in [RUNNERS, "/repos/acme/tools/actions/runs", "/orgs/acme/repos"] {
        for _ in 0..2 {
            assert_eq!(github.get(path, &github.token).await.status, 200, "{path}");
        }
    }
    assert_eq!(github.get(RUNNERS, &github.token).await.status, 403);
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused() {
    let secondary = SecondaryLimits { concurrent: 2, wait: SignedDuration::from_secs(5), ..SecondaryLimits::default() };
    let github = SteppedGitHub::behaving(Behaviour { secondary, ..Behaviour::default() }).await;
    let slow = Rule {
        method: "GET".into(),
        path: "/orgs/*".into(),
        fault: Fault::Delay(Duration::from_secs(3600)),
        when: When::Next(2),
    };
    github.server.faults().add(slow);
    let waiting = || github.get("/orgs/acme/repos", &github.token);
    let third = async {
        while github.server.faults().fired().len() < 2 {
            tokio::task::yield_now().await;
        }
        let limited = github.get(RUNNERS, &github.token).await;
        // The two waiting requests may continue once the limit has ended.
        github.pass(3600);
        limited
    };
    let (one, two, limited) = tokio::join!(waiting(), waiting(), third);
    assert_eq!((one.status, two.status), (200, 200));
    assert_eq!((limited.status, limited.header("retry-after")), (403, "5"));
}

#[tokio::test]
async fn reading_the_limit_is_not_counted_and_needs_no_token() {
    let github = SteppedGitHub::start().await;
    github.get(RUNNERS, &github.token).await;
    for _ in 0..3 {
        let shown = github.get("/rate_limit", &github.token).await;
        assert_eq!(shown.body["rate"]["used"], json!(1));
    }
    let nobody = github.http.get(format!("{}/rate_limit", github.server.url())).send().await.unwrap();
    assert_eq!(nobody.status(), 200);
    github.assert_clean();
}
