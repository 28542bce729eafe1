//! Properties of plans for every configuration and every prior state.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::core_rules::{is_compatible, plan_is_valid};
use super::*;
use crate::schema::{Kind, Mode, Nesting, Type, object_type};
use crate::wire::{msgpack, samples};
use crate::{Attr, Model, Number};

/// A model with every kind of attribute and every nesting of blocks.
#[derive(Clone, Default, Model)]
struct Rig {
    /// Kept.
    #[tf(computed, keep)]
    id: Attr<String>,
    /// Recomputed.
    #[tf(computed)]
    revision: Attr<i64>,
    /// Required.
    #[tf(required, replace)]
    name: Attr<String>,
    /// A number of any size.
    #[tf(optional)]
    amount: Attr<Number>,
    /// Defaulted.
    #[tf(default = "")]
    note: Attr<String>,
    /// Set by configuration or provider.
    #[tf(optional, computed)]
    address: Attr<String>,
    /// Set by configuration or provider, kept.
    #[tf(optional, computed, keep)]
    place: Attr<Number>,
    /// Case does not matter.
    #[tf(optional, equal = same)]
    label: Attr<String>,
    /// Never stored.
    #[tf(optional, write_only)]
    token: Attr<String>,
    /// Plain list.
    #[tf(optional)]
    words: Attr<Vec<String>>,
    /// Plain set.
    #[tf(optional)]
    tags: Attr<BTreeSet<String>>,
    /// Plain map.
    #[tf(optional)]
    meta: Attr<BTreeMap<String, Number>>,
    /// Nested list.
    #[tf(optional)]
    cards: Attr<Vec<Part>>,
    /// Nested set.
    #[tf(optional)]
    keys: Attr<BTreeSet<Part>>,
    /// Nested map.
    #[tf(optional)]
    doors: Attr<BTreeMap<String, Part>>,
    /// Nested object, set by configuration or provider.
    #[tf(optional, computed)]
    console: Attr<Part>,
    /// List block.
    #[tf(block)]
    boards: Attr<Vec<Board>>,
    /// Set block.
    #[tf(block)]
    hooks: Attr<BTreeSet<Part>>,
    /// Map block.
    #[tf(block)]
    drawers: Attr<BTreeMap<String, Part>>,
    /// Single block.
    #[tf(block)]
    base: Attr<Board>,
    /// Group.
    #[tf(block(group))]
    wall: Attr<Part>,
}

/// A part.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Model)]
struct Part {
    /// Required.
    #[tf(required)]
    size: Attr<Number>,
    /// Case does not matter.
    #[tf(optional, equal = same)]
    label: Attr<String>,
    /// Defaulted, case does not matter.
    #[tf(default = "raw", equal = same)]
    finish: Attr<String>,
    /// Set by configuration or provider.
    #[tf(optional, computed)]
    weight: Attr<Number>,
    /// Kept.
    #[tf(computed, keep)]
    serial: Attr<String>,
}

/// A board, with blocks of its own.
#[derive(Clone, Default, Model)]
struct Board {
    /// Required.
    #[tf(required)]
    width: Attr<Number>,
    /// Kept.
    #[tf(computed, keep)]
    serial: Attr<String>,
    /// Set block.
    #[tf(block)]
    pins: Attr<BTreeSet<Part>>,
    /// Group.
    #[tf(block(group))]
    edge: Attr<Part>,
}

/// Returns configurations that the schema allows.
fn config_of(attributes: &[Attribute]) -> BoxedStrategy<Value> {
    let entries: Vec<_> = attributes.iter().map(|attribute| (Just(attribute.name.clone()), set(attribute))).collect();
    entries.prop_map(|entries| Value::Map(entries.into_iter().collect())).boxed()
}

/// Returns the values that a configuration may have for an attribute.
fn set(attribute: &Attribute) -> BoxedStrategy<Value> {
    let known = match &attribute.kind {
        Kind::Plain(declared) => samples::known(declared, element),
        Kind::Nested(nesting, nested) => several(*nesting, config_of(nested)),
    };
    match (attribute.block, &attribute.kind) {
        (Some(_), Kind::Nested(Nesting::Group, _)) => known,
        (Some(_), Kind::Nested(Nesting::Single, _)) => prop_oneof![Just(Value::Null), known].boxed(),
        (Some(_), _) => prop_oneof![1 => Just(Value::Unknown), 1 => Just(attribute.absent()), 4 => known].boxed(),
        (None, _) => match attribute.mode {
            Mode::Computed => Just(Value::Null).boxed(),
            Mode::Required => prop_oneof![1 => Just(Value::Unknown), 5 => known].boxed(),
            Mode::Optional | Mode::OptionalComputed => {
                prop_oneof![2 => Just(Value::Null), 1 => Just(Value::Unknown), 4 => known].boxed()
            }
        },
    }
}

