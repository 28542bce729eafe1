//! Reads values whose JSON type differs between PVE's calls. Numbers may be strings, and true may be `1` or `"1"`.

use ownership::Vmid;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Returns the text of a scalar, or `None` for null, lists and objects.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns the number in a scalar, without its fraction.
pub(crate) fn number_of(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().filter(|float| *float >= 0.0).map(|float| float as u64))
        }
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(u64::from(*flag)),
        _ => None,
    }
}

/// Returns true if a scalar means true.
pub(crate) fn flag_of(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => matches!(text.as_str(), "1" | "yes" | "on" | "true"),
        _ => false,
    }
}

pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(text_of(&Value::deserialize(deserializer)?).unwrap_or_default())
}

pub(crate) fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(text_of(&Value::deserialize(deserializer)?))
}

pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(number_of(&Value::deserialize(deserializer)?).unwrap_or_default())
}

pub(crate) fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(number_of(&Value::deserialize(deserializer)?))
}

pub(crate) fn optional_vmid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vmid>, D::Error> {
    let number = number_of(&Value::deserialize(deserializer)?);
    Ok(number.and_then(|number| Vmid::new(u32::try_from(number).ok()?).ok()))
}

pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(flag_of(&Value::deserialize(deserializer)?))
}

/// Reads a comma-separated list, such as PVE's content types.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let text = text_of(&Value::deserialize(deserializer)?).unwrap_or_default();
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_of_any_json_type_are_read() {
        assert_eq!(number_of(&json!("512")), Some(512));
        assert_eq!(number_of(&json!(512)), Some(512));
        assert_eq!(number_of(&json!(512.5)), Some(512));
        assert_eq!(number_of(&json!("x")), None);
        assert_eq!(text_of(&json!(1)), Some("1".into()));
        assert_eq!(text_of(&json!(null)), None);
        assert!(flag_of(&json!("1")) && flag_of(&json!(1)) && flag_of(&json!(true)));
        assert!(!flag_of(&json!("0")) && !flag_of(&json!(0)) && !flag_of(&json!("")) && !flag_of(&json!(null)));
    }
}
