//! Code lines of the minimal resource and its provider.
//!
//! A line counts unless it is blank or only a comment. Rust's documentation comments count, except for those of whole
//! files (`//!`), because the framework publishes them as descriptions, which are string literals in Go.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::report::{Limit, Row};
use super::spread::Spread;
use super::subject;
use crate::artifacts;

const RUST: &str = "crates/tf-provider/examples/paper";
const GO: &str = "crates/tf-provider/comparison/go";

pub(super) fn measure() -> Result<Vec<Row>> {
    let root = artifacts::repository()?;
    let count = |directory: &str, names: &[&str]| -> Result<f64> {
        let counts = names.iter().map(|name| count_in(&root.join(directory).join(name)));
        counts.sum::<Result<u32>>().map(f64::from)
    };
    let resource = [(subject::PAPER, count(RUST, &["note.rs"])?), (subject::GO, count(GO, &["note.go"])?)];
    let whole = [
        (subject::PAPER, count(RUST, &["note.rs", "main.rs"])?),
        (subject::GO, count(GO, &["note.go", "provider.go", "main.go"])?),
    ];
    let row = |what: &str, (subject, lines): (&'static str, f64), go: f64, limit| Row {
        what: what.to_owned(),
        subject,
        unit: "lines",
        spread: Spread::once(lines),
        to_go: Some(lines / go),
        to_built_in: None,
        limit,
    };
    Ok(vec![
        row("code lines, minimal resource", resource[0], resource[1].1, Some(Limit::AtMost(60.0))),
        row("code lines, minimal resource", resource[1], resource[1].1, None),
        row("code lines, its whole provider", whole[0], whole[1].1, None),
        row("code lines, its whole provider", whole[1], whole[1].1, None),
    ])
}

fn count_in(path: &Path) -> Result<u32> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    u32::try_from(text.lines().filter(|line| is_code(line)).count()).context("a file of that size")
}

fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    let published = line.starts_with("///") && !line.starts_with("////");
    published || !(line.is_empty() || line.starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::is_code;

    #[test]
    fn documentation_comments_count_and_other_comments_do_not() {
        for code in ["fn main() {", "    }", "/// Name.", "let a = 1; // one", "\"//\""] {
            assert!(is_code(code), "{code}");
        }
        for none in ["", "   ", "// why", "    // why", "//! A file.", "//////"] {
            assert!(!is_code(none), "{none}");
        }
    }
}
