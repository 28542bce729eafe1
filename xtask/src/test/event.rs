//! Lines of a test program's output: libtest's JSON, or text from another source.

use std::time::Duration;

use serde::Deserialize;

/// Content of a line.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// A test program starts.
    Program(String),
    /// A test starts.
    Started(String),
    /// A test ended.
    Ended(Ended),
    /// The current program reported its result.
    Result,
    /// Text from outside the test harness.
    Text(String),
    /// Anything else.
    Other,
}

/// The end of a test.
#[derive(Debug, PartialEq)]
pub(super) struct Ended {
    /// The test's path within its program.
    pub(super) name: String,
    /// True if the test passed.
    pub(super) passed: bool,
    /// Run time; zero if the harness did not report it.
    pub(super) took: Duration,
    /// Captured output.
    pub(super) output: String,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    exec_time: f64,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    message: String,
}

/// Returns the line that announces a test program to [`Event::read`].
pub(super) fn announce(program: &str) -> String {
    serde_json::json!({ "type": "program", "name": program }).to_string()
}

impl Event {
    /// Reads a line. A line that is not the harness's JSON is text.
    pub(super) fn read(line: &str) -> Self {
        let Ok(line_read) = serde_json::from_str::<Line>(line) else { return Self::Text(line.to_owned()) };
        let Line { kind, event, name, exec_time, stdout, message } = line_read;
        match (kind.as_str(), event.as_str()) {
            ("program", _) => Self::Program(name),
            ("test", "started") => Self::Started(name),
            ("test", "ok" | "failed") => Self::Ended(Ended {
                passed: event == "ok",
                name,
                took: Duration::try_from_secs_f64(exec_time).unwrap_or_default(),
                output: stdout + &message,
            }),
            ("suite", "ok" | "failed") => Self::Result,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harness_lines_are_understood() {
        assert_eq!(Event::read(&announce("pve")), Event::Program("pve".to_owned()));
        assert_eq!(
            Event::read(r#"{ "type": "test", "event": "started", "name": "a::b" }"#),
            Event::Started("a::b".to_owned())
        );
        let failed = r#"{ "type": "test", "name": "a::b", "event": "failed", "exec_time": 1.5, "stdout": "why\n" }"#;
        let ended = Ended {
            name: "a::b".to_owned(),
            passed: false,
            took: Duration::from_millis(1500),
            output: "why\n".to_owned(),
        };
        assert_eq!(Event::read(failed), Event::Ended(ended));
        assert_eq!(Event::read(r#"{ "type": "suite", "event": "failed", "passed": 1, "failed": 1 }"#), Event::Result);
        assert_eq!(Event::read(r#"{ "type": "suite", "event": "started", "test_count": 2 }"#), Event::Other);
        assert_eq!(Event::read("warning: something"), Event::Text("warning: something".to_owned()));
    }
}
