//! What a call answers when all went well.

use serde_json::{Map, Value};

#[derive(Debug)]
pub(crate) enum Reply {
    /// `{"data": …}` with further keys beside it.
    Data(Value, Map<String, Value>),
    /// A plain text.
    Text(String),
}

impl Reply {
    pub(crate) fn with<const N: usize>(data: Value, extras: [(&str, Value); N]) -> Self {
        Self::Data(data, extras.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

impl From<Value> for Reply {
    fn from(data: Value) -> Self {
        Self::Data(data, Map::new())
    }
}
