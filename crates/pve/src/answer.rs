//! Answers of the API, and the forms of PVE's errors.
//!
//! PVE puts many texts into the reason phrase, which most HTTP clients drop.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Response;
use hyper::ext::ReasonPhrase;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    call::Call,
    endpoint::Endpoint,
    error::{Error, Refusal},
    lenient,
};

#[derive(Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) data: T,
}

/// Status line of an answer.
pub(crate) struct Head {
    status: u16,
    reason: String,
}

impl Head {
    pub(crate) fn of(response: &Response<Bytes>) -> Self {
        let custom = response
            .extensions()
            .get::<ReasonPhrase>()
            .map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
        let reason = custom.or_else(|| response.status().canonical_reason().map(str::to_owned)).unwrap_or_default();
        Self { status: response.status().as_u16(), reason }
    }

    /// Returns the body of a success, or the error.
    pub(crate) fn check(self, endpoint: &Endpoint, token_id: &str, call: &Call, body: Bytes) -> Result<Bytes, Error> {
        let not_pve = |detail: String| Error::NotPve { endpoint: endpoint.to_string(), detail };
        match self.status {
            200..=299 if looks_like_json(&body) => Ok(body),
            200..=299 => Err(not_pve("its answer is not JSON".to_owned())),
            // PVE answers with neither redirects nor 404.
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

/// Returns true if the body is JSON of another service. PVE's JSON always has `data`, even in a refusal.
fn is_foreign(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body)
        .is_ok_and(|json| json.as_object().is_some_and(|json| !json.contains_key("data")))
}

/// Returns the text of a refusal that is a line of plain text. A page of HTML is ignored, because the reason phrase
/// says more.
fn plain_text(json: &Value, body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let plain = json.is_null() && !text.is_empty() && text.len() <= 500 && !text.starts_with(['<', '{']);
    plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Parameters;

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
    fn the_message_takes_precedence_over_the_reason_phrase() {
        let body =
            "{\"data\":null,\"message\":\"Configuration file 'nodes/pve1/qemu-server/7777.conf' does not exist\\n\"}";
        assert_eq!(
            text(&refuse(500, "Internal Server Error", body)),
            "Configuration file 'nodes/pve1/qemu-server/7777.conf' does not exist"
        );
    }

    #[test]
    fn the_reason_phrase_is_used_if_the_body_is_empty() {
        let error = refuse(401, "Authentication failed!", "");
        assert_eq!(text(&error), "Authentication failed!");
        assert!(error.is_unauthenticated());
        let upload = refuse(403, "Permission check failed (/storage/local, Datastore.AllocateTemplate)", "");
        assert_eq!(upload.missing_privilege().unwrap().privileges, ["Datastore.AllocateTemplate"]);
    }

    #[test]
    fn the_error_names_the_wrong_parameter() {
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
}
