//! Every request has the token, so the client must not follow a server's answer to another server.
#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use github::{BaseUrl, Client, ClientConfig, Credential, Error, Scope};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Starts a server that answers every request with `answer`. The flag is true after the first request.
async fn server(answer: String) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let called = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&called);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            flag.store(true, Ordering::SeqCst);
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            assert!(read > 0);
            // A client may close before it has read everything.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, called)
}

fn answer(status: &str, header: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{header}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

async fn list(url: &str) -> Error {
    let client = Client::new(ClientConfig {
        base_url: BaseUrl::parse(url).unwrap(),
        credential: Credential::Token(SecretString::from("secret")),
        user_agent: "pxci-test/1".into(),
    })
    .unwrap();
    client.runners(&Scope::Repository("acme/tools".parse().unwrap()), None).await.unwrap_err()
}

#[tokio::test]
async fn a_next_page_on_another_server_is_not_fetched() {
    let (elsewhere, called) = server(answer("200 OK", "x-a: b", r#"{"runners":[]}"#)).await;
    let link = format!("link: <{elsewhere}/repos/acme/tools/actions/runners?page=2>; rel=\"next\"");
    let (url, _) = server(answer("200 OK", &link, r#"{"runners":[]}"#)).await;
    let error = list(&url).await;
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    assert!(!called.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_redirect_to_another_server_is_not_followed() {
    let (elsewhere, called) = server(answer("200 OK", "x-a: b", r#"{"runners":[]}"#)).await;
    let (url, _) =
        server(answer("301 Moved Permanently", &format!("location: {elsewhere}/repositories/1"), "{}")).await;
    let error = list(&url).await;
    assert!(matches!(error, Error::Rejected { status: 301, .. }), "{error:?}");
    assert!(!called.load(Ordering::SeqCst));
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_not_mistaken_for_an_empty_one() {
    let (url, _) = server(answer("200 OK", "content-type: text/html", "<html>proxy log-in</html>")).await;
    let error = list(&url).await;
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_request_to_a_failing_server_is_repeated_and_then_reported() {
    let (url, called) = server(answer("502 Bad Gateway", "content-type: text/html", "<html>unicorn</html>")).await;
    let error = list(&url).await;
    assert!(matches!(error, Error::Server { status: 502, .. }), "{error:?}");
    assert!(called.load(Ordering::SeqCst));
}

#[tokio::test]
async fn an_endless_answer_is_not_read_into_memory() {
    let (url, _) = server(answer("200 OK", "x-a: b", &"a".repeat(17 << 20))).await;
    let error = list(&url).await;
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "the answer has more than 16 MiB");
}
