//! Lists of attributes: one entry each, and a section for each that has attributes of its own.

use super::words;
use crate::schema::{Attribute, Check, Kind, Mode, Replace};

/// A section for the attributes of an attribute.
pub(super) struct Section {
    /// `lid.hinge`.
    path: String,
    list: String,
}

impl Section {
    pub(super) fn text(&self) -> String {
        format!("<a id=\"{}\"></a>\n### `{}`\n\n{}", anchor(&self.path), self.path, self.list)
    }
}

/// What a page says of attributes.
#[derive(Default)]
pub(super) struct Listed {
    /// What configurations set.
    pub(super) arguments: String,
    /// What only the provider sets.
    pub(super) results: String,
    /// In the order in which the lists mention them; deeper ones right after their own.
    pub(super) sections: Vec<Section>,
}

/// Required ones first; among equals, the order of the declaration.
pub(super) fn list(attributes: &[Attribute]) -> Listed {
    let mut listed = Listed::default();
    let mut sorted: Vec<&Attribute> = attributes.iter().collect();
    sorted.sort_by_key(|attribute| !is_required(attribute));
    for attribute in sorted {
        let entry = entry(attribute, "", &mut listed.sections);
        if attribute.mode == Mode::Computed { &mut listed.results } else { &mut listed.arguments }.push_str(&entry);
    }
    listed
}

fn entry(attribute: &Attribute, within: &str, sections: &mut Vec<Section>) -> String {
    let path = if within.is_empty() { attribute.name.clone() } else { format!("{within}.{}", attribute.name) };
    let mut facts = facts(attribute);
    if let Kind::Nested(_, nested) = &attribute.kind {
        facts.push(format!("Its attributes: [below](#{}).", anchor(&path)));
        let mut sorted: Vec<&Attribute> = nested.iter().collect();
        sorted.sort_by_key(|attribute| !is_required(attribute));
        let mut deeper = Vec::new();
        let list = sorted.into_iter().map(|attribute| self::entry(attribute, &path, &mut deeper)).collect();
        sections.push(Section { path, list });
        sections.append(&mut deeper);
    }
    let text = described(&attribute.description, &facts.join(" "));
    format!(
        "- `{}` ({}){}{text}\n",
        attribute.name,
        marks(attribute).join(", "),
        if text.is_empty() { "" } else { " " }
    )
}

/// An entry's text. What follows its first paragraph is indented, so that it stays in the entry.
pub(super) fn described(description: &str, facts: &str) -> String {
    let description = description.trim();
    let apart = if description.is_empty() || facts.is_empty() {
        ""
    } else if description.contains('\n') && description.contains("\n\n") {
        "\n\n"
    } else {
        " "
    };
    let mut text = String::new();
    for (index, line) in format!("{description}{apart}{facts}").lines().enumerate() {
        if index > 0 {
            text.push('\n');
            text.push_str(if line.is_empty() { "" } else { "  " });
        }
        text.push_str(line);
    }
    text
}

fn is_required(attribute: &Attribute) -> bool {
    attribute.mode == Mode::Required || attribute.block.is_some_and(|limits| limits.min > 0)
}

fn marks(attribute: &Attribute) -> Vec<String> {
    let mut marks = vec![words::kind(&attribute.kind, attribute.block)];
    let replace = match attribute.replace {
        Replace::Never => None,
        Replace::Always => Some("change forces replacement"),
        Replace::When(_) => Some("some changes force replacement"),
    };
    let is_chosen = attribute.mode == Mode::OptionalComputed && attribute.default.is_none();
    let flags = [
        (is_required(attribute), "required"),
        (is_chosen, "chosen by the provider if not set"),
        (attribute.mode == Mode::Computed, "read-only"),
        (attribute.write_only, "write-only"),
        (attribute.sensitive, "sensitive"),
        (attribute.deprecated.is_some(), "deprecated"),
        (attribute.identity, "identity"),
    ];
    marks.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, word)| word.to_owned()));
    marks.extend(replace.map(str::to_owned));
    marks
}

/// What the declaration says beside the description, as sentences.
fn facts(attribute: &Attribute) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(default) = &attribute.default {
        facts.push(format!("Default {}.", words::code(&words::literal(default))));
    }
    facts.extend(rules(&attribute.checks));
    facts.extend(attribute.deprecated.iter().map(|message| format!("**Deprecated:** {message}")));
    facts
}

/// Returns a sentence for each check that can be described.
pub(super) fn rules(checks: &[Check]) -> impl Iterator<Item = String> {
    checks.iter().filter_map(|check| Some(format!("Must be {}.", check.rule.as_deref()?)))
}

/// Names have no hyphen, so two paths never have the same anchor.
fn anchor(path: &str) -> String {
    format!("nested--{}", path.replace('.', "--"))
}
