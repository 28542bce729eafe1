//! One exchange over HTTP: the request with its body, and the response.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use sim_http::payload::Payload;
use url::form_urlencoded;

/// Where GitHub Enterprise Server has its API; taken beside the root.
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

    /// What the caller shows for who it is; an empty one for a scheme that nobody here knows.
    pub(crate) fn secret(&self) -> Option<&str> {
        let (scheme, secret) = self.header(AUTHORIZATION)?.split_once(' ')?;
        matches!(scheme.to_ascii_lowercase().as_str(), "bearer" | "token" | "remoteauth").then_some(secret)
    }

    /// Root of this server as this caller spells it.
    pub(super) fn root(&self) -> String {
        format!("{}://{}", self.scheme, self.header(HOST).unwrap_or("localhost"))
    }

    /// Root of the API as this caller spells it.
    pub(crate) fn api(&self) -> String {
        let prefix = if self.uri.path().starts_with(ENTERPRISE_PREFIX) { ENTERPRISE_PREFIX } else { "" };
        format!("{}{prefix}", self.root())
    }

    /// The path below the API's root.
    pub(crate) fn rest_path(&self) -> &str {
        let path = self.uri.path();
        path.strip_prefix(ENTERPRISE_PREFIX).unwrap_or(path)
    }

    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let text = self.uri.query().unwrap_or_default();
        form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }
}

/// Decoded parts of a path.
pub(crate) fn segments(path: &str) -> Vec<String> {
    path.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
}

/// A response with these headers.
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
