//! Requests and answers: form encoding, failover between endpoints, retries, and reading of PVE's error shapes.
//!
//! PVE closes idle connections after five seconds, takes no chunked bodies and no bodies on DELETE, and says much in the reason
//! phrase that most HTTP clients drop.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use hyper::ext::ReasonPhrase;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Method, Response,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue},
    multipart::{Form, Part},
    redirect,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    endpoint::Endpoint,
    error::{Error, Refusal, SetupError},
    lenient,
    setup::ClientConfig,
    trust::find_refused,
};

/// The server closes idle connections after exactly 5 s.
const IDLE: Duration = Duration::from_secs(4);
const CONNECT: Duration = Duration::from_secs(10);
/// Synchronous calls wait up to 10 s for a lock, and the API proxy itself gives up after 30 s.
const ANSWER: Duration = Duration::from_secs(60);
const UPLOAD: Duration = Duration::from_secs(1800);
const ATTEMPTS: usize = 3;
/// Tries of a request while nothing takes it.
const DELIVERIES: usize = 5;

const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const SEGMENT: AsciiSet = PLAIN.remove(b':').remove(b'@').remove(b'!').remove(b'=').remove(b',');

/// One part of a path, escaped.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, &SEGMENT).to_string()
}

/// Parameters in the order given; a key may stand there more than once.
#[derive(Default, Clone)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.0.push((key.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn with_some(self, key: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// PVE takes `1` and `0` only.
    pub(crate) fn with_flag(self, key: &str, value: bool) -> Self {
        self.with(key, u8::from(value))
    }

    pub(crate) fn extend(mut self, pairs: &[(&str, &str)]) -> Self {
        self.0.extend(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self
    }

    fn encode(&self) -> String {
        let escape = |text: &str| utf8_percent_encode(text, &PLAIN).to_string();
        let pairs: Vec<String> =
            self.0.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
        pairs.join("&")
    }
}

/// A file to upload.
pub(crate) struct Upload {
    pub(crate) content: &'static str,
    pub(crate) filename: String,
    pub(crate) sha256: String,
    pub(crate) bytes: Bytes,
}

enum Body {
    None,
    Form(String),
    Upload(Upload),
}

/// One request.
pub(crate) struct Call {
    method: Method,
    name: &'static str,
    path: String,
    query: String,
    body: Body,
}

impl Call {
    pub(crate) fn get(path: String, parameters: &Parameters) -> Self {
        Self { method: Method::GET, name: "GET", path, query: parameters.encode(), body: Body::None }
    }

    /// PVE takes no body on DELETE: parameters go into the query.
    pub(crate) fn delete(path: String, parameters: &Parameters) -> Self {
        Self { method: Method::DELETE, name: "DELETE", path, query: parameters.encode(), body: Body::None }
    }

    pub(crate) fn post(path: String, parameters: &Parameters) -> Self {
        Self { method: Method::POST, name: "POST", path, query: String::new(), body: Body::Form(parameters.encode()) }
    }

    pub(crate) fn put(path: String, parameters: &Parameters) -> Self {
        Self { method: Method::PUT, name: "PUT", path, query: String::new(), body: Body::Form(parameters.encode()) }
    }

    pub(crate) fn upload(path: String, upload: Upload) -> Self {
        Self { method: Method::POST, name: "POST", path, query: String::new(), body: Body::Upload(upload) }
    }
}

/// Connections to the endpoints of one cluster.
pub(crate) struct Transport {
    http: reqwest::Client,
    endpoints: Vec<Endpoint>,
    token_id: String,
    /// The endpoint that answered last.
    preferred: AtomicUsize,
}

