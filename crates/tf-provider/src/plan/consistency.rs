//! Makes the core's comparisons before the core does, and reports differences with the attribute's path, so that the
//! core can show the user's line.

use super::pairing::pairs;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::path::Path;
use crate::schema::{Attribute, Kind, Nesting};
use crate::value::Value;

/// Reports planned values that differ from the configuration, which a hook must not cause.
pub(crate) fn plan_against_config(
    attributes: &[Attribute],
    config: &Value,
    prior: &Value,
    planned: &Value,
) -> Diagnostics {
    let mut wrong = Vec::new();
    contradictions(attributes, config, prior, planned, &Path::root(), &mut wrong);
    let detail = "The planned value differs from the configuration. This is a bug in the provider's planning.";
    let diagnostic = |path: Path| Diagnostic::error("Provider planned a wrong value", detail).at(path);
    let mut diagnostics = Diagnostics::new();
    diagnostics.extend(wrong.into_iter().map(diagnostic));
    diagnostics
}

fn contradictions(
    attributes: &[Attribute],
    config: &Value,
    prior: &Value,
    planned: &Value,
    path: &Path,
    wrong: &mut Vec<Path>,
) {
    for attribute in attributes {
        let name = &attribute.name;
        let (config, prior, planned) = (config.get(name), prior.get(name), planned.get(name));
        let path = path.then(name);
        if attribute.write_only || config.is_null() {
            let free = attribute.mode.is_computed() && !attribute.write_only;
            if *planned != attribute.absent() && !free {
                wrong.push(path);
            }
            continue;
        }
        if planned == config || (planned == prior && !prior.is_null()) {
            continue;
        }
        match &attribute.kind {
            Kind::Plain(_) => wrong.push(path),
            Kind::Nested(nesting, nested) => {
                let around = NestedDeclaration { nesting: *nesting, nested, is_block: attribute.block.is_some() };
                nested_contradictions(around, config, prior, planned, &path, wrong)
            }
        }
    }
}

/// The declaration of the nested attribute or block whose objects are compared.
struct NestedDeclaration<'a> {
    nesting: Nesting,
    nested: &'a [Attribute],
    is_block: bool,
}

fn nested_contradictions(
    around: NestedDeclaration<'_>,
    config: &Value,
    prior: &Value,
    planned: &Value,
    path: &Path,
    wrong: &mut Vec<Path>,
) {
    let NestedDeclaration { nesting, nested, is_block } = around;
    match (nesting, config, planned) {
        (Nesting::Single | Nesting::Group, Value::Map(_), Value::Map(_)) => {
            contradictions(nested, config, prior, planned, path, wrong)
        }
        (Nesting::Map, Value::Map(configs), Value::Map(plans)) if configs.keys().eq(plans.keys()) => {
            for (key, config) in configs.iter().filter(|(_, config)| !config.is_unknown()) {
                contradictions(nested, config, prior.get(key), planned.get(key), &path.key(key), wrong);
            }
        }
        (Nesting::List, Value::List(configs), Value::List(plans)) if configs.len() == plans.len() => {
            let olds: &[Value] = if let Value::List(olds) = prior { olds } else { &[] };
            for (index, (config, planned)) in configs.iter().zip(plans).enumerate() {
                let prior = olds.get(index).unwrap_or(&Value::Null);
                if !config.is_unknown() {
                    contradictions(nested, config, prior, planned, &path.index(index), wrong);
                }
            }
        }
        // Each block must match one of the configuration. The core does not use prior values here.
        (Nesting::Set, Value::List(configs), Value::List(plans)) if is_block => {
            let partners = pairs(configs, plans, |config, planned| {
                let mut wrong = Vec::new();
                contradictions(nested, config, &Value::Null, planned, path, &mut wrong);
                wrong.is_empty() && !planned.is_unknown()
            });
            if configs.len() != plans.len() || partners.contains(&None) {
                wrong.push(path.clone());
            }
        }
        // Elements of a set cannot be paired, so only their number is compared.
        (Nesting::Set, Value::List(configs), Value::List(plans)) if configs.len() == plans.len() => {}
        _ => wrong.push(path.clone()),
    }
}

/// Reports results of an apply that differ from the plan or are unknown.
pub(crate) fn against_plan(attributes: &[Attribute], planned: &Value, actual: &Value) -> Diagnostics {
    compare(attributes, planned, actual, &AFTER_APPLY)
}

/// Reports results of a read or open that differ from the configuration or are unknown. In `config`, values that the
/// provider sets are unknown.
pub(crate) fn against_config(attributes: &[Attribute], wanted: &Value, result: &Value) -> Diagnostics {
    compare(attributes, wanted, result, &FETCHED)
}

fn compare(attributes: &[Attribute], planned: &Value, actual: &Value, wording: &'static Wording) -> Diagnostics {
    let mut found = Comparison { wording, diagnostics: Diagnostics::new() };
    found.object(attributes, planned, actual, &Path::root());
    found.diagnostics
}

/// The wording of messages about differences.
struct Wording {
    summary: &'static str,
    unknown: &'static str,
    was: &'static str,
    is: &'static str,
    reason: &'static str,
}

