mod core_rules;
mod properties;
mod spelling;

use std::collections::BTreeMap;

use super::*;
use crate::{Attr, Model, Path, Secret};

/// A model with each planning rule.
#[derive(Clone, Default, Model)]
struct Thing {
    /// Kept.
    #[tf(computed, keep)]
    id: Attr<String>,
    /// Recomputed.
    #[tf(computed)]
    revision: Attr<i64>,
    /// Needs a new one.
    #[tf(required, replace)]
    node: Attr<String>,
    /// Defaulted.
    #[tf(default = 2)]
    cores: Attr<i64>,
    /// Set by either.
    #[tf(optional, computed)]
    mac: Attr<String>,
    /// Case does not matter.
    #[tf(optional, equal = same)]
    label: Attr<String>,
    /// Never stored.
    #[tf(optional, write_only)]
    token: Attr<Secret>,
    /// List.
    #[tf(optional)]
    tags: Attr<Vec<String>>,
    /// Disks.
    #[tf(optional)]
    disks: Attr<Vec<Disk>>,
    /// Cards.
    #[tf(optional)]
    cards: Attr<BTreeMap<String, Disk>>,
    /// Console.
    #[tf(optional)]
    console: Attr<Disk>,
}

/// A disk.
#[derive(Clone, Debug, Default, Model)]
struct Disk {
    /// Size.
    #[tf(required, replace_if = shrinks)]
    size: Attr<i64>,
    /// Format.
    #[tf(default = "raw", equal = same)]
    format: Attr<String>,
    /// Place of the disk.
    #[tf(computed, keep)]
    volume: Attr<String>,
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn shrinks(prior: Option<&i64>, planned: Option<&i64>) -> bool {
    planned < prior
}

fn planned(config: &Value, prior: &Value) -> Value {
    plan(&Thing::attributes(), config, prior)
}

fn read(value: &Value) -> Thing {
    Thing::from_value(value, &Path::root()).expect("fits")
}

/// Returns the result of a correct server for a plan.
fn apply(value: &Value) -> Value {
    fn settle(value: &Value, kind: Option<&crate::schema::Kind>) -> Value {
        use crate::schema::{Kind, Type};
        match (value, kind) {
            (Value::Unknown, Some(Kind::Plain(Type::Number))) => Value::Number(7_i64.into()),
            (Value::Unknown, Some(Kind::Plain(Type::String)) | None) => Value::String("made".to_owned()),
            (Value::Unknown, Some(Kind::Plain(_))) => Value::List(Vec::new()),
            (Value::Unknown, Some(Kind::Nested(..))) => Value::Null,
            (Value::List(items), kind) => Value::List(items.iter().map(|item| settle(item, kind)).collect()),
            (Value::Map(entries), Some(Kind::Nested(nesting, nested))) => {
                let each = |(name, item): (&String, &Value)| {
                    let attribute = nested.iter().find(|a| a.name == *name).map(|a| &a.kind);
                    // Entries of a map of objects are objects of the same kind.
                    let kind = if *nesting == crate::schema::Nesting::Map { kind_of_entry(nested) } else { None };
                    (name.clone(), settle(item, kind.as_ref().or(attribute)))
                };
                Value::Map(entries.iter().map(each).collect())
            }
            (other, _) => other.clone(),
        }
    }
    fn kind_of_entry(nested: &[Attribute]) -> Option<crate::schema::Kind> {
        Some(crate::schema::Kind::Nested(crate::schema::Nesting::Single, nested.to_vec()))
    }
    settle(value, kind_of_entry(&Thing::attributes()).as_ref())
}

fn thing() -> Thing {
    Thing { node: "pve1".into(), ..Thing::default() }
}

#[test]
fn create_has_defaults_and_unknowns() {
    let plan = read(&planned(&thing().to_value(), &Value::Null));
    assert!(plan.id.is_unknown() && plan.revision.is_unknown() && plan.mac.is_unknown());
    assert_eq!(plan.cores.known(), Some(&2));
    assert!(plan.label.is_null() && plan.disks.is_null());
}

#[test]
fn nothing_changed_is_nothing_planned() {
    let config = thing().to_value();
    let state = apply(&planned(&config, &Value::Null));
    assert!(planned(&config, &state) == state);
}

#[test]
fn an_update_keeps_attributes_that_are_declared_keep() {
    let state = apply(&planned(&thing().to_value(), &Value::Null));
    let plan = read(&planned(&Thing { cores: 4.into(), ..thing() }.to_value(), &state));
    assert_eq!(plan.id.text(), Some("made"));
    assert!(plan.revision.is_unknown() && plan.mac.is_unknown());
}

#[test]
fn an_attribute_taken_out_goes_back_to_default_or_null() {
    let config = Thing { cores: 4.into(), tags: vec!["a".to_owned()].into(), ..thing() };
    let state = apply(&planned(&config.to_value(), &Value::Null));
    let plan = read(&planned(&thing().to_value(), &state));
    assert_eq!(plan.cores.known(), Some(&2));
    assert!(plan.tags.is_null());
}

#[test]
fn another_spelling_is_not_a_difference() {
    let config = Thing { label: "Books".into(), ..thing() };
    let state = apply(&planned(&config.to_value(), &Value::Null));
    let stored = Thing { label: "BOOKS".into(), ..read(&state) }.to_value();
    assert!(keep_equal(&Thing::attributes(), &state, stored.clone()) == state);
    assert!(planned(&config.to_value(), &stored) == stored);
}

#[test]
fn another_spelling_inside_of_collections_is_not_a_difference() {
    let disk = |format: &str| Disk { size: 1.into(), format: format.into(), volume: "v".into() };
    let model = |format: &str| Thing {
        disks: vec![disk(format), disk("raw")].into(),
        cards: BTreeMap::from([("a".to_owned(), disk(format))]).into(),
        console: disk(format).into(),
        ..thing()
    };
    let (state, read) = (model("Qcow2").to_value(), model("QCOW2").to_value());
    assert!(keep_equal(&Thing::attributes(), &state, read.clone()) == state);
    let other = keep_equal(&Thing::attributes(), &state, model("vmdk").to_value());
    assert!(other == model("vmdk").to_value(), "what really differs is drift");
}

#[test]
fn a_hook_that_touches_one_element_leaves_the_others_unknown() {
    let disk = |size: Attr<i64>| Disk { size, ..Disk::default() };
    let config = Thing { disks: vec![disk(1.into()), disk(Attr::Unknown)].into(), ..thing() }.to_value();
    // Within a list of text a model cannot tell which element is unknown.
    let Value::Map(mut entries) = config else { unreachable!("an object") };
    entries.insert("tags".to_owned(), Value::List(vec![Value::String("a".to_owned()), Value::Unknown]));
    let config = Value::Map(entries);
    let base = planned(&config, &Value::Null);
    let before = read(&base);
    let mut after = before.clone();
    let Attr::Known(disks) = &mut after.disks else { panic!("known") };
    disks[0].volume = "v".into();
    let (before, after) = (before.to_value(), after.to_value());
    let plan = overlay(&Thing::attributes(), &config, &Value::Null, base, &before, &after);
    assert!(plan.get("tags") == config.get("tags"));
    let disks = read(&plan).disks.into_known().expect("known");
    assert_eq!(disks[0].volume.text(), Some("v"));
    assert!(disks[1].size.is_unknown());
    assert_eq!(plan_against_config(&Thing::attributes(), &config, &Value::Null, &plan), crate::Diagnostics::new());
}

#[test]
fn replacing_changes_are_named_by_path() {
    let disk = |size: i64| Disk { size: size.into(), ..Disk::default() };
    let config = Thing { disks: vec![disk(10), disk(20)].into(), ..thing() };
    let state = apply(&planned(&config.to_value(), &Value::Null));
    let changed = Thing { node: "pve2".into(), disks: vec![disk(11), disk(19)].into(), ..thing() };
    let plan = planned(&changed.to_value(), &state);
    let paths: Vec<_> = paths_to_replace(&Thing::attributes(), &state, &plan).iter().map(ToString::to_string).collect();
    assert_eq!(paths, ["node", "disks[1].size"]);
}

#[test]
fn a_computed_value_that_may_change_is_not_a_reason_to_replace() {
    let state = apply(&planned(&thing().to_value(), &Value::Null));
    let plan = planned(&Thing { cores: 4.into(), ..thing() }.to_value(), &state);
    assert!(paths_to_replace(&Thing::attributes(), &state, &plan).is_empty());
}

#[test]
fn a_hook_changes_only_the_attributes_that_it_sets() {
    let config = Thing { tags: Attr::Unknown, ..thing() }.to_value();
    let state = apply(&planned(&thing().to_value(), &Value::Null));
    let base = planned(&config, &state);
    let before = read(&base).to_value();
    let after = Thing { mac: "aa".into(), ..read(&base) }.to_value();
    let plan = overlay(&Thing::attributes(), &config, &state, base, &before, &after);
    assert_eq!(read(&plan).mac.text(), Some("aa"));
    assert!(plan.get("tags").is_unknown());
    assert!(plan_against_config(&Thing::attributes(), &config, &state, &plan) == crate::Diagnostics::new());
}

#[test]
fn a_hook_that_makes_the_first_change_makes_an_update() {
    let config = thing().to_value();
    let state = apply(&planned(&config, &Value::Null));
    let before = read(&state).to_value();
    let after = Thing { mac: Attr::Unknown, ..read(&state) }.to_value();
    let plan = overlay(&Thing::attributes(), &config, &state, state.clone(), &before, &after);
    assert!(plan.get("mac").is_unknown() && plan.get("revision").is_unknown());
    assert_eq!(read(&plan).id.text(), Some("made"));
}

#[test]
fn a_hook_cannot_contradict_the_configuration() {
    let config = Thing { tags: vec!["a".to_owned()].into(), ..thing() }.to_value();
    let wrong = Thing { tags: Attr::Null, ..read(&planned(&config, &Value::Null)) }.to_value();
    let found = plan_against_config(&Thing::attributes(), &config, &Value::Null, &wrong);
    assert_eq!(found.iter().map(|d| d.path.to_string()).collect::<Vec<_>>(), ["tags"]);
}

#[test]
fn a_contradiction_inside_nested_attributes_is_found() {
    let config = Thing { console: Disk { size: 1.into(), ..Disk::default() }.into(), ..thing() }.to_value();
    let mut wrong = read(&planned(&config, &Value::Null));
    wrong.console = Disk { size: 2.into(), format: "raw".into(), volume: Attr::Unknown }.into();
    let found = plan_against_config(&Thing::attributes(), &config, &Value::Null, &wrong.to_value());
    assert_eq!(found.iter().map(|d| d.path.to_string()).collect::<Vec<_>>(), ["console.size"]);
}

#[test]
fn a_result_that_differs_names_the_attribute() {
    let disk = Disk { size: 10.into(), ..Disk::default() };
    let config = Thing { disks: vec![disk].into(), ..thing() }.to_value();
    let plan = planned(&config, &Value::Null);
    let mut result = read(&apply(&plan));
    assert!(!against_plan(&Thing::attributes(), &plan, &result.to_value()).has_error());
    result.disks = vec![Disk { size: 9.into(), format: "raw".into(), volume: Attr::Unknown }].into();
    let found = against_plan(&Thing::attributes(), &plan, &result.to_value());
    assert_eq!(found.iter().map(|d| d.path.to_string()).collect::<Vec<_>>(), ["disks"]);
    result.disks = vec![Disk { size: 9.into(), format: "raw".into(), volume: "v".into() }].into();
    let found = against_plan(&Thing::attributes(), &plan, &result.to_value());
    let found = found.iter().next().expect("reported");
    assert_eq!(found.path.to_string(), "disks[0].size");
    assert!(found.detail.contains("was planned as 10, but is now 9"));
}
