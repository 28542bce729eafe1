//! YAML as JSON values, with the line of every key and item.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A document with the lines of its values.
pub(crate) struct Document {
    pub(crate) value: serde_json::Value,
    /// Lines by JSON pointer, as in `/users/0/name`. Lines count from 1.
    lines: BTreeMap<String, u64>,
}

/// The text is not YAML.
pub(crate) struct SyntaxError {
    pub(crate) line: u64,
    pub(crate) message: String,
}

impl Document {
    /// Reads one YAML document as cloud-init does, which uses PyYAML: `yes` and `off` are booleans, and `0644` is
    /// octal.
    pub(crate) fn parse(text: &str) -> Result<Self, SyntaxError> {
        let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
        let node: Spanned<Node> = serde_saphyr::from_str_with_options(text, options).map_err(|error| SyntaxError {
            line: error.location().map_or(0, |location| location.line()),
            message: error.without_snippet().to_string(),
        })?;
        let mut lines = BTreeMap::new();
        let value = convert(node, String::new(), &mut lines);
        Ok(Self { value, lines })
    }

    /// Returns the line of a JSON pointer, or of the closest value around it.
    pub(crate) fn line_of(&self, pointer: &str) -> u64 {
        let mut pointer = pointer;
        loop {
            if let Some(line) = self.lines.get(pointer) {
                return *line;
            }
            match pointer.rfind('/') {
                Some(at) => pointer = &pointer[..at],
                None => return 0,
            }
        }
    }
}

enum Node {
    Scalar(serde_json::Value),
    Sequence(Vec<Spanned<Node>>),
    Mapping(Vec<(Spanned<Node>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(serde_json::Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(serde_json::Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Node::Sequence(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_entry()? {
            all.push(item);
        }
        Ok(Node::Mapping(all))
    }
}

fn convert(node: Spanned<Node>, pointer: String, lines: &mut BTreeMap<String, u64>) -> serde_json::Value {
    // In a mapping, the line of the key counts, which is stored already.
    lines.entry(pointer.clone()).or_insert_with(|| node.referenced.line());
    match node.value {
        Node::Scalar(value) => value,
        Node::Sequence(items) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| convert(item, format!("{pointer}/{index}"), lines))
            .collect(),
        Node::Mapping(items) => {
            let mut object = serde_json::Map::new();
            for (key, item) in items {
                let line = key.referenced.line();
                let name = key_text(key.value);
                let inner = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                lines.insert(inner.clone(), line);
                object.insert(name, convert(item, inner, lines));
            }
            object.into()
        }
    }
}

fn key_text(key: Node) -> String {
    match key {
        Node::Scalar(serde_json::Value::String(text)) => text,
        Node::Scalar(other) => other.to_string(),
        Node::Sequence(_) | Node::Mapping(_) => "?".to_owned(),
    }
}