const AFTER_APPLY: Wording = Wording {
    summary: "Result differs from the plan",
    unknown: "is still unknown after apply",
    was: "planned",
    is: "is now",
    reason: "Either the server stores it differently, or this is a bug in the provider. The object exists and is kept.",
};

const FETCHED: Wording = Wording {
    summary: "Result differs from the configuration",
    unknown: "is unknown in the result",
    was: "configured",
    is: "was returned as",
    reason: "This is a bug in the provider.",
};

struct Comparison {
    wording: &'static Wording,
    diagnostics: Diagnostics,
}

impl Comparison {
    fn object(&mut self, attributes: &[Attribute], planned: &Value, actual: &Value, path: &Path) {
        for attribute in attributes {
            let (planned, actual) = (planned.get(&attribute.name), actual.get(&attribute.name));
            self.attribute(attribute, planned, actual, &path.then(&attribute.name));
        }
    }

    fn attribute(&mut self, attribute: &Attribute, planned: &Value, actual: &Value, path: &Path) {
        if !actual.is_wholly_known() {
            return self.report(path, self.wording.unknown);
        }
        if planned.is_unknown() || planned == actual {
            return;
        }
        match &attribute.kind {
            Kind::Nested(nesting, nested) => self.nested(*nesting, nested, planned, actual, path),
            Kind::Plain(_) if matches_plan(planned, actual) => {}
            Kind::Plain(plain) => {
                let hidden = attribute.sensitive || !is_scalar(planned) || !is_scalar(actual);
                let Wording { was, is, .. } = self.wording;
                let text = if hidden {
                    format!("is not what was {was}")
                } else {
                    format!("was {was} as {}, but {is} {}", show(planned), show(actual))
                };
                if !(matches!(plain, crate::schema::Type::Set(_)) && same_set(planned, actual)) {
                    self.report(path, &text);
                }
            }
        }
    }

    fn nested(&mut self, nesting: Nesting, nested: &[Attribute], planned: &Value, actual: &Value, path: &Path) {
        match (nesting, planned, actual) {
            (Nesting::Single | Nesting::Group, Value::Map(_), Value::Map(_)) => {
                self.object(nested, planned, actual, path)
            }
            (Nesting::List, Value::List(plans), Value::List(actuals)) if plans.len() == actuals.len() => {
                for (index, (planned, actual)) in plans.iter().zip(actuals).enumerate() {
                    self.item(nested, planned, actual, &path.index(index));
                }
            }
            (Nesting::Map, Value::Map(plans), Value::Map(actuals)) if plans.keys().eq(actuals.keys()) => {
                for (key, planned) in plans {
                    self.item(nested, planned, actuals.get(key).unwrap_or(&Value::Null), &path.key(key));
                }
            }
            (Nesting::Set, _, _) if same_set(planned, actual) => {}
            (_, Value::List(plans), Value::List(actuals)) => {
                let (plans, actuals) = (plans.len(), actuals.len());
                let was = self.wording.was;
                self.report(path, &format!("was {was} with {plans} elements, but has {actuals} or other elements now"));
            }
            _ => self.report(path, &format!("is not what was {}", self.wording.was)),
        }
    }

    fn item(&mut self, nested: &[Attribute], planned: &Value, actual: &Value, path: &Path) {
        if !planned.is_unknown() {
            self.object(nested, planned, actual, path);
        }
    }

    fn report(&mut self, path: &Path, text: &str) {
        let Wording { summary, reason, .. } = self.wording;
        self.diagnostics.push(Diagnostic::error(*summary, format!("\"{path}\" {text}. {reason}")).at(path.clone()));
    }
}

/// Returns true if the value matches the known parts of the planned value.
pub(super) fn matches_plan(planned: &Value, actual: &Value) -> bool {
    match (planned, actual) {
        (Value::Unknown, _) => true,
        (Value::List(plans), Value::List(actuals)) => {
            plans.len() == actuals.len()
                && plans.iter().zip(actuals).all(|(planned, actual)| matches_plan(planned, actual))
        }
        (Value::Map(plans), Value::Map(actuals)) => {
            plans.keys().eq(actuals.keys()) && plans.iter().all(|(key, planned)| matches_plan(planned, &actuals[key]))
        }
        (planned, actual) => planned == actual,
    }
}

/// Returns true if each planned element can be paired with an actual one. Wholly known elements are paired first.
fn same_set(planned: &Value, actual: &Value) -> bool {
    let (Value::List(plans), Value::List(actuals)) = (planned, actual) else { return false };
    let mut free: Vec<&Value> = actuals.iter().collect();
    let (known, open): (Vec<&Value>, Vec<&Value>) = plans.iter().partition(|planned| planned.is_wholly_known());
    // Unknown elements may become equal, so the result may have fewer elements.
    let may_shrink = !open.is_empty();
    let paired = known.into_iter().chain(open).all(|planned| {
        let partner = free.iter().position(|actual| matches_plan(planned, actual));
        partner.map(|index| free.swap_remove(index)).is_some()
            || (may_shrink && actuals.iter().any(|a| matches_plan(planned, a)))
    });
    paired && free.is_empty()
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::List(_) | Value::Map(_))
}

fn show(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{text:?}"),
        other => other.shape().to_owned(),
    }
}
