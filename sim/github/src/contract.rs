//! GitHub's published description of the simulated calls in a compact form, and the check of requests and answers
//! against it. Requests and answers that GitHub does not have are reported.

use std::sync::OnceLock;

use serde_json::Value;

const DATA: &str = include_str!("../data/github-rest.json");

/// Statuses of answers that GitHub gives to any call, although its description does not list them.
const COMMON_STATUSES: [u16; 8] = [304, 400, 401, 403, 404, 409, 422, 429];

/// Returns the compact description: `operations` by `METHOD path`, `schemas` by name.
#[must_use]
pub fn description() -> &'static Value {
    static PARSED: OnceLock<Value> = OnceLock::new();
    PARSED.get_or_init(|| serde_json::from_str(DATA).unwrap_or_default())
}

/// A request with its answer.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Decoded path, without query.
    pub path: &'a str,
    /// Decoded query.
    pub query: &'a [(String, String)],
    /// Body of the request, if there was one.
    pub request: Option<&'a Value>,
    /// Status of the answer.
    pub status: u16,
    /// Body of the answer, if there was one.
    pub response: Option<&'a Value>,
}

/// Returns the deviations from GitHub's description, one sentence each.
#[must_use]
pub fn check(exchange: &Exchange<'_>) -> Vec<String> {
    let Some((name, operation)) = operation(exchange.method, exchange.path) else {
        return vec![format!("{} {} does not exist", exchange.method, exchange.path)];
    };
    let mut wrong = Vec::new();
    check_query(exchange, operation, &mut wrong);
    if exchange.status < 400 {
        let optional = exchange.request.is_none() && operation["body_optional"] == true;
        if !optional {
            check_body("request", exchange.request, &operation["body"], &mut wrong);
        }
    }
    let responses = &operation["responses"];
    match responses.get(exchange.status.to_string()) {
        Some(schema) => check_answer(exchange, schema, &mut wrong),
        None if COMMON_STATUSES.contains(&exchange.status) => {}
        None => wrong.push(format!("status {} is not described", exchange.status)),
    }
    wrong.into_iter().map(|what| format!("{name}: {what}")).collect()
}

/// Returns the deviations of a `workflow_job` webhook's body from GitHub's description, one sentence each.
#[must_use]
pub fn check_webhook(action: &str, payload: &Value) -> Vec<String> {
    let schema = &description()["webhooks"][action];
    if schema.is_null() {
        return vec![format!("there is no webhook workflow_job.{action}")];
    }
    let mut wrong = Vec::new();
    conform(payload, schema, "payload", &mut wrong);
    wrong.into_iter().map(|what| format!("workflow_job.{action}: {what}")).collect()
}

fn operation(method: &str, path: &str) -> Option<(&'static str, &'static Value)> {
    let operations = description()["operations"].as_object()?;
    operations.iter().map(|(name, operation)| (name.as_str(), operation)).find(|(name, _)| {
        name.split_once(' ').is_some_and(|(verb, template)| verb == method && matches(template, path))
    })
}

fn matches(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(name), Some(part)) if name.starts_with('{') => {
                // Numbers are distinguished from words (`downloads`), as by GitHub's router.
                if name.ends_with("_id}") && part.parse::<u64>().is_err() {
                    return false;
                }
            }
            (Some(name), Some(part)) if name == part => {}
            _ => return false,
        }
    }
}

fn check_query(exchange: &Exchange<'_>, operation: &Value, wrong: &mut Vec<String>) {
    for (name, value) in exchange.query {
        let Some(schema) = operation["query"].get(name) else {
            wrong.push(format!("there is no query parameter {name}"));
            continue;
        };
        let value = match schema["type"].as_str() {
            Some("integer") => value.parse::<i64>().map_or_else(|_| value.clone().into(), Value::from),
            Some("boolean") => value.parse::<bool>().map_or_else(|_| value.clone().into(), Value::from),
            _ => value.clone().into(),
        };
        conform(&value, schema, &format!("query.{name}"), wrong);
    }
}

