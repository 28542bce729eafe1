//! The compact description that the simulator checks against agrees with GitHub's published one.
//!
//! `PXCI_BLESS=1` updates it from the published one.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sim_github::contract::{self, Exchange};

/// The calls that the simulator answers.
const USED: [(&str, &str); 61] = [
    ("get", "/app"),
    ("get", "/app/hook/deliveries"),
    ("post", "/app/hook/deliveries/{delivery_id}/attempts"),
    ("get", "/app/installations"),
    ("get", "/app/installations/{installation_id}"),
    ("delete", "/app/installations/{installation_id}"),
    ("post", "/app/installations/{installation_id}/access_tokens"),
    ("get", "/installation/repositories"),
    ("get", "/orgs/{org}/actions/runner-groups"),
    ("post", "/orgs/{org}/actions/runner-groups"),
    ("get", "/orgs/{org}/actions/runner-groups/{runner_group_id}"),
    ("patch", "/orgs/{org}/actions/runner-groups/{runner_group_id}"),
    ("delete", "/orgs/{org}/actions/runner-groups/{runner_group_id}"),
    ("get", "/orgs/{org}/actions/runner-groups/{runner_group_id}/repositories"),
    ("put", "/orgs/{org}/actions/runner-groups/{runner_group_id}/repositories"),
    ("put", "/orgs/{org}/actions/runner-groups/{runner_group_id}/repositories/{repository_id}"),
    ("delete", "/orgs/{org}/actions/runner-groups/{runner_group_id}/repositories/{repository_id}"),
    ("get", "/orgs/{org}/actions/runner-groups/{runner_group_id}/runners"),
    ("put", "/orgs/{org}/actions/runner-groups/{runner_group_id}/runners"),
    ("put", "/orgs/{org}/actions/runner-groups/{runner_group_id}/runners/{runner_id}"),
    ("delete", "/orgs/{org}/actions/runner-groups/{runner_group_id}/runners/{runner_id}"),
    ("get", "/orgs/{org}/actions/runners"),
    ("get", "/orgs/{org}/actions/runners/downloads"),
    ("post", "/orgs/{org}/actions/runners/generate-jitconfig"),
    ("post", "/orgs/{org}/actions/runners/registration-token"),
    ("post", "/orgs/{org}/actions/runners/remove-token"),
    ("get", "/orgs/{org}/actions/runners/{runner_id}"),
    ("delete", "/orgs/{org}/actions/runners/{runner_id}"),
    ("get", "/orgs/{org}/actions/runners/{runner_id}/labels"),
    ("post", "/orgs/{org}/actions/runners/{runner_id}/labels"),
    ("put", "/orgs/{org}/actions/runners/{runner_id}/labels"),
    ("delete", "/orgs/{org}/actions/runners/{runner_id}/labels"),
    ("delete", "/orgs/{org}/actions/runners/{runner_id}/labels/{name}"),
    ("get", "/orgs/{org}/installation"),
    ("get", "/orgs/{org}/repos"),
    ("post", "/orgs/{org}/repos"),
    ("get", "/meta"),
    ("get", "/rate_limit"),
    ("get", "/repos/{owner}/{repo}"),
    ("delete", "/repos/{owner}/{repo}"),
    ("get", "/repos/{owner}/{repo}/actions/jobs/{job_id}"),
    ("post", "/repos/{owner}/{repo}/actions/jobs/{job_id}/rerun"),
    ("get", "/repos/{owner}/{repo}/actions/runners"),
    ("get", "/repos/{owner}/{repo}/actions/runners/downloads"),
    ("post", "/repos/{owner}/{repo}/actions/runners/generate-jitconfig"),
    ("post", "/repos/{owner}/{repo}/actions/runners/registration-token"),
    ("post", "/repos/{owner}/{repo}/actions/runners/remove-token"),
    ("get", "/repos/{owner}/{repo}/actions/runners/{runner_id}"),
    ("delete", "/repos/{owner}/{repo}/actions/runners/{runner_id}"),
    ("get", "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels"),
    ("post", "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels"),
    ("put", "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels"),
    ("delete", "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels"),
    ("delete", "/repos/{owner}/{repo}/actions/runners/{runner_id}/labels/{name}"),
    ("get", "/repos/{owner}/{repo}/actions/runs"),
    ("get", "/repos/{owner}/{repo}/actions/runs/{run_id}"),
    ("delete", "/repos/{owner}/{repo}/actions/runs/{run_id}"),
    ("post", "/repos/{owner}/{repo}/actions/runs/{run_id}/cancel"),
    ("get", "/repos/{owner}/{repo}/actions/runs/{run_id}/jobs"),
    ("post", "/repos/{owner}/{repo}/actions/runs/{run_id}/rerun-failed-jobs"),
    ("get", "/repos/{owner}/{repo}/installation"),
];

/// Keywords that describe formats. Prose is left out.
const KEYWORDS: [&str; 12] = [
    "type",
    "required",
    "enum",
    "nullable",
    "minItems",
    "maxItems",
    "properties",
    "items",
    "allOf",
    "anyOf",
    "oneOf",
    "additionalProperties",
];

/// The webhooks that the simulator sends, by action.
const WEBHOOKS: [(&str, &str); 3] = [
    ("queued", "webhook-workflow-job-queued"),
    ("in_progress", "webhook-workflow-job-in-progress"),
    ("completed", "webhook-workflow-job-completed"),
];

fn published() -> Option<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let beside = checkout.parent()?.join("shared");
    let shared = std::env::var_os("PXCI_SHARED").map_or(beside, PathBuf::from);
    Some(shared.join("github/rest-subset.json")).filter(|file| file.exists())
}

