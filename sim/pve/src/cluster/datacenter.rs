//! `/cluster/options`: the options of the datacenter.

use serde_json::{Map, Value, json};

use crate::engine::{Call, Engine};
use crate::guests::tags;
use crate::params::split_list;
use crate::refusal::{Outcome, Refusal};
use crate::world::drives;
use crate::world::state::State;

/// Options that are shown as an object of their parts.
const PARSED_OPTIONS: [&str; 11] = [
    "bwlimit",
    "crs",
    "ha",
    "location",
    "migration",
    "next-id",
    "notify",
    "replication",
    "tag-style",
    "u2f",
    "user-tag-access",
];

/// Returns a few options to every caller, and all of them to a caller with `Sys.Audit`.
pub(crate) fn read(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let all = state.may(&call.caller, "/", "Sys.Audit");
    let mut out = Map::new();
    for (key, value) in &state.options {
        let public = matches!(key.as_str(), "console" | "tag-style");
        if !all && !public {
            continue;
        }
        let shown = if PARSED_OPTIONS.contains(&key.as_str()) {
            json!(drives::parse(value).into_iter().map(|(key, value)| (key, number(&value))).collect::<Map<_, _>>())
        } else if key == "registered-tags" {
            json!(split_list(value))
        } else {
            json!(value)
        };
        out.insert(key.clone(), shown);
    }
    out.insert("allowed-tags".to_owned(), json!(tags::allowed(&state, &call.caller)));
    if all {
        out.entry("description").or_insert_with(|| json!(""));
    }
    Value::Object(out)
}

fn number(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| json!(text), Value::from)
}

pub(crate) fn write(engine: &Engine, call: &Call) -> Outcome<Value> {
    let mut state = engine.state();
    let before = state.options.clone();
    for key in call.params.0.keys().filter(|key| !matches!(key.as_str(), "delete" | "node")) {
        if let Some(value) = call.text(key) {
            state.options.insert(key.clone(), value.to_owned());
        }
    }
    for key in split_list(call.text("delete").unwrap_or_default()) {
        state.options.remove(&key);
    }
    let (lower, upper) = next_id_range(&state);
    if lower > upper {
        state.options = before;
        return Err(Refusal::fault(format!("lower ({lower}) <= upper ({upper}) boundary rule broken")));
    }
    Ok(Value::Null)
}

/// Returns the range in which the next free VMID is searched. The second number is not in the range.
pub(crate) fn next_id_range(state: &State) -> (u32, u32) {
    let range = state.options.get("next-id").map(|value| drives::parse(value)).unwrap_or_default();
    let at = |key: &str, otherwise: u32| range.get(key).and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    (at("lower", 100), at("upper", 1_000_000))
}
