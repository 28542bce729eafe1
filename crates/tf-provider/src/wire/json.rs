//! Stored state (JSON) → [`Value`], filtered and completed by the declared type.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::path::Path;
use crate::schema::Type;
use crate::value::{Number, Value};

/// Stored state that does not fit the declared type.
#[derive(Debug, thiserror::Error)]
#[error("stored value at \"{path}\" is no {wanted}")]
pub(crate) struct JsonError {
    path: Path,
    wanted: &'static str,
}

type Result<T> = std::result::Result<T, JsonError>;

/// Reads stored state. What the type does not know is dropped, what is missing becomes null.
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
