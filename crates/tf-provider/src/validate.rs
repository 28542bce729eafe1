//! Checks of a configuration as declared on its attributes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::context::Capabilities;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::erased::panic_diagnostic;
use crate::path::Path;
use crate::schema::{Attribute, Check, Kind, Nesting, Schema};
use crate::value::Value;

/// Runs the checks of all known values.
pub(crate) fn config(schema: &Schema, config: &Value, capabilities: Capabilities) -> Diagnostics {
    let mut run = Run { capabilities, diagnostics: Diagnostics::new() };
    if let Some(message) = &schema.deprecated {
        run.diagnostics.push(Diagnostic::warning("Deprecated", message));
    }
    run.object(&schema.attributes, config, &Path::root());
    run.diagnostics
}

struct Run {
    capabilities: Capabilities,
    diagnostics: Diagnostics,
}

impl Run {
    fn object(&mut self, attributes: &[Attribute], config: &Value, path: &Path) {
        for attribute in attributes {
            self.attribute(attribute, config.get(&attribute.name), &path.then(&attribute.name));
        }
    }

    fn attribute(&mut self, attribute: &Attribute, value: &Value, path: &Path) {
        if *value == attribute.absent() {
            return;
        }
        if let Some(message) = &attribute.deprecated {
            let summary = if attribute.block.is_some() { "Deprecated block" } else { "Deprecated attribute" };
            self.diagnostics.push(Diagnostic::warning(summary, message).at(path.clone()));
        }
        if attribute.write_only && !self.capabilities.write_only_attributes {
            self.refuse_write_only(attribute, path);
        }
        if value.is_unknown() {
            return;
        }
        for check in &attribute.checks {
            if let Err(text) = run_check(check, value) {
                let text = if attribute.sensitive { hide(&text, value) } else { text };
                let detail = format!("\"{path}\": {text}.");
                self.diagnostics.push(Diagnostic::error("Invalid value", detail).at(path.clone()));
            }
        }
        if let Kind::Nested(nesting, nested) = &attribute.kind {
            self.nested(*nesting, nested, value, path);
        }
    }

    /// Adds an error for a write-only value, because a core without the capability would store it.
    fn refuse_write_only(&mut self, attribute: &Attribute, path: &Path) {
        let name = &attribute.name;
        let detail = format!(
            "\"{name}\" is write-only, which needs OpenTofu 1.11 or Terraform 1.11 or later: this version would store \
             it in the state. Use a later version, or leave it out and set the value in the provider's configuration \
             or in a file."
        );
        self.diagnostics.push(Diagnostic::error("Write-only attribute is not supported", detail).at(path.clone()));
    }

    fn nested(&mut self, nesting: Nesting, nested: &[Attribute], value: &Value, path: &Path) {
        match (nesting, value) {
            (Nesting::Single | Nesting::Group, value) => self.object(nested, value, path),
            (Nesting::Map, Value::Map(entries)) => {
                entries.iter().for_each(|(key, item)| self.object(nested, item, &path.key(key)));
            }
            (Nesting::List, Value::List(items)) => {
                items.iter().enumerate().for_each(|(index, item)| self.object(nested, item, &path.index(index)));
            }
            // Elements of a set have no path, so diagnostics name the set.
            (_, Value::List(items)) => {
                let mut inner = Run { capabilities: self.capabilities, diagnostics: Diagnostics::new() };
                items.iter().for_each(|item| inner.object(nested, item, path));
                self.diagnostics.extend(inner.diagnostics.into_iter().map(|found| found.at(path.clone())));
            }
            _ => {}
        }
    }
}

/// Runs a check. A panic counts as a failed check.
pub(crate) fn run_check(check: &Check, value: &Value) -> Result<(), String> {
    let call = AssertUnwindSafe(|| check.run(value));
    catch_unwind(call).unwrap_or_else(|panic| Err(panic_diagnostic(panic.as_ref()).detail))
}

fn hide(text: &str, value: &Value) -> String {
    match value {
        Value::String(secret) if !secret.is_empty() => text.replace(secret.as_str(), "(sensitive)"),
        Value::Number(secret) => text.replace(secret.as_str(), "(sensitive)"),
        _ => "the value is not accepted".to_owned(),
    }
}
