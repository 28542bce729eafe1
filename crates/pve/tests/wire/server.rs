//! A TLS server that shows requests byte for byte. A test sets its answers, which HTTP libraries could not send.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

use pve::{ApiToken, Client, ClientConfig, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub(crate) const SECRET: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Number of its connection.
    pub(crate) connection: usize,
    /// Request line and headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The reaction of the server to a request.
pub(crate) enum Reaction {
    Answer(String),
    /// Closes the connection without an answer.
    Close,
}

pub(crate) fn ok(data: &str) -> Reaction {
    status("200 OK", &format!("{{\"data\":{data}}}"))
}

pub(crate) fn status(line: &str, body: &str) -> Reaction {
    Reaction::Answer(format!(
        "HTTP/1.1 {line}\r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

type Handler = Arc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Reaction> + Send>> + Send + Sync>;

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    pub(crate) fingerprint: String,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
}

/// A listener with a certificate for 127.0.0.1 of its own CA.
pub(crate) struct Listener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    pub(crate) fingerprint: String,
}

impl Listener {
    pub(crate) async fn bind() -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(certificate.der()));
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), url, ca_pem: issuer.pem(), fingerprint: digest }
    }

    /// Returns the next connection whose handshake succeeds.
    pub(crate) async fn accept(&self) -> TlsStream<TcpStream> {
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return stream;
            }
        }
    }
}

impl Server {
    pub(crate) async fn start<F, R>(handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Reaction> + Send + 'static,
    {
        let listener = Listener::bind().await;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let server = Self {
            url: listener.url.clone(),
            ca_pem: listener.ca_pem.clone(),
            fingerprint: listener.fingerprint.clone(),
            requests: Arc::clone(&requests),
        };
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        tokio::spawn(async move {
            for connection in 0.. {
                let stream = listener.accept().await;
                tokio::spawn(serve(connection, stream, Arc::clone(&handler), Arc::clone(&requests)));
            }
        });
        server
    }

    pub(crate) fn client(&self) -> Client {
        client(&[&self.url], Trust::CaPem(self.ca_pem.clone()))
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

pub(crate) fn client(urls: &[&str], trust: Trust) -> Client {
    let endpoints = urls.iter().map(|url| url.parse().unwrap()).collect();
    let token = ApiToken::new("ci@pve!t1", &SECRET.into()).unwrap();
    Client::new(ClientConfig { endpoints, token, trust, user_agent: "test".into() }).unwrap()
}

async fn serve(
    connection: usize,
    mut stream: TlsStream<TcpStream>,
    handler: Handler,
    requests: Arc<Mutex<Vec<Request>>>,
) {
    while let Some(request) = read(connection, &mut stream).await {
        requests.lock().unwrap().push(request.clone());
        match handler(request).await {
            // A client may close before it has read everything.
            Reaction::Answer(answer) => {
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reaction::Close => return,
        }
    }
}

pub(crate) async fn read(connection: usize, stream: &mut TlsStream<TcpStream>) -> Option<Request> {
    let mut received = Vec::new();
    let end = loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    };
    let mut request =
        Request { connection, head: String::from_utf8(received[..end].to_vec()).ok()?, body: received.split_off(end) };
    let length: usize = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(request)
}

pub(crate) fn node() -> ownership::NodeName {
    "pve1".parse().unwrap()
}

pub(crate) fn id(number: u32) -> ownership::Vmid {
    ownership::Vmid::new(number).unwrap()
}
