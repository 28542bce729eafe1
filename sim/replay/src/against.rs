//! Comparison of recordings with a foreign server: its answers must have the recorded shape.
//!
//! Such a server has other guests, numbers and times than the recorded one. Compared are the status and the text of
//! refusals, the keys and types of answers, and the status of tasks. The settings have one caller, so only steps of
//! that caller are sent, and only reading ones unless the settings allow changes.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::compare::Bindings;
use super::request::{self, Source};
use super::step::Step;
use super::{ReplayError, Report, Scenario};

/// Caller in the recordings whose steps are sent with the settings' token.
const RECORDED: &str = "root@pam!lab";
/// Time after which the end of a task is not awaited any longer.
const LONGEST_TASK: Duration = Duration::from_secs(600);

/// A server to compare with.
#[derive(Debug, Clone)]
pub struct ForeignServer {
    endpoint: String,
    token: String,
    secret: String,
    ca_pem: Option<String>,
    writes: bool,
}

/// Error that prevents the use of a server.
#[derive(Debug, thiserror::Error)]
pub enum ForeignServerError {
    /// A variable is not set.
    #[error("{0} is not set")]
    Missing(String),
    /// The file with the CA's certificate cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Path of the file.
        path: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
}

impl ForeignServer {
    /// Creates the settings of a server at `endpoint` (`https://host:port`) with a token (`user@realm!name`) and a CA.
    /// Without a CA the server's certificate is not verified. `writes` allows steps that change something.
    #[must_use]
    pub fn new(endpoint: &str, token: &str, secret: &str, ca_pem: Option<String>, writes: bool) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Self { endpoint, token: token.to_owned(), secret: secret.to_owned(), ca_pem, writes }
    }

    /// Reads `<prefix>_ENDPOINT`, `_TOKEN_ID`, `_TOKEN_SECRET`, `_CA_FILE` (optional) and `_WRITES` (optional, `1`).
    ///
    /// # Errors
    /// When a variable is missing, or a file cannot be read.
    pub fn from_environment(prefix: &str) -> Result<Self, ForeignServerError> {
        let optional = |name: &str| std::env::var(format!("{prefix}_{name}")).ok().filter(|value| !value.is_empty());
        let wanted = |name: &str| optional(name).ok_or_else(|| ForeignServerError::Missing(format!("{prefix}_{name}")));
        let ca_pem = match optional("CA_FILE") {
            Some(path) => {
                Some(std::fs::read_to_string(&path).map_err(|source| ForeignServerError::Read { path, source })?)
            }
            None => None,
        };
        let writes = optional("WRITES").is_some_and(|flag| flag == "1");
        Ok(Self::new(&wanted("ENDPOINT")?, &wanted("TOKEN_ID")?, &wanted("TOKEN_SECRET")?, ca_pem, writes))
    }
}

impl Source for ForeignServer {
    fn credential(&self, name: &str) -> String {
        if name == format!("secret:{}", self.token) { self.secret.clone() } else { String::new() }
    }

    fn ticket(&self, _user: &str) -> (String, String) {
        Default::default()
    }
}

/// Sends those steps of a directory's recordings that a server can answer.
///
/// # Errors
/// When the recordings cannot be read, or the server cannot be reached.
pub async fn against(directory: &Path, server: &ForeignServer) -> Result<Report, ReplayError> {
    let client = Client::trusting(&server.endpoint, server.ca_pem.as_deref()).map_err(ReplayError::Connect)?;
    let mut report = Report::default();
    for (name, steps) in super::recordings(directory)? {
        let mut bindings = Bindings::default();
        for step in steps.iter().filter(|step| !step.is_measurement()) {
            let scenario = if step.scenario.is_empty() { name.as_str() } else { step.scenario.as_str() };
            if report.scenarios.last().is_none_or(|last| last.file != name || last.name != scenario) {
                bindings = Bindings::default();
                report.scenarios.push(Scenario::new(&name, scenario));
            }
            let outcome = one(&client, server, step, &mut bindings).await?;
            let Some(scenario) = report.scenarios.last_mut() else { continue };
            match outcome {
                None => scenario.left_out += 1,
                Some(Ok(())) => scenario.equal += 1,
                Some(Err(text)) => scenario.different.push(format!(
                    "{} {} {}: {text}",
                    step.step.unwrap_or(0),
                    step.method.as_deref().unwrap_or_default(),
                    step.path.as_deref().unwrap_or_default()
                )),
            }
        }
    }
    Ok(report)
}

