//! Lists of attributes: an entry for each attribute, and a section for each that has nested attributes.

use super::markup;
use crate::schema::{Attribute, Check, Kind, Mode, Replace};

/// The section of an attribute that has nested attributes.
pub(super) struct Section {
    /// Path of the attribute, as in `lid.hinge`.
    path: String,
    list: String,
}

impl Section {
    pub(super) fn text(&self) -> String {
        format!("<a id=\"{}\"></a>\n### `{}`\n\n{}", anchor(&self.path), self.path, self.list)
    }
}

/// The lists of attributes on a page.
#[derive(Default)]
pub(super) struct AttributeLists {
    /// Attributes that configurations set.
    pub(super) arguments: String,
    /// Attributes that only the provider sets.
    pub(super) results: String,
    /// Sections in the order of the lists. Deeper sections follow the section that they belong to.
    pub(super) sections: Vec<Section>,
}

/// Lists attributes: required ones first, then in the order of the declaration.
pub(super) fn list(attributes: &[Attribute]) -> AttributeLists {
    let mut listed = AttributeLists::default();
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

/// Returns the text of an entry. Lines after the first are indented, so that they stay in the entry.
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
    let mut marks = vec![markup::kind(&attribute.kind, attribute.block)];
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

/// Returns sentences about the declaration that are not in the description.
fn facts(attribute: &Attribute) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(default) = &attribute.default {
        facts.push(format!("Default {}.", markup::code(&markup::literal(default))));
    }
    facts.extend(rules(&attribute.checks));
    facts.extend(attribute.deprecated.iter().map(|message| format!("**Deprecated:** {message}")));
    facts
}

/// Returns a sentence for each check that can be described.
pub(super) fn rules(checks: &[Check]) -> impl Iterator<Item = String> {
    checks.iter().filter_map(|check| Some(format!("Must be {}.", check.rule.as_deref()?)))
}

/// Returns the anchor of a path. Names have no hyphen, so two paths never have the same anchor.
fn anchor(path: &str) -> String {
    format!("nested--{}", path.replace('.', "--"))
}
