//! Beginnings of sentences: the subject is a thing with a name, so no sentence begins with "What", "Who" or "One that".

use regex::Regex;

use crate::text::lines;

fn pattern() -> Regex {
    // The beginning of a comment, of a description in HCL, or the end of a sentence; then the word, and no question.
    let begins = r#"^\s*(?://[/!]?|#|\*|[-*|]|\d+\.)?\s*|[.!?]["')]?\s+|description\s+=\s+""#;
    Regex::new(&format!(r"(?:{begins})(?:What|Who|Whoever|One that)\s[a-z][^?]*$")).expect("a pattern")
}

#[test]
fn no_sentence_begins_with_what_who_or_one_that() {
    let pattern = pattern();
    let searched = lines().into_iter();
    let is_description = |text: &str| text.trim_start().starts_with("description");
    let found: Vec<String> = searched
        .filter(|line| (line.is_prose || is_description(&line.text)) && pattern.is_match(&line.text))
        .map(|line| line.place())
        .collect();
    assert!(found.is_empty(), "{} sentences have no subject with a name:\n{}", found.len(), found.join("\n"));
}

#[test]
fn beginnings_of_sentences_are_found() {
    let pattern = pattern();
    for bad in
        ["/// What it does.", "Text. Who asks is unknown.", "  description = \"What it is.\"", "# One that ends."]
    {
        assert!(pattern.is_match(bad), "{bad}");
    }
    for good in ["/// Says what it does.", "What is it?", "| Part | What |", "/// Whatever it is."] {
        assert!(!pattern.is_match(good), "{good}");
    }
}