/// Checks an answer. GitHub's errors contain their status too, but the description has it for some of them only.
fn check_answer(exchange: &Exchange<'_>, schema: &Value, wrong: &mut Vec<String>) {
    if exchange.status < 400 {
        return check_body("answer", exchange.response, schema, wrong);
    }
    let mut response = exchange.response.cloned();
    if let Some(fields) = response.as_mut().and_then(Value::as_object_mut) {
        fields.remove("status");
    }
    check_body("answer", response.as_ref(), schema, wrong);
}

fn check_body(side: &str, body: Option<&Value>, schema: &Value, wrong: &mut Vec<String>) {
    match (body, schema.is_null()) {
        (None, true) => {}
        (None, false) => wrong.push(format!("the {side} has no body")),
        (Some(_), true) => wrong.push(format!("the {side} has a body")),
        (Some(body), false) => conform(body, schema, side, wrong),
    }
}

fn conform(value: &Value, schema: &Value, at: &str, wrong: &mut Vec<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => &description()["schemas"][name],
        None => schema,
    };
    if value.is_null() {
        if schema["nullable"] != true && !schema["type"].is_null() {
            wrong.push(format!("{at} is null"));
        }
        return;
    }
    if let Some(expected) = schema["type"].as_str()
        && !has_type(value, expected)
    {
        wrong.push(format!("{at} is not of type {expected}"));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        wrong.push(format!("{at} is none of the described words: {value}"));
    }
    if !fits_one_of(value, schema) {
        wrong.push(format!("{at} is none of the described alternatives"));
    }
    conform_object(value, schema, at, wrong);
    conform_array(value, schema, at, wrong);
}

/// Returns true if a value matches one of `anyOf` or `oneOf`, or if there are none.
fn fits_one_of(value: &Value, schema: &Value) -> bool {
    let fits = |alternative: &Value| {
        let mut wrong = Vec::new();
        conform(value, alternative, "", &mut wrong);
        wrong.is_empty()
    };
    ["anyOf", "oneOf"].into_iter().filter_map(|word| schema[word].as_array()).all(|all| all.iter().any(fits))
}

/// Returns all schemas that apply to an object: its own, and those of `allOf`.
fn parts(schema: &Value) -> Vec<&Value> {
    let schema = match schema["$ref"].as_str() {
        Some(name) => &description()["schemas"][name],
        None => schema,
    };
    std::iter::once(schema).chain(schema["allOf"].as_array().into_iter().flatten().flat_map(parts)).collect()
}

fn conform_object(value: &Value, schema: &Value, at: &str, wrong: &mut Vec<String>) {
    let Some(fields) = value.as_object() else { return };
    let parts = parts(schema);
    let required = parts.iter().flat_map(|part| part["required"].as_array().into_iter().flatten());
    let missing = required.filter_map(Value::as_str).filter(|name| !fields.contains_key(*name));
    wrong.extend(missing.map(|name| format!("{at}.{name} is missing")));
    let open = parts.iter().all(|part| part["properties"].is_null())
        || parts.iter().any(|part| part["additionalProperties"] == true || part["additionalProperties"].is_object());
    for (name, field) in fields {
        let described: Vec<&Value> = parts.iter().filter_map(|part| part["properties"].get(name)).collect();
        for schema in &described {
            conform(field, schema, &format!("{at}.{name}"), wrong);
        }
        if described.is_empty() && !open {
            wrong.push(format!("{at}.{name} is not described"));
        }
    }
}

fn conform_array(value: &Value, schema: &Value, at: &str, wrong: &mut Vec<String>) {
    let Some(items) = value.as_array() else { return };
    let count = items.len() as u64;
    let too_few = schema["minItems"].as_u64().is_some_and(|least| count < least);
    let too_many = schema["maxItems"].as_u64().is_some_and(|most| count > most);
    if too_few || too_many {
        wrong.push(format!("{at} has {count} items"));
    }
    for (index, item) in items.iter().enumerate() {
        conform(item, &schema["items"], &format!("{at}[{index}]"), wrong);
    }
}

fn has_type(value: &Value, expected: &str) -> bool {
    match expected {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}