impl Transport {
    pub(crate) fn new(config: &ClientConfig, tls: rustls::ClientConfig) -> Result<Self, SetupError> {
        if config.endpoints.is_empty() {
            return Err(SetupError::NoEndpoint);
        }
        let mut authorization = HeaderValue::from_str(config.token.header().expose_secret())
            .map_err(|error| SetupError::Http(error.into()))?;
        authorization.set_sensitive(true);
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .pool_idle_timeout(IDLE)
            .connect_timeout(CONNECT)
            .user_agent(&config.user_agent)
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, authorization)]))
            .build()
            .map_err(|error| SetupError::Http(error.into()))?;
        Ok(Self {
            http,
            endpoints: config.endpoints.clone(),
            token_id: config.token.id().to_owned(),
            preferred: AtomicUsize::new(0),
        })
    }

    /// The endpoint that answered last.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoints[self.preferred.load(Ordering::Relaxed) % self.endpoints.len()]
    }

    /// Sends a request and reads the `data` of its answer.
    ///
    /// Every request is repeated while the node's API daemon takes none; only reads are when the connection breaks under way.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let body = self.deliver(&call).await?;
        let envelope: Envelope<T> = serde_json::from_slice(&body).map_err(|source| Error::Shape {
            method: call.name,
            path: call.path,
            source,
        })?;
        Ok(envelope.data)
    }

    /// Outlasts a restart of the node's API daemon, which takes a few seconds.
    async fn deliver(&self, call: &Call) -> Result<Bytes, Error> {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_factor(2.0)
            .with_max_times(DELIVERIES - 1)
            .with_jitter();
        let deliver =
            || async { if call.method == Method::GET { self.read(call).await } else { self.attempt(call).await } };
        deliver.retry(delays).when(Error::is_daemon_down).await
    }

    async fn read(&self, call: &Call) -> Result<Bytes, Error> {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_factor(4.0)
            .with_max_times(ATTEMPTS - 1)
            .with_jitter();
        let attempt = || self.attempt(call);
        let is_lost = |error: &Error| matches!(error, Error::Interrupted { .. }) || error.is_daemon_lost();
        attempt.retry(delays).when(is_lost).await
    }

    /// Tries one endpoint after the other until one takes the request, beginning with the one that answered last.
    async fn attempt(&self, call: &Call) -> Result<Bytes, Error> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failure = None;
        for index in (0..self.endpoints.len()).map(|offset| (first + offset) % self.endpoints.len()) {
            match self.send(&self.endpoints[index], call).await {
                Err(error @ (Error::Unreachable { .. } | Error::Untrusted { .. })) => {
                    tracing::debug!(endpoint = %self.endpoints[index], %error, "endpoint does not take requests");
                    failure.get_or_insert(error);
                }
                outcome => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return outcome;
                }
            }
        }
        Err(failure.unwrap_or(Error::Setup(SetupError::NoEndpoint)))
    }

    async fn send(&self, endpoint: &Endpoint, call: &Call) -> Result<Bytes, Error> {
        let sent = self.request(endpoint, call).send().await;
        let response = sent.map_err(|error| broken(endpoint, call, error))?;
        tracing::debug!(
            method = call.name,
            path = call.path,
            status = response.status().as_u16(),
            "Proxmox VE answered"
        );
        let head = Head::of(&response);
        let body = response.bytes().await.map_err(|error| broken(endpoint, call, error))?;
        head.check(endpoint, &self.token_id, call, body)
    }

    fn request(&self, endpoint: &Endpoint, call: &Call) -> reqwest::RequestBuilder {
        let request = self.http.request(call.method.clone(), endpoint.join(&call.path, &call.query));
        match &call.body {
            Body::None => request.timeout(ANSWER),
            // Some servers in between insist on a length for an empty body too.
            Body::Form(form) => request
                .timeout(ANSWER)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(CONTENT_LENGTH, form.len())
                .body(form.clone()),
            Body::Upload(upload) => request.timeout(UPLOAD).multipart(multipart(upload)),
        }
    }
}

/// The server reads the fields as they come: all of them must stand before the file.
fn multipart(upload: &Upload) -> Form {
    let length = upload.bytes.len() as u64;
    let file = Part::stream_with_length(upload.bytes.clone(), length).file_name(upload.filename.clone());
    Form::new()
        .text("content", upload.content)
        .text("checksum-algorithm", "sha256")
        .text("checksum", upload.sha256.clone())
        .part("filename", file)
}

