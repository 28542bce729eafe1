//! Types, values and code as Markdown text.

use crate::schema::{Kind, Limits, Nesting, Type};
use crate::value::Value;

/// Describes a kind: `list of string`, `map of objects`, `blocks, at least 1`.
pub(super) fn kind(kind: &Kind, block: Option<Limits>) -> String {
    match (kind, block) {
        (Kind::Plain(plain), _) => plain_type(plain),
        (Kind::Nested(nesting, _), None) => match nesting {
            Nesting::Single | Nesting::Group => "object".to_owned(),
            Nesting::List => "list of objects".to_owned(),
            Nesting::Set => "set of objects".to_owned(),
            Nesting::Map => "map of objects".to_owned(),
        },
        (Kind::Nested(nesting, _), Some(limits)) => match nesting {
            Nesting::Single | Nesting::Group => "block".to_owned(),
            Nesting::Map => format!("blocks with a label{}", count(limits)),
            _ => format!("blocks{}", count(limits)),
        },
    }
}

fn count(limits: Limits) -> String {
    match (limits.min, limits.max) {
        (0, 0) => ", any number".to_owned(),
        (least, 0) => format!(", at least {least}"),
        (0, most) => format!(", at most {most}"),
        (least, most) if least == most => format!(", exactly {most}"),
        (least, most) => format!(", {least} to {most}"),
    }
}

pub(super) fn plain_type(plain: &Type) -> String {
    match plain {
        Type::Bool => "bool".to_owned(),
        Type::Number => "number".to_owned(),
        Type::String => "string".to_owned(),
        Type::List(element) => format!("list of {}", plain_type(element)),
        Type::Set(element) => format!("set of {}", plain_type(element)),
        Type::Map(element) => format!("map of {}", plain_type(element)),
        Type::Object(attributes) => {
            let parts = attributes.iter().map(|(name, plain)| format!("`{name}` {}", plain_type(plain)));
            format!("object with {}", parts.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Returns a value as a configuration writes it.
pub(super) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Unknown => "(known after apply)".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::List(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{key} = {}", literal(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    // Configurations have the same escapes as JSON, and templates.
    let text = serde_json::Value::from(text).to_string();
    text.replace("${", "$${").replace("%{", "%%{")
}

/// Returns a span of code, which may contain backticks.
pub(super) fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// Returns a block of code, which may contain fences.
pub(super) fn block(language: &str, text: &str) -> String {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}