struct Compacting<'a> {
    published: &'a Value,
    schemas: BTreeMap<String, Value>,
}

impl<'a> Compacting<'a> {
    fn resolve(&self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                self.published.pointer(reference.trim_start_matches('#')).expect("a reference has a target")
            }
            None => value,
        }
    }

    fn schema(&mut self, schema: &'a Value) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default().to_owned();
            if !self.schemas.contains_key(&name) {
                self.schemas.insert(name.clone(), Value::Null);
                let compact = self.schema(self.resolve(schema));
                self.schemas.insert(name.clone(), compact);
            }
            return json!({ "$ref": name });
        }
        let mut compact = Map::new();
        for keyword in KEYWORDS {
            let Some(value) = schema.get(keyword) else { continue };
            let value = match (keyword, value) {
                ("items", value) => self.schema(value),
                ("additionalProperties", Value::Object(_)) => self.schema(value),
                ("allOf" | "anyOf" | "oneOf", Value::Array(all)) => all.iter().map(|one| self.schema(one)).collect(),
                ("properties", Value::Object(fields)) => {
                    Value::Object(fields.iter().map(|(name, field)| (name.clone(), self.schema(field))).collect())
                }
                _ => value.clone(),
            };
            compact.insert(keyword.to_owned(), value);
        }
        Value::Object(compact)
    }

    fn body(&mut self, message: &'a Value) -> Value {
        match message.pointer("/content/application~1json/schema") {
            Some(schema) => self.schema(schema),
            None => Value::Null,
        }
    }

    fn operation(&mut self, operation: &'a Value) -> Value {
        let parameters = operation["parameters"].as_array().expect("a call lists its parameters");
        let mut query = Map::new();
        for parameter in parameters {
            let parameter = self.resolve(parameter);
            if parameter["in"] == "query" {
                let name = parameter["name"].as_str().expect("a parameter has a name").to_owned();
                query.insert(name, self.schema(&parameter["schema"]));
            }
        }
        let mut responses = Map::new();
        for (status, response) in operation["responses"].as_object().expect("a call lists its answers") {
            let body = self.body(self.resolve(response));
            responses.insert(status.clone(), body);
        }
        let body = &operation["requestBody"];
        let optional = body["required"] == false;
        json!({ "query": query, "body": self.body(body), "body_optional": optional, "responses": responses })
    }
}

fn compacted(published: &Value) -> Value {
    let mut compacting = Compacting { published, schemas: BTreeMap::new() };
    let mut operations = Map::new();
    for (method, path) in USED {
        let operation = compacting.operation(&published["paths"][path][method]);
        operations.insert(format!("{} {path}", method.to_uppercase()), operation);
    }
    let mut webhooks = Map::new();
    for (action, schema) in WEBHOOKS {
        let reference = &published["components"]["schemas"][schema];
        webhooks.insert(action.to_owned(), compacting.schema(reference));
    }
    json!({ "operations": operations, "webhooks": webhooks, "schemas": compacting.schemas })
}

#[test]
fn the_compact_description_agrees_with_the_published_one() {
    let Some(file) = published() else {
        println!("not run: GitHub's published description is not beside the checkout (set PXCI_SHARED)");
        return;
    };
    let published = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let compact = compacted(&published);
    if std::env::var_os("PXCI_BLESS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/github-rest.json"), lines(&compact)).unwrap();
        return;
    }
    assert_eq!(*contract::description(), compact, "write it again with PXCI_BLESS=1");
}

/// Returns one line for each call and each schema, so that a difference shows its place.
fn lines(compact: &Value) -> String {
    let section = |name: &str| {
        let entries = compact[name].as_object().unwrap().iter();
        entries.map(|(key, value)| format!("{}:{value}", Value::from(key.as_str()))).collect::<Vec<_>>().join(",\n")
    };
    let all = ["operations", "webhooks", "schemas"].map(|name| format!("\"{name}\":{{\n{}\n}}", section(name)));
    format!("{{{}}}\n", all.join(","))
}

fn complaints(path: &str, query: &[(&str, &str)], response: &Value) -> Vec<String> {
    let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let exchange =
        Exchange { method: "GET", path, query: &query, request: None, status: 200, response: Some(response) };
    contract::check(&exchange)
}

#[test]
fn deviations_from_github_are_reported() {
    let path = "/repos/acme/tools/actions/runners";
    let runner = json!({ "id": 1, "name": "a", "os": "Linux", "status": "online", "busy": false, "labels": [] });
    let list = |runner: &Value| json!({ "total_count": 1, "runners": [runner] });
    assert_eq!(complaints(path, &[("per_page", "100")], &list(&runner)), Vec::<String>::new());
    let has =
        |found: Vec<String>, text: &str| assert!(found.iter().any(|c| c.contains(text)), "{found:?} lacks {text}");
    has(complaints(path, &[("limit", "3")], &list(&runner)), "no query parameter limit");
    has(complaints(path, &[("per_page", "many")], &list(&runner)), "query.per_page is not of type integer");
    let mut invented = runner.clone();
    invented["mood"] = "good".into();
    has(complaints(path, &[], &list(&invented)), "mood is not described");
    let mut short = runner.clone();
    short.as_object_mut().unwrap().remove("busy");
    has(complaints(path, &[], &list(&short)), "busy is missing");
    let mut wrong = runner;
    wrong["id"] = "one".into();
    has(complaints(path, &[], &list(&wrong)), "id is not of type integer");
    has(complaints("/repos/acme/tools/actions/magic", &[], &json!({})), "does not exist");
}