/// Returns elements of plain collections, which are not null because models cannot represent that.
fn element(declared: &Type) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Unknown), 6 => samples::known(declared, element)].boxed()
}

fn several(nesting: Nesting, object: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    match nesting {
        Nesting::Single | Nesting::Group => object,
        Nesting::List | Nesting::Set => prop::collection::vec(object, 0..4).prop_map(Value::List).boxed(),
        Nesting::Map => prop::collection::btree_map(samples::text(), object, 0..3).prop_map(Value::Map).boxed(),
    }
}

fn rig_config() -> BoxedStrategy<Value> {
    config_of(&Rig::attributes()).prop_map(|config| as_core_sends(&rig(), &config)).boxed()
}

/// Returns a configuration and a later one, whose values are the same, spelled differently, or new.
fn two_configs() -> BoxedStrategy<(Value, Value)> {
    let attributes = Rig::attributes();
    let choices = prop::collection::vec(0..4_u8, attributes.len());
    let two = (config_of(&attributes), config_of(&attributes), choices).prop_map(move |(first, fresh, choices)| {
        let respelled = respelled(&attributes, &first);
        let second = attributes.iter().zip(choices).map(|(attribute, choice)| {
            let from = match choice {
                0 => &first,
                1 | 2 => &respelled,
                _ => &fresh,
            };
            (attribute.name.clone(), from.get(&attribute.name).clone())
        });
        (as_core_sends(&rig(), &first), as_core_sends(&rig(), &Value::Map(second.collect())))
    });
    two.boxed()
}

/// Returns the object with the other case where case does not matter, which means the same to the server.
fn respelled(attributes: &[Attribute], value: &Value) -> Value {
    let swap = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    spelled(attributes, value, &|text| text.chars().map(swap).collect())
}

fn rig() -> Type {
    Type::Object(object_type(&Rig::attributes()))
}

/// Returns the value with sets as a core sends them: without duplicates, in an order that depends on the elements only.
fn as_core_sends(declared: &Type, value: &Value) -> Value {
    match (declared, value) {
        (Type::Set(element), Value::List(items)) => {
            let mut items: Vec<Value> = items.iter().map(|item| as_core_sends(element, item)).collect();
            items.sort_by_key(|item| msgpack::encode(item, element));
            // Two unknown values are not the same.
            items.dedup_by(|one, other| one == other && one.is_wholly_known());
            Value::List(items)
        }
        (Type::List(element), Value::List(items)) => {
            Value::List(items.iter().map(|item| as_core_sends(element, item)).collect())
        }
        (Type::Map(element), Value::Map(entries)) => {
            Value::Map(entries.iter().map(|(key, item)| (key.clone(), as_core_sends(element, item))).collect())
        }
        (Type::Object(declared), Value::Map(entries)) => {
            Value::Map(entries.iter().map(|(key, item)| (key.clone(), as_core_sends(&declared[key], item))).collect())
        }
        (_, other) => other.clone(),
    }
}

/// Replaces unknown values: in a configuration those of other resources, in a plan those that the server sets.
struct Maker(i64);

impl Maker {
    fn object(&mut self, attributes: &[Attribute], value: &Value) -> Value {
        let made = attributes.iter().map(|attribute| {
            let value = self.attribute(attribute, value.get(&attribute.name));
            (attribute.name.clone(), value)
        });
        Value::Map(made.collect())
    }

    fn attribute(&mut self, attribute: &Attribute, value: &Value) -> Value {
        match (&attribute.kind, value) {
            (Kind::Plain(declared), value) => self.plain(declared, value),
            (Kind::Nested(..), Value::Unknown) => attribute.absent(),
            (Kind::Nested(_, nested), Value::List(items)) => {
                Value::List(items.iter().map(|item| self.object(nested, item)).collect())
            }
            (Kind::Nested(Nesting::Map, nested), Value::Map(entries)) => {
                Value::Map(entries.iter().map(|(key, item)| (key.clone(), self.object(nested, item))).collect())
            }
            (Kind::Nested(_, nested), object @ Value::Map(_)) => self.object(nested, object),
            (_, other) => other.clone(),
        }
    }

    fn plain(&mut self, declared: &Type, value: &Value) -> Value {
        match (declared, value) {
            (Type::Bool, Value::Unknown) => Value::Bool(true),
            (Type::Number, Value::Unknown) => Value::Number(self.next().into()),
            (Type::String, Value::Unknown) => Value::String(format!("made {}", self.next())),
            (Type::List(_) | Type::Set(_), Value::Unknown) => Value::List(Vec::new()),
            (_, Value::Unknown) => Value::Map(BTreeMap::new()),
            (Type::List(element) | Type::Set(element), Value::List(items)) => {
                Value::List(items.iter().map(|item| self.plain(element, item)).collect())
            }
            (Type::Map(element), Value::Map(entries)) => {
                Value::Map(entries.iter().map(|(key, item)| (key.clone(), self.plain(element, item))).collect())
            }
            (_, other) => other.clone(),
        }
    }

