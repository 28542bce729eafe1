//! Decodes stored state (JSON) to [`Value`]s, filtered and completed by the declared type.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::path::Path;
use crate::schema::Type;
use crate::value::{Number, Value};

/// An error in stored state that does not fit the declared type.
#[derive(Debug, thiserror::Error)]
#[error("stored value at \"{path}\" does not have the type {wanted}")]
pub(crate) struct JsonError {
    path: Path,
    wanted: &'static str,
}

type Result<T> = std::result::Result<T, JsonError>;

/// Parses stored state and keeps every digit of numbers. Numbers that a JSON reader would round become text, which
/// [`decode`] accepts as well.
///
/// # Errors
/// Fails if the text is not JSON.
pub(crate) fn parse(stored: &[u8]) -> serde_json::Result<Json> {
    // Quoting would turn text like `1-2-3-4-5-6-7-8-9` into JSON.
    serde_json::from_slice::<serde::de::IgnoredAny>(stored)?;
    serde_json::from_slice(&with_long_numbers_quoted(stored))
}

/// Quotes numbers with more digits than an `f64` has, because JSON readers round them.
fn with_long_numbers_quoted(stored: &[u8]) -> Vec<u8> {
    const EXACT: usize = 15;
    let mut quoted = Vec::with_capacity(stored.len());
    let mut rest = stored;
    while let Some(first) = rest.first() {
        let length = match first {
            b'"' => string_length(rest),
            b'-' | b'0'..=b'9' => rest.iter().take_while(|byte| b"+-.eE0123456789".contains(byte)).count(),
            _ => 1,
        };
        let (token, after) = rest.split_at(length);
        if *first != b'"' && length > EXACT && !is_exact_integer(token) {
            quoted.push(b'"');
            quoted.extend_from_slice(token);
            quoted.push(b'"');
        } else {
            quoted.extend_from_slice(token);
        }
        rest = after;
    }
    quoted
}

/// Returns true if JSON readers keep the number unchanged.
fn is_exact_integer(token: &[u8]) -> bool {
    std::str::from_utf8(token).is_ok_and(|text| text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok())
}

/// Returns the length of the string at the start, with its quotes; the length of the whole text if the string does not
/// end.
fn string_length(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// Decodes stored state. Drops attributes that the type does not have, and adds null for missing ones.
pub(crate) fn decode(json: &Json, wanted: &Type) -> Result<Value> {
    value(json, wanted, &Path::root())
}

fn value(json: &Json, wanted: &Type, path: &Path) -> Result<Value> {
    let wrong = |wanted| JsonError { path: path.clone(), wanted };
    match (wanted, json) {
        (_, Json::Null) => Ok(Value::Null),
        (Type::Bool, Json::Bool(value)) => Ok(Value::Bool(*value)),
        (Type::Bool, _) => Err(wrong("bool")),
        (Type::Number, Json::Number(number)) => {
            Number::parse(&number.to_string()).map(Value::Number).ok_or_else(|| wrong("number"))
        }
        // Cores store numbers that JSON readers would round as text.
        (Type::Number, Json::String(text)) => Number::parse(text).map(Value::Number).ok_or_else(|| wrong("number")),
        (Type::Number, _) => Err(wrong("number")),
        (Type::String, Json::String(text)) => Ok(Value::String(text.clone())),
        (Type::String, _) => Err(wrong("string")),
        (Type::List(element) | Type::Set(element), Json::Array(items)) => {
            let items = items.iter().enumerate().map(|(index, item)| value(item, element, &path.index(index)));
            items.collect::<Result<_>>().map(Value::List)
        }
        (Type::List(_) | Type::Set(_), _) => Err(wrong("list")),
        (Type::Map(element), Json::Object(entries)) => {
            let entries = entries.iter().map(|(key, item)| Ok((key.clone(), value(item, element, &path.key(key))?)));
            entries.collect::<Result<_>>().map(Value::Map)
        }
        (Type::Object(attributes), Json::Object(entries)) => {
            let read = |(name, wanted): (&String, &Type)| {
                let stored = entries.get(name).unwrap_or(&Json::Null);
                Ok((name.clone(), value(stored, wanted, &path.then(name))?))
            };
            attributes.iter().map(read).collect::<Result<BTreeMap<_, _>>>().map(Value::Map)
        }
        (Type::Map(_) | Type::Object(_), _) => Err(wrong("object")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::samples::{declared, stored_value};

    /// Returns JSON as a core writes it, with every digit of numbers.
    fn written(value: &Value) -> String {
        let quoted = |text: &str| serde_json::to_string(text).expect("text");
        match value {
            Value::Null | Value::Unknown => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => quoted(text),
            Value::List(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(",")),
            Value::Map(entries) => {
                let entries = entries.iter().map(|(key, item)| format!("{}:{}", quoted(key), written(item)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn stored_state_is_decoded_to_the_same_value((declared, value) in declared().prop_flat_map(|declared| {
            let value = stored_value(&declared);
            (Just(declared), value)
        })) {
            let stored = parse(written(&value).as_bytes()).expect("JSON");
            prop_assert!(decode(&stored, &declared).expect("fits") == value);
        }
    }

    fn object(pairs: &[(&str, Type)]) -> Type {
        Type::Object(pairs.iter().map(|(name, declared)| ((*name).to_owned(), declared.clone())).collect())
    }

    #[test]
    fn stored_state_is_filtered_and_completed() {
        let declared = object(&[("kept", Type::String), ("new", Type::Bool)]);
        let stored = parse(br#"{"kept":"a \" 1234567890123456789","dropped":[1,2]}"#).expect("JSON");
        let value = decode(&stored, &declared).expect("fits");
        assert!(*value.get("kept") == Value::String("a \" 1234567890123456789".to_owned()));
        assert!(matches!(&value, Value::Map(entries) if entries.keys().eq(["kept", "new"])));
        assert!(value.get("new").is_null());
    }

    #[test]
    fn numbers_keep_every_digit() {
        for text in ["0.1", "9007199254740993", "1180591620717411303425", "-0.12345678901234567890123", "2.5e3"] {
            let stored = parse(format!("[{text}]").as_bytes()).expect("JSON");
            let value = decode(&stored, &Type::List(Box::new(Type::Number))).expect("fits");
            let number = Number::parse(text).expect("number");
            assert!(value == Value::List(vec![Value::Number(number)]), "{text}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_named_by_path() {
        let declared = object(&[("list", Type::List(Box::new(Type::Bool)))]);
        let stored = parse(br#"{"list":[true,"secret"]}"#).expect("JSON");
        let error = decode(&stored, &declared).expect_err("refused");
        assert_eq!(error.to_string(), "stored value at \"list[1]\" does not have the type bool");
    }

    #[test]
    fn text_that_is_not_json_is_refused() {
        assert!(parse(br#"{"a":"b"#).is_err());
        assert!(parse(b"[1-2-3-4-5-6-7-8-9-10]").is_err());
    }
}
