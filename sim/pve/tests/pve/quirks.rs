//! Behaviour of the real server that its clients must handle, one test each.

use std::time::Duration;

use serde_json::{Value, json};
use sim_pve::World;

use super::simulated_cluster::{ADMIN, Client, SimulatedCluster, world};

/// Returns the simulated time for which the last answer was delayed.
fn waited(cluster: &SimulatedCluster) -> Duration {
    cluster.handle.requests().entries().pop().expect("a request").waited
}

/// Returns the simulated time that the last task took.
fn task_took(cluster: &SimulatedCluster) -> Duration {
    let timeline = cluster.handle.timeline();
    let last = |kind: &str| timeline.iter().rev().find(|happening| happening.kind == kind).expect("a task").at;
    last("task_end").saturating_sub(last("task_start"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_waits_one_second_for_a_lock_and_a_change_ten() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.template("pve1", "9000", "rbd").await;
    let text = "can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout";
    cluster.handle.hold_file_lock(9000, false).await;
    let (end, log) = client.task("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "100")]).await;
    assert_eq!((end.as_str(), task_took(&cluster)), (text, Duration::from_secs(1)));
    assert_eq!(log.first().map(String::as_str), Some("trying to acquire lock..."));
    let change = client.call("PUT", "/nodes/pve1/qemu/9000/config", &[("name", "x")]).await;
    assert_eq!((change.refusal(), waited(&cluster)), ((500, text), Duration::from_secs(10)));
    let (end, _) = client.task("DELETE", "/nodes/pve1/qemu/9000", &[]).await;
    assert_eq!((end.as_str(), task_took(&cluster)), (text, Duration::from_secs(10)));
    cluster.handle.release_file_lock(9000);
    // Clones share the lock with each other, but not with a change.
    cluster.handle.hold_file_lock(9000, true).await;
    client.done("POST", "/nodes/pve1/qemu/9000/clone", &[("newid", "100")]).await;
    let change = client.call("PUT", "/nodes/pve1/qemu/9000/config", &[("name", "x")]).await;
    assert_eq!((change.refusal(), waited(&cluster)), ((500, text), Duration::from_secs(10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_in_the_configuration_refuses_at_once_or_in_the_task() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.vm("pve1", "100", "thin").await;
    for lock in ["backup", "clone", "create", "migrate", "rollback", "snapshot"] {
        cluster.handle.set_lock(100, Some(lock));
        let text = format!("VM is locked ({lock})");
        let change = client.call("PUT", "/nodes/pve1/qemu/100/config", &[("name", "x")]).await;
        assert_eq!((change.refusal(), waited(&cluster)), ((500, text.as_str()), Duration::ZERO));
        assert_eq!(client.call("POST", "/nodes/pve1/qemu/100/template", &[]).await.refusal(), (500, text.as_str()));
        assert_eq!(client.task("POST", "/nodes/pve1/qemu/100/status/start", &[]).await.0, text);
        assert_eq!(client.task("DELETE", "/nodes/pve1/qemu/100", &[]).await.0, text);
        assert_eq!(client.get("/nodes/pve1/qemu/100/config").await.data()["lock"], lock);
    }
    cluster.handle.set_lock(100, None);
    assert_eq!(client.call("PUT", "/nodes/pve1/qemu/100/config", &[("name", "x")]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_is_applied_in_part_and_the_rest_stays_pending() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let vm = [("vmid", "100"), ("scsi0", "thin:1"), ("net0", "virtio,bridge=vmbr0"), ("name", "before")];
    client.done("POST", "/nodes/pve1/qemu", &vm).await;
    client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
    let config = "/nodes/pve1/qemu/100/config";
    let answer = client.call("PUT", config, &[("name", "after"), ("delete", "net0")]).await;
    assert_eq!(answer.status, 400);
    let text = "hotplug problem - error on hot-unplugging device 'net0' - still busy in guest?\n";
    assert_eq!(answer.body["errors"], json!({ "net0": text }));
    let pending = client.get("/nodes/pve1/qemu/100/pending").await;
    let row = |key: &str| {
        let rows = pending.data().as_array().expect("rows");
        rows.iter().find(|row| row["key"] == key).cloned().unwrap_or(Value::Null)
    };
    assert_eq!((&row("name")["value"], &row("net0")["delete"]), (&json!("after"), &json!(1)));
    assert_eq!(client.call("PUT", config, &[("revert", "net0")]).await.status, 200);
    let pending = client.get("/nodes/pve1/qemu/100/pending").await;
    assert!(pending.data().as_array().expect("rows").iter().all(|row| row["delete"].is_null()), "{pending:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_s_list_lags_behind_the_node_s() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let seen = || async {
        let rows = client.call("GET", "/cluster/resources", &[("type", "vm")]).await;
        rows.data()[0]["status"].as_str().unwrap_or_default().to_owned()
    };
    client.vm("pve1", "100", "thin").await;
    assert_eq!(seen().await, "unknown");
    cluster.handle.statistics_round();
    assert_eq!(seen().await, "stopped");
    client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
    assert_eq!(client.get("/nodes/pve1/qemu").await.data()[0]["status"], "running");
    assert_eq!(seen().await, "stopped");
    cluster.handle.statistics_round();
    assert_eq!(seen().await, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hundredth_answer_of_a_connection_is_its_last() {
    let cluster = SimulatedCluster::start(&World::new("pve1").token("root@pam", "admin", false)).await;
    let client = cluster.client(ADMIN);
    let (said, closed) = client.on_one_connection("/version", 100).await;
    let (last, others) = said.split_last().expect("answers");
    assert!(others.iter().all(|connection| connection == "Keep-Alive"), "{said:?}");
    assert_eq!((last.as_str(), closed), ("close", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_length_of_at_most_half_a_mebibyte() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.vm("pve1", "100", "thin").await;
    let config = "/nodes/pve1/qemu/100/config";
    let form = |bytes: usize| format!("description={}", "x".repeat(bytes - "description=".len()));
    let most = client.send("PUT", config, form(512 << 10).into()).await;
    // The body is read and refused, because the description is too long.
    assert_eq!(most.status, 400);
    // The server refuses after the head of the request.
    let more = client.head_only("PUT", config, "Content-Length: 524289").await;
    assert_eq!(more, "HTTP/1.1 501 for data too large");
    let chunked = client.head_only("PUT", config, "Transfer-Encoding: chunked").await;
    assert_eq!(chunked, "HTTP/1.1 501 chunked transfer encoding not supported");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_401_is_delayed_by_three_seconds() {
    let cluster = SimulatedCluster::start(&world().user("ci@pve", "secret-1")).await;
    let mut client = cluster.client(ADMIN);
    for (authorization, reason) in
        [("PVEAPIToken=root@pam!admin=wrong", "401 Authentication failed!"), ("Bearer x", "401 No ticket")]
    {
        client.authorize(authorization);
        let answer = client.get("/version").await;
        let status_line = format!("{} {}", answer.status, answer.reason);
        assert_eq!((status_line.as_str(), waited(&cluster)), (reason, Duration::from_secs(3)));
        assert_eq!(answer.body, Value::Null);
    }
    let login = client.login("ci@pve", "wrong").await;
    assert_eq!((login.refusal(), waited(&cluster)), ((401, "authentication failure"), Duration::from_secs(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_alone_reads_and_needs_a_csrf_token_to_write() {
    let world = world().user("ci@pve", "secret-1").grant("/", "ci@pve", "Administrator");
    let cluster = SimulatedCluster::start(&world).await;
    let client = cluster.client(ADMIN);
    client.vm("pve1", "100", "thin").await;
    let login = client.login("ci@pve", "secret-1").await;
    let (ticket, csrf) = (login.data()["ticket"].as_str(), login.data()["CSRFPreventionToken"].as_str());
    let (ticket, csrf) = (ticket.expect("a ticket"), csrf.expect("a token"));
    assert_eq!(client.with_ticket("GET", "/nodes/pve1/qemu/100/config", ticket, None).await.status, 200);
    let start = "/nodes/pve1/qemu/100/status/start";
    let reason = "Permission denied - invalid csrf token";
    for forged in [None, Some("00000000:x")] {
        let answer = client.with_ticket("POST", start, ticket, forged).await;
        assert_eq!((answer.status, answer.reason.as_str()), (401, reason));
        assert_eq!(waited(&cluster), Duration::from_secs(3));
    }
    assert_eq!(client.with_ticket("POST", start, ticket, Some(csrf)).await.status, 200);
    // The ticket expires after two hours.
    cluster.handle.pass(Duration::from_secs(7201)).await;
    let late = client.with_ticket("GET", "/version", ticket, None).await;
    assert_eq!((late.status, late.reason.as_str()), (401, "Authentication failed!"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_needs_its_fields_in_order_and_overwrites_silently() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    let upload = "/nodes/pve1/storage/local/upload";
    let file = || reqwest::multipart::Part::bytes(vec![1; 64]).file_name("a.iso");
    let in_order = reqwest::multipart::Form::new().text("content", "iso").part("filename", file());
    let late = reqwest::multipart::Form::new().part("filename", file()).text("content", "iso");
    let swapped =
        reqwest::multipart::Form::new().text("checksum", "00").text("content", "iso").part("filename", file());
    let answer = client.multipart(upload, late).await;
    assert_eq!(answer.body["errors"]["content"], "property is missing and it is not optional");
    let answer = client.multipart(upload, swapped).await;
    assert_eq!((answer.status, answer.reason.as_str()), (400, "Bad Request"));
    let sizes = || async {
        let content = client.get("/nodes/pve1/storage/local/content").await;
        let rows = content.data().as_array().expect("rows").clone();
        rows.iter().map(|row| row["size"].as_u64().unwrap_or_default()).collect::<Vec<_>>()
    };
    let first = client.multipart(upload, in_order).await.data().clone();
    assert_eq!(cluster.handle.task_end(first.as_str().expect("a task")).await.expect("an end").0, "OK");
    assert_eq!(sizes().await, [64]);
    let second = client.upload(upload, "a.iso", 128).await.data().clone();
    assert_eq!(cluster.handle.task_end(second.as_str().expect("a task")).await.expect("an end").0, "OK");
    assert_eq!(sizes().await, [128]);
    // A download does not overwrite a file.
    let url = [("content", "iso"), ("filename", "a.iso"), ("url", "http://localhost/a.iso")];
    let (end, _) = client.task("POST", "/nodes/pve1/storage/local/download-url", &url).await;
    assert_eq!(end, "refusing to override existing file '/var/lib/vz/template/iso/a.iso'");
}

async fn with_agent(client: &Client<'_>) {
    let vm = [("vmid", "100"), ("scsi0", "thin:1"), ("agent", "1")];
    client.done("POST", "/nodes/pve1/qemu", &vm).await;
    client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
    // The agent's event may not have arrived yet.
    for _ in 0..100 {
        if client.call("POST", "/nodes/pve1/qemu/100/agent/ping", &[]).await.status == 200 {
            return;
        }
    }
    panic!("the agent never came up");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_program_is_reported_once() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    with_agent(&client).await;
    let agent = "/nodes/pve1/qemu/100/agent";
    let run = client
        .call("POST", &format!("{agent}/exec"), &[("command", "/bin/sh"), ("command", "-c"), ("command", "exit 3")])
        .await;
    let status = format!("{agent}/exec-status?pid={}", run.data()["pid"]);
    let first = client.get(&status).await;
    assert_eq!((&first.data()["exited"], &first.data()["exitcode"]), (&json!(1), &json!(3)));
    assert_eq!(client.get(&status).await.refusal(), (500, "Agent error: PID ld does not exist"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_missing_breaks_the_pipe_after_five_seconds() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    with_agent(&client).await;
    let exec = "/nodes/pve1/qemu/100/agent/exec";
    let answer = client.call("POST", exec, &[("command", "/nope")]).await;
    assert_eq!((answer.status, answer.reason.as_str(), &answer.body), (596, "Broken pipe", &Value::Null));
    assert_eq!(waited(&cluster), Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_writes_no_file_to_a_missing_directory_or_onto_one() {
    let cluster = SimulatedCluster::start(&world()).await;
    let client = cluster.client(ADMIN);
    client.done("POST", "/nodes/pve1/qemu", &[("vmid", "100"), ("agent", "1"), ("scsi0", "thin:1")]).await;
    client.done("POST", "/nodes/pve1/qemu/100/status/start", &[]).await;
    let write = async |file: &str| {
        let path = "/nodes/pve1/qemu/100/agent/file-write";
        loop {
            let answer = client.call("POST", path, &[("file", file), ("content", "x")]).await;
            // Each attempt takes some seconds of simulated time.
            if answer.refusal().1 != "QEMU guest agent is not running" {
                return answer;
            }
        }
    };
    assert_eq!(write("/run/x").await.status, 200);
    let missing = write("/nowhere/x").await;
    let text = "Agent error: failed to open file '/nowhere/x' (mode: 'wb'): No such file or directory";
    assert_eq!(missing.refusal(), (500, text));
    let directory = write("/run").await;
    assert_eq!(directory.refusal(), (500, "Agent error: failed to open file '/run' (mode: 'wb'): Is a directory"));
}
