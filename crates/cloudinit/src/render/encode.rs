//! `jsonencode` and `yamlencode`, with the same bytes as Terraform's.

use hcl::{Number, Value};

/// Converts a JSON number to an HCL number.
pub(super) fn number_from_json(number: &serde_json::Number) -> Value {
    if let Some(whole) = number.as_i64() {
        return Value::from(whole);
    }
    if let Some(whole) = number.as_u64() {
        return Value::from(whole);
    }
    number.as_f64().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

/// Writes a number as HCL does: whole numbers without a fraction.
pub(super) fn number_text(number: &Number) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(value) if !number.is_i64() && !number.is_u64() && value.fract() == 0.0 && value.abs() < EXACT => {
            format!("{value:.0}")
        }
        _ => number.to_string(),
    }
}

/// Writes compact JSON with sorted keys. Escapes `<`, `>` and `&`.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number_text(number),
        Value::String(text) => json_string(text),
        Value::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Object(_) => {
            let items: Vec<String> =
                sorted(value).into_iter().map(|(key, item)| format!("{}:{}", json_string(key), json(item))).collect();
            format!("{{{}}}", items.join(","))
        }
    }
}

fn json_string(text: &str) -> String {
    let quoted = serde_json::Value::String(text.to_owned()).to_string();
    quoted
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn sorted(value: &Value) -> Vec<(&String, &Value)> {
    let mut items: Vec<_> = value.as_object().map(|items| items.iter().collect()).unwrap_or_default();
    items.sort_by_key(|(key, _)| *key);
    items
}

/// Writes YAML in block style. Strings are quoted, and lists are not indented below their key.
pub(super) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    yaml_node(&mut out, value, 0);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn yaml_node(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                start_line(out, depth);
                out.push('-');
                yaml_item(out, item, depth + 1, true);
            }
        }
        Value::Object(items) if !items.is_empty() => {
            for (key, item) in sorted(value) {
                start_line(out, depth);
                out.push_str(&json_string(key));
                out.push(':');
                yaml_item(out, item, if item.is_array() { depth } else { depth + 1 }, false);
            }
        }
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        Value::String(text) if text.contains('\n') && block_safe(text) => yaml_block(out, text, depth),
        scalar => out.push_str(&json(scalar)),
    }
}

/// Writes the value after `key:` or `-`. A collection inside a list begins on the dash's line.
fn yaml_item(out: &mut String, item: &Value, depth: usize, after_dash: bool) {
    let nested = item.as_array().is_some_and(|items| !items.is_empty())
        || item.as_object().is_some_and(|items| !items.is_empty());
    if !nested || after_dash {
        out.push(' ');
    }
    yaml_node(out, item, depth);
}

fn start_line(out: &mut String, depth: usize) {
    if out.is_empty() || out.ends_with("- ") {
        return;
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(&"  ".repeat(depth));
}

fn block_safe(text: &str) -> bool {
    !text.starts_with([' ', '\n']) && text.chars().all(|character| character == '\n' || !character.is_control())
}

fn yaml_block(out: &mut String, text: &str, depth: usize) {
    let body = text.trim_end_matches('\n');
    let chomping = match text.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    };
    out.push_str(chomping);
    let lines = text.strip_suffix('\n').unwrap_or(text);
    for line in lines.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&"  ".repeat(depth));
            out.push_str(line);
        }
    }
}
