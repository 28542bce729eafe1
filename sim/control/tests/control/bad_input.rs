//! Malformed requests get an exact answer and have no effect.

use serde_json::{Value, json};
use sim_pve::Latency;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::simulators::Simulators;

/// Method, path and body; expected status, position and text of the error.
const CALLS: &[(&str, &str, &str, u16, &str, &str)] = &[
    ("GET", "/v2/state", "", 404, "", "there is no /v2/state"),
    ("GET", "/v1/states", "", 404, "", "there is no /v1/states"),
    ("GET", "/v1/", "", 404, "", "there is no /v1/"),
    ("GET", "/v1/%ff%fe", "", 404, "", "there is no"),
    ("DELETE", "/v1/state", "", 405, "", "DELETE is not allowed for /v1/state"),
    ("BREW", "/v1/jobs", "", 405, "", "BREW is not allowed for /v1/jobs"),
    ("POST", "/style.css", "", 405, "", "POST is not allowed for /style.css"),
    ("GET", "/v1/state?limit=0", "", 422, "query.limit", "\"0\" is not a limit"),
    ("GET", "/v1/state?limit=99999999999999999999", "", 422, "query.limit", "is not a limit"),
    ("GET", "/v1/state?serach=x", "", 422, "query.serach", "there is no such parameter"),
    ("GET", "/v1/requests/gitlab", "", 422, "service", "\"gitlab\" is not a simulator"),
    ("GET", "/v1/requests/pve?first=-1", "", 422, "query.first", "\"-1\" is not such a number"),
    ("GET", "/v1/guests/9999999999", "", 422, "vmid", "\"9999999999\" is not such a number"),
    ("GET", "/v1/guests/1", "", 404, "", "no guest has this number"),
    ("POST", "/v1/guests/1/unlock", "", 404, "", "no guest has this number"),
    ("POST", "/v1/guests/8000/unlock", "", 409, "", "8000 is not locked"),
    ("GET", "/v1/tasks/UPID:x", "", 404, "", "no task has this UPID"),
    ("GET", "/v1/jobs/1", "", 404, "", "no job has this number"),
    ("POST", "/v1/jobs/1/cancel", "", 404, "", "no job has this number"),
    ("POST", "/v1/jobs/x/rerun", "", 422, "id", "\"x\" is not such a number"),
    ("POST", "/v1/jobs", "", 400, "", "the call needs a body"),
    ("POST", "/v1/jobs", "{", 400, "", "the body is not JSON: EOF while parsing"),
    ("POST", "/v1/jobs", "[1]", 422, "", "the body is a list"),
    ("POST", "/v1/jobs", "\"\\ud800\"", 400, "", "the body is not JSON"),
    ("POST", "/v1/jobs", "{}", 422, "", "missing field `repository`"),
    ("POST", "/v1/jobs", r#"{"repository": 7}"#, 422, "repository", "invalid type: integer `7`, expected a string"),
    ("POST", "/v1/jobs", r#"{"repository": "a/b", "labels": ["x", 1]}"#, 422, "labels[1]", "expected a string"),
    (
        "POST",
        "/v1/jobs",
        r#"{"repository": "a/b", "lables": []}"#,
        422,
        "lables",
        "expected one of `repository`, `labels`",
    ),
    ("POST", "/v1/jobs", r#"{"repository": "a/b", "labels": []}"#, 422, "labels", "0 labels"),
    ("POST", "/v1/jobs", r#"{"repository": "a/b", "labels": ["x"], "steps": [{}]}"#, 422, "steps[0]", "a shell script"),
    ("POST", "/v1/jobs", r#"{"repository": "a/b", "labels": [" "]}"#, 422, "labels[0]", "empty"),
    ("POST", "/v1/jobs", r#"{"repository": "a b/c", "labels": ["x"]}"#, 422, "repository", "is not a repository"),
    ("POST", "/v1/jobs", r#"{"repository": "a/b", "labels": ["x"], "count": 0}"#, 422, "count", "0 jobs"),
    (
        "POST",
        "/v1/jobs",
        r#"{"repository": "a/b", "labels": ["x"], "count": 1e3}"#,
        422,
        "count",
        "invalid type: floating point",
    ),
    ("POST", "/v1/jobs", r#"{"repository": "a/b", "labels": ["x"], "fork": "x"}"#, 422, "fork", "is not a repository"),
    ("POST", "/v1/nodes/pve9/away", "", 404, "", "there is no node \"pve9\""),
    ("POST", "/v1/nodes/pve1/back", "", 409, "", "pve1 is not off"),
    ("POST", "/v1/storages/nfs/fill", r#"{"node": "pve1", "free": 0}"#, 404, "", "there is no storage \"nfs\""),
    ("POST", "/v1/storages/local-lvm/fill", r#"{"node": "x", "free": 0}"#, 404, "", "there is no node \"x\""),
    ("POST", "/v1/storages/local-lvm/fill", r#"{"node": "pve1", "free": -1}"#, 422, "free", "invalid value"),
    ("POST", "/v1/faults", "7", 422, "", "invalid type: integer `7`"),
    ("POST", "/v1/faults", r#"{"rules": 1}"#, 422, "rules", "expected a sequence"),
    ("POST", "/v1/faults", r#"{"rules": [{"service": "x"}]}"#, 422, "rules[0].service", "expected `pve` or `github`"),
    (
        "POST",
        "/v1/faults",
        r#"{"service": "pve", "path": "x", "fault": "restart"}"#,
        422,
        "path",
        "\"x\" is not a path",
    ),
    (
        "POST",
        "/v1/faults",
        r#"{"service": "pve", "path": "/", "fault": "explode"}"#,
        422,
        "fault",
        "unknown variant `explode`",
    ),
    (
        "POST",
        "/v1/faults",
        r#"{"service": "pve", "path": "/", "fault": "restart", "method": "get"}"#,
        422,
        "method",
        "\"get\" is not a method",
    ),
    (
        "POST",
        "/v1/faults",
        r#"{"service": "pve", "path": "/", "fault": {"refuse": {"status": 70000}}}"#,
        422,
        "fault.refuse.status",
        "70000",
    ),
    (
        "POST",
        "/v1/faults",
        r#"{"service": "pve", "path": "/", "fault": {"refuse": {"status": 101}}}"#,
        422,
        "fault.refuse.status",
        "101 is not a status",
    ),
    (
        "POST",
        "/v1/faults",
        r#"{"service": "pve", "path": "/", "fault": {"delay": {"seconds": 1e300}}}"#,
        422,
        "fault.delay.seconds",
        "is not a delay",
    ),
    (
        "POST",
        "/v1/faults",
        r#"{"service": "pve", "path": "/", "fault": {"cut": {"after": -1}}}"#,
        422,
        "fault.cut.after",
        "invalid value",
    ),
    (
        "POST",
        "/v1/faults",
        r#"{"service": "pve", "path": "/", "fault": "restart", "when": {"chance": 1.5}}"#,
        422,
        "when.chance",
        "1.5 is not a probability",
    ),
    (
        "POST",
        "/v1/faults",
        r#"{"service": "github", "path": "/", "fault": "kill_task"}"#,
        422,
        "service",
        "GitHub cannot have this fault",
    ),
    (
        "POST",
        "/v1/faults",
        r#"{"service": "pve", "path": "/", "fault": "restart", "when": {"next": 0}}"#,
        422,
        "when.next",
        "0 is not a number of calls",
    ),
    ("POST", "/v1/clock", r#"{"step": {"seconds": 0}}"#, 422, "step.seconds", "0 seconds is not a step"),
    ("POST", "/v1/clock", r#"{"step": {"seconds": 1e9}}"#, 422, "step.seconds", "is not a step"),
    ("POST", "/v1/clock", r#"{"run": {"speed": -1}}"#, 422, "run.speed", "-1 is not a speed"),
    ("POST", "/v1/clock", "\"stop\"", 422, "", "expected one of `step`, `hold`, `run`"),
];

#[tokio::test]
async fn each_malformed_call_gets_the_mistake_and_the_allowed_values() {
    let simulators = Simulators::start(Latency::Stepped).await;
    let mut wrong = Vec::new();
    for (method, path, body, status, at, words) in CALLS {
        let (got, answer) = simulators.call(method, path, body).await;
        let error = &answer["error"];
        let place = error["at"].as_str().unwrap_or_default();
        if got != *status || place != *at || !error["what"].as_str().is_some_and(|what| what.contains(words)) {
            wrong.push(format!("{method} {path} {body}: {got} {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let state = simulators.get("/v1/state").await;
    assert_eq!((&state["github"]["jobs"]["total"], &state["faults"]["rules"]), (&json!(0), &json!([])));
}

#[tokio::test]
async fn a_call_without_the_token_or_for_another_host_is_refused() {
    let simulators = Simulators::start(Latency::Instant).await;
    let url = format!("{}/v1/state", simulators.server.url());
    for token in [
        "",
        "x",
        &simulators.server.token()[1..],
        &simulators.server.token().to_uppercase().replace(|c: char| c.is_numeric(), "X"),
    ] {
        let response = simulators.http.get(&url).bearer_auth(token).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers()["www-authenticate"].to_str().unwrap()),
            (401, "Bearer")
        );
    }
    for host in ["example.org", "localhost.example.org", "127.0.0.1.example.org", "8.8.8.8", "", "[::2]:80"] {
        let response =
            simulators.http.get(&url).bearer_auth(simulators.server.token()).header("host", host).send().await.unwrap();
        assert!([400, 421].contains(&response.status().as_u16()), "{host}: {}", response.status());
    }
    for host in ["localhost:1", "127.0.0.2", "[::1]:80"] {
        let response =
            simulators.http.get(&url).bearer_auth(simulators.server.token()).header("host", host).send().await.unwrap();
        assert_eq!(response.status(), 200, "{host}");
    }
}

/// Bytes that are not an HTTP request.
const BYTES: &[&[u8]] = &[
    b"",
    b"\0\0\0\0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\xff\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/%zz%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

#[tokio::test]
async fn bytes_that_are_not_a_request_are_refused_and_the_server_continues() {
    let simulators = Simulators::start(Latency::Instant).await;
    let address = simulators.server.url().trim_start_matches("http://").to_owned();
    for bytes in BYTES {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A server may close the connection on such bytes.
        let _cut = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or("none");
        assert!(
            ["none", "400", "401", "421", "505"].contains(&status),
            "{:?}: {answer}",
            String::from_utf8_lossy(bytes)
        );
    }
    let large = "x".repeat((1 << 20) + 1);
    assert_eq!(simulators.call("POST", "/v1/jobs", &large).await.0, 413);
    assert_eq!(simulators.get("/v1/clock").await["mode"], Value::from("real"));
}