/// Sends a step. Returns `None` if it cannot be sent.
async fn one(
    client: &Client,
    server: &ForeignServer,
    step: &Step,
    bindings: &mut Bindings,
) -> Result<Option<Result<(), String>>, ReplayError> {
    let reads = step.method.as_deref() == Some("GET");
    let plain = !matches!(step.encoding.as_deref(), Some("websocket" | "raw" | "multipart"));
    let known = step.caller.as_deref() == Some(RECORDED) && step.action.is_none() && step.headers_sent.is_empty();
    let settled = step.unstable.is_none() && step.lab_artifact.is_none();
    if !(plain && known && settled && (reads || server.writes))
        || !bindings.knows(step.path.as_deref().unwrap_or_default())
    {
        return Ok(None);
    }
    let sent = Step { caller: Some(server.token.clone()), ..step.clone() };
    let wire = request::build(&sent, bindings, server);
    let answer = client.send(&wire.head, &wire.body).await.map_err(ReplayError::Connect)?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let outcome = compare(step, &answer, &body, bindings);
    let Some(upid) = body["data"].as_str().filter(|text| text.starts_with("UPID:")) else { return Ok(Some(outcome)) };
    let end = task_end(client, server, upid).await?;
    let wanted = step.task.as_ref().and_then(|task| task.exitstatus.clone());
    Ok(Some(outcome.and_then(|()| match (wanted, end) {
        (Some(wanted), Some(end)) => bindings.matches(&json!(wanted), &json!(end), "exitstatus"),
        (Some(_), None) => Err("the task did not end".to_owned()),
        (None, _) => Ok(()),
    })))
}

fn compare(step: &Step, answer: &Answer, body: &Value, bindings: &mut Bindings) -> Result<(), String> {
    let status = step.status.unwrap_or(0);
    if answer.status != status {
        return Err(format!("status {} {} instead of {status}", answer.status, answer.reason));
    }
    // Stores values for later steps. Other differences are not compared here.
    let mut tried = bindings.clone();
    if tried.matches(&step.body, body, "body").is_ok() {
        *bindings = tried;
        return Ok(());
    }
    if status != 200 {
        let reason = step.reason.as_deref().unwrap_or_default();
        return bindings.matches(&json!(reason), &json!(answer.reason), "reason");
    }
    same_shape(&step.body["data"], &body["data"], "data")
}

/// Returns the keys that every recorded row has, with values of a recorded type.
fn same_shape(want: &Value, have: &Value, at: &str) -> Result<(), String> {
    match (want, have) {
        (Value::Object(want), Value::Object(have)) => want.iter().try_for_each(|(key, value)| match have.get(key) {
            Some(other) => same_shape(value, other, &format!("{at}.{key}")),
            None => Err(format!("{at}.{key}: missing")),
        }),
        (Value::Array(want), Value::Array(have)) => {
            let fits = |other: &Value| {
                let tries = want.iter().map(|one| same_shape(one, other, &format!("{at}[]")));
                tries.reduce(|one, next| one.or(next)).unwrap_or(Ok(()))
            };
            have.iter().try_for_each(fits)
        }
        _ if kind(want) == kind(have) => Ok(()),
        _ => Err(format!("{at}: {} instead of {}", kind(have), kind(want))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(text) if text.starts_with("${n:") => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

async fn task_end(client: &Client, server: &ForeignServer, upid: &str) -> Result<Option<String>, ReplayError> {
    let node = upid.split(':').nth(1).unwrap_or_default();
    let step = Step {
        caller: Some(server.token.clone()),
        method: Some("GET".to_owned()),
        path: Some(format!("/nodes/{node}/tasks/{upid}/status")),
        encoding: Some("query".to_owned()),
        ..Step::default()
    };
    let wire = request::build(&step, &Bindings::default(), server);
    let polls = async {
        loop {
            let answer = client.send(&wire.head, &wire.body).await?;
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
            if let Some(end) = body["data"]["exitstatus"].as_str() {
                return Ok(end.to_owned());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    match tokio::time::timeout(LONGEST_TASK, polls).await {
        Ok(end) => end.map(Some).map_err(ReplayError::Connect),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_differ_where_keys_and_types_do_not() {
        let want = json!([{ "vmid": 7, "name": "a", "uptime": "${n:uptime}" }]);
        assert!(same_shape(&want, &json!([{ "vmid": 8, "name": "b", "uptime": 5, "more": 1 }]), "data").is_ok());
        assert!(same_shape(&want, &json!([{ "vmid": "8", "name": "b", "uptime": 5 }]), "data").is_err());
        assert!(same_shape(&want, &json!([{ "vmid": 8, "uptime": 5 }]), "data").is_err());
        assert!(same_shape(&want, &json!([]), "data").is_ok());
    }
}