    fn next(&mut self) -> i64 {
        self.0 += 1;
        self.0
    }
}

/// Returns the value without unknown parts. Different `from` give different values.
fn made_known(from: i64, value: &Value) -> Value {
    as_core_sends(&rig(), &Maker(from).object(&Rig::attributes(), value))
}

/// Returns the object as the server stores it, in capitals where case does not matter.
fn normalised(attributes: &[Attribute], value: &Value) -> Value {
    spelled(attributes, value, &str::to_ascii_uppercase)
}

fn spelled(attributes: &[Attribute], value: &Value, spell: &dyn Fn(&str) -> String) -> Value {
    let kept = attributes.iter().map(|attribute| {
        let value = match (&attribute.kind, value.get(&attribute.name)) {
            (Kind::Plain(_), Value::String(text)) if attribute.equality.is_some() => Value::String(spell(text)),
            (Kind::Nested(nesting, nested), value) => each_object(*nesting, value.clone(), &|object| match object {
                nothing @ (Value::Null | Value::Unknown) => nothing,
                object => spelled(nested, &object, spell),
            }),
            (_, value) => value.clone(),
        };
        (attribute.name.clone(), value)
    });
    Value::Map(kept.collect())
}

fn planned(config: &Value, prior: &Value) -> Value {
    plan(&Rig::attributes(), config, prior)
}

/// Returns the state after a correct server has applied the plan.
fn applied(from: i64, plan: &Value) -> Value {
    let attributes = Rig::attributes();
    let result = normalised(&attributes, &made_known(from, plan));
    as_core_sends(&rig(), &keep_equal(&attributes, plan, result))
}

const SERVER: i64 = 1_000_000_000;

/// Returns the state after an apply of a configuration.
fn state_after(config: &Value) -> Value {
    applied(SERVER, &planned(&made_known(500_000_000, config), &Value::Null))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_never_contradicts_the_configuration((first, second) in two_configs()) {
        let attributes = Rig::attributes();
        for prior in [Value::Null, state_after(&first)] {
            let plan = planned(&second, &prior);
            let found = plan_against_config(&attributes, &second, &prior, &plan);
            prop_assert!(!found.has_error(), "{found:?}");
            prop_assert_eq!(plan_is_valid(&attributes, &prior, &second, &plan), Ok(()));
        }
    }

    #[test]
    fn a_second_plan_after_apply_is_empty((first, second) in two_configs()) {
        let attributes = Rig::attributes();
        let second = made_known(500_000_000, &second);
        for prior in [Value::Null, state_after(&first)] {
            let plan = planned(&second, &prior);
            let state = applied(2 * SERVER, &plan);
            let found = against_plan(&attributes, &plan, &state);
            prop_assert!(!found.has_error(), "{found:?}");
            prop_assert_eq!(is_compatible(&attributes, &plan, &state), Ok(()));
            let again = planned(&second, &state);
            prop_assert!(again == state, "{:?}", differing(&again, &state));
            prop_assert!(paths_to_replace(&attributes, &state, &again).is_empty());
        }
    }

    #[test]
    fn known_values_stay_when_others_become_known((before, open) in two_configs()) {
        let attributes = Rig::attributes();
        for prior in [Value::Null, state_after(&before)] {
            let first = planned(&open, &prior);
            let last = planned(&made_known(700_000_000, &open), &prior);
            prop_assert_eq!(is_compatible(&attributes, &first, &last), Ok(()));
        }
    }

    #[test]
    fn another_spelling_of_the_server_is_not_drift(config in rig_config()) {
        let (attributes, state) = (Rig::attributes(), state_after(&config));
        let read = as_core_sends(&rig(), &normalised(&attributes, &state));
        let kept = as_core_sends(&rig(), &keep_equal(&attributes, &state, read));
        prop_assert!(kept == state, "{:?}", differing(&kept, &state));
    }

    #[test]
    fn models_hold_every_state(config in rig_config()) {
        let state = state_after(&config);
        let model = Rig::from_value(&state, &Path::root()).expect("fits");
        prop_assert!(as_core_sends(&rig(), &model.to_value()) == state);
        let bytes = msgpack::encode(&state, &rig());
        prop_assert!(msgpack::decode(&bytes, &rig()).expect("own bytes") == state);
    }
}

/// Returns the names of the attributes that differ. Values are not printed.
fn differing(one: &Value, other: &Value) -> Vec<String> {
    let names = Rig::attributes().into_iter().map(|attribute| attribute.name);
    names.filter(|name| one.get(name) != other.get(name)).collect()
}
