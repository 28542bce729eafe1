//! Errors in the JSON output of a core.

use serde_json::Value;

/// An error of a core.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) summary: String,
    pub(crate) detail: String,
    /// Line of the configuration at which the error points.
    pub(crate) line: String,
}

impl Problem {
    /// Reads the errors in the output of a core that ran with `-json`.
    pub(crate) fn all(output: &str) -> Vec<Self> {
        let entries = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let reported =
            entries.filter(|entry| entry["type"] == "diagnostic" && entry["diagnostic"]["severity"] == "error");
        reported.map(|entry| Self::read(&entry["diagnostic"])).collect()
    }

    fn read(diagnostic: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            summary: text(&diagnostic["summary"]),
            detail: text(&diagnostic["detail"]),
            line: text(&diagnostic["snippet"]["code"]),
        }
    }

    /// Asserts that summary or detail contains each of the words.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        let text = format!("{}\n{}", self.summary, self.detail);
        for word in words {
            assert!(text.contains(word), "it does not say \"{word}\":\n{text}");
        }
        self
    }

    /// Asserts that the error points at this attribute in the configuration.
    #[track_caller]
    pub(crate) fn points_at(&self, attribute: &str) -> &Self {
        assert!(self.line.trim_start().starts_with(attribute), "it points at \"{}\": {self:?}", self.line);
        self
    }
}
