//! Conversion of a recorded step to the bytes of a request.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::compare::Bindings;
use super::step::Step;

/// Characters of a recorded path that are not escaped.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b':')
    .remove(b'%')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'@')
    .remove(b'!')
    .remove(b'?')
    .remove(b'=')
    .remove(b'&')
    .remove(b',')
    .remove(b'+')
    .remove(b';');
const WORD: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

const BOUNDARY: &str = "recorded-boundary-7";

/// Source of values that only the running server has.
pub(super) trait Source {
    /// Returns the secret of a token, the password of a user, or an invented value.
    fn credential(&self, name: &str) -> String;
    /// Returns a new ticket and CSRF prevention token of a user.
    fn ticket(&self, user: &str) -> (String, String);
}

pub(super) struct Wire {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// Path as sent, for finding the request in the log.
    pub(super) path: String,
}

/// Replaces placeholders by their values.
pub(super) fn fill(text: &str, bindings: &Bindings, source: &dyn Source) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else { break };
        out.push_str(&rest[..start]);
        out.push_str(&value(&rest[start + 2..start + length], bindings, source));
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    out
}

fn value(name: &str, bindings: &Bindings, source: &dyn Source) -> String {
    if let Some(known) = bindings.values.get(name).or_else(|| bindings.values.get(name.trim_start_matches("n:"))) {
        return known.clone();
    }
    if let Some(count) = name.strip_suffix(" characters").and_then(|n| n.parse().ok()) {
        return "x".repeat(count);
    }
    let stem = name.trim_start_matches("n:").trim_end_matches(|c: char| c.is_ascii_digit());
    match stem {
        "upid" => "UPID:pve1:000002E8:0002A2C8:6B02BFC8:qmcreate:9999:root@pam!lab:".to_owned(),
        "pid" | "pstart" | "time" => "000002E8".to_owned(),
        "uuid" => "00000000-1111-4222-a333-444444444444".to_owned(),
        "digest" => "0".repeat(40),
        "ticket" if name == "ticket1" => source.ticket("dev@pve").0,
        "ticket" => "PVE:dev@pve:00000001::QUFB".to_owned(),
        "csrf" => "00000001:QUFB".to_owned(),
        "mac" => "BC:24:11:00:00:99".to_owned(),
        _ => source.credential(name),
    }
}

