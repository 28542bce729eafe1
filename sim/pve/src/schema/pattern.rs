//! Perl's regular expressions, as PVE's schema contains them.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use regex::Regex;

/// Returns true if the whole of `text` matches a Perl pattern of the schema.
pub(crate) fn pattern_matches(pattern: &str, text: &str) -> bool {
    static COMPILED: OnceLock<Mutex<HashMap<String, Option<Regex>>>> = OnceLock::new();
    let mut compiled = COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let regex = compiled.entry(pattern.to_owned()).or_insert_with(|| compile(pattern).ok());
    regex.as_ref().is_none_or(|regex| regex.is_match(text))
}

/// Compiles a Perl pattern for this program's regex library.
pub(super) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    let ours = pattern
        .replace("(?^:", "(?:")
        .replace("(?^i:", "(?i:")
        .replace("{,", "{0,")
        .replace("\\0", "\\x00")
        .replace("\\@", "@");
    Regex::new(&format!("^(?:{ours})$"))
}
