//! The control API's own HTTP server.
//!
//! Every call shows the token. The page's files need none, since nothing is in them; it takes the token from the part
//! of its address behind `#`, which browsers send to nobody. Requests that name another host are refused: a page
//! elsewhere whose name leads here must not come through.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::Rng as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::problem::Problem;
use super::routes::{self, Call};
use super::{Control, page};

const MOST_BODY: usize = 1 << 20;

/// How long a client may take for its headers.
const SLOWEST_HEADERS: Duration = Duration::from_secs(10);

const JSON: &str = "application/json; charset=utf-8";

/// The running server of a [`Control`]; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    token: String,
    task: JoinHandle<()>,
}

struct Shared {
    control: Arc<Control>,
    /// Digest of the token, so that a comparison tells nothing.
    token: [u8; 32],
}

impl Server {
    /// Serves on a free port of the loopback device, or on the given one.
    ///
    /// # Errors
    /// Where the port cannot be listened on.
    pub async fn start(control: Arc<Control>, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let token = hex::encode(rand::rng().random::<[u8; 16]>());
        let shared = Arc::new(Shared { control, token: Sha256::digest(&token).into() });
        let task = tokio::spawn(accept(listener, shared));
        Ok(Self { address, token, task })
    }

    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What every call must show: `Authorization: Bearer <token>`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Address of the page for people, which holds the token.
    #[must_use]
    pub fn page_url(&self) -> String {
        format!("{}/#token={}", self.url(), self.token)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropping the set with this task cuts the connections.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, std::convert::Infallible>(serve(&shared, request).await) }
                });
                connections.spawn(async move {
                    let mut builder = http1::Builder::new();
                    builder.timer(TokioTimer::new()).header_read_timeout(SLOWEST_HEADERS);
                    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                        tracing::debug!(%error, "a connection to the control API broke off");
                    }
                });
            }
            // Out of file descriptors: others will close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if !names_this_machine(&parts.headers) {
        let problem = Problem::new(421, "the request names another host").allowing("localhost, or a loopback address");
        return refused(&problem);
    }
    if let Some(file) = page::file(path).filter(|_| parts.method == "GET") {
        return respond(200, file.kind, Bytes::from_static(file.content.as_bytes()));
    }
    if !shows_token(shared, &parts.headers) {
        let problem = Problem::new(401, "the call shows no token, or a wrong one");
        return refused(&problem.allowing("Authorization: Bearer TOKEN, with the token that was printed at the start"));
    }
    let body = match Limited::new(body, MOST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return refused(&Problem::new(413, "the body breaks off or is too large").allowing("1 MiB")),
    };
    let query = parts.uri.query().unwrap_or_default();
    let call = Call { method: parts.method.as_str(), path, query, body: &body };
    match routes::answer(&shared.control, &call).await {
        Ok((status, value)) => respond(status, JSON, text(&value)),
        Err(problem) => refused(&problem),
    }
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let Ok(url) = url::Url::parse(&format!("http://{host}/")) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

fn shows_token(shared: &Shared, headers: &HeaderMap) -> bool {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    shown.is_some_and(|shown| <[u8; 32]>::from(Sha256::digest(shown)) == shared.token)
}

fn text(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn refused(problem: &Problem) -> Response<Full<Bytes>> {
    respond(problem.status, JSON, text(&problem.body()))
}

fn respond(status: u16, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut put = |name: &'static str, value: &'static str| {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    put("content-type", kind);
    put("content-security-policy", page::POLICY);
    put("x-content-type-options", "nosniff");
    put("referrer-policy", "no-referrer");
    put("cache-control", "no-store");
    if status == 401 {
        put("www-authenticate", "Bearer");
    }
    response
}
