//! Checks of `docs/architecture.md`: every path, function and test that the page names must exist, and each invariant needs
//! tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Invariants of which a part is not held yet. The page says which part, in a paragraph that begins with [`OPEN`].
const PARTLY_HELD: &[&str] = &["I2", "I3", "I5", "I7", "I10", "I11"];
const OPEN: &str = "Not held yet:";

const INVARIANTS: usize = 11;
/// Chapters whose tables lead from file to file.
const WALKS: [&str; 2] = ["Follow one job", "Follow one apply"];

/// A cell's plain text, and the words in it that are set as code.
#[derive(Debug, Default, Clone)]
struct Cell {
    text: String,
    code: Vec<String>,
}

/// A table, with the headings above it.
#[derive(Debug, Default)]
struct Table {
    chapter: String,
    section: String,
    /// Rows without the header.
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Default)]
struct Page {
    tables: Vec<Table>,
    /// Sections and their paragraphs.
    paragraphs: Vec<(String, String)>,
}

/// Position in the page while it is read.
#[derive(Debug, Default)]
struct Reader {
    page: Page,
    chapter: String,
    section: String,
    heading: Option<HeadingLevel>,
    row: Vec<Cell>,
    cell: Option<Cell>,
    paragraph: Option<String>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(&tag),
            Event::End(tag) => self.end(tag),
            Event::Code(word) => {
                self.text(&word);
                if let Some(cell) = &mut self.cell {
                    cell.code.push(word.into_string());
                }
            }
            Event::Text(text) => self.text(&text),
            Event::SoftBreak => self.text(" "),
            _ => {}
        }
    }

    fn begin(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.heading = Some(*level);
                if *level == HeadingLevel::H2 {
                    self.chapter.clear();
                }
                self.section.clear();
            }
            Tag::Table(_) => {
                let (chapter, section) = (self.chapter.clone(), self.section.clone());
                self.page.tables.push(Table { chapter, section, rows: Vec::new() });
            }
            Tag::TableCell => self.cell = Some(Cell::default()),
            Tag::Paragraph => self.paragraph = Some(String::new()),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.heading = None,
            TagEnd::TableCell => self.row.extend(self.cell.take()),
            TagEnd::TableHead => self.row.clear(),
            TagEnd::TableRow => {
                let row = std::mem::take(&mut self.row);
                self.page.tables.last_mut().expect("a row is in a table").rows.push(row);
            }
            TagEnd::Paragraph => {
                let text = self.paragraph.take().unwrap_or_default();
                self.page.paragraphs.push((self.section.clone(), text));
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        match self.heading {
            Some(HeadingLevel::H2) => self.chapter.push_str(text),
            Some(_) => self.section.push_str(text),
            None => {}
        }
        if let Some(cell) = &mut self.cell {
            cell.text.push_str(text);
        }
        if let Some(paragraph) = &mut self.paragraph {
            paragraph.push_str(text);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the repository").to_owned()
}

fn page() -> Page {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).expect("the page can be read");
    let mut reader = Reader::default();
    Parser::new_ext(&text, Options::ENABLE_TABLES).for_each(|event| reader.take(event));
    reader.page
}

fn rows<'a>(page: &'a Page, chapter: &'a str) -> impl Iterator<Item = &'a Vec<Cell>> {
    page.tables.iter().filter(move |table| table.chapter == chapter).flat_map(|table| &table.rows)
}

/// Returns the problem with a row's files and the functions in them. The first cell names files, the second one functions.
fn missing(row: &[Cell], is_there: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut missing = Vec::new();
    for path in &row[0].code {
        let Ok(text) = std::fs::read_to_string(root().join(path)) else {
            missing.push(format!("{path} does not exist"));
            continue;
        };
        let names = row[1].code.iter().filter(|name| !is_there(&text, name));
        missing.extend(names.map(|name| format!("{path} has no `{name}`")));
    }
    missing
}

fn has_function(text: &str, name: &str) -> bool {
    ["(", "<"].iter().any(|next| text.contains(&format!("fn {name}{next}")))
}

/// Returns true if the text has a test function of that name.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_declaration = |line: &str| line.contains(&format!("fn {name}("));
    lines.iter().position(|line| is_declaration(line)).is_some_and(|declaration| {
        let above = lines[..declaration].iter().rev();
        let mut attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_path_of_entry_points_and_code_map_exists_and_no_crate_is_left_out() {
    let page = page();
    let named: BTreeSet<&str> = ["Entry points", "Code map"]
        .into_iter()
        .flat_map(|chapter| rows(&page, chapter))
        .flat_map(|row| &row[0].code)
        .map(|path| path.trim_end_matches('/'))
        .collect();
    let missing: Vec<_> = named.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "these paths do not exist: {missing:?}");

    let below = |directory: &str| {
        let entries = std::fs::read_dir(root().join(directory)).expect("a directory of crates");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
        names.map(|name| format!("{directory}/{name}")).collect::<Vec<_>>()
    };
    let single = ["provider", "dispatcher", "xtask", "fuzz"].map(str::to_owned);
    let crates = below("crates").into_iter().chain(below("sim")).chain(single);
    let left_out: Vec<_> =
        crates.filter(|path| root().join(path).join("Cargo.toml").exists() && !named.contains(path.as_str())).collect();
    assert!(left_out.is_empty(), "the code map leaves these out: {left_out:?}");
}

#[test]
fn a_walk_names_functions_that_exist_and_no_file_twice() {
    let page = page();
    for chapter in WALKS {
        let mut seen = BTreeSet::new();
        let mut wrong = Vec::new();
        for row in rows(&page, chapter) {
            wrong.extend(missing(row, has_function));
            let again = row[0].code.iter().filter(|path| !seen.insert(path.as_str()));
            wrong.extend(again.map(|path| format!("{path} is named twice")));
        }
        assert!(seen.len() > 10, "\"{chapter}\" leads through {} files", seen.len());
        assert!(wrong.is_empty(), "\"{chapter}\":\n{}", wrong.join("\n"));
    }
}

#[test]
fn every_invariant_is_held_by_tests_that_exist() {
    let page = page();
    let tables: Vec<&Table> = page.tables.iter().filter(|table| table.chapter == "Invariants").collect();
    let mut wrong = Vec::new();
    let mut open = Vec::new();
    for number in 1..=INVARIANTS {
        let name = format!("I{number}");
        let is_about = |section: &str| section.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(':'));
        let rows: Vec<&Vec<Cell>> =
            tables.iter().filter(|table| is_about(&table.section)).flat_map(|table| &table.rows).collect();
        if !rows.iter().any(|row| !row[0].code.is_empty() && !row[1].code.is_empty()) {
            wrong.push(format!("{name} has no test"));
        }
        wrong.extend(rows.iter().flat_map(|row| missing(row, has_test)));
        let is_open = page.paragraphs.iter().any(|(section, text)| is_about(section) && text.starts_with(OPEN));
        open.extend(is_open.then_some(name));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(open, PARTLY_HELD, "the page and this test agree about what is not held yet");
}

#[test]
fn a_function_is_a_test_only_with_the_attribute() {
    let text = "    #[test]\n    fn plain() {}\n\n#[tokio::test(flavor = \"multi_thread\")]\n#[expect(x)]\nasync fn slow() {}\n\nfn none() {}\n";
    assert!(has_test(text, "plain") && has_test(text, "slow"));
    assert!(!has_test(text, "none") && !has_test(text, "absent"));
    assert!(has_function("pub(super) async fn take<T>(x: T)", "take") && !has_function("fn taken()", "take"));
}
