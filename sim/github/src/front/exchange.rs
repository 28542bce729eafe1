//! A request with its body, and the construction of responses.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use sim_http::payload::Payload;
use url::form_urlencoded;

/// Path prefix of the API of GitHub Enterprise Server. Calls without it are also accepted.
const ENTERPRISE_PREFIX: &str = "/api/v3";

/// A request, with its body.
pub(crate) struct Received<'a> {
    pub(crate) method: &'a str,
    pub(crate) uri: &'a hyper::Uri,
    pub(super) scheme: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

impl Received<'_> {
    pub(crate) fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the secret of the `Authorization` header, or an empty text for an unknown scheme.
    pub(crate) fn secret(&self) -> Option<&str> {
        let (scheme, secret) = self.header(AUTHORIZATION)?.split_once(' ')?;
        matches!(scheme.to_ascii_lowercase().as_str(), "bearer" | "token" | "remoteauth").then_some(secret)
    }

    /// Returns the root URL of this server as the caller wrote it.
    pub(super) fn root(&self) -> String {
        format!("{}://{}", self.scheme, self.header(HOST).unwrap_or("localhost"))
    }

    /// Returns the root URL of the API as the caller wrote it.
    pub(crate) fn api(&self) -> String {
        let prefix = if self.uri.path().starts_with(ENTERPRISE_PREFIX) { ENTERPRISE_PREFIX } else { "" };
        format!("{}{prefix}", self.root())
    }

    /// Returns the path below the API's root.
    pub(crate) fn rest_path(&self) -> &str {
        let path = self.uri.path();
        path.strip_prefix(ENTERPRISE_PREFIX).unwrap_or(path)
    }

    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let text = self.uri.query().unwrap_or_default();
        form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }
}

/// Returns the decoded parts of a path.
pub(crate) fn segments(path: &str) -> Vec<String> {
    path.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
}

/// Returns a response with these headers.
pub(crate) fn reply(status: u16, body: Vec<u8>, headers: &[(&'static str, String)]) -> Response<Payload> {
    let mut response = Response::new(Payload::whole(Bytes::from(body)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    response
}
