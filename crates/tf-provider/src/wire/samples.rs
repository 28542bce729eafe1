//! Random types and values for tests: everything that cores can send, with many awkward cases.

use proptest::prelude::*;

use crate::schema::Type;
use crate::value::{Number, Value};

/// Returns numbers: usual ones, and ones that some representations round.
pub(crate) fn number() -> BoxedStrategy<Value> {
    const AWKWARD: [&str; 9] = [
        "0",
        "-1",
        "0.1",
        "-0.000001",
        "9007199254740993",
        "-9223372036854775808",
        "18446744073709551615",
        "1180591620717411303425",
        "0.12345678901234567890123",
    ];
    let read = |text: &str| Value::Number(Number::parse(text).expect("number"));
    prop_oneof![
        prop::sample::select(&AWKWARD[..]).prop_map(read),
        (0_i64..4).prop_map(|small| Value::Number(small.into())),
        any::<i64>().prop_map(|integer| Value::Number(integer.into())),
        "-?[1-9][0-9]{0,30}(\\.[0-9]{0,20})?".prop_map(move |text| read(&text)),
    ]
    .boxed()
}

/// Returns text: empty, in upper and lower case, in several alphabets, and any.
pub(crate) fn text() -> BoxedStrategy<String> {
    let usual = prop::sample::select(&["", "a", "A", "b", "ü", "日本", "e\u{301}", "🗄"][..]).prop_map(str::to_owned);
    prop_oneof![4 => usual, 1 => any::<String>()].boxed()
}

/// Returns any type of limited depth.
pub(crate) fn declared() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![Just(Type::Bool), Just(Type::Number), Just(Type::String)];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|element| Type::List(Box::new(element))),
            inner.clone().prop_map(|element| Type::Set(Box::new(element))),
            inner.clone().prop_map(|element| Type::Map(Box::new(element))),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(Type::Object),
        ]
    })
}

/// Returns values of the type that are neither null nor unknown. `inside` creates the values inside of them.
pub(crate) fn known(
    declared: &Type,
    inside: impl Fn(&Type) -> BoxedStrategy<Value> + Copy + 'static,
) -> BoxedStrategy<Value> {
    match declared {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Number => number(),
        Type::String => text().prop_map(Value::String).boxed(),
        Type::List(element) => prop::collection::vec(inside(element), 0..4).prop_map(Value::List).boxed(),
        Type::Set(element) => prop::collection::vec(inside(element), 0..4)
            .prop_map(|items| {
                let mut different: Vec<Value> = Vec::new();
                for item in items {
                    if !different.contains(&item) {
                        different.push(item);
                    }
                }
                Value::List(different)
            })
            .boxed(),
        Type::Map(element) => prop::collection::btree_map(text(), inside(element), 0..4).prop_map(Value::Map).boxed(),
        Type::Object(attributes) => {
            let entries: Vec<_> =
                attributes.iter().map(|(name, declared)| (Just(name.clone()), inside(declared))).collect();
            entries.prop_map(|entries| Value::Map(entries.into_iter().collect())).boxed()
        }
    }
}

/// Returns any value of the type, with null and unknown values everywhere.
pub(crate) fn any_value(declared: &Type) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 1 => Just(Value::Unknown), 8 => known(declared, any_value)].boxed()
}

/// Returns any value of the type as it can be stored: with null values, without unknown ones.
pub(crate) fn stored_value(declared: &Type) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 8 => known(declared, stored_value)].boxed()
}
