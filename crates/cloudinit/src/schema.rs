//! cloud-init's own schema of cloud-config. Only the parts that a document needs are compiled.
//!
//! The schema has about fifty definitions, one for each module of cloud-init. Each describes a few top-level keys.
//! Compiling all of them takes 7 MiB of memory, but a document uses only a few modules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Map, Value};

/// A copy of cloud-init's file. `schema/README.md` names its source and its licence.
const SCHEMA: &str = include_str!("../schema/schema-cloud-config-v1.json");

/// Top-level keys that this schema does not describe: older keys that cloud-init still reads, keys of its own
/// configuration, and keys of later releases (cloud-init's documentation, 23.1 to 25.1).
const FURTHER_KEYS: &[&str] = &[
    "apt_mirror",
    "apt_preserve_sources_list",
    "apt_proxy",
    "apt_sources",
    "create_hostname_file",
    "datasource",
    "datasource_list",
    "debug",
    "def_log_file",
    "disable_ec2_instance_metadata",
    "instance-id",
    "launch-index",
    "log_cfgs",
    "manual_cache_clean",
    "merge_how",
    "merge_type",
    "network",
    "output",
    "raspberry_pi",
    "reporting",
    "rpi",
    "stages",
    "syslog_fix_perms",
    "system_info",
    "ubuntu_pro",
    "users_groups",
    "vendor_data2",
    "warnings",
];

static KNOWN_KEYS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let schema = parsed();
    let modules = schema.get("$defs").and_then(Value::as_object).into_iter().flatten();
    let described = modules
        .filter(|(name, _)| name.starts_with("cc_") || *name == "base_config" || *name == "reporting_config")
        .filter_map(|(_, module)| module.get("properties").and_then(Value::as_object))
        .flat_map(|properties| properties.keys().cloned());
    described.chain(FURTHER_KEYS.iter().map(|key| (*key).to_owned())).collect()
});

/// Validators by the keys that they were compiled for. A configuration has many documents, but few different sets of
/// keys.
static VALIDATORS: Mutex<BTreeMap<BTreeSet<String>, Arc<Validator>>> = Mutex::new(BTreeMap::new());

/// Returns the top-level keys that any release of cloud-init knows.
pub(crate) fn known_keys() -> &'static BTreeSet<String> {
    &KNOWN_KEYS
}

/// Returns the validator for a document with these top-level keys. Returns `None` if the document is not a mapping.
pub(crate) fn validator(document: &Value) -> Option<Arc<Validator>> {
    let keys: BTreeSet<String> =
        document.as_object()?.keys().filter(|key| KNOWN_KEYS.contains(*key)).cloned().collect();
    let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(validator) = validators.get(&keys) {
        return Some(Arc::clone(validator));
    }
    let validator = Arc::new(compiled(&narrowed(parsed(), &keys))?);
    validators.insert(keys, Arc::clone(&validator));
    Some(validator)
}

fn parsed() -> Value {
    serde_json::from_str(SCHEMA).unwrap_or_default()
}

fn compiled(schema: &Value) -> Option<Validator> {
    jsonschema::draft4::options().build(schema).ok()
}

/// Returns the schema without the modules that do not describe these keys.
fn narrowed(mut schema: Value, keys: &BTreeSet<String>) -> Value {
    let Value::Object(root) = &mut schema else { return schema };
    let Some(Value::Array(mut joined)) = root.remove("allOf") else { return schema };
    joined.retain(|reference| module(root, reference).is_none_or(|module| concerns(module, keys)));
    root.insert("allOf".to_owned(), Value::Array(joined));
    schema
}

/// Returns the definition that an entry of `allOf` refers to.
fn module<'a>(schema: &'a Map<String, Value>, reference: &Value) -> Option<&'a Map<String, Value>> {
    let name = reference.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
    schema.get("$defs")?.get(name)?.as_object()
}

/// Returns true if a module matters to a document with these keys. A module with rules beyond the form of its own keys
/// matters to every document.
fn concerns(module: &Map<String, Value>, keys: &BTreeSet<String>) -> bool {
    let only_keys = module.keys().all(|word| ["type", "properties", "title", "description"].contains(&word.as_str()));
    let described = module.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    !only_keys || described.into_iter().any(|key| keys.contains(key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_narrowed_schema_judges_each_key_like_the_whole_schema() {
        let whole = compiled(&parsed()).expect("the vendored schema");
        let mut refused = 0;
        for key in known_keys() {
            for value in [json!(null), json!(-1), json!("x y"), json!([1]), json!([["a"]]), json!({"odd": {"odd": 1}})]
            {
                let document = json!({ key.as_str(): value, "runcmd": [true] });
                let reported = |validator: &Validator| {
                    let errors = validator.iter_errors(&document);
                    errors.map(|error| (error.instance_path().to_string(), error.to_string())).collect::<Vec<_>>()
                };
                let errors = reported(&whole);
                refused += errors.len();
                assert_eq!(reported(&validator(&document).expect("a mapping")), errors, "{document}");
            }
        }
        assert!(refused > known_keys().len(), "most of these values are wrong");
    }

    #[test]
    fn few_modules_are_left_for_few_keys() {
        let schema = narrowed(parsed(), &BTreeSet::from(["runcmd".to_owned()]));
        let left = schema["allOf"].as_array().expect("a list");
        assert!(left.iter().any(|entry| entry["$ref"] == "#/$defs/cc_runcmd") && left.len() < 10, "{left:?}");
    }
}
