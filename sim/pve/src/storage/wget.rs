//! Fetching a file over HTTP, with wget's messages: PVE's `download-url` runs `wget --progress=dot:giga -O FILE URL`.
//!
//! PVE does not log wget's last line on standard error. It becomes the end of the task. If that line is empty, PVE
//! names the exit code. Source: recordings of a real server, `run_command` in pve-common's `Tools.pm`, the messages of
//! GNU wget.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use sim_backend::Stream;
use sim_http::client_tls;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

use super::progress;
use crate::engine::Worker;

const MAX_REDIRECTIONS: usize = 20;

/// A file to fetch.
pub(super) struct Transfer<'a> {
    pub(super) worker: &'a Worker,
    pub(super) url: &'a str,
    /// Name of the file on the node, as shown in messages.
    pub(super) shown: &'a str,
    pub(super) verify_certificates: bool,
    /// Free space of the storage in bytes.
    pub(super) room: u64,
}

impl Transfer<'_> {
    /// Fetches the file. The error is wget's last line, or its exit code.
    pub(super) async fn fetch(&self, file: &std::fs::File) -> Result<(), String> {
        let mut url = Url::parse(self.url).map_err(|error| format!("{}: {error}.", self.url))?;
        for _ in 0..=MAX_REDIRECTIONS {
            url.set_fragment(None);
            self.log(format!("--{}--  {url}", self.now()));
            let response = self.request(self.connect(&url).await?, &url).await?;
            let Some(location) = location(&response) else { return self.save(response, file).await };
            self.log(format!("Location: {location} [following]"));
            url = url.join(&location).map_err(|error| format!("{location}: {error}."))?;
        }
        Err(format!("{MAX_REDIRECTIONS} redirections exceeded."))
    }

    fn log(&self, line: String) {
        self.worker.log(line);
    }

    fn now(&self) -> String {
        self.worker.engine.clock.instant().strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    async fn connect(&self, url: &Url) -> Result<Box<dyn Stream>, String> {
        let host = url.host().ok_or("Invalid host name.")?;
        let port = url.port_or_known_default().unwrap_or(80);
        let mut failure = String::new();
        for (address, begins) in self.addresses(&host, port).await? {
            if !failure.is_empty() {
                self.log(std::mem::take(&mut failure));
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    self.log(format!("{begins} connected."));
                    return self.connect_tls(url, &host, stream).await;
                }
                Err(error) => failure = format!("{begins} failed: {}.", system_error_text(&error)),
            }
        }
        Err(failure)
    }

    /// Returns the addresses of a host, each with the beginning of wget's line about it.
    async fn addresses(&self, host: &Host<&str>, port: u16) -> Result<Vec<(SocketAddr, String)>, String> {
        let direct = |address: IpAddr| {
            let address = SocketAddr::new(address, port);
            vec![(address, format!("Connecting to {address}..."))]
        };
        let name = match host {
            Host::Ipv4(address) => return Ok(direct((*address).into())),
            Host::Ipv6(address) => return Ok(direct((*address).into())),
            Host::Domain(name) => *name,
        };
        let begins = format!("Resolving {name} ({name})...");
        let Ok(found) = tokio::net::lookup_host((name, port)).await else {
            self.log(format!("{begins} failed: Temporary failure in name resolution."));
            return Err(format!("wget: unable to resolve host address '{name}'"));
        };
        let found: Vec<SocketAddr> = found.collect();
        let listed: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
        self.log(format!("{begins} {}", listed.join(", ")));
        let begins = |address: SocketAddr| format!("Connecting to {name} ({name})|{}|:{port}...", address.ip());
        Ok(found.into_iter().map(|address| (address, begins(address))).collect())
    }

    async fn connect_tls(&self, url: &Url, host: &Host<&str>, stream: TcpStream) -> Result<Box<dyn Stream>, String> {
        if url.scheme() != "https" {
            return Ok(Box::new(stream));
        }
        let refused = || "Unable to establish SSL connection.".to_owned();
        let name = match host {
            Host::Domain(name) => ServerName::try_from((*name).to_owned()).map_err(|_| refused())?,
            Host::Ipv4(address) => ServerName::from(IpAddr::from(*address)),
            Host::Ipv6(address) => ServerName::from(IpAddr::from(*address)),
        };
        let config = tls(self.verify_certificates).map_err(|error| error.to_string())?;
        let error = match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => error,
        };
        Err(match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_)) => {
                self.log(format!("ERROR: The certificate of '{host}' is not trusted."));
                format!("ERROR: The certificate of '{host}' doesn't have a known issuer.")
            }
            Some(rustls::Error::InvalidMessage(_)) => {
                self.log("GnuTLS: An unexpected TLS packet was received.".to_owned());
                refused()
            }
            _ => refused(),
        })
    }

    /// Requests the file. An answer other than a file or a redirection is an error.
    async fn request(&self, stream: Box<dyn Stream>, url: &Url) -> Result<Response<Incoming>, String> {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let request = Request::get(&url[Position::BeforePath..])
            .header(header::USER_AGENT, "Wget/1.25.0")
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort])
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|_| interrupted_transfer())?;
        let (status, reason) = (response.status(), reason(&response));
        self.log(format!("HTTP request sent, awaiting response... {} {reason}", status.as_u16()));
        if status.is_success() || location(&response).is_some() {
            return Ok(response);
        }
        if status == hyper::StatusCode::UNAUTHORIZED {
            return Err("Username/Password Authentication Failed.".to_owned());
        }
        self.log(format!("{} ERROR {}: {reason}.", self.now(), status.as_u16()));
        Err("exit code 8".to_owned())
    }

    async fn save(&self, response: Response<Incoming>, mut file: &std::fs::File) -> Result<(), String> {
        let header_text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let length: Option<u64> = header_text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        self.log(progress::length(length, header_text(header::CONTENT_TYPE)));
        self.log(format!("Saving to: '{}'", self.shown));
        let began = Instant::now();
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| interrupted_transfer())?.into_data() else { continue };
            bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
            if bytes > self.room {
                return Err(format!("Cannot write to '{}' (No space left on device).", self.shown));
            }
            file.write_all(&data).map_err(|error| error.to_string())?;
        }
        let seconds = began.elapsed().as_secs_f64();
        progress::rows(bytes, length, seconds).into_iter().for_each(|line| self.log(line));
        let of = length.map_or_else(String::new, |length| format!("/{length}"));
        let speed = progress::speed(bytes, seconds);
        self.log(format!("{} ({speed}) - '{}' saved [{bytes}{of}]", self.now(), self.shown));
        Ok(())
    }
}

fn reason(response: &Response<Incoming>) -> String {
    match response.extensions().get::<ReasonPhrase>() {
        Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
        None => response.status().canonical_reason().unwrap_or_default().to_owned(),
    }
}

fn location(response: &Response<Incoming>) -> Option<String> {
    let location = response.headers().get(header::LOCATION).filter(|_| response.status().is_redirection())?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

fn interrupted_transfer() -> String {
    "not simulated: a transfer that breaks off, which wget takes up again".to_owned()
}

/// Returns the operating system's words for a failed connection.
fn system_error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Returns the TLS configuration: with this machine's authorities, or without verification for `--no-check-certificate`.
fn tls(verify: bool) -> Result<ClientConfig, rustls::Error> {
    if !verify {
        return client_tls::without_verification();
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    client_tls::trusting(roots)
}
