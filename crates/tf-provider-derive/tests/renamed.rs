//! Derives in a crate that has no `tf_provider`: the framework is called `framework` here, and is re-exported once
//! more.

use std::collections::BTreeMap;

use framework::{Attr, Function, FunctionError, Model, Parameters, Path, Secret, Timeouts, Value};

/// Stands for a crate that re-exports the framework.
mod vendor {
    pub(crate) mod provider {
        pub(crate) use framework::*;
    }
}

/// A machine with every option that becomes a call of the framework.
#[derive(Clone, Default, Model)]
#[tf(crate = "framework", deprecated = "Use another machine.")]
struct Machine {
    /// Node.
    #[tf(required, replace, length(1..), validate = lower_case)]
    node: Attr<String>,
    /// Cores.
    #[tf(default = 2, range(1..=128), replace_if = shrinks, equal = same)]
    cores: Attr<i64>,
    /// Kind.
    #[tf(default = "linked", one_of("linked", "full"))]
    kind: Attr<String>,
    /// Token.
    #[tf(optional, write_only, sensitive)]
    token: Attr<Secret>,
    /// Disks.
    #[tf(block(max = 4))]
    disks: Attr<Vec<Disk>>,
    /// System.
    #[tf(block(group))]
    system: Attr<Disk>,
    /// Deadlines.
    #[tf(timeouts(create = "30m"))]
    timeouts: Timeouts,
}

/// A disk.
#[derive(Clone, Default, Model)]
#[tf(crate = "crate::vendor::provider")]
struct Disk {
    /// Size.
    #[tf(required)]
    size: Attr<u64>,
}

/// Joins words.
#[derive(Parameters)]
#[tf(crate = "self::vendor::provider")]
struct Words {
    /// Between the words.
    #[tf(length(..=3))]
    separator: Option<String>,
    /// The words.
    #[tf(variadic, validate = lower_case)]
    words: Vec<String>,
}

struct Join;

impl Function for Join {
    const NAME: &'static str = "join";
    type Parameters = Words;
    type Output = String;

    fn call(&self, Words { separator, words }: Words) -> Result<String, FunctionError> {
        Ok(words.join(separator.as_deref().unwrap_or("-")))
    }
}

fn lower_case(text: &str) -> Result<(), String> {
    if text.to_lowercase() == text { Ok(()) } else { Err("must be in lower case".to_owned()) }
}

fn shrinks(prior: Option<&i64>, planned: Option<&i64>) -> bool {
    planned < prior
}

fn same(one: &i64, other: &i64) -> bool {
    one == other
}

#[test]
fn a_model_is_derived_with_a_renamed_framework() {
    assert_eq!(Machine::DEPRECATED, Some("Use another machine."));
    let attributes = Machine::attributes();
    let cores = attributes.iter().find(|attribute| attribute.name == "cores").expect("declared");
    assert_eq!(
        cores.checks[0].run(&Value::Number(0_i64.into())),
        Err("must be at least 1 and at most 128, got 0".into())
    );

    let machine = Machine { node: "pve1".into(), disks: vec![Disk { size: 7.into() }].into(), ..Machine::default() };
    let value = machine.to_value();
    let again = Machine::from_value(&value, &Path::root()).expect("fits");
    assert_eq!(again.node.text(), Some("pve1"));
    assert!(again.to_value() == value);
}

#[test]
fn a_model_is_derived_with_a_re_exported_framework() {
    let disk = Value::Map(BTreeMap::from([("size".to_owned(), Value::Number(7_u64.into()))]));
    assert!(Disk::from_value(&disk, &Path::root()).expect("fits").to_value() == disk);
}

#[test]
fn parameters_are_derived_with_a_re_exported_framework() {
    let parameters = Words::parameters();
    assert_eq!(parameters.iter().map(|parameter| parameter.name.as_str()).collect::<Vec<_>>(), ["separator", "words"]);
    let joined = Join.call(Words { separator: None, words: vec!["a".to_owned(), "b".to_owned()] });
    assert_eq!(joined.as_deref(), Ok("a-b"));
}
