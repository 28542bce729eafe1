//! The answer of a successful call.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

#[derive(Debug)]
pub(crate) enum Reply {
    /// `{"data": …}` with further keys beside it.
    Data(Value, Map<String, Value>),
    /// `{"data": …}` with what is JSON already: a list that is too long to be built as values first.
    Written(Box<RawValue>),
    /// A plain text.
    Text(String),
}

impl Reply {
    pub(crate) fn with<const N: usize>(data: Value, extras: [(&str, Value); N]) -> Self {
        Self::Data(data, extras.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// What would be the answer's `data`.
    pub(crate) fn into_data(self) -> Value {
        match self {
            Self::Data(data, _) => data,
            Self::Written(data) => serde_json::from_str(data.get()).unwrap_or_default(),
            Self::Text(text) => Value::String(text),
        }
    }
}

impl From<Value> for Reply {
    fn from(data: Value) -> Self {
        Self::Data(data, Map::new())
    }
}
