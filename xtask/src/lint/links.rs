//! Checks links between Markdown documents: the file and the heading of a fragment must exist.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::files;

/// Checks every relative link of every Markdown file.
pub(super) fn check(root: &Path) -> Result<()> {
    let mut broken = Vec::new();
    for name in files(root, ".md")? {
        let path = root.join(&name);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        for link in links(&text) {
            if !leads_somewhere(&path, &text, &link)? {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("these links are broken:\n{}", broken.join("\n"))
}

fn links(text: &str) -> Vec<String> {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES);
    events
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.into_string()),
            _ => None,
        })
        .collect()
}

/// Returns false for a missing file or heading. Links to other hosts are not followed.
fn leads_somewhere(document: &Path, text: &str, link: &str) -> Result<bool> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(true);
    }
    let (path, fragment) = link.split_once('#').map_or((link, None), |(path, fragment)| (path, Some(fragment)));
    let target = document.parent().unwrap_or(document).join(path);
    if path.is_empty() {
        return Ok(fragment.is_none_or(|fragment| headings(text).contains(fragment)));
    }
    if !target.exists() {
        return Ok(false);
    }
    let Some(fragment) = fragment else { return Ok(true) };
    let text = std::fs::read_to_string(&target).with_context(|| format!("reading {}", target.display()))?;
    Ok(headings(&text).contains(fragment))
}

/// Returns the fragments that GitHub gives to a document's headings, and the document's own anchors.
fn headings(text: &str) -> BTreeSet<String> {
    let mut headings = BTreeSet::new();
    let mut current: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => current = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => headings.extend(current.take().map(|heading| fragment(&heading))),
            Event::Html(part) | Event::InlineHtml(part) => headings.extend(anchor(&part)),
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut current {
                    heading.push_str(&part);
                }
            }
            _ => {}
        }
    }
    headings
}

/// Returns the name in `<a id="name">`.
fn anchor(html: &str) -> Option<String> {
    let (_, rest) = html.split_once("id=\"")?;
    rest.split_once('"').map(|(name, _)| name.to_owned())
}

fn fragment(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.map(|character| if character == ' ' { '-' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_headings_must_exist() {
        let directory = tempfile::tempdir().unwrap();
        let document = directory.path().join("a.md");
        let text = "# Whole `machines`, and more\n[b](b.md)";
        std::fs::write(&document, text).unwrap();
        std::fs::write(directory.path().join("b.md"), "## Two words\n<a id=\"nested--lid\"></a>\n").unwrap();
        for good in
            ["b.md", "b.md#two-words", "b.md#nested--lid", "#whole-machines-and-more", "https://example.org/nowhere"]
        {
            assert!(leads_somewhere(&document, text, good).unwrap(), "{good}");
        }
        for bad in ["c.md", "b.md#three", "#nothing"] {
            assert!(!leads_somewhere(&document, text, bad).unwrap(), "{bad}");
        }
        assert_eq!(links(text), ["b.md"]);
    }
}
