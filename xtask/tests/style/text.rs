//! The text of files, line by line, without the parts that nobody here writes or that quote others.

use crate::repository::{files, root};

/// Files that are not searched: paths, or beginnings of paths that end with `/`, and the reason.
const SKIPPED: &[(&str, &str)] = &[
    ("Cargo.lock", "generated"),
    ("LICENSE-APACHE", "not our text"),
    ("LICENSE-MIT", "not our text"),
    ("crates/cloudinit/schema/", "cloud-init's schema"),
    ("crates/cloudinit/tests/templatefile.json", "results of Terraform's own function"),
    ("crates/tf-provider/comparison/go/go.sum", "generated"),
    ("crates/tf-provider/src/generated/", "generated"),
    ("crates/tf-provider/tests/go-client/go.sum", "generated"),
    ("docs/glossary.md", "names the words to avoid"),
    ("docs/style.md", "names the words to avoid"),
    ("fuzz/corpus/", "input of decoders"),
    ("proto/", "published definitions"),
    ("sim/control/clients/package-lock.json", "generated"),
    ("sim/github/data/", "GitHub's description, and a key"),
    ("sim/pve/data/", "PVE's schema"),
    ("xtask/engines/", "generated"),
    ("xtask/tests/style/", "names the words to avoid"),
];

/// A line of a file.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) file: String,
    pub(crate) number: usize,
    pub(crate) text: String,
    /// True for prose: documentation and comments. False for code.
    pub(crate) is_prose: bool,
}

impl Line {
    pub(crate) fn place(&self) -> String {
        format!("{}:{}: {}", self.file, self.number, self.text.trim())
    }
}

/// Returns the lines of all files that are searched.
pub(crate) fn lines() -> Vec<Line> {
    let searched = files().into_iter().filter(|file| !is_skipped(file));
    // A file that is not UTF-8 is not text.
    let texts = searched.filter_map(|file| Some((std::fs::read_to_string(root().join(&file)).ok()?, file)));
    texts.flat_map(|(text, file)| lines_of(&file, &text)).collect()
}

fn is_skipped(file: &str) -> bool {
    SKIPPED.iter().any(|(path, _)| file == *path || path.ends_with('/') && file.starts_with(path))
}

pub(crate) fn lines_of(file: &str, text: &str) -> Vec<Line> {
    let is_markdown = file.ends_with(".md");
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if is_markdown && line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let is_prose = if is_markdown { !fenced } else { is_comment(line) };
        let text = if is_prose { without_code(line) } else { line.to_owned() };
        lines.push(Line { file: file.to_owned(), number: index + 1, text, is_prose });
    }
    lines
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    ["//", "# ", "* ", "/*", "<!--"].iter().any(|begin| line.starts_with(begin))
}

/// Returns the line without the parts between backticks. They name code, which is searched where it is.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

#[test]
fn prose_is_found_and_code_in_it_is_left_out() {
    let markdown = lines_of("a.md", "Text `code` text\n```sh\ncommand\n```\nMore\n");
    let prose: Vec<&str> = markdown.iter().filter(|line| line.is_prose).map(|line| line.text.as_str()).collect();
    assert_eq!(prose, ["Text ` text", "`", "More"]);
    let rust = lines_of("a.rs", "    /// Doc.\n    let x = 1;\n");
    assert_eq!(rust.iter().map(|line| line.is_prose).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn every_skipped_path_exists() {
    let gone: Vec<&str> = SKIPPED.iter().map(|(path, _)| *path).filter(|path| !root().join(path).exists()).collect();
    assert!(gone.is_empty(), "these paths are gone: {gone:?}");
}
