//! A reference page.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::examples::{Examples, guides};
use super::{attributes, functions, markup};
use crate::erased::Signature;
use crate::schema::{Attribute, Schema};

/// The subject of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    Provider,
    Resource,
    DataSource,
    EphemeralResource,
    Function,
}

impl PageKind {
    /// Returns the word that registries use in titles.
    fn word(self) -> &'static str {
        match self {
            Self::Provider => "Provider",
            Self::Resource => "Resource",
            Self::DataSource => "Data Source",
            Self::EphemeralResource => "Ephemeral Resource",
            Self::Function => "Function",
        }
    }

    /// Returns the directory of pages below `docs/` and of examples below `examples/`.
    fn directory(self) -> &'static str {
        match self {
            Self::Provider => "",
            Self::Resource => "resources",
            Self::DataSource => "data-sources",
            Self::EphemeralResource => "ephemeral-resources",
            Self::Function => "functions",
        }
    }
}

/// The declaration of the subject.
pub(super) enum Declared {
    Schema(Schema),
    Signature(Signature),
}

impl Declared {
    fn description(&self) -> &str {
        match self {
            Self::Schema(schema) => &schema.description,
            Self::Signature(signature) => signature.description,
        }
    }

    fn deprecated(&self) -> Option<&str> {
        match self {
            Self::Schema(schema) => schema.deprecated.as_deref(),
            Self::Signature(signature) => signature.deprecated,
        }
    }
}

/// A page before it is rendered.
pub(super) struct Page {
    pub(super) part: PageKind,
    /// Name of the provider.
    pub(super) provider: &'static str,
    /// Name of the type or function, or of the provider for its page.
    pub(super) name: &'static str,
    pub(super) declared: Declared,
}

impl Page {
    /// Returns the path below the root.
    pub(super) fn path(&self) -> PathBuf {
        if self.part == PageKind::Provider {
            return PathBuf::from("docs/index.md");
        }
        let short = self.name.strip_prefix(self.provider).and_then(|rest| rest.strip_prefix('_')).unwrap_or(self.name);
        Path::new("docs").join(self.part.directory()).join(format!("{short}.md"))
    }

    pub(super) fn text(&self, root: &Path) -> io::Result<String> {
        let place = match self.part {
            PageKind::Provider => root.join("examples/provider"),
            part => root.join("examples").join(part.directory()).join(self.name),
        };
        let examples = Examples::of(&place)?;
        let mut text = self.head();
        if let Some(message) = self.declared.deprecated() {
            add(&mut text, &format!("**Deprecated:** {}", message.trim()));
        }
        add(&mut text, self.declared.description());
        section(&mut text, "Example Usage", &blocks("terraform", &examples.configurations));
        match &self.declared {
            Declared::Schema(schema) => self.attributes(&mut text, schema, &examples),
            Declared::Signature(signature) => {
                section(&mut text, "Signature", &functions::signature(self.provider, self.name, signature));
                section(&mut text, "Arguments", &functions::arguments(signature));
            }
        }
        if self.part == PageKind::Provider {
            let links = guides(root)?.into_iter().map(|(title, path)| format!("- [{title}]({path})\n"));
            section(&mut text, "Guides", &links.collect::<String>());
        }
        Ok(text)
    }

    fn attributes(&self, text: &mut String, schema: &Schema, examples: &Examples) {
        let listed = attributes::list(&schema.attributes);
        section(text, "Argument Reference", &listed.arguments);
        section(text, "Attribute Reference", &listed.results);
        for nested in &listed.sections {
            add(text, &nested.text());
        }
        if self.part == PageKind::Resource {
            section(text, "Import", &import(&schema.attributes, examples));
        }
    }

    /// Returns the front matter for registries, and the title.
    fn head(&self) -> String {
        let (title, heading) = match self.part {
            PageKind::Provider => (format!("{} Provider", self.provider), format!("{} Provider", self.provider)),
            part => {
                let (name, word) = (self.name, part.word());
                (format!("{name} {word} - {}", self.provider), format!("{name} ({word})"))
            }
        };
        let summary = self.declared.description().split("\n\n").next().unwrap_or_default();
        let summary = summary.split_whitespace().collect::<Vec<_>>().join(" ");
        format!(
            "---\npage_title: {}\nsubcategory: \"\"\ndescription: {}\n---\n\n\
             <!-- Made from the schema and examples/; changes by hand are lost. -->\n\n# {heading}\n",
            yaml(&title),
            yaml(&summary)
        )
    }
}

/// Returns text as a YAML literal. JSON literals are also YAML literals.
fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the section about importing an existing object.
fn import(attributes: &[Attribute], examples: &Examples) -> String {
    let mut text = String::new();
    if let Some(command) = &examples.import_command {
        text.push_str(&markup::block("shell", command));
    }
    if let Some(block) = &examples.import_block {
        add(&mut text, &markup::block("terraform", block));
    }
    let identity: Vec<&Attribute> = attributes.iter().filter(|attribute| attribute.identity).collect();
    if !identity.is_empty() {
        let entries = identity.into_iter().map(|attribute| {
            let kind = markup::kind(&attribute.kind, None);
            let text = attributes::described(&attribute.description, "");
            format!("- `{}` ({kind}) {text}", attribute.name).trim_end().to_owned() + "\n"
        });
        let entries: String = entries.collect();
        let lead =
            "With OpenTofu 1.12 or Terraform 1.12 and later, an `import` block can name it by its `identity`:\n\n";
        add(&mut text, &format!("{lead}{entries}"));
    }
    text
}

fn blocks(language: &str, texts: &[String]) -> String {
    texts.iter().map(|text| markup::block(language, text)).collect::<Vec<_>>().join("\n")
}

fn section(text: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        let _infallible = write!(text, "\n## {title}\n\n{body}");
    }
}

/// Appends a paragraph after an empty line.
fn add(text: &mut String, body: &str) {
    if !body.trim().is_empty() {
        let apart = if text.is_empty() { "" } else { "\n" };
        let _infallible = writeln!(text, "{apart}{}", body.trim_end());
    }
}