fn broken(endpoint: &Endpoint, call: &Call, error: reqwest::Error) -> Error {
    // The URL may hold parameters.
    let error = error.without_url();
    if let Some(refused) = find_refused(&error) {
        let reason = refused.to_string();
        return Error::Untrusted { endpoint: endpoint.to_string(), fingerprint: refused.fingerprint, reason };
    }
    if error.is_connect() {
        return Error::Unreachable { endpoint: endpoint.to_string(), source: error.into() };
    }
    Error::Interrupted { method: call.name, path: call.path.clone(), source: error.into() }
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

struct Head {
    status: u16,
    reason: String,
}

impl Head {
    fn of(response: &Response) -> Self {
        let custom = response
            .extensions()
            .get::<ReasonPhrase>()
            .map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
        let reason = custom.or_else(|| response.status().canonical_reason().map(str::to_owned)).unwrap_or_default();
        Self { status: response.status().as_u16(), reason }
    }

    fn check(self, endpoint: &Endpoint, token_id: &str, call: &Call, body: Bytes) -> Result<Bytes, Error> {
        let not_pve = |detail: String| Error::NotPve { endpoint: endpoint.to_string(), detail };
        match self.status {
            200..=299 if looks_like_json(&body) => Ok(body),
            200..=299 => Err(not_pve("its answer is not JSON".to_owned())),
            // PVE has neither redirects nor a 404.
            300..=399 | 404 | 405 => Err(not_pve(format!("it answers {} {}", self.status, self.reason))),
            _ if is_foreign(&body) => Err(not_pve(format!("it answers {} {}", self.status, self.reason))),
            _ => Err(Error::Refused(self.refusal(token_id, call, &body))),
        }
    }

    fn refusal(self, token_id: &str, call: &Call, body: &[u8]) -> Refusal {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let message = json.get("message").and_then(Value::as_str).map(str::trim).filter(|message| !message.is_empty());
        let message = message.map(str::to_owned).or_else(|| plain_text(&json, body)).unwrap_or(self.reason);
        let errors: BTreeMap<String, String> = match json.get("errors") {
            Some(Value::Object(errors)) => {
                errors.iter().filter_map(|(key, value)| Some((key.clone(), lenient::text_of(value)?))).collect()
            }
            _ => BTreeMap::new(),
        };
        Refusal {
            method: call.name,
            path: call.path.clone(),
            status: self.status,
            message,
            errors,
            token_id: token_id.to_owned(),
        }
    }
}

fn looks_like_json(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// JSON as other services answer it: PVE's always has `data`, also when it refuses.
fn is_foreign(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body)
        .is_ok_and(|json| json.as_object().is_some_and(|json| !json.contains_key("data")))
}

/// Some refusals are a line of plain text. A page of HTML says less than the reason phrase.
fn plain_text(json: &Value, body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let plain = json.is_null() && !text.is_empty() && text.len() <= 500 && !text.starts_with(['<', '{']);
    plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(status: u16, reason: &str, body: &str) -> Error {
        let head = Head { status, reason: reason.into() };
        let call = Call::get("/x".into(), &Parameters::default());
        head.check(&"https://pve1:8006".parse().unwrap(), "ci@pve!t1", &call, Bytes::copy_from_slice(body.as_bytes()))
            .unwrap_err()
    }

    fn text(error: &Error) -> String {
        match error {
            Error::Refused(refusal) => refusal.text(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_message_stands_before_the_reason_phrase() {
        let body =
            "{\"data\":null,\"message\":\"Configuration file 'nodes/pve1/qemu-server/7777.conf' does not exist\\n\"}";
        assert_eq!(
            text(&refuse(500, "Internal Server Error", body)),
            "Configuration file 'nodes/pve1/qemu-server/7777.conf' does not exist"
        );
    }

    #[test]
    fn an_empty_body_leaves_the_reason_phrase() {
        let error = refuse(401, "Authentication failed!", "");
        assert_eq!(text(&error), "Authentication failed!");
        assert!(error.is_unauthenticated());
        let upload = refuse(403, "Permission check failed (/storage/local, Datastore.AllocateTemplate)", "");
        assert_eq!(upload.missing_privilege().unwrap().privileges, ["Datastore.AllocateTemplate"]);
    }

    #[test]
    fn parameters_are_named() {
        let body = r#"{"data":null,"message":"Parameter verification failed.\n","errors":{"vmid":"property is missing and it is not optional"}}"#;
        assert_eq!(
            text(&refuse(400, "Parameter verification failed.", body)),
            "Parameter verification failed. vmid: property is missing and it is not optional"
        );
    }

    #[test]
    fn plain_text_refusals_are_read() {
        assert_eq!(text(&refuse(501, "x", "for data too large")), "for data too large");
        assert_eq!(text(&refuse(500, "reason", "<html>long page</html>")), "reason");
    }

    #[test]
    fn other_servers_are_recognised() {
        let github = r#"{"message":"Requires authentication"}"#;
        for (status, body) in [(404, "<html>"), (301, ""), (200, "<html>"), (200, ""), (401, github)] {
            assert!(matches!(refuse(status, "Not Found", body), Error::NotPve { .. }), "{status}");
        }
    }

    #[test]
    fn parameters_keep_order_and_repeat_keys() {
        let parameters = Parameters::default()
            .with("command", "/bin/sh")
            .with("command", "a b&c=ü+/")
            .with_flag("full", false)
            .with_some("pool", None::<&str>);
        assert_eq!(parameters.encode(), "command=%2Fbin%2Fsh&command=a%20b%26c%3D%C3%BC%2B%2F&full=0");
    }

    #[test]
    fn a_volume_id_stays_one_segment() {
        assert_eq!(segment("local:iso/../x y.iso"), "local:iso%2F..%2Fx%20y.iso");
        assert_eq!(segment("UPID:pve1:00:00:00:qmclone:9000:ci@pve!t1:"), "UPID:pve1:00:00:00:qmclone:9000:ci@pve!t1:");
    }
}
