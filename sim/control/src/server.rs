//! The HTTP server of the control API.
//!
//! Every call needs the token. The page's files do not need it, because they contain no data. The page reads the token
//! from the part of its address after `#`, which browsers do not send. Requests that name another host are refused, so
//! that a foreign web page whose name resolves to this machine cannot make calls.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::{self, Next};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::problem::Problem;
use super::{Control, page, routes};

/// Time in which a client must send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The running server of a [`Control`]. Dropping it stops the server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    token: String,
    task: JoinHandle<()>,
}

/// Digest of the token. Comparing digests does not leak the token by timing.
type TokenDigest = [u8; 32];

impl Server {
    /// Serves on a free port of the loopback device, or on the given one.
    ///
    /// # Errors
    /// When the port cannot be listened on.
    pub async fn start(control: Arc<Control>, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let token = hex::encode(rand::rng().random::<[u8; 16]>());
        let digest: TokenDigest = Sha256::digest(&token).into();
        let router = routes::router(control)
            .layer(middleware::from_fn_with_state(digest, admit))
            .layer(middleware::map_response(guard));
        let task = tokio::spawn(accept(listener, router));
        Ok(Self { address, token, task })
    }

    /// Returns the URL, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the token that every call needs as `Authorization: Bearer <token>`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the address of the web page, which contains the token.
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

/// Serves each connection with a deadline for the headers, which `axum::serve` does not have.
async fn accept(listener: TcpListener, router: Router) {
    // Dropping the set with this task closes the connections.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(router.clone());
                connections.spawn(async move {
                    let mut builder = http1::Builder::new();
                    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
                    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                        tracing::debug!(%error, "a connection to the control API failed");
                    }
                });
            }
            // No file descriptors are left until others close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Accepts a request for this machine with the token, or for a file of the page.
async fn admit(State(token): State<TokenDigest>, request: Request, next: Next) -> Result<Response, Problem> {
    if !names_this_machine(request.headers()) {
        let problem = Problem::new(421, "the request names another host");
        return Err(problem.allowing("localhost, or a loopback address"));
    }
    let is_public = request.method() == Method::GET && page::has(request.uri().path());
    if !is_public && !shows_token(token, request.headers()) {
        let problem = Problem::new(401, "the token is missing or wrong");
        return Err(problem.allowing("Authorization: Bearer TOKEN, with the token that was printed at the start"));
    }
    Ok(next.run(request).await)
}

/// Adds the headers of every answer.
async fn guard(mut response: Response) -> Response {
    let headers = [
        (CONTENT_SECURITY_POLICY, page::POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
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

fn shows_token(token: TokenDigest, headers: &HeaderMap) -> bool {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    shown.is_some_and(|shown| <[u8; 32]>::from(Sha256::digest(shown)) == token)
}
