//! Checks that the identity of an object does not change while the object exists.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::path::{Path, Step};
use crate::schema::Attribute;
use crate::value::Value;

/// Returns the identifying attributes that differ. An unknown value may become known.
fn changed<'a>(attributes: &'a [Attribute], before: &Value, after: &Value) -> Vec<&'a Attribute> {
    let marked = attributes.iter().filter(|attribute| attribute.identity);
    let differs = |attribute: &&Attribute| {
        let (before, after) = (before.get(&attribute.name), after.get(&attribute.name));
        !before.is_null() && !before.is_unknown() && before != after
    };
    marked.filter(differs).collect()
}

fn names(changed: &[&Attribute]) -> String {
    changed.iter().map(|attribute| format!("\"{}\"", attribute.name)).collect::<Vec<_>>().join(", ")
}

/// Returns an error if a read or update returned another object.
pub(crate) fn check_read(attributes: &[Attribute], before: &Value, after: &Value) -> Option<Diagnostic> {
    let changed = changed(attributes, before, after);
    let first = changed.first()?;
    let detail = format!(
        "Identifying attributes must not change while an object exists, but these did: {}. This is a bug in the provider.",
        names(&changed)
    );
    Some(Diagnostic::error("Identity changed", detail).at(first.name.as_str()))
}

/// Adds the error of [`check_read`] to `found`, the differences from the plan, so that a changed identity is reported
/// once.
pub(crate) fn check_update(attributes: &[Attribute], before: &Value, after: &Value, found: Diagnostics) -> Diagnostics {
    let Some(changed) = check_read(attributes, before, after) else { return found };
    let is_part = |path: &Path| match path.steps().first() {
        Some(Step::Attribute(name)) => attributes.iter().any(|attribute| attribute.identity && attribute.name == *name),
        _ => false,
    };
    let mut all = Diagnostics::from(changed);
    all.extend(found.into_iter().filter(|diagnostic| !is_part(&diagnostic.path)));
    all
}

/// Returns an error if an update in place would lead to another object.
pub(crate) fn check_plan(attributes: &[Attribute], prior: &Value, planned: &Value) -> Option<Diagnostic> {
    let changed = changed(attributes, prior, planned);
    let first = changed.first()?;
    let detail = format!(
        "Identifying attributes cannot change in place: {}. This is a bug in the provider's planning: such a change \
         needs a new object.",
        names(&changed)
    );
    Some(Diagnostic::error("Identity would change", detail).at(first.name.as_str()))
}
