//! The peculiarities of PVE's HTTP server, and the client's behaviour with them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::server::{Listener, Reaction, Request, SECRET, Server, client, id, node, ok, status};
use pve::{CloneRequest, Content, Error, Trust};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Barrier,
};

const UPID: &str = "\"UPID:pve1:000002E8:0002A2C8:6B02BFC8:qmclone:9000:ci@pve!t1:\"";
const NODES: &str = r#"[{"node":"pve1","status":"online"}]"#;

/// Answers the first request of the first connection. Closes that connection without an answer at the second request.
async fn closes_the_reused_connection() -> Server {
    let seen = Arc::new(AtomicUsize::new(0));
    Server::start(move |request: Request| {
        let nth = seen.fetch_add(1, Ordering::SeqCst);
        async move { if request.connection == 0 && nth > 0 { Reaction::Close } else { ok(NODES) } }
    })
    .await
}

#[tokio::test]
async fn a_read_is_repeated_if_the_reused_connection_was_closed() {
    let server = closes_the_reused_connection().await;
    let client = server.client();
    client.nodes().await.unwrap();
    assert_eq!(client.nodes().await.unwrap()[0].node, node());
    let connections: Vec<usize> = server.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[tokio::test]
async fn a_write_that_may_have_arrived_is_never_repeated() {
    let server = closes_the_reused_connection().await;
    let client = server.client();
    client.nodes().await.unwrap();
    let error = client.qemu(&node(), id(9101)).start().await.unwrap_err();
    assert!(matches!(error, Error::Interrupted { method: "POST", .. }), "{error}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn an_endless_answer_is_not_read_into_memory() {
    let server = Server::start(|_| async { ok(&format!("\"{}\"", "a".repeat(17 << 20))) }).await;
    let error = server.client().nodes().await.unwrap_err();
    assert!(matches!(error, Error::Oversized { method: "GET", .. }), "{error}");
    assert_eq!(error.to_string(), "the answer to GET /nodes has more than 16 MiB");
    assert!(!error.is_transient() && !error.is_not_carried_out());
    assert_eq!(server.requests().len(), 1);
}

/// Answers with this status line the given number of times, then carries out requests.
async fn answers_first(line: &'static str, times: usize) -> Server {
    let seen = Arc::new(AtomicUsize::new(0));
    Server::start(move |_| {
        let nth = seen.fetch_add(1, Ordering::SeqCst);
        async move { if nth < times { status(line, "") } else { ok(UPID) } }
    })
    .await
}

#[tokio::test]
async fn a_write_is_repeated_while_the_daemon_accepts_no_connection() {
    let server = answers_first("595 Connection refused", 2).await;
    server.client().qemu(&node(), id(9101)).start().await.unwrap();
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_write_is_not_repeated_if_the_daemon_dies_during_it() {
    let server = answers_first("596 Connection reset by peer", 1).await;
    let error = server.client().qemu(&node(), id(9101)).start().await.unwrap_err();
    assert!(error.is_transient() && !error.is_not_carried_out(), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_read_is_repeated_if_the_daemon_dies_during_it() {
    let seen = Arc::new(AtomicUsize::new(0));
    let server = Server::start(move |_| {
        let nth = seen.fetch_add(1, Ordering::SeqCst);
        async move { if nth == 0 { status("596 Connection reset by peer", "") } else { ok(NODES) } }
    })
    .await;
    assert_eq!(server.client().nodes().await.unwrap()[0].node, node());
}

#[tokio::test]
async fn a_refused_token_is_recognised_by_the_reason_phrase_and_its_secret_is_not_shown() {
    let server = Server::start(|_| async { status("401 Authentication failed!", "") }).await;
    let client = server.client();
    let error = client.nodes().await.unwrap_err();
    assert!(error.is_unauthenticated());
    assert_eq!(error.to_string(), "Proxmox VE refused GET /nodes: 401 Authentication failed!");
    assert!(!format!("{error:?} {client:?}").contains(SECRET));
    assert_eq!(server.requests()[0].header("authorization"), Some(format!("PVEAPIToken=ci@pve!t1={SECRET}").as_str()));
}

/// Uploads a large file to a server that closes the connection without reading it. The server answers questions about
/// the token's privileges.
async fn upload_unread(permissions: &'static str) -> Error {
    let listener = Listener::bind().await;
    let client = client(&[&listener.url], Trust::CaPem(listener.ca_pem.clone()));
    tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await;
            let mut start = [0; 4];
            stream.read_exact(&mut start).await.unwrap();
            if start == *b"GET " {
                let Reaction::Answer(answer) = ok(permissions) else { unreachable!() };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    let file = vec![0; 16 << 20].into();
    client.storage(&node(), "local").upload(Content::ContainerTemplate, "a.tar.zst", file).await.unwrap_err()
}

#[tokio::test]
async fn the_error_of_an_upload_that_is_refused_unread_names_the_missing_privilege() {
    let error = upload_unread(r#"{"/storage/local":{"Datastore.Audit":1}}"#).await;
    let missing = error.missing_privilege().unwrap();
    assert_eq!(missing.path.as_deref(), Some("/storage/local"));
    assert_eq!(missing.privileges, ["Datastore.AllocateTemplate"]);
}

#[tokio::test]
async fn an_upload_that_fails_for_another_reason_is_reported_as_such() {
    let error = upload_unread(r#"{"/storage/local":{"Datastore.AllocateTemplate":1}}"#).await;
    assert!(matches!(error, Error::Interrupted { method: "POST", .. }), "{error}");
}

#[tokio::test]
async fn an_upload_has_its_fields_before_the_file_and_a_length() {
    let server = Server::start(|_| async { ok(&UPID.replace("qmclone:9000", "imgcopy:")) }).await;
    let upid =
        server.client().storage(&node(), "local").upload(Content::Iso, "pxci-a.iso", "seed".into()).await.unwrap();
    assert_eq!(upid.kind(), "imgcopy");
    let requests = server.requests();
    let request = &requests[0];
    assert_eq!(request.line(), "POST /api2/json/nodes/pve1/storage/local/upload HTTP/1.1");
    assert_eq!(request.header("transfer-encoding"), None);
    assert_eq!(request.header("content-length"), Some(request.body.len().to_string().as_str()));
    let boundary = request.header("content-type").and_then(|header| header.split_once("boundary=")).unwrap().1;
    let body = request.text();
    let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(b"seed"));
    assert_eq!(parts[1], "\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n");
    assert_eq!(parts[2], "\r\nContent-Disposition: form-data; name=\"checksum-algorithm\"\r\n\r\nsha256\r\n");
    assert_eq!(parts[3], format!("\r\nContent-Disposition: form-data; name=\"checksum\"\r\n\r\n{sha256}\r\n"));
    assert!(
        parts[4].starts_with("\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"pxci-a.iso\"\r\n"),
        "{}",
        parts[4]
    );
    assert!(parts[4].ends_with("\r\n\r\nseed\r\n") && parts[5] == "--\r\n");
}

#[tokio::test]
async fn a_delete_has_its_parameters_in_the_query_and_no_body() {
    let server = Server::start(|_| async { ok(UPID) }).await;
    server.client().qemu(&node(), id(9101)).delete().await.unwrap();
    let requests = server.requests();
    assert_eq!(
        requests[0].line(),
        "DELETE /api2/json/nodes/pve1/qemu/9101?purge=1&destroy-unreferenced-disks=0 HTTP/1.1"
    );
    assert!(requests[0].body.is_empty() && requests[0].header("content-type").is_none());
    assert!(requests[0].header("transfer-encoding").is_none());
}

#[tokio::test]
async fn posts_always_have_a_length_and_a_clone_names_its_owner() {
    let server = Server::start(|_| async { ok(UPID) }).await;
    let vm = server.client().qemu(&node(), id(9000));
    vm.start().await.unwrap();
    let request = CloneRequest {
        newid: id(9101),
        name: "lab-a-9101-k3x9ab".into(),
        description: "pxci:v1 {}".into(),
        pool: Some("ci".into()),
        full: false,
    };
    vm.clone_to(&request).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].header("content-length"), Some("0"));
    assert_eq!(requests[1].text(), "newid=9101&name=lab-a-9101-k3x9ab&description=pxci%3Av1%20%7B%7D&pool=ci&full=0");
    assert_eq!(requests[1].header("content-type"), Some("application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn agent_commands_repeat_their_key_and_files_are_sent_as_base64() {
    let server = Server::start(|request: Request| async move {
        if request.line().contains("exec") { ok(r#"{"pid":650}"#) } else { ok("null") }
    })
    .await;
    let agent = server.client().qemu(&node(), id(9101)).agent();
    assert_eq!(agent.exec(&["/bin/sh", "-c", "echo a b"]).await.unwrap(), 650);
    agent.file_write("/run/pxci/hostname", "ü".as_bytes()).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].text(), "command=%2Fbin%2Fsh&command=-c&command=echo%20a%20b");
    assert_eq!(requests[1].text(), "file=%2Frun%2Fpxci%2Fhostname&content=w7w%3D&encode=0");
    assert!(matches!(agent.file_write("/x", &vec![0; 46_081]).await, Err(Error::TooLarge { bytes: 46_081, .. })));
    agent.file_write("/x", &vec![0; 46_080]).await.unwrap();
}

#[tokio::test]
async fn at_most_two_agent_calls_are_in_flight_per_node() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let pair = Arc::new(Barrier::new(2));
    let (current, peak) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::start(move |_| {
        let (current, peak, pair) = (Arc::clone(&current), Arc::clone(&peak), Arc::clone(&pair));
        async move {
            peak.fetch_max(current.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            pair.wait().await;
            current.fetch_sub(1, Ordering::SeqCst);
            ok(r#"{"result":[]}"#)
        }
    })
    .await;
    let client = server.client();
    let calls = (9100..9110).map(|vmid| {
        let agent = client.qemu(&node(), id(vmid)).agent();
        async move { agent.interfaces().await }
    });
    for outcome in futures::future::join_all(calls).await {
        outcome.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn certificates_are_checked_by_ca_or_by_fingerprint_or_not_at_all() {
    let server = Server::start(|_| async { ok(NODES) }).await;
    let pin = Trust::Fingerprint(server.fingerprint.parse().unwrap());
    for trust in [Trust::CaPem(server.ca_pem.clone()), pin, Trust::Insecure] {
        client(&[&server.url], trust).nodes().await.unwrap();
    }
    let other = crate::server::Listener::bind().await.ca_pem;
    let wrong_pin = Trust::Fingerprint("00".repeat(32).parse().unwrap());
    for trust in [Trust::System, Trust::CaPem(other), wrong_pin] {
        let error = client(&[&server.url], trust).nodes().await.unwrap_err();
        let Error::Untrusted { fingerprint, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*fingerprint, server.fingerprint.parse().unwrap());
    }
    assert_eq!(server.requests().len(), 3, "nothing is sent to a server that is not trusted");
}

#[tokio::test]
async fn the_next_endpoint_is_used_if_one_is_dead() {
    let dead = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("https://{}", listener.local_addr().unwrap())
    };
    let server = Server::start(|_| async { ok(UPID) }).await;
    let trust = Trust::CaPem(server.ca_pem.clone());
    let both = client(&[&dead, &server.url], trust.clone());
    both.qemu(&node(), id(9101)).start().await.unwrap();
    both.qemu(&node(), id(9101)).stop().await.unwrap();
    assert_eq!(server.requests().len(), 2);
    let error = client(&[&dead], trust).nodes().await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { endpoint, .. } if *endpoint == dead), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_pve_is_reported_as_such() {
    let server = Server::start(|_| async { status("404 Not Found", "<html></html>") }).await;
    let error = server.client().nodes().await.unwrap_err();
    assert!(matches!(&error, Error::NotPve { .. }), "{error:?}");
}

mod tasks {
    use pve::{TaskEnd, Upid, WaitOptions};
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn upid() -> Upid {
        Upid::parse(UPID.trim_matches('"')).unwrap()
    }

    fn options() -> WaitOptions {
        WaitOptions { deadline: Duration::from_secs(30), cancel: CancellationToken::new() }
    }

    /// A server with a task that runs during two polls and has this exit status. Its log has ten lines.
    async fn ends_with(exit_status: &'static str) -> Server {
        let looks = Arc::new(AtomicUsize::new(0));
        Server::start(move |request: Request| {
            let log = request.line().contains("/log");
            let running = !log && looks.fetch_add(1, Ordering::SeqCst) < 2;
            async move {
                match (log, running) {
                    (true, _) => ok(&format!(
                        "[{}]",
                        (1..=10).map(|n| format!("{{\"n\":{n},\"t\":\"line {n}\"}}")).collect::<Vec<_>>().join(",")
                    )),
                    (_, true) => ok(r#"{"status":"running","type":"qmclone"}"#),
                    _ => ok(&format!("{{\"status\":\"stopped\",\"exitstatus\":\"{exit_status}\"}}")),
                }
            }
        })
        .await
    }

    #[tokio::test]
    async fn ok_and_warnings_are_success() {
        let server = ends_with("OK").await;
        assert_eq!(server.client().wait(&upid(), &options()).await.unwrap(), TaskEnd::Ok);
        assert_eq!(server.requests().len(), 3);
        let line = "GET /api2/json/nodes/pve1/tasks/UPID:pve1:000002E8:0002A2C8:6B02BFC8:qmclone:9000:ci@pve!t1:/status HTTP/1.1";
        assert_eq!(server.requests()[0].line(), line);
        let server = ends_with("WARNINGS: 1").await;
        let TaskEnd::Warnings(log) = server.client().wait(&upid(), &options()).await.unwrap() else {
            panic!("no warnings")
        };
        assert_eq!(log.last().map(String::as_str), Some("line 10"));
    }

    #[tokio::test]
    async fn anything_else_is_an_error_with_the_end_of_the_log() {
        let server = ends_with("unable to create VM 8100: config file already exists").await;
        let error = server.client().wait(&upid(), &options()).await.unwrap_err();
        assert!(error.is_already_exists());
        let Error::Task { log, .. } = &error else { panic!("{error:?}") };
        assert_eq!((log.len(), log[0].as_str()), (8, "line 3"));
    }

    #[tokio::test]
    async fn the_wait_ends_with_the_deadline_or_when_asked_to_stop() {
        let server = Server::start(|_| async { ok(r#"{"status":"running"}"#) }).await;
        let short = WaitOptions { deadline: Duration::ZERO, ..options() };
        assert!(matches!(server.client().wait(&upid(), &short).await, Err(Error::Deadline { .. })));
        let stopped = options();
        stopped.cancel.cancel();
        assert!(matches!(server.client().wait(&upid(), &stopped).await, Err(Error::Cancelled { .. })));
    }
}