fn scalar(value: &Value, bindings: &Bindings, source: &dyn Source) -> String {
    match value {
        Value::String(text) => fill(text, bindings, source),
        Value::Bool(flag) => if *flag { "1" } else { "0" }.to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn pairs(step: &Step, bindings: &Bindings, source: &dyn Source) -> Vec<(String, String)> {
    let port = |key: &str, value: String| {
        if key == "port" { bindings.ports.get(&value).cloned().unwrap_or(value) } else { value }
    };
    match &step.params {
        Value::Object(object) => {
            object.iter().map(|(key, value)| (key.clone(), port(key, scalar(value, bindings, source)))).collect()
        }
        Value::Array(list) => list
            .iter()
            .filter_map(|pair| Some((pair.get(0)?.as_str()?.to_owned(), scalar(pair.get(1)?, bindings, source))))
            .collect(),
        _ => Vec::new(),
    }
}

fn encoded(pairs: &[(String, String)]) -> String {
    let word = |text: &str| utf8_percent_encode(text, WORD).to_string();
    pairs.iter().map(|(key, value)| format!("{}={}", word(key), word(value))).collect::<Vec<_>>().join("&")
}

fn filled_json(value: &Value, bindings: &Bindings, source: &dyn Source) -> Value {
    match value {
        Value::String(text) if text.starts_with("${n:") => {
            fill(text, bindings, source).parse::<i64>().map_or_else(|_| value.clone(), Value::from)
        }
        Value::String(text) => Value::String(fill(text, bindings, source)),
        Value::Array(all) => Value::Array(all.iter().map(|v| filled_json(v, bindings, source)).collect()),
        Value::Object(all) => {
            Value::Object(all.iter().map(|(k, v)| (k.clone(), filled_json(v, bindings, source))).collect())
        }
        other => other.clone(),
    }
}

/// Returns the content type and the body that a step sends.
fn payload(
    step: &Step,
    encoding: &str,
    pairs: &[(String, String)],
    bindings: &Bindings,
    source: &dyn Source,
) -> (Option<String>, Vec<u8>) {
    match encoding {
        "query" | "websocket" => (None, Vec::new()),
        "form" => (Some("application/x-www-form-urlencoded".to_owned()), encoded(pairs).into_bytes()),
        "json" => {
            let value = if step.params.is_null() {
                Value::Object(serde_json::Map::new())
            } else {
                filled_json(&step.params, bindings, source)
            };
            (Some("application/json".to_owned()), value.to_string().into_bytes())
        }
        "multipart" => (Some(format!("multipart/form-data; boundary={BOUNDARY}")), multipart(step, bindings, source)),
        _ => {
            let text = step.raw_body.as_deref().unwrap_or_default();
            let body = step
                .raw_body_length
                .map_or_else(|| fill(text, bindings, source).into_bytes(), |length| vec![b'a'; length]);
            (None, body)
        }
    }
}

/// Returns the bytes of a step.
pub(super) fn build(step: &Step, bindings: &Bindings, source: &dyn Source) -> Wire {
    let method = step.method.clone().unwrap_or_default();
    let raw_path = fill(step.path.as_deref().unwrap_or_default(), bindings, source);
    let is_outside = raw_path.starts_with("/api2")
        || step.note.as_deref() == Some("not below the API")
        || raw_path.starts_with("/nothing");
    let mut path = utf8_percent_encode(&raw_path, PATH).to_string();
    if !is_outside {
        path = format!("/api2/json{path}");
    }
    let pairs = pairs(step, bindings, source);
    let encoding =
        step.encoding.as_deref().unwrap_or(if matches!(method.as_str(), "POST" | "PUT") { "form" } else { "query" });
    let mut headers: Vec<(String, String)> = Vec::new();
    if matches!(encoding, "query" | "websocket") {
        if !pairs.is_empty() {
            let mark = if path.contains('?') { '&' } else { '?' };
            path = format!("{path}{mark}{}", encoded(&pairs));
        }
        if matches!(method.as_str(), "POST" | "PUT") {
            headers.push(("Content-Length".into(), "0".into()));
        }
    }
    let (kind, body) = payload(step, encoding, &pairs, bindings, source);
    headers.extend(kind.map(|kind| ("Content-Type".to_owned(), kind)));
    if encoding == "websocket" && step.note.as_deref().is_none_or(|note| note != "no key") {
        headers.push(("Sec-WebSocket-Key".into(), "dGhlIHNhbXBsZSBub25jZQ==".into()));
    }
    headers.extend(who(step, bindings, source));
    for (name, value) in &step.headers_sent {
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        if value.is_null()
            || matches!(name.as_str(), "User-Agent" | "Accept" | "Csrfpreventiontoken")
                && step.caller.as_deref() == Some("ticket")
        {
            continue;
        }
        headers.push((name.clone(), scalar(value, bindings, source)));
    }
    if step.caller.as_deref() == Some("ticket") {
        let (ticket, csrf) = source.ticket("dev@pve");
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("csrfpreventiontoken"));
        headers.push(("Authorization".into(), format!("PVEAuthCookie={ticket}")));
        headers.push(("CSRFPreventionToken".into(), csrf));
    }
    let chunked = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
    if !chunked && !body.is_empty() || encoding == "form" || encoding == "raw" && !chunked {
        headers.push(("Content-Length".into(), body.len().to_string()));
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection")) {
        headers.push(("Connection".into(), "keep-alive".into()));
    }
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    Wire { head, body, path }
}

fn who(step: &Step, _bindings: &Bindings, source: &dyn Source) -> Vec<(String, String)> {
    let caller = step.caller.as_deref().unwrap_or("root@pam!lab");
    let cookie = |user: &str, with_csrf: bool| {
        let (ticket, csrf) = source.ticket(user);
        let encoded = utf8_percent_encode(&ticket, WORD).to_string();
        let mut out = vec![("Cookie".to_owned(), format!("PVEAuthCookie={encoded}"))];
        if with_csrf {
            out.push(("CSRFPreventionToken".to_owned(), csrf));
        }
        out
    };
    match caller {
        "none" | "ticket" => Vec::new(),
        _ if caller.starts_with("ticket:") => cookie(&caller[7..], true),
        _ if caller.starts_with("cookie:") => cookie(&caller[7..], false),
        token => vec![(
            "Authorization".to_owned(),
            format!("PVEAPIToken={token}={}", source.credential(&format!("secret:{token}"))),
        )],
    }
}

fn multipart(step: &Step, bindings: &Bindings, source: &dyn Source) -> Vec<u8> {
    let mut out = Vec::new();
    for part in &step.parts {
        let text = |key: &str| part.get(key).and_then(Value::as_str);
        out.extend_from_slice(format!("--{BOUNDARY}\r\n").as_bytes());
        let head = match (text("raw_part_headers"), text("filename")) {
            (Some(raw), _) => raw.to_owned(),
            (None, Some(file)) => {
                format!(
                    "Content-Disposition: form-data; name=\"{}\"; filename=\"{file}\"\r\nContent-Type: application/octet-stream",
                    text("name").unwrap_or_default()
                )
            }
            (None, None) => format!("Content-Disposition: form-data; name=\"{}\"", text("name").unwrap_or_default()),
        };
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        match text("content") {
            Some(content) => out.extend_from_slice(fill(content, bindings, source).as_bytes()),
            None => out.extend(bytes(part)),
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    out
}

/// Returns repeated single bytes with the recorded digest, or a substitute for a file of the world.
fn bytes(part: &serde_json::Map<String, Value>) -> Vec<u8> {
    let length = part.get("length").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let wanted = part.get("sha256").and_then(Value::as_str).unwrap_or_default();
    let kind = part.get("kind").and_then(Value::as_str).unwrap_or_default();
    if kind == "bytes" {
        for byte in 0..=255_u8 {
            let all = vec![byte; length];
            if hex::encode(Sha256::digest(&all)) == wanted {
                return all;
            }
        }
    }
    let mut all = vec![0_u8; length];
    if kind.contains("qcow2") && length > 4 {
        all[..4].copy_from_slice(b"QFI\xfb");
    }
    all
}
