//! Registry-layout Markdown, from the schema that a core reads from the provider and from `examples/resources/`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use acceptance::core::Invocation;
use acceptance::engines::Core;
use acceptance::mirror::{Mirror, SOURCE};
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::artifacts;

#[derive(Debug, Deserialize)]
struct Schemas {
    provider_schemas: BTreeMap<String, ProviderSchema>,
}

#[derive(Debug, Deserialize)]
struct ProviderSchema {
    provider: Object,
    #[serde(default)]
    resource_schemas: BTreeMap<String, Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    block: Block,
}

#[derive(Debug, Deserialize)]
struct Block {
    #[serde(default)]
    description: String,
    #[serde(default)]
    attributes: BTreeMap<String, Attribute>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Attribute {
    #[serde(rename = "type")]
    kind: Value,
    nested_type: Option<Nested>,
    description: String,
    required: bool,
    optional: bool,
    sensitive: bool,
    write_only: bool,
    deprecated: bool,
}

impl Default for Attribute {
    fn default() -> Self {
        Self {
            kind: Value::Null,
            nested_type: None,
            description: String::new(),
            required: false,
            optional: false,
            sensitive: false,
            write_only: false,
            deprecated: false,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Nested {
    attributes: BTreeMap<String, Attribute>,
    nesting_mode: String,
}

/// Writes the pages, or only says whether those that are there are the ones it would write.
pub(crate) async fn run(check: bool) -> Result<()> {
    let root = artifacts::repository()?;
    let pages = pages(&root, &schema().await?);
    let stale: Vec<&PathBuf> = pages
        .iter()
        .filter(|(path, text)| fs::read_to_string(path).ok().as_ref() != Some(text))
        .map(|(path, _)| path)
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    if check {
        let names: Vec<_> =
            stale.iter().map(|path| path.strip_prefix(&root).unwrap_or(path).display().to_string()).collect();
        bail!("these pages are not what the schema gives; run `cargo xtask docs`: {}", names.join(", "));
    }
    for (path, text) in &pages {
        fs::create_dir_all(path.parent().context("a page has no directory")?)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// What a core says of the provider.
async fn schema() -> Result<ProviderSchema> {
    let directory = tempfile::tempdir().context("creating a working directory")?;
    let mirror = Mirror::lay_out(directory.path(), &artifacts::provider()?, None)?;
    let work = directory.path().join("work");
    fs::create_dir(&work)?;
    fs::write(
        work.join("main.tf"),
        format!("terraform {{\n  required_providers {{\n    pxci = {{ source = \"{SOURCE}\" }}\n  }}\n}}\n"),
    )?;
    let environment = [("TF_CLI_CONFIG_FILE".to_owned(), mirror.configuration().display().to_string())];
    let core = Core::preferred()?;
    let invocation = Invocation { core: &core, directory: &work, environment: &environment, echo: None };
    invocation.run(&["init", "-no-color"]).await?.succeeded()?;
    let answer = invocation.run(&["providers", "schema", "-json"]).await?.succeeded()?;
    let schemas: Schemas = serde_json::from_str(&answer.stdout).context("reading the schema")?;
    schemas.provider_schemas.into_values().next().context("the core knows no provider")
}

fn pages(root: &Path, schema: &ProviderSchema) -> BTreeMap<PathBuf, String> {
    let docs = root.join("docs");
    let mut pages = BTreeMap::new();
    pages.insert(docs.join("index.md"), page("pxci provider", &schema.provider.block, &example(root, "provider")));
    for (name, object) in &schema.resource_schemas {
        let short = name.strip_prefix("pxci_").unwrap_or(name);
        let text = page(name, &object.block, &example(root, &format!("resources/{name}")));
        pages.insert(docs.join(format!("resources/{short}.md")), text);
    }
    pages
}

/// Example and import command of a type, as they stand below `examples/`.
fn example(root: &Path, place: &str) -> String {
    let directory = root.join("examples").join(place);
    let mut text = String::new();
    let parts = [("Example", "hcl", "main.tf"), ("Import", "sh", "import.sh")];
    for (title, language, file) in parts {
        if let Ok(content) = fs::read_to_string(directory.join(file)) {
            let _infallible = write!(text, "\n## {title}\n\n```{language}\n{}\n```\n", content.trim_end());
        }
    }
    text
}

fn page(title: &str, block: &Block, example: &str) -> String {
    let mut text = format!(
        "<!-- Made by `cargo xtask docs` from the schema. -->\n# {title}\n\n{}\n{example}",
        block.description.trim()
    );
    let mut nested = String::new();
    let arguments = table(&block.attributes, &|attribute| attribute.required || attribute.optional, "", &mut nested);
    let results = table(&block.attributes, &|attribute| !attribute.required && !attribute.optional, "", &mut nested);
    if !arguments.is_empty() {
        let _infallible = write!(text, "\n## Arguments\n\n{arguments}");
    }
    if !results.is_empty() {
        let _infallible = write!(text, "\n## Attributes\n\n{results}");
    }
    text + &nested
}

fn table(
    attributes: &BTreeMap<String, Attribute>,
    wanted: &dyn Fn(&Attribute) -> bool,
    within: &str,
    nested: &mut String,
) -> String {
    let mut chosen: Vec<_> = attributes.iter().filter(|(_, attribute)| wanted(attribute)).collect();
    chosen.sort_by_key(|(_, attribute)| !attribute.required);
    let mut text = String::new();
    for (name, attribute) in chosen {
        let description = attribute.description.split_whitespace().collect::<Vec<_>>().join(" ");
        let _infallible = writeln!(text, "- `{name}` ({}) {description}", marks(attribute).join(", "));
        if let Some(inner) = &attribute.nested_type {
            let path = if within.is_empty() { name.clone() } else { format!("{within}.{name}") };
            let mut deeper = String::new();
            let rows = table(&inner.attributes, &|_| true, &path, &mut deeper);
            let _infallible = write!(nested, "\n### `{path}`\n\n{rows}{deeper}");
        }
    }
    text
}

fn marks(attribute: &Attribute) -> Vec<String> {
    let mut marks = vec![kind(attribute)];
    let flags = [
        (attribute.required, "required"),
        (attribute.sensitive, "sensitive"),
        (attribute.write_only, "write-only"),
        (attribute.deprecated, "deprecated"),
    ];
    marks.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, word)| word.to_owned()));
    marks
}

fn kind(attribute: &Attribute) -> String {
    let Some(nested) = &attribute.nested_type else { return plain_kind(&attribute.kind) };
    match nested.nesting_mode.as_str() {
        "single" => "object".to_owned(),
        mode => format!("{mode} of objects"),
    }
}

fn plain_kind(kind: &Value) -> String {
    match kind {
        Value::String(name) => name.replace("bool", "true or false"),
        Value::Array(parts) => {
            let part = |index: usize| parts.get(index).map(plain_kind).unwrap_or_default();
            format!("{} of {}", part(0), part(1))
        }
        _ => "object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, page};

    #[test]
    fn required_arguments_come_first_and_nested_objects_have_a_section() {
        let block: Block = serde_json::from_str(
            r#"{"description": "A thing.", "attributes": {
                "alpha": {"type": ["list", "string"], "description": "Some.", "optional": true, "write_only": true},
                "beta": {"type": "string", "description": "Needed.", "required": true},
                "gamma": {"nested_type": {"nesting_mode": "map", "attributes": {"delta": {"type": "number", "description": "Inner.", "optional": true}}}, "optional": true},
                "vmid": {"type": "number", "description": "Given.", "computed": true}}}"#,
        )
        .unwrap();
        let text = page("pxci_thing", &block, "");
        let expected = "\n## Arguments\n\n- `beta` (string, required) Needed.\n- `alpha` (list of string, write-only) Some.\n- `gamma` (map of objects) \n\n## Attributes\n\n- `vmid` (number) Given.\n\n### `gamma`\n\n- `delta` (number) Inner.\n";
        assert!(text.ends_with(expected), "{text}");
    }
}
