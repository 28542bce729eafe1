//! Compares the schema, as cores show it, with a committed file.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Core, Failed, Feature, Harness};

/// Variable with the mode: `write` writes the file, anything else compares.
const SCHEMA: &str = "TF_PROVIDER_SCHEMA";

/// Asserts that `providers schema -json` matches a committed file. The configuration must name the provider.
///
/// With `TF_PROVIDER_SCHEMA=write` in the environment, a core that shows everything writes the file instead. Parts that
/// an older core does not show are not compared.
///
/// # Errors
/// Fails if the schemas differ, and names the first path of a difference.
pub async fn matches_snapshot(harness: &Harness, file: &Path) -> Result<(), Failed> {
    let core = harness.work().core();
    let shown = shown(harness).await?;
    if std::env::var_os(SCHEMA).is_some_and(|word| word == "write") {
        if shows_everything(core) {
            let text = serde_json::to_string_pretty(&shown).map_err(|error| Failed::new(error.to_string()))?;
            fs::write(file, text + "\n").map_err(Failed::io(format_args!("writing {}", file.display())))?;
        }
        return Ok(());
    }
    let hint = format!("{SCHEMA}=write updates it");
    let text = fs::read_to_string(file).map_err(Failed::io(format_args!("reading {} ({hint})", file.display())))?;
    let mut committed: Value =
        serde_json::from_str(&text).map_err(|error| Failed::new(format!("{}: {error}", file.display())))?;
    if !shows_everything(core) {
        committed = known_to_all(committed);
    }
    match first_difference(&committed, &if shows_everything(core) { shown } else { known_to_all(shown) }, "") {
        None => Ok(()),
        Some(difference) => {
            Err(Failed::new(format!("the schema differs from {}: {difference}; {hint}", file.display())))
        }
    }
}

/// Returns the provider's part of the schemas that the core shows.
async fn shown(harness: &Harness) -> Result<Value, Failed> {
    let mut schemas = harness.work().schemas().await?;
    let providers = schemas["provider_schemas"].as_object_mut().map(std::mem::take).unwrap_or_default();
    let name = format!("/{}", harness.source());
    let found = providers.into_iter().find(|(address, _)| format!("/{address}").ends_with(&name));
    found.map(|(_, schema)| schema).ok_or_else(|| Failed::new(format!("the core has no {}", harness.source())))
}

fn shows_everything(core: &Core) -> bool {
    core.can(Feature::DeprecationMessages) && core.can(Feature::Identity)
}

/// Removes the parts that only newer cores show.
fn known_to_all(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.into_iter().filter(|(name, value)| {
                !["deprecation_message", "deprecated", "resource_identity_schemas"].contains(&name.as_str())
                    && !is_nothing(value)
            });
            Value::Object(kept.map(|(name, value)| (name, known_to_all(value))).collect::<Map<_, _>>())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(known_to_all).collect()),
        other => other,
    }
}

/// Returns true for empty values, which some cores leave out.
fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

fn first_difference(committed: &Value, shown: &Value, path: &str) -> Option<String> {
    if committed == shown {
        return None;
    }
    let (Value::Object(one), Value::Object(other)) = (committed, shown) else {
        return Some(format!("{path} is {shown}, committed was {committed}"));
    };
    let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
    names.into_iter().find_map(|name| first_difference(&committed[name], &shown[name], &format!("{path}/{name}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{first_difference, known_to_all};

    #[test]
    fn the_first_difference_is_named() {
        let committed = json!({ "a": { "b": 1 }, "c": 2 });
        assert_eq!(first_difference(&committed, &committed, ""), None);
        let shown = json!({ "a": { "b": 3 }, "c": 2 });
        assert_eq!(first_difference(&committed, &shown, "").as_deref(), Some("/a/b is 3, committed was 1"));
        let shown = json!({ "a": { "b": 1 }, "c": 2, "d": true });
        assert_eq!(first_difference(&committed, &shown, "").as_deref(), Some("/d is true, committed was null"));
    }

    #[test]
    fn parts_that_older_cores_leave_out_are_not_compared() {
        let newer =
            json!({ "x": { "deprecated": true, "deprecation_message": "m", "type": "string" }, "functions": {} });
        assert_eq!(known_to_all(newer), json!({ "x": { "type": "string" } }));
    }
}
