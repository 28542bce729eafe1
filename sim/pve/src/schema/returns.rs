//! Comparison of answers with the `returns` of their calls.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The declared shape of an answer or of a part of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Shape {
    #[serde(rename = "type")]
    kind: Option<Value>,
    optional: Option<Value>,
    #[serde(rename = "enum")]
    choices: Option<Vec<Value>>,
    items: Option<Box<Shape>>,
    properties: BTreeMap<String, Shape>,
}

/// Returns each deviation of `value` as `where: what`. List entries are shown as `[]`, so that equal deviations have
/// equal texts.
pub(crate) fn violations(shape: &Shape, value: &Value) -> Vec<String> {
    let mut out = Vec::new();
    collect(shape, value, "$", &mut out);
    out.sort();
    out.dedup();
    out
}

fn collect(shape: &Shape, value: &Value, at: &str, out: &mut Vec<String>) {
    let kind = shape.kind.as_ref().and_then(Value::as_str).unwrap_or("any");
    if !has_type(kind, value) {
        out.push(format!("{at}: {} instead of {kind}", name(value)));
        return;
    }
    if let Some(choices) = &shape.choices
        && !value.is_null()
        && !choices.iter().any(|choice| text(choice) == text(value))
    {
        out.push(format!("{at}: not in the enumeration"));
    }
    match value {
        Value::Array(entries) => {
            let Some(items) = &shape.items else { return };
            entries.iter().for_each(|entry| collect(items, entry, &format!("{at}[]"), out));
        }
        Value::Object(fields) => {
            for (key, one) in &shape.properties {
                match fields.get(key) {
                    Some(field) => collect(one, field, &format!("{at}.{key}"), out),
                    None if is_optional(one) || key.contains('[') => {}
                    None => out.push(format!("{at}.{key}: missing")),
                }
            }
        }
        _ => {}
    }
}

fn is_optional(shape: &Shape) -> bool {
    shape.optional.as_ref().is_some_and(|flag| text(flag) != "0" && *flag != Value::Bool(false))
}

fn has_type(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean() || matches!(value.as_i64(), Some(0 | 1)),
        "string" => value.is_string(),
        _ => true,
    }
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wrong_types_missing_fields_and_unknown_words_are_reported() {
        let shape: Shape = serde_json::from_value(json!({
            "type": "array",
            "items": { "type": "object", "properties": {
                "vmid": { "type": "integer" },
                "name": { "type": "string", "optional": 1 },
                "status": { "type": "string", "enum": ["stopped", "running"] },
            }},
        }))
        .expect("a shape");
        assert!(violations(&shape, &json!([{ "vmid": 7, "status": "running" }])).is_empty());
        let wrong = violations(&shape, &json!([{ "vmid": "7", "status": "gone" }, { "name": 5, "status": "stopped" }]));
        assert_eq!(
            wrong,
            [
                "$[].name: number instead of string",
                "$[].status: not in the enumeration",
                "$[].vmid: missing",
                "$[].vmid: string instead of integer"
            ]
        );
    }
}
