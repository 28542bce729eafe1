//! Malformed requests of every kind: each gets an exact answer, and the server continues.

use reqwest::Method;
use serde_json::{Value, json};
use sim_github::{Behaviour, Level, SecondaryLimits, Token, contract};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stepped_github::{Answer, RUNNERS, SteppedGitHub};

/// Starts a simulator without limits. Returns it with a token that has all permissions.
async fn unlimited() -> (SteppedGitHub, String) {
    let secondary =
        SecondaryLimits { concurrent: usize::MAX, points_per_minute: u64::MAX, ..SecondaryLimits::default() };
    let behaviour = Behaviour { rate_limit: u64::MAX, registration_limit: u64::MAX, secondary, ..Behaviour::default() };
    let github = SteppedGitHub::behaving(behaviour).await;
    let everything = Token {
        actions: Level::Write,
        administration: Level::Write,
        organization_runners: Level::Write,
        ..Token::default()
    };
    let token = github.server.world(|world, _| {
        world.add_enterprise("umbrella", &["acme"]);
        world.add_token(everything)
    });
    (github, token)
}

async fn send(github: &SteppedGitHub, method: &str, path: &str, token: &str, body: &[u8]) -> Answer {
    let request = github.request(Method::from_bytes(method.as_bytes()).unwrap(), path, token).body(body.to_vec());
    let answer = request.send().await.unwrap_or_else(|error| panic!("{method} {path} {body:?}: {error:?}"));
    Answer::read(answer).await
}

const MINT: &str = "/repos/acme/tools/actions/runners/generate-jitconfig";
const LABELS: &str = "/repos/acme/tools/actions/runners/1/labels";
const GROUPS: &str = "/orgs/acme/actions/runner-groups";
const REPOSITORIES: &str = "/orgs/acme/repos";

