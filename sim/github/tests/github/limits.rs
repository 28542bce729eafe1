//! Rate limits: per hour, for registrations, against bursts, and their units.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use sim_github::{Behaviour, SecondaryLimits};
use sim_http::faults::{Fault, Rule, When};

use crate::held_github::{HeldGitHub, RUNNERS};

#[tokio::test]
async fn registrations_have_a_limit_of_their_own() {
    let site = HeldGitHub::behaving(Behaviour { registration_limit: 2, ..Behaviour::default() }).await;
    assert_eq!(site.mint("one").await.status, 201);
    assert_eq!(
        site.post(&format!("{RUNNERS}/registration-token"), &site.token, &serde_json::Value::Null).await.status,
        201
    );
    let limited = site.mint("two").await;
    assert_eq!((limited.status, limited.header("x-ratelimit-resource")), (403, "actions_runner_registration"));
    assert_eq!(site.get(RUNNERS, &site.token).await.status, 200, "reading goes on");
    let shown = site.get("/rate_limit", &site.token).await;
    assert_eq!(shown.body["resources"]["actions_runner_registration"]["remaining"], json!(0));
    site.pass(300);
    assert_eq!(site.mint("two").await.status, 201);
    site.assert_clean();
}

#[tokio::test]
async fn a_burst_of_points_on_one_endpoint_is_throttled() {
    let secondary = SecondaryLimits { points_per_minute: 11, status: 429, ..SecondaryLimits::default() };
    let site = HeldGitHub::behaving(Behaviour { secondary, ..Behaviour::default() }).await;
    for name in ["one", "two"] {
        assert_eq!(site.mint(name).await.status, 201, "five points each");
    }
    let limited = site.mint("three").await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, "60"));
    assert!(limited.message().contains("secondary rate limit"), "{}", limited.body);
    assert_eq!(site.get(RUNNERS, &site.token).await.status, 429, "who is throttled is so everywhere");
    site.pass(60);
    assert_eq!(site.mint("three").await.status, 201);
    site.assert_clean();
}

#[tokio::test]
async fn asking_elsewhere_costs_points_there() {
    let secondary = SecondaryLimits { points_per_minute: 2, ..SecondaryLimits::default() };
    let site = HeldGitHub::behaving(Behaviour { secondary, ..Behaviour::default() }).await;
    for path in [RUNNERS, "/repos/acme/tools/actions/runs", "/orgs/acme/repos"] {
        for _ in 0..2 {
            assert_eq!(site.get(path, &site.token).await.status, 200, "{path}");
        }
    }
    assert_eq!(site.get(RUNNERS, &site.token).await.status, 403);
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused() {
    let secondary = SecondaryLimits { concurrent: 2, wait: SignedDuration::from_secs(5), ..SecondaryLimits::default() };
    let site = HeldGitHub::behaving(Behaviour { secondary, ..Behaviour::default() }).await;
    let slow = Rule {
        method: "GET".into(),
        path: "/orgs/*".into(),
        fault: Fault::Delay(Duration::from_secs(3600)),
        when: When::Next(2),
    };
    site.github.faults().add(slow);
    let waiting = || site.get("/orgs/acme/repos", &site.token);
    let third = async {
        while site.github.faults().fired().len() < 2 {
            tokio::task::yield_now().await;
        }
        let limited = site.get(RUNNERS, &site.token).await;
        // The two waiting requests may continue once the limit has ended.
        site.pass(3600);
        limited
    };
    let (one, two, limited) = tokio::join!(waiting(), waiting(), third);
    assert_eq!((one.status, two.status), (200, 200));
    assert_eq!((limited.status, limited.header("retry-after")), (403, "5"));
}

#[tokio::test]
async fn looking_at_the_limit_costs_nothing_and_needs_no_token() {
    let site = HeldGitHub::start().await;
    site.get(RUNNERS, &site.token).await;
    for _ in 0..3 {
        let shown = site.get("/rate_limit", &site.token).await;
        assert_eq!(shown.body["rate"]["used"], json!(1));
    }
    let nobody = site.http.get(format!("{}/rate_limit", site.github.url())).send().await.unwrap();
    assert_eq!(nobody.status(), 200);
    site.assert_clean();
}
