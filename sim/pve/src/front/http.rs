//! The HTTP part of one connection: the work of PVE's API server before and after a call is handled.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::ext::ReasonPhrase;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::dispatch;
use crate::access::tickets::{self, Credentials};
use crate::cluster;
use crate::engine::{Call, Engine, TaskFault, WAITED};
use crate::guests::console::{self, Handshake, Target};
use crate::params::{Param, Params, from_json};
use crate::refusal::{Body, Outcome, Refusal};
use crate::reply::Reply;
use crate::schema::lookup;
use crate::schema::validate;
use crate::storage;
use crate::storage::upload::Upload;
use crate::world::guest::Kind;
use sim_http::faults::Fault;
use sim_http::payload::Payload;

const MAX_HEADERS: usize = 62;
const MAX_HEADER_BYTES: usize = 8192;
const MAX_BODY: u64 = 512 * 1024;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
pub(crate) struct Closed;

/// The body of a request: from a connection, or from inside the process.
pub(crate) trait RequestBody: hyper::body::Body<Data = Bytes, Error: Send> + Send {}
impl<B: hyper::body::Body<Data = Bytes, Error: Send> + Send> RequestBody for B {}

/// One client's connection.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) engine: Arc<Engine>,
    node: Arc<str>,
    requests: Arc<AtomicU32>,
}

struct Answer {
    status: u16,
    reason: String,
    kind: &'static str,
    body: Vec<u8>,
    /// Value of `Sec-WebSocket-Accept` and the requested protocol, if the connection becomes a console.
    upgrade: Option<(String, Option<String>)>,
    /// Number of bytes of the body that are sent, if a fault cuts the answer.
    cut: Option<usize>,
}

impl Front {
    pub(crate) fn new(engine: Arc<Engine>, node: &str) -> Self {
        Self { engine, node: node.into(), requests: Arc::default() }
    }

