//! Only `src/diagnostics.rs` makes diagnostics, so that all of them have the same form.

use std::fs;
use std::path::{Path, PathBuf};

const PLACE: &str = "diagnostics.rs";
const CONSTRUCTORS: [&str; 3] = ["Diagnostic::error(", "Diagnostic::warning(", "Diagnostic {"];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let nested = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    nested.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Returns true if the line makes a diagnostic. A function that returns one only names the type.
fn makes_one(line: &str) -> bool {
    !line.contains("-> Diagnostic {") && CONSTRUCTORS.iter().any(|constructor| line.contains(constructor))
}

#[test]
fn only_one_file_makes_diagnostics() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut elsewhere = Vec::new();
    for path in sources(&root) {
        let text = fs::read_to_string(&path).expect("a text");
        let made = text.lines().enumerate().filter(|(_, line)| makes_one(line));
        let name = path.strip_prefix(&root).expect("below the root").display().to_string();
        if name == PLACE {
            assert!(made.count() > 1, "the search finds diagnostics");
        } else {
            elsewhere.extend(made.map(|(index, _)| format!("{name}:{}", index + 1)));
        }
    }
    assert!(elsewhere.is_empty(), "use a function of diagnostics.rs instead: {elsewhere:#?}");
}
