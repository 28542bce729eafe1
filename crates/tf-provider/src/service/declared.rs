//! Finds mistakes in registered types that the compiler cannot find. A core shows them with the schema, so the first
//! run of any command reports them.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::provider::Registry;
use crate::schema::{Attribute, Kind, Schema};

pub(super) fn problems<D>(registry: &Registry<D>) -> Diagnostics {
    let mut found = Diagnostics::new();
    let resources = registry.resources.iter().map(|implementation| implementation.type_name());
    let data_sources =
        registry.data_sources.iter().map(|implementation| (implementation.type_name(), implementation.schema()));
    let ephemeral =
        registry.ephemeral_resources.iter().map(|implementation| (implementation.type_name(), implementation.schema()));
    let functions = registry.functions.iter().map(|implementation| implementation.name());
    once("resource types", resources, &mut found);
    once("data sources", data_sources.clone().map(|(name, _)| name), &mut found);
    once("ephemeral resource types", ephemeral.clone().map(|(name, _)| name), &mut found);
    once("functions", functions, &mut found);
    for (name, schema) in data_sources.chain(ephemeral) {
        without_write_only(name, &schema, &mut found);
    }
    found
}

fn once(kind: &str, names: impl Iterator<Item = &'static str>, found: &mut Diagnostics) {
    let mut seen = BTreeSet::new();
    for name in names.filter(|name| !seen.insert(*name)) {
        found.push(bug(format!("Two {kind} are called \"{name}\".")));
    }
}

/// Reports write-only attributes. Cores refuse the whole provider because of one of them.
fn without_write_only(name: &str, schema: &Schema, found: &mut Diagnostics) {
    if let Some(attribute) = write_only(&schema.attributes) {
        let text = format!("\"{attribute}\" of \"{name}\" is write-only, which only attributes of resources can be.");
        found.push(bug(text));
    }
}

fn write_only(attributes: &[Attribute]) -> Option<&str> {
    attributes.iter().find_map(|attribute| match &attribute.kind {
        _ if attribute.write_only => Some(attribute.name.as_str()),
        Kind::Nested(_, nested) => write_only(nested),
        Kind::Plain(_) => None,
    })
}

fn bug(detail: String) -> Diagnostic {
    Diagnostic::error("Provider bug", detail)
}
