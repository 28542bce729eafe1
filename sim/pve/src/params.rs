//! The parameters of a request, as PVE's handlers see them after validation.

use std::collections::BTreeMap;

use serde_json::Value;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Param {
    Text(String),
    List(Vec<String>),
    /// JSON `null`, or a form key without `=`.
    Undefined,
    /// A value of a type that no call accepts, with Perl's name of the type.
    Odd(&'static str),
}

/// All parameters of a request, including path variables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(pub(crate) BTreeMap<String, Param>);

impl Params {
    pub(crate) fn insert_text(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), Param::Text(value.into()));
    }

    /// Adds a form value. A second value of the same name makes a list, as in Perl's form parser.
    pub(crate) fn push_form(&mut self, name: &str, value: Param) {
        let joined = match (self.0.remove(name), value) {
            (None, value) => value,
            (Some(Param::List(mut all)), Param::Text(text)) => {
                all.push(text);
                Param::List(all)
            }
            (Some(Param::Text(first)), Param::Text(text)) => Param::List(vec![first, text]),
            (_, value) => value,
        };
        self.0.insert(name.to_owned(), joined);
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Param::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name) {
            Some(Param::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("1")
    }

    pub(crate) fn vmid(&self) -> u32 {
        self.number("vmid").and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Param::List(all)) => all.clone(),
            Some(Param::Text(text)) => split_list(text),
            _ => Vec::new(),
        }
    }
}

/// Splits one of PVE's lists, whose entries are separated by comma, semicolon, blank or NUL.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    text.split([',', ';', ' ', '\0', '\t', '\n']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Turns a JSON value into a parameter. `boolean` is true if the schema declares a boolean.
pub(crate) fn from_json(value: &Value, boolean: bool) -> Param {
    match value {
        Value::Null => Param::Undefined,
        Value::Bool(flag) if boolean => Param::Text(if *flag { "1" } else { "0" }.to_owned()),
        Value::Bool(_) => Param::Odd("JSON::PP::Boolean"),
        Value::Number(number) => Param::Text(number.to_string()),
        Value::String(text) => Param::Text(text.clone()),
        Value::Array(all) => {
            Param::List(all.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect())
        }
        Value::Object(_) => Param::Odd("HASH"),
    }
}
