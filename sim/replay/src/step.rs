//! A recorded step.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ReplayError;

/// One line of a recording. The recordings' README describes the fields.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) scenario: String,
    pub(super) step: Option<u64>,
    pub(super) kind: Option<String>,
    pub(super) about: Option<String>,
    #[serde(rename = "as")]
    pub(super) caller: Option<String>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) params: Value,
    pub(super) parts: Vec<Map<String, Value>>,
    pub(super) raw_body: Option<String>,
    pub(super) raw_body_length: Option<usize>,
    pub(super) headers_sent: Map<String, Value>,
    pub(super) status: Option<u16>,
    pub(super) reason: Option<String>,
    pub(super) body: Value,
    pub(super) headers: Map<String, Value>,
    pub(super) task: Option<Task>,
    pub(super) upid: Option<Map<String, Value>>,
    pub(super) elapsed_ms_class: Option<String>,
    pub(super) frames: Vec<Frame>,
    pub(super) unstable: Option<String>,
    pub(super) lab_artifact: Option<String>,
    pub(super) note: Option<String>,
    pub(super) action: Option<String>,
    pub(super) repeated: Option<u64>,
    /// Measurement of connections; see [`super::transport`].
    pub(super) event: Option<String>,
    pub(super) after_seconds: Option<f64>,
    pub(super) connection_header_changes: Vec<(u32, String)>,
    pub(super) responses: Option<usize>,
    pub(super) header_lines: Option<usize>,
    pub(super) header_bytes_about: Option<usize>,
}

/// The end of a task, as recorded.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Task {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) user: String,
    pub(super) status: String,
    pub(super) exitstatus: Option<String>,
    pub(super) log: Vec<String>,
    pub(super) elapsed_ms_class: Option<String>,
}

/// A websocket frame.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Frame {
    pub(super) dir: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) data: Option<String>,
}

impl Step {
    /// Returns true for a comment.
    pub(super) fn is_comment(&self) -> bool {
        self.kind.as_deref() == Some("about")
            || (self.method.is_none() && self.action.is_none() && self.status.is_none())
    }

    /// Returns true for a measurement of connections or costs, which is not replayed.
    pub(super) fn is_measurement(&self) -> bool {
        self.is_comment() || (self.action.is_none() && (self.method.is_none() || self.status.is_none()))
    }

    /// Returns the number of following steps that were sent simultaneously.
    pub(super) fn together(&self) -> Option<usize> {
        let text = self.about.as_deref()?.strip_prefix("the next ")?;
        if !text.contains("at the same moment") {
            return None;
        }
        text.split(' ').next()?.parse().ok()
    }
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Step>, ReplayError> {
    let mut steps = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let step: Step = serde_json::from_str(line).map_err(|source| ReplayError::Parse {
            path: path.to_owned(),
            line: index + 1,
            source,
        })?;
        steps.push(step);
    }
    Ok(steps)
}
