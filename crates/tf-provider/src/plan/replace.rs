//! Finds the changes that need a new object.

use crate::path::Path;
use crate::schema::{Attribute, Kind, Nesting, Replace};
use crate::value::Value;

/// Returns the paths of the attributes whose change needs a new object.
pub(crate) fn paths_to_replace(attributes: &[Attribute], prior: &Value, planned: &Value) -> Vec<Path> {
    let mut paths = Vec::new();
    collect(attributes, prior, planned, &Path::root(), &mut paths);
    paths
}

fn collect(attributes: &[Attribute], prior: &Value, planned: &Value, path: &Path, paths: &mut Vec<Path>) {
    for attribute in attributes {
        let (prior, planned) = (prior.get(&attribute.name), planned.get(&attribute.name));
        if prior == planned {
            continue;
        }
        let path = path.then(&attribute.name);
        if needs(attribute, prior, planned) {
            paths.push(path);
            continue;
        }
        if let Kind::Nested(nesting, nested) = &attribute.kind {
            collect_nested(*nesting, nested, prior, planned, &path, paths);
        }
    }
}

fn needs(attribute: &Attribute, prior: &Value, planned: &Value) -> bool {
    // An unknown computed value is not a reason, because it may turn out unchanged.
    if attribute.mode.is_computed() && planned.is_unknown() {
        return false;
    }
    match &attribute.replace {
        Replace::Never => false,
        Replace::Always => true,
        Replace::When(decide) => decide(prior, planned),
    }
}

fn collect_nested(
    nesting: Nesting,
    nested: &[Attribute],
    prior: &Value,
    planned: &Value,
    path: &Path,
    paths: &mut Vec<Path>,
) {
    match (nesting, prior, planned) {
        (Nesting::Single | Nesting::Group, prior, planned) => collect(nested, prior, planned, path, paths),
        (Nesting::List, Value::List(olds), Value::List(news)) => {
            for (index, (old, new)) in olds.iter().zip(news).enumerate() {
                collect(nested, old, new, &path.index(index), paths);
            }
        }
        (Nesting::Map, Value::Map(olds), Value::Map(news)) => {
            for (key, new) in news {
                if let Some(old) = olds.get(key) {
                    collect(nested, old, new, &path.key(key), paths);
                }
            }
        }
        // Elements of a set have neither a partner nor a path, so they have no such rules.
        _ => {}
    }
}