    /// Answers one request.
    pub(crate) async fn serve<B: RequestBody>(self, request: Request<B>) -> Result<Response<Payload>, Closed> {
        let began = Instant::now();
        let _at_work = self.engine.clock.request();
        let method = request.method().as_str().to_owned();
        let path = request.uri().path_and_query().map_or_else(String::new, |p| p.as_str().to_owned());
        let gzip = header(request.headers(), "accept-encoding").is_some_and(|v| v.contains("gzip"));
        let wants_close = header(request.headers(), "connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        let caller = std::sync::Mutex::new(String::from("-"));
        let waited = Arc::new(AtomicU64::new(0));
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let is_upload = path.split('?').next().is_some_and(|p| p.ends_with("/upload"));
        let outcome = WAITED.scope(waited.clone(), self.answer(request, &caller)).await;
        let spent = Duration::from_micros(waited.load(Ordering::Relaxed));
        let caller = caller.into_inner().unwrap_or_default();
        let status = outcome.as_ref().map_or(0, |answer| answer.status);
        self.engine.log.record_simulated(began, &method, &path, &caller, status, spent);
        let answer = outcome?;
        let keeps = answer.status == 200 && count < 100 && !is_upload && !wants_close;
        Ok(response(answer, keeps, gzip))
    }

    async fn answer<B: RequestBody>(
        &self,
        request: Request<B>,
        caller: &std::sync::Mutex<String>,
    ) -> Result<Answer, Closed> {
        let engine = &self.engine;
        // The connection ends with the node, but a request that has just arrived may be read first.
        if !engine.state().is_online(&self.node) {
            return Err(Closed);
        }
        if too_many_headers(request.headers(), request.uri().to_string().len()) {
            engine.wait(Duration::from_secs(5)).await;
            return Err(Closed);
        }
        let format = if request.uri().path().starts_with("/api2/extjs") { "extjs" } else { "json" };
        match self.outcome(request, caller).await {
            Ok(Done::Reply(Reply::Text(text), cut)) => Ok(Answer {
                status: 200,
                reason: "OK".into(),
                kind: "text/plain",
                body: text.into_bytes(),
                upgrade: None,
                cut,
            }),
            Ok(Done::Reply(Reply::Data(data, extras), cut)) => Ok(Answer { cut, ..success(&data, extras, format) }),
            Ok(Done::Reply(Reply::RawJson(data), cut)) => Ok(Answer { cut, ..success(&data, Map::new(), format) }),
            Ok(Done::Upgrade(accept, protocol)) => Ok(Answer {
                status: 101,
                reason: "Switching Protocols".into(),
                kind: "",
                body: Vec::new(),
                upgrade: Some((accept, protocol)),
                cut: None,
            }),
            Err(refusal) => {
                if refusal.hold > 0 {
                    engine.wait(Duration::from_secs(refusal.hold)).await;
                }
                if refusal.body == Body::Closed {
                    return Err(Closed);
                }
                Ok(refused(&refusal, format))
            }
        }
    }

    async fn outcome<B: RequestBody>(
        &self,
        mut request: Request<B>,
        caller: &std::sync::Mutex<String>,
    ) -> Outcome<Done> {
        let engine = &self.engine;
        let (method, headers) = (request.method().clone(), request.headers().clone());
        let path = acceptable(&method, &headers, request.uri().path())?;
        let query = request.uri().query().unwrap_or_default().to_owned();
        let is_upload = is_upload(&method, &path);
        let who = authenticate(engine, &method, &path, &headers)?;
        if let (Some(who), Ok(mut name)) = (&who, caller.lock()) {
            name.clone_from(who);
        }
        let mut after = None;
        if !is_upload {
            after = self.fault(method.as_str(), &path).await?;
        }
        let mut params = Params::default();
        form(&query, &mut params);
        if is_websocket(&headers) && path.ends_with("/vncwebsocket") {
            let upgrade = hyper::upgrade::on(&mut request);
            return self.console(&path, who.unwrap_or_default(), params, &headers, upgrade);
        }
        let mut upload = None;
        if is_upload && !header(&headers, "content-type").is_some_and(|kind| kind.starts_with("multipart/form-data")) {
            return Err(Refusal::new(0, "", Body::Closed).held(5));
        }
        if is_upload {
            upload_allowed(engine, &path, who.as_deref().unwrap_or_default())?;
            upload = self.upload(request, &headers, &mut params).await?;
            // A client that is still sending may not receive an answer.
            after = self.fault(method.as_str(), &path).await?;
        } else if matches!(method, Method::POST | Method::PUT) {
            let body = collect(request).await?;
            self.body(method.as_str(), &path, &headers, &body, &mut params)?;
        }
        let task_fault = after.as_ref().and_then(TaskFault::of);
        let checked = dispatch::Request {
            asked: &self.node,
            method: method.as_str(),
            path: &path,
            caller: who,
            params,
            upload,
            task_fault,
        };
        let reply = dispatch::run(engine, checked).await;
        match after {
            Some(Fault::DaemonDies) => Err(Refusal::new(596, "Connection reset by peer", Body::Empty)),
            Some(Fault::DropReply) => Err(Refusal::new(0, "", Body::Closed)),
            Some(Fault::Cut { after }) => reply.map(|reply| Done::Reply(reply, Some(after))),
            _ => reply.map(|reply| Done::Reply(reply, None)),
        }
    }

    /// Applies the part of a fault that comes before the call. Returns a fault that comes after it.
    async fn fault(&self, method: &str, path: &str) -> Outcome<Option<Fault>> {
        let by_daemon = self.engine.schema.find(method, path).is_ok_and(|(route, _)| route.protected);
        match self.engine.faults.take(method, path, |fault| by_daemon || !fault.needs_daemon()) {
            Some(Fault::DaemonStopped) => Err(Refusal::new(595, "Connection refused", Body::Empty)),
            Some(Fault::Refuse { status, text }) => Err(Refusal::new(status, text, Body::Message)),
            Some(Fault::DropRequest | Fault::Restart) => Err(Refusal::new(0, "", Body::Closed)),
            Some(Fault::Delay(time)) => {
                self.engine.wait(time).await;
                Ok(None)
            }
            after => Ok(after),
        }
    }

    fn console(
        &self,
        path: &str,
        caller: String,
        mut params: Params,
        headers: &HeaderMap,
        upgrade: hyper::upgrade::OnUpgrade,
    ) -> Outcome<Done> {
        let engine = &self.engine;
        let not_there = || cluster::api::not_implemented("GET", path);
        let (route, values) = engine.schema.find("GET", path).map_err(|_| not_there())?;
        for (name, value) in values {
            params.insert_text(&name, value);
        }
        engine.state().check_declared(&caller, &route.check, &params)?;
        validate::check(&engine.schema, route, &mut params)?;
        let of = if route.path.contains("/lxc/") {
            Target::Guest(Kind::Lxc)
        } else if route.path.contains("/qemu/") {
            Target::Guest(Kind::Qemu)
        } else {
            Target::Node
        };
        let node = params.text("node").unwrap_or_default().to_owned();
        let call = Call { caller, node, params, task_fault: None };
        let port = console::check_ticket(engine, &call, of)?;
        let handshake = Handshake {
            upgrade,
            version: header(headers, "sec-websocket-version"),
            key: header(headers, "sec-websocket-key"),
        };
        let accept = console::connect(engine, &call, of, port, handshake)?;
        Ok(Done::Upgrade(accept, header(headers, "sec-websocket-protocol")))
    }

    async fn upload<B: RequestBody>(
        &self,
        request: Request<B>,
        headers: &HeaderMap,
        params: &mut Params,
    ) -> Outcome<Option<Upload>> {
        let kind = header(headers, "content-type").unwrap_or_default();
        let body = collect(request).await?;
        let Some(boundary) = kind.split("boundary=").nth(1).filter(|_| kind.starts_with("multipart/form-data")) else {
            return Ok(None);
        };
        let (fields, upload) = storage::upload::parse(&body, boundary.trim_matches('"'), &self.engine.files)?;
        params.0.extend(fields.0);
        Ok(Some(upload))
    }

    fn body(&self, method: &str, path: &str, headers: &HeaderMap, body: &[u8], params: &mut Params) -> Outcome<()> {
        let kind = header(headers, "content-type").unwrap_or_default();
        let plain = kind.split(';').next().unwrap_or_default().trim();
        match plain {
            "" | "application/x-www-form-urlencoded" => {
                form(&String::from_utf8_lossy(body), params);
                Ok(())
            }
            "application/json" => self.json(method, path, body, params),
            _ => Err(Refusal::new(506, format!("upload 'Content-Type '{kind}' not implemented"), Body::BareText)),
        }
    }

    fn json(&self, method: &str, path: &str, body: &[u8], params: &mut Params) -> Outcome<()> {
        let value: Value = serde_json::from_slice(body).map_err(|error| malformed(body, &error))?;
        let object = match value {
            Value::Object(object) => object,
            Value::String(text) => {
                let text = format!(
                    "Can't use string (\"{text}\") as a HASH ref while \"strict refs\" in use at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 978."
                );
                return Err(Refusal::new(500, text, Body::Text));
            }
            _ => {
                return Err(Refusal::new(
                    500,
                    "Not a HASH reference at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 978.",
                    Body::Text,
                ));
            }
        };
        let route = self.engine.schema.find(method, path).ok();
        let guest = if path.contains("/lxc") { "lxc" } else { "qemu" };
        for (name, value) in &object {
            let boolean = route
                .as_ref()
                .and_then(|(route, _)| lookup(&route.properties, guest, name))
                .is_some_and(|p| p.kind() == "boolean");
            params.0.insert(name.clone(), from_json(value, boolean));
        }
        Ok(())
    }
}

enum Done {
    /// Answer, and the number of bytes of it that are sent if a fault cuts it.
    Reply(Reply, Option<usize>),
    Upgrade(String, Option<String>),
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn too_many_headers(headers: &HeaderMap, line: usize) -> bool {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    headers.len() > MAX_HEADERS || bytes + line > MAX_HEADER_BYTES
}

fn decode(path: &str) -> String {
    percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// Returns the path below `/api2/<format>`.
fn below_api(path: &str) -> Outcome<String> {
    let Some(rest) = path.strip_prefix("/api2/") else {
        return Err(Refusal::new(500, format!("no such file '{path}'"), Body::Text));
    };
    let (format, rest) = rest.split_once('/').map_or((rest, String::new()), |(format, rest)| (format, rest.to_owned()));
    let clean: Vec<&str> = rest.split('/').filter(|p| !p.is_empty()).collect();
    let clean = format!("/{}", clean.join("/"));
    if !matches!(format, "json" | "extjs") {
        return Err(Refusal::new(501, format!("no formatter for uri {clean}, {format}"), Body::BareText));
    }
    Ok(clean)
}

fn authenticate(engine: &Engine, method: &Method, path: &str, headers: &HeaderMap) -> Outcome<Option<String>> {
    let credentials = Credentials {
        authorization: header(headers, "authorization"),
        cookie: header(headers, "cookie"),
        csrf: header(headers, "csrfpreventiontoken"),
    };
    let open = path == "/access/ticket"
        || (path == "/access/domains" && *method == Method::GET)
        || path.starts_with("/access/openid");
    if open && !credentials.authorization.as_deref().is_some_and(|v| v.starts_with("PVEAPIToken")) {
        return Ok(None);
    }
    tickets::caller(engine, &credentials, *method == Method::GET).map(Some)
}

fn is_websocket(headers: &HeaderMap) -> bool {
    header(headers, "upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
}

/// Checks the privilege for an upload before the body is read. The refusal is delayed and has no body.
fn upload_allowed(engine: &Engine, path: &str, caller: &str) -> Outcome<()> {
    let storage = path.split('/').nth(4).unwrap_or_default();
    let checked = engine.state().require(caller, &format!("/storage/{storage}"), &["Datastore.AllocateTemplate"]);
    checked.map_err(|refusal| Refusal { body: Body::Empty, ..refusal }.held(3))
}

async fn collect<B: RequestBody>(request: Request<B>) -> Outcome<Bytes> {
    let body = request.into_body().collect().await.map_err(|_| Refusal::new(0, "", Body::Closed))?;
    Ok(body.to_bytes())
}

fn form(text: &str, params: &mut Params) {
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let value = pair.split_once('=').map(|(_, value)| Param::Text(form_word(value)));
        let name = form_word(pair.split('=').next().unwrap_or_default());
        params.push_form(&name, value.unwrap_or(Param::Undefined));
    }
}

fn form_word(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn malformed(body: &[u8], error: &serde_json::Error) -> Refusal {
    let offset = if error.is_eof() { body.len() } else { error.column().saturating_sub(1) };
    let rest = String::from_utf8_lossy(body.get(offset..).unwrap_or_default()).into_owned();
    let before = if rest.is_empty() { "(end of string)".to_owned() } else { rest };
    let text = format!(
        "malformed JSON string, neither tag, array, object, number, string or atom, at character offset {offset} (before \"{before}\") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934."
    );
    Refusal::new(500, text, Body::Text)
}

fn success<T: Serialize>(data: &T, mut extras: Map<String, Value>, format: &str) -> Answer {
    #[derive(Serialize)]
    struct Success<'a, T> {
        data: &'a T,
        #[serde(flatten)]
        extras: Map<String, Value>,
    }
    if format == "extjs" {
        extras.insert("success".into(), json!(1));
    }
    Answer {
        status: 200,
        reason: "OK".into(),
        kind: "application/json;charset=UTF-8",
        body: serde_json::to_vec(&Success { data, extras }).unwrap_or_default(),
        upgrade: None,
        cut: None,
    }
}

fn refused(refusal: &Refusal, format: &str) -> Answer {
    let errors: &BTreeMap<String, String> = &refusal.errors;
    let message = match refusal.body {
        Body::BareMessage => refusal.reason.clone(),
        _ if refusal.reason.contains("not available with API token") => {
            format!("{}\n)\n", refusal.reason.trim_end_matches(')').trim_end())
        }
        _ => format!("{}\n", refusal.reason),
    };
    let reason = refusal.reason.lines().next().unwrap_or_default().to_owned();
    let reason =
        if reason.contains("not available with API token") { reason.trim_end_matches(')').to_owned() } else { reason };
    let mut value = json!({ "data": null, "message": message });
    if !errors.is_empty() {
        value["errors"] = json!(errors);
    }
    if format == "extjs" && matches!(refusal.body, Body::Message | Body::BareMessage) {
        value["success"] = json!(0);
        value["status"] = if refusal.status == 400 { json!("400") } else { json!(refusal.status) };
        return Answer {
            status: 200,
            reason: "OK".into(),
            kind: "application/json;charset=UTF-8",
            body: value.to_string().into_bytes(),
            upgrade: None,
            cut: None,
        };
    }
    let (kind, body) = match refusal.body {
        Body::Message | Body::BareMessage => ("application/json;charset=UTF-8", value.to_string().into_bytes()),
        Body::Text => ("", format!("{}\n", refusal.reason).into_bytes()),
        Body::BareText => ("", refusal.reason.clone().into_bytes()),
        Body::Empty | Body::Closed => ("", Vec::new()),
    };
    Answer { status: refusal.status, reason, kind, body, upgrade: None, cut: None }
}

fn response(answer: Answer, keeps: bool, gzip: bool) -> Response<Payload> {
    let mut body = answer.body;
    let squeezed = gzip && body.len() > 1024;
    if squeezed {
        body = compress(&body);
    }
    let payload = Payload::whole(body);
    let mut response = Response::new(match answer.cut {
        Some(length) => payload.cut(length),
        None => payload,
    });
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(reason) = ReasonPhrase::try_from(answer.reason.as_bytes()) {
        response.extensions_mut().insert(reason);
    }
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("server", "pve-api-daemon/3.0");
    if let Some((accept, protocol)) = answer.upgrade {
        put("upgrade", "websocket");
        put("connection", "upgrade");
        put("sec-websocket-accept", &accept);
        if let Some(protocol) = protocol {
            put("sec-websocket-protocol", &protocol);
        }
        return response;
    }
    put("connection", if keeps { "Keep-Alive" } else { "close" });
    put("cache-control", "max-age=0");
    put("pragma", "no-cache");
    if !answer.kind.is_empty() {
        put("content-type", answer.kind);
    }
    if squeezed {
        put("content-encoding", "gzip");
    }
    response
}

fn compress(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    if encoder.write_all(body).is_err() {
        return body.to_vec();
    }
    encoder.finish().unwrap_or_else(|_| body.to_vec())
}

fn is_upload(method: &Method, path: &str) -> bool {
    method == Method::POST && path.ends_with("/upload")
}

/// Returns the path below `/api2/<format>` if pveproxy accepts the request's method, headers and length.
fn acceptable(method: &Method, headers: &HeaderMap, path: &str) -> Outcome<String> {
    if ![Method::GET, Method::POST, Method::PUT, Method::DELETE].contains(method) {
        return Err(Refusal::new(501, format!("method '{method}' not available"), Body::Empty));
    }
    if header(headers, "transfer-encoding").is_some() {
        return Err(Refusal::new(501, "chunked transfer encoding not supported", Body::BareText));
    }
    let length: u64 = header(headers, "content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    let path = below_api(&decode(path))?;
    if length > 0 && (method == Method::GET || method == Method::DELETE) {
        return Err(Refusal::new(501, format!("Unexpected content for method '{method}'"), Body::BareText));
    }
    if length > MAX_BODY && !is_upload(method, &path) {
        return Err(Refusal::new(501, "for data too large", Body::BareText));
    }
    Ok(path)
}
