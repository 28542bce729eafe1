//! An object's identity stays the same as long as it lives.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::path::{Path, Step};
use crate::schema::Attribute;
use crate::value::Value;

/// Attributes by which `after` is another object than `before`. What was not known before may become so.
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

/// What read or update came to is still the object that it was.
pub(crate) fn kept(attributes: &[Attribute], before: &Value, after: &Value) -> Option<Diagnostic> {
    let changed = changed(attributes, before, after);
    let first = changed.first()?;
    let detail = format!(
        "What identifies an object never changes while it lives, but this did: {}. This is a bug in the provider.",
        names(&changed)
    );
    Some(Diagnostic::error("Identity changed", detail).at(first.name.as_str()))
}

/// The same after an update, in which `found` differed from the plan: a change of identity is reported once.
pub(crate) fn kept_by_update(
    attributes: &[Attribute],
    before: &Value,
    after: &Value,
    found: Diagnostics,
) -> Diagnostics {
    let Some(changed) = kept(attributes, before, after) else { return found };
    let is_part = |path: &Path| match path.steps().first() {
        Some(Step::Attribute(name)) => attributes.iter().any(|attribute| attribute.identity && attribute.name == *name),
        _ => false,
    };
    let mut all = Diagnostics::from(changed);
    all.extend(found.into_iter().filter(|diagnostic| !is_part(&diagnostic.path)));
    all
}

/// What is planned in place is still the object that it was.
pub(crate) fn planned(attributes: &[Attribute], prior: &Value, planned: &Value) -> Option<Diagnostic> {
    let changed = changed(attributes, prior, planned);
    let first = changed.first()?;
    let detail = format!(
        "What identifies an object cannot change in place: {}. This is a bug in the provider's planning: such a change \
         needs a new object.",
        names(&changed)
    );
    Some(Diagnostic::error("Identity would change", detail).at(first.name.as_str()))
}
