//! The words to avoid: those that `docs/glossary.md` sets as code in its columns "Do not use".

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use regex::{Regex, RegexBuilder, RegexSetBuilder};

use crate::repository::root;
use crate::text::lines;

/// The heading of the columns that list words to avoid.
const HEADING: &str = "Do not use";
/// Words after "is no" with which the phrase is good English.
const GOOD_AFTER_NO: [&str; 9] = ["better", "earlier", "later", "longer", "more", "one", "other", "such", "worse"];

/// Returns the words to avoid, in the order of the glossary.
fn words() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/glossary.md")).expect("the glossary can be read");
    let mut words = Vec::new();
    let (mut column, mut avoided, mut in_header) = (0, None, false);
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::TableHead) => (column, avoided, in_header) = (0, None, true),
            Event::Start(Tag::TableRow) => (column, in_header) = (0, false),
            Event::End(TagEnd::TableCell) => column += 1,
            Event::Text(text) if in_header && &*text == HEADING => avoided = Some(column),
            Event::Code(word) if !in_header && avoided == Some(column) => words.push(word.into_string()),
            _ => {}
        }
    }
    words
}

/// Finds a word in lines.
struct Search {
    word: String,
    pattern: Regex,
}

impl Search {
    fn new(word: &str) -> Self {
        let escaped = regex::escape(word).replace(' ', r"\s+");
        let pattern = match word {
            // "too" at the end of a clause, not "too many".
            ", too" => r", too(?:[.;:)]|, |$)".to_owned(),
            _ if word.ends_with(" no") => format!(r"(?:\b(there)\s+)?\b{escaped}\s+(\w+)"),
            _ => format!(r"\b{escaped}\b"),
        };
        let pattern = RegexBuilder::new(&pattern).case_insensitive(true).build().expect("a pattern");
        Self { word: word.to_owned(), pattern }
    }

    /// Returns true if the word is in the line, whose `_` are spaces.
    fn is_in(&self, line: &str) -> bool {
        let mut found = self.pattern.captures_iter(line);
        if !self.word.ends_with(" no") {
            return found.next().is_some();
        }
        found.any(|groups| {
            let follows = groups.get(2).map_or("", |word| word.as_str()).to_lowercase();
            groups.get(1).is_none() && !GOOD_AFTER_NO.contains(&follows.as_str())
        })
    }
}

#[test]
fn no_file_uses_a_word_that_the_glossary_avoids() {
    let searches: Vec<Search> = words().iter().map(|word| Search::new(word)).collect();
    assert!(searches.len() > 20, "the glossary lists {} words", searches.len());
    // One pass over each line finds the candidates.
    let patterns = searches.iter().map(|search| search.pattern.as_str());
    let candidates = RegexSetBuilder::new(patterns).case_insensitive(true).build().expect("patterns");
    let mut found = Vec::new();
    for line in lines() {
        let text = line.text.replace('_', " ");
        let words = candidates.matches(&text).into_iter().map(|index| &searches[index]);
        let words = words.filter(|search| search.is_in(&text));
        found.extend(words.map(|search| format!("\"{}\" in {}", search.word, line.place())));
    }
    assert!(found.is_empty(), "{} places use words to avoid (docs/glossary.md):\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_word_is_found_in_any_case_and_in_names_and_good_phrases_are_left_alone() {
    let finds = |word: &str, line: &str| Search::new(word).is_in(&line.replace('_', " "));
    assert!(finds("anew", "It starts Anew.") && finds("anew", "fn begin_anew() {"));
    assert!(!finds("anew", "a new one"));
    assert!(finds("is no", "text that is no JSON") && finds("is no", "fn what_is_no_json_is_refused"));
    for good in ["there is no job", "There is no job", "it is no longer used", "fn there_is_no_job()"] {
        assert!(!finds("is no", good), "{good}");
    }
    assert!(finds(", too", "That counts, too.") && finds(", too", "This, too, counts."));
    assert!(!finds(", too", "too short, too long"));
}