/// Method, path and body of a request, with status and message of GitHub's answer.
const CASES: [(&str, &str, &str, u16, &str); 19] = [
    ("POST", MINT, "", 400, "Problems parsing JSON"),
    ("POST", MINT, "{", 400, "Problems parsing JSON"),
    ("POST", MINT, "\u{feff}{}", 400, "Problems parsing JSON"),
    ("POST", MINT, "{}", 422, "Invalid request.\n\n\"name\", \"runner_group_id\", \"labels\" weren't supplied."),
    ("POST", MINT, "[]", 422, "Invalid request.\n\n\"name\", \"runner_group_id\", \"labels\" weren't supplied."),
    (
        "POST",
        MINT,
        r#"{"name": 1, "runner_group_id": 1, "labels": ["x"]}"#,
        422,
        "Invalid request.\n\nFor 'name', the type is wrong.",
    ),
    (
        "POST",
        MINT,
        r#"{"name": "x", "runner_group_id": -1, "labels": ["x"]}"#,
        422,
        "Invalid request.\n\nFor 'runner_group_id', the type is wrong.",
    ),
    (
        "POST",
        MINT,
        r#"{"name": "x", "runner_group_id": 1, "labels": "x"}"#,
        422,
        "Invalid request.\n\nFor 'labels', the type is wrong.",
    ),
    (
        "POST",
        MINT,
        r#"{"name": "x", "runner_group_id": 1, "labels": []}"#,
        422,
        "Invalid request.\n\nLabels must have between 1 and 100 items.",
    ),
    (
        "POST",
        MINT,
        r#"{"name": "", "runner_group_id": 1, "labels": ["x"]}"#,
        422,
        "Invalid request.\n\nName must have between 1 and 64 characters.",
    ),
    ("POST", MINT, r#"{"name": "x", "runner_group_id": 18446744073709551615, "labels": ["x"]}"#, 404, "Not Found"),
    ("PUT", LABELS, r#"{"labels": [1]}"#, 422, "Invalid request.\n\nFor 'labels', the type is wrong."),
    ("PATCH", LABELS, "{}", 404, "Not Found"),
    ("POST", GROUPS, r#"{"visibility": "all"}"#, 422, "Invalid request.\n\n\"name\" wasn't supplied."),
    ("POST", GROUPS, r#"{"name": "g", "visibility": "some"}"#, 422, "Invalid request.\n\nsome is not a visibility."),
    ("POST", GROUPS, r#"{"name": "g", "selected_repository_ids": [1]}"#, 404, "Not Found"),
    ("POST", REPOSITORIES, r#"{"name": 7}"#, 422, "Invalid request.\n\nFor 'name', the type is wrong."),
    ("DELETE", "/repos/acme/tools/actions/runners/99999999999999999999", "", 404, "Not Found"),
    ("BREW", "/repos/acme/tools", "", 404, "Not Found"),
];

#[tokio::test]
async fn each_malformed_request_gets_githubs_answer() {
    let (github, token) = unlimited().await;
    github.mint("known").await;
    for (method, path, body, status, message) in CASES {
        let answer = send(&github, method, path, &token, body.as_bytes()).await;
        assert_eq!((answer.status, answer.message()), (status, message), "{method} {path} {body}");
        assert_eq!(answer.body["status"], status.to_string(), "{method} {path} {body}");
    }
    let groups = github.get(GROUPS, &token).await;
    assert_eq!(groups.body["total_count"], 1, "what is refused leaves nothing behind");

    let large = vec![b'x'; (16 << 20) + 1];
    assert_eq!(send(&github, "POST", MINT, &token, &large).await.status, 413);
    let nobody = reqwest::Client::builder().no_proxy().build().unwrap();
    let silent = nobody.get(format!("{}{RUNNERS}", github.server.url())).send().await.unwrap();
    assert_eq!(silent.status(), 403, "without a User-Agent");
    for authorization in ["Basic eDp5", "Bearer", "Bearer ", "Bearer a.b.c", "Bearer \u{7f}", "token", ""] {
        let request = github
            .http
            .get(format!("{}{RUNNERS}", github.server.url()))
            .header("authorization", authorization.as_bytes());
        let Ok(answer) = request.send().await else { continue };
        assert_eq!(answer.status(), 401, "{authorization:?}");
    }
}

/// Parts of a path that replace a name or a number.
const ODD_PARTS: [&str; 8] = ["acme", "tools", "1", "0", "-1", "99999999999999999999", "%00%ff", "..%2f.."];

fn odd_bodies() -> Vec<Vec<u8>> {
    let deep = "[".repeat(5_000);
    let bodies = [
        json!(null),
        json!([]),
        json!("x"),
        json!({ "name": {}, "labels": [null], "runner_group_id": "1", "url": "::", "id": 1e300 }),
        json!({ "name": "x".repeat(100_000), "labels": vec!["x"; 200], "runner_group_id": 1 }),
        json!({ "selected_repository_ids": [-1], "runners": [1.5], "visibility": 1, "permissions": [], "repositories": {} }),
    ];
    let texts = bodies.iter().map(|body| body.to_string().into_bytes());
    texts.chain([Vec::new(), deep.into_bytes(), vec![0xff, 0xfe, 0]]).collect()
}

/// Returns the template with valid names and numbers, then with an unusual part in each placeholder in turn.
fn odd_paths(template: &str) -> Vec<String> {
    let parts: Vec<&str> = template.split('/').collect();
    let usual = |part: &&str| match *part {
        "{owner}" | "{org}" => "acme".to_owned(),
        "{repo}" => "tools".to_owned(),
        part if part.starts_with('{') => "1".to_owned(),
        part => part.to_owned(),
    };
    let placeholders = parts.iter().enumerate().filter(|(_, part)| part.starts_with('{')).map(|(index, _)| index);
    let mut paths = vec![parts.iter().map(usual).collect::<Vec<_>>().join("/")];
    for index in placeholders {
        for odd in ODD_PARTS {
            let mut path: Vec<String> = parts.iter().map(usual).collect();
            path[index] = odd.to_owned();
            paths.push(path.join("/"));
        }
    }
    paths
}

#[tokio::test]
async fn every_call_answers_any_request() {
    let (github, token) = unlimited().await;
    let service = ["GET", "POST", "PATCH", "DELETE"].into_iter().flat_map(|method| {
        [
            "/_sim/runner/{a}",
            "/_sim/runner/sessions/{a}/message",
            "/_sim/runner/jobs/{a}/acquire",
            "/_sim/runner/jobs/{a}/steps/{b}",
            "/actions/runner-registration",
            "/pipelines/{a}/_apis/runtime/runnerscalesets/{b}",
            "/pipelines/{a}/scalesets/{b}/message/{c}",
            "/enterprises/{a}/actions/runners/{b}",
            "/enterprises/{a}/actions/runner-groups/{b}/organizations/{c}",
            "/api/v3/{a}",
        ]
        .map(|template| (method.to_owned(), template.to_owned()))
    });
    let described = contract::description()["operations"].as_object().unwrap();
    let described = described.keys().filter_map(|name| name.split_once(' ')).map(|(m, t)| (m.to_owned(), t.to_owned()));
    let calls: Vec<(String, String)> = described.chain(service).collect();
    assert!(calls.len() > 90, "{} calls", calls.len());
    let bodies = odd_bodies();
    let mut sent = 0;
    for (method, template) in &calls {
        for (index, path) in odd_paths(template).into_iter().enumerate() {
            // Reading calls ignore bodies. One path of each other call gets all bodies, the other paths one each.
            let some = match index {
                0 if method != "GET" => &bodies[..],
                _ => std::slice::from_ref(&bodies[index % bodies.len()]),
            };
            for body in some {
                let query = "?per_page=-1&page=99999999999999999999&cursor=%ff&status=&name=%00";
                let answer = send(&github, method, &format!("{path}{query}"), &token, body).await;
                assert!(answer.status < 500, "{method} {path}: {} {}", answer.status, answer.body);
                sent += 1;
            }
        }
    }
    assert!(sent > 1_500, "{sent} requests");
    assert_eq!(github.get("/rate_limit", &token).await.status, 200);
}

/// Bytes that are not an HTTP request.
const BYTES: &[&[u8]] = &[
    b"",
    b"\0\0\0\0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03broken",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n\r\n",
    b"POST /meta HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /meta HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    b"POST /meta HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nshort",
    b"POST /meta HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

#[tokio::test]
async fn bytes_that_are_not_a_request_are_refused_and_the_server_continues() {
    let (github, token) = unlimited().await;
    let address = github.server.url().trim_start_matches("http://").to_owned();
    for bytes in BYTES {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A server may close the connection on such bytes.
        let _cut = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or("none");
        let allowed = ["none", "400", "401", "403", "404", "413"].contains(&status);
        assert!(allowed || !answer.starts_with("HTTP"), "{:?}: {answer}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(github.get("/rate_limit", &token).await.status, 200);
    assert_eq!(github.get("/meta", &token).await.body["verifiable_password_authentication"], Value::Bool(false));
}
