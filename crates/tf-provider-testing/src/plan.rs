//! Plans in the core's JSON form, and assertions about them.

use serde_json::Value;

use super::Failed;

/// A plan in the core's JSON form, with the text that the core printed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The plan, as `show -json` prints it.
    pub json: Value,
    /// Output of `plan`.
    pub printed: String,
}

impl Plan {
    pub(crate) fn new(json: Value, printed: String) -> Self {
        Self { json, printed }
    }

    /// Returns address and action of each resource that the plan changes: `paper_note.it: update`, or
    /// `paper_note.it: delete+create` for a replacement.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        let described = self.all().iter().map(|change| (change["address"].as_str().unwrap_or("?"), actions(change)));
        described
            .filter(|(_, actions)| actions != "no-op" && actions != "read")
            .map(|(address, actions)| format!("{address}: {actions}"))
            .collect()
    }

    fn all(&self) -> &[Value] {
        self.json["resource_changes"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the `change` of a resource: `actions`, `before`, `after`, `after_unknown`, `replace_paths`.
    ///
    /// # Errors
    /// Fails if the plan does not have the resource.
    pub fn change(&self, address: &str) -> Result<&Value, Failed> {
        let found = self.all().iter().find(|change| change["address"] == address);
        found
            .map(|change| &change["change"])
            .ok_or_else(|| Failed::new(format!("{address} is not in the plan")).with_output(self.printed.clone()))
    }

    /// Returns the planned action for a resource: `create`, `update`, `delete`, `delete+create`, `no-op`.
    ///
    /// # Errors
    /// Fails if the plan does not have the resource.
    pub fn actions(&self, address: &str) -> Result<String, Failed> {
        self.change(address).map(action_text)
    }

    /// Asserts the planned action for a resource.
    ///
    /// # Errors
    /// Fails if another action is planned.
    pub fn does(&self, address: &str, actions: &str) -> Result<&Self, Failed> {
        let planned = self.actions(address)?;
        if planned == actions {
            return Ok(self);
        }
        Err(self.wrong(format!("for {address}, {planned} is planned, expected {actions}")))
    }

    /// Asserts that a resource is replaced, and that an attribute is among the reasons.
    ///
    /// # Errors
    /// Fails if the resource is not replaced, or not for that reason.
    pub fn replaces(&self, address: &str, attribute: &str) -> Result<&Self, Failed> {
        self.does(address, "delete+create")?;
        let reasons = &self.change(address)?["replace_paths"];
        let named = reasons.as_array().is_some_and(|paths| paths.iter().any(|path| path[0] == attribute));
        if named {
            return Ok(self);
        }
        Err(self.wrong(format!("{address} is to be replaced, but not because of {attribute}: {reasons}")))
    }

    /// Asserts that the plan has no changes.
    ///
    /// # Errors
    /// Fails if the plan has changes, and names each attribute with both values.
    pub fn is_empty(&self) -> Result<&Self, Failed> {
        let changes = self.changes();
        if changes.is_empty() {
            return Ok(self);
        }
        let changed: Vec<String> = self.all().iter().flat_map(differences).collect();
        Err(self.wrong(format!("the plan should be empty, but has: {}\n{}", changes.join(", "), changed.join("\n"))))
    }

    /// Returns the planned values of a resource, and an object that marks unknown ones.
    ///
    /// # Errors
    /// Fails if the plan does not have the resource.
    pub fn planned(&self, address: &str) -> Result<(&Value, &Value), Failed> {
        let change = self.change(address)?;
        Ok((&change["after"], &change["after_unknown"]))
    }

    fn wrong(&self, problem: String) -> Failed {
        Failed::new(problem).with_output(self.printed.clone())
    }
}

fn actions(change: &Value) -> String {
    action_text(&change["change"])
}

fn action_text(change: &Value) -> String {
    let actions = change["actions"].as_array().map(Vec::as_slice).unwrap_or_default();
    actions.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("+")
}

/// Describes the changing attributes of a resource: `address.attribute: before -> after`.
fn differences(change: &Value) -> Vec<String> {
    let address = change["address"].as_str().unwrap_or("?");
    let change = &change["change"];
    let (before, after, unknown) = (&change["before"], &change["after"], &change["after_unknown"]);
    let names: std::collections::BTreeSet<&String> = [before, after, unknown]
        .iter()
        .filter_map(|object| object.as_object())
        .flat_map(|object| object.keys())
        .collect();
    let changed = names.into_iter().filter(|name| before[*name] != after[*name] || unknown[*name] == true);
    changed
        .map(|name| {
            let after = if unknown[name] == true { "(known after apply)".to_owned() } else { after[name].to_string() };
            format!("  {address}.{name}: {} -> {after}", before[name])
        })
        .collect()
}

/// Collects the paths at which the result differs from the plan. Unknown planned values match any value.
pub(crate) fn differences_from_plan(
    planned: &Value,
    unknown: &Value,
    outcome: &Value,
    path: &str,
    found: &mut Vec<String>,
) {
    if *unknown == true {
        return;
    }
    if let Some(value) = of_dynamic_type(outcome).filter(|_| of_dynamic_type(planned).is_none()) {
        return differences_from_plan(planned, unknown, value, path, found);
    }
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (planned, outcome) {
        (Value::Object(planned), Value::Object(outcome)) => {
            for (name, value) in planned {
                differences_from_plan(
                    value,
                    &unknown[name],
                    outcome.get(name).unwrap_or(&Value::Null),
                    &at(name),
                    found,
                );
            }
        }
        (Value::Array(planned), Value::Array(outcome)) if planned.len() == outcome.len() => {
            for (index, (value, is)) in planned.iter().zip(outcome).enumerate() {
                differences_from_plan(value, &unknown[index], is, &format!("{path}[{index}]"), found);
            }
        }
        _ if same(planned, outcome) => {}
        _ => found.push(format!("{path} is {outcome}, planned was {planned}")),
    }
}

/// Returns a value of dynamic type, which a state stores with its type. Plans show the value only.
fn of_dynamic_type(value: &Value) -> Option<&Value> {
    let object = value.as_object().filter(|object| object.len() == 2 && object.contains_key("type"))?;
    object.get("value")
}

/// Returns true if the values are equal, where `2` equals `2.0`.
fn same(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().is_some_and(|one| other.as_f64() == Some(one))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Plan, differences_from_plan};

    fn broken(planned: Value, unknown: Value, outcome: Value) -> Vec<String> {
        let mut found = Vec::new();
        differences_from_plan(&planned, &unknown, &outcome, "", &mut found);
        found
    }

    #[test]
    fn a_result_is_compared_where_the_plan_was_known() {
        let planned = json!({ "a": 1, "list": [{ "x": "y" }, {}], "free": null });
        let unknown = json!({ "list": [{}, { "x": true }], "free": true });
        let outcome = json!({ "a": 1.0, "list": [{ "x": "y" }, { "x": "any" }], "free": 5 });
        assert_eq!(broken(planned.clone(), unknown.clone(), outcome), [""; 0]);
        let dynamic = json!({ "a": { "type": "number", "value": 1 }, "list": [{ "x": "y" }, {}] });
        assert_eq!(broken(planned.clone(), unknown.clone(), dynamic), [""; 0]);
        let outcome = json!({ "a": 2, "list": [{ "x": "z" }, {}], "free": 5 });
        assert_eq!(
            broken(planned, unknown, outcome),
            ["a is 2, planned was 1", "list[0].x is \"z\", planned was \"y\""]
        );
    }

    #[test]
    fn a_plan_describes_its_changes() {
        let change = json!({
            "address": "a.b",
            "change": { "actions": ["update"], "before": { "x": 1, "y": 2 }, "after": { "x": 3, "y": 2 }, "after_unknown": { "z": true } },
        });
        let plan = Plan::new(json!({ "resource_changes": [change] }), "printed".to_owned());
        assert_eq!(plan.changes(), ["a.b: update"]);
        let reported = plan.is_empty().unwrap_err().to_string();
        assert!(
            reported.contains("a.b.x: 1 -> 3\n  a.b.z: null -> (known after apply)")
                && reported.ends_with("printed\n---"),
            "{reported}"
        );
        assert!(
            plan.does("a.b", "create")
                .unwrap_err()
                .to_string()
                .starts_with("for a.b, update is planned, expected create")
        );
        assert!(plan.change("a.c").is_err());
    }
}
