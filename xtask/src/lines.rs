//! Lines of code of the product and of its simulators, without tests, comments and blank lines.

use std::path::Path;

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use crate::narrate::Narrator;

/// Directories below the repository and the name of their row.
const PARTS: [(&str, &[&str]); 5] = [
    ("provider", &["provider/src"]),
    ("dispatcher", &["dispatcher/src"]),
    (
        "crates, the framework not counted",
        &[
            "crates/cloudinit/src",
            "crates/dispatcher-api/src",
            "crates/fleet/src",
            "crates/github/src",
            "crates/guest/src",
            "crates/ownership/src",
            "crates/packer-driver/src",
            "crates/pve/src",
            "crates/template-family/src",
        ],
    ),
    ("framework", &["crates/tf-provider/src", "crates/tf-provider-derive/src", "crates/tf-provider-testing/src"]),
    ("simulators", &["sim"]),
];

/// Prints a row for each part.
pub(crate) fn run(narrator: &Narrator) -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent directory")?;
    for (name, directories) in PARTS {
        let mut lines = 0;
        for directory in directories {
            lines += count(&repository.join(directory)).with_context(|| format!("counting {directory}"))?;
        }
        narrator.detail(&format!("{lines:>6}  {name}"));
    }
    Ok(())
}

/// Counts the lines of Rust code below a directory.
fn count(directory: &Path) -> Result<usize> {
    let mut lines = 0;
    for entry in WalkDir::new(directory) {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "rs") && !is_left_out(path) {
            lines += product_code(&std::fs::read_to_string(path)?);
        }
    }
    Ok(lines)
}

/// Returns true for tests, examples and generated code.
fn is_left_out(path: &Path) -> bool {
    path.iter().any(|part| ["tests", "examples", "generated", "tests.rs"].iter().any(|left_out| part == *left_out))
}

/// Counts lines of code up to the module of unit tests, which is the last item of its file. The tree has no block comments.
fn product_code(text: &str) -> usize {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_comments_and_blank_lines_do_not_count() {
        let text = "//! Doc.\n\nfn a() {\n    // why\n    b();\n}\n\n#[cfg(test)]\nmod tests {\n    fn c() {}\n}\n";
        assert_eq!(product_code(text), 3);
        assert!(is_left_out(Path::new("sim/pve/tests/pve/main.rs")) && is_left_out(Path::new("a/src/tests.rs")));
        assert!(!is_left_out(Path::new("provider/src/main.rs")));
    }
}
