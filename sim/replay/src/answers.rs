//! Deviations of answers from PVE's schema: the recorded ones of the real server, and the simulator's.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::step::Step;
use sim_pve::schema::Schema;

/// Known deviations of the real server's answers from its own schema, one `METHOD /path $.field: what` per line.
const KNOWN: &str = include_str!("../data/answer-deviations.txt");

/// Returns the checked-in list.
pub(super) fn known() -> BTreeSet<String> {
    KNOWN.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Returns the parts of a recorded answer that its call does not declare.
pub(super) fn recorded(schema: &Schema, step: &Step) -> Vec<String> {
    if step.status != Some(200) || step.lab_artifact.is_some() || is_shortened(&step.body) {
        return Vec::new();
    }
    let (Some(method), Some(path)) = (&step.method, &step.path) else { return Vec::new() };
    let plain = path.split('?').next().unwrap_or_default().replace("%2F", "/");
    let Some(data) = step.body.get("data").map(numbers) else { return Vec::new() };
    schema.undeclared(method, &plain, &data)
}

/// The recorder shortened the answer.
fn is_shortened(body: &Value) -> bool {
    match body {
        Value::Object(fields) => fields.contains_key("cut") || fields.values().any(is_shortened),
        Value::String(text) => text == "(list)" || text.starts_with("${string of"),
        Value::Array(all) => all.iter().any(is_shortened),
        _ => false,
    }
}

/// Placeholders of numbers are texts.
fn numbers(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("${n:") && text.find('}') == Some(text.len() - 1) => json!(1),
        Value::Array(all) => Value::Array(all.iter().map(numbers).collect()),
        Value::Object(all) => Value::Object(all.iter().map(|(key, one)| (key.clone(), numbers(one))).collect()),
        other => other.clone(),
    }
}
