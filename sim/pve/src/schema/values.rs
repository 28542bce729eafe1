//! The named formats that consist of a pattern or a list of words, from `data/pve-value-formats.json`.
//!
//! Source: the formats that PVE registers with `PVE::JSONSchema::register_format`, and their error texts.

use std::collections::HashMap;

use serde::Deserialize;

use super::pattern::pattern_matches;

/// Formats by name.
pub(crate) type ValueFormats = HashMap<String, ValueFormat>;

/// One format.
#[derive(Debug, Deserialize)]
pub(crate) struct ValueFormat {
    #[serde(flatten)]
    allowed: Allowed,
    /// Error text. `{text}` is replaced by the value.
    error: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Allowed {
    Pattern(String),
    Words(Vec<String>),
}

impl ValueFormat {
    pub(crate) fn allows(&self, text: &str) -> bool {
        match &self.allowed {
            Allowed::Pattern(pattern) => pattern_matches(pattern, text),
            Allowed::Words(words) => words.iter().any(|word| word == text),
        }
    }

    /// Checks a value. The error ends with a newline, as PVE's do.
    pub(crate) fn check(&self, text: &str) -> Result<(), String> {
        if self.allows(text) {
            return Ok(());
        }
        Err(format!("{}\n", self.error.replace("{text}", text)))
    }
}

/// Reads the formats.
pub(super) fn load() -> Result<ValueFormats, serde_json::Error> {
    serde_json::from_str(include_str!("../../data/pve-value-formats.json"))
}

#[cfg(test)]
mod tests {
    use super::super::pattern::compile;
    use super::*;

    #[test]
    fn every_pattern_of_the_data_can_be_compiled() {
        for (name, format) in load().expect("the checked-in formats") {
            if let Allowed::Pattern(pattern) = &format.allowed {
                assert!(compile(pattern).is_ok(), "{name}: {pattern}");
            }
        }
    }
}
