//! The answer of a successful call.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

#[derive(Debug)]
pub(crate) enum Reply {
    /// `{"data": …}`, and further keys next to `data`.
    Data(Value, Map<String, Value>),
    /// `{"data": …}` with data that is JSON text already, for lists that are too long to build as values first.
    RawJson(Box<RawValue>),
    /// Plain text.
    Text(String),
}

impl Reply {
    pub(crate) fn with<const N: usize>(data: Value, extras: [(&str, Value); N]) -> Self {
        Self::Data(data, extras.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// Returns the `data` of the answer.
    pub(crate) fn into_data(self) -> Value {
        match self {
            Self::Data(data, _) => data,
            Self::RawJson(data) => serde_json::from_str(data.get()).unwrap_or_default(),
            Self::Text(text) => Value::String(text),
        }
    }
}

impl From<Value> for Reply {
    fn from(data: Value) -> Self {
        Self::Data(data, Map::new())
    }
}
