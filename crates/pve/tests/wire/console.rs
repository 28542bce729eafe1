//! The console's protocol, against a fake of PVE's two proxies.

use crate::server::{Listener, client, id, node, read};
use futures::{SinkExt, StreamExt};
use pve::{Error, Trust, console};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::HeaderValue,
    },
};

const TICKET: &str = "PVEVNC:65F0::a+b/c==";

type Socket = WebSocketStream<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>;

/// Returns the ticket, then accepts the websocket and the greeting.
async fn accept(listener: &Listener) -> (String, Socket) {
    let mut stream = listener.accept().await;
    let request = read(0, &mut stream).await.unwrap();
    assert_eq!(request.line(), "POST /api2/json/nodes/pve1/lxc/200/termproxy HTTP/1.1");
    let data = format!(r#"{{"data":{{"user":"ci@pve!t1","ticket":"{TICKET}","port":"5900","upid":"UPID:x"}}}}"#);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{data}", data.len());
    stream.write_all(answer.as_bytes()).await.unwrap();

    let mut asked = String::new();
    #[expect(clippy::result_large_err, reason = "the websocket library's own error type")]
    let check = |request: &Request, mut response: Response| {
        asked = request.uri().to_string();
        assert!(request.headers()["authorization"].to_str().unwrap().starts_with("PVEAPIToken=ci@pve!t1="));
        assert_eq!(request.headers()["sec-websocket-protocol"], "binary");
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("binary"));
        Ok(response)
    };
    let mut socket = accept_hdr_async(listener.accept().await, check).await.unwrap();
    let greeting = socket.next().await.unwrap().unwrap();
    assert_eq!(greeting, Message::binary(format!("ci@pve!t1:{TICKET}\n").into_bytes()));
    (asked, socket)
}

#[tokio::test]
async fn input_is_framed_and_output_is_raw_and_the_end_needs_no_closing_frame() {
    let listener = Listener::bind().await;
    let container = client(&[&listener.url], Trust::CaPem(listener.ca_pem.clone())).lxc(&node(), id(200));
    let served = tokio::spawn(async move {
        let (asked, mut socket) = accept(&listener).await;
        assert_eq!(
            asked,
            "/api2/json/nodes/pve1/lxc/200/vncwebsocket?port=5900&vncticket=PVEVNC%3A65F0%3A%3Aa%2Bb%2Fc%3D%3D"
        );
        socket.send(Message::binary(&b"OK\x1b[H"[..])).await.unwrap();
        let mut frames = Vec::new();
        for _ in 0..3 {
            frames.push(socket.next().await.unwrap().unwrap().into_data());
        }
        socket.send(Message::binary(&b"bye"[..])).await.unwrap();
        // PVE ends the connection without a closing frame.
        frames
    });
    let mut console = console::connect(&container).await.unwrap();
    assert_eq!(console.recv().await.unwrap().unwrap(), &b"\x1b[H"[..], "the bytes after OK belong to the terminal");
    console.send("ü\n".as_bytes()).await.unwrap();
    console.send(&vec![b'x'; 40_000]).await.unwrap();
    assert_eq!(console.recv().await.unwrap().unwrap(), &b"bye"[..]);
    assert_eq!(console.recv().await.unwrap(), None);
    let frames = served.await.unwrap();
    assert_eq!(frames[0], "0:3:ü\n".as_bytes(), "the length counts bytes");
    assert!(frames[1].starts_with(b"0:32768:x") && frames[2].starts_with(b"0:7232:x"));
}

#[tokio::test]
async fn a_refused_ticket_is_an_error_without_the_ticket() {
    let listener = Listener::bind().await;
    let container = client(&[&listener.url], Trust::CaPem(listener.ca_pem.clone())).lxc(&node(), id(200));
    tokio::spawn(async move {
        let (_, socket) = accept(&listener).await;
        drop(socket);
    });
    let error = console::connect(&container).await.unwrap_err();
    assert!(matches!(error, Error::Console { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("PVEVNC"));
}
