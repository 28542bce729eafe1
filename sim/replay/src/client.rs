//! An HTTP client that shows reason phrases, missing answers and unusual headers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use sim_http::client_tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An answer without interpretation. `status` is 0 if there was none.
#[derive(Debug, Default, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Real time after which a request counts as unanswered.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// A client of one server.
#[derive(Clone)]
pub(super) struct Client {
    address: (String, u16),
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Client {
    /// Creates a client that accepts any certificate, because the replay compares answers and not identities.
    pub(super) fn new(url: &str) -> io::Result<Self> {
        Self::trusting(url, None)
    }

    /// Creates a client that accepts only certificates of this CA, or any certificate without one.
    pub(super) fn trusting(url: &str, ca_pem: Option<&str>) -> io::Result<Self> {
        let config = match ca_pem {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
                }
                client_tls::trusting(roots)
            }
            None => client_tls::without_verification(),
        }
        .map_err(io::Error::other)?;
        let url = url::Url::parse(url).map_err(io::Error::other)?;
        let host = url.host_str().unwrap_or("localhost").trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(8006);
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        Ok(Self { address: (host, port), name, tls: TlsConnector::from(Arc::new(config)) })
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        self.tls.connect(self.name.clone(), stream).await
    }

    /// Opens a connection for several requests.
    pub(super) async fn open(&self) -> io::Result<Connection> {
        Ok(Connection { stream: self.connect().await?, buffer: Vec::new() })
    }

    /// Sends one request on a connection of its own.
    ///
    /// Without an answer for a minute of real time it returns a status that no recording has.
    ///
    /// # Errors
    /// When no connection can be made.
    pub(super) async fn send(&self, head: &str, body: &[u8]) -> io::Result<Answer> {
        match tokio::time::timeout(LONGEST, self.exchange(head, body)).await {
            Ok(exchanged) => exchanged.map(|(answer, _)| answer),
            Err(_) => Ok(Answer { status: u16::MAX, reason: "nothing came".to_owned(), ..Answer::default() }),
        }
    }

    /// Sends one request. Also returns the connection, for the protocol after an upgrade.
    pub(super) async fn exchange(&self, head: &str, body: &[u8]) -> io::Result<(Answer, TlsStream<TcpStream>)> {
        let mut stream = self.connect().await?;
        // A server that refuses early may close the connection before everything is written.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body).await;
        let _ = stream.flush().await;
        let mut buffer = Vec::new();
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            let mut chunk = [0_u8; 16 << 10];
            match stream.read(&mut chunk).await {
                Ok(count) if count > 0 => buffer.extend_from_slice(&chunk[..count]),
                _ => return Ok((Answer::default(), stream)),
            }
        };
        let mut answer = parse_head(&buffer[..end]);
        let mut body = buffer.split_off(end + 4);
        if answer.status == 100 {
            // The final answer follows an interim one. It is small and arrives in one or two pieces.
            while !body.windows(4).any(|w| w == b"\r\n\r\n") {
                let mut chunk = [0_u8; 16 << 10];
                match stream.read(&mut chunk).await {
                    Ok(count) if count > 0 => body.extend_from_slice(&chunk[..count]),
                    _ => return Ok((Answer::default(), stream)),
                }
            }
            let end = body.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(0);
            answer = parse_head(&body[..end]);
            body = body.split_off(end + 4);
        }
        if answer.status == 101 {
            return Ok((answer, stream));
        }
        let length = answer.header("content-length").and_then(|v| v.parse::<usize>().ok());
        let head_only = head.starts_with("HEAD ");
        while !head_only && length.is_none_or(|length| body.len() < length) {
            let mut chunk = [0_u8; 64 << 10];
            match stream.read(&mut chunk).await {
                Ok(count) if count > 0 => body.extend_from_slice(&chunk[..count]),
                _ => break,
            }
        }
        answer.body = body;
        Ok((answer, stream))
    }
}

/// A connection that stays open as long as the server allows.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        // A server that refuses early may close the connection before everything is written.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Reads more bytes. Returns false at the end.
    async fn fill(&mut self) -> bool {
        let mut chunk = [0_u8; 16 << 10];
        match self.stream.read(&mut chunk).await {
            Ok(count) if count > 0 => {
                self.buffer.extend_from_slice(&chunk[..count]);
                true
            }
            _ => false,
        }
    }

    /// Reads the next answer, whose header has the length of its body. Returns `None` if the connection ends before.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            if !self.fill().await {
                return None;
            }
        };
        let mut answer = parse_head(&self.buffer[..end]);
        let length = answer.header("content-length").and_then(|v| v.parse::<usize>().ok()).unwrap_or(0);
        while self.buffer.len() < end + 4 + length {
            if !self.fill().await {
                return None;
            }
        }
        answer.body = self.buffer[end + 4..end + 4 + length].to_vec();
        self.buffer.drain(..end + 4 + length);
        Some(answer)
    }

    /// Waits until the server closes the connection.
    pub(super) async fn closed(&mut self) {
        while self.fill().await {}
    }
}

fn parse_head(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let mut status = lines.next().unwrap_or_default().splitn(3, ' ');
    let code = status.nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let reason = status.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_lowercase(), value.trim().to_owned()))
        .collect();
    Answer { status: code, reason, headers, body: Vec::new() }
}
