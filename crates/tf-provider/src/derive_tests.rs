use std::collections::BTreeMap;

use crate::schema::{Attribute, Kind, Mode, Nesting, Replace, Type};
use crate::{Attr, Model, Path, Secret, Timeouts, Value};

/// A machine.
///
/// With a second paragraph.
#[derive(Clone, Default, Model)]
#[allow(dead_code)]
struct Machine {
    /// Number.
    #[tf(computed, keep, identity)]
    vmid: Attr<i64>,
    /// Node; moving needs a new machine.
    #[tf(required, replace)]
    node: Attr<String>,
    /// Cores.
    #[tf(default = 2, range(1..=128))]
    cores: Attr<i64>,
    /// Labels.
    #[tf(optional, length(1..), validate = no_blank_label)]
    labels: Attr<Vec<String>>,
    /// Kind.
    #[tf(default = "linked", one_of("linked", "full"))]
    clone_kind: Attr<String>,
    /// Token.
    #[tf(optional, write_only, sensitive)]
    token: Attr<Secret>,
    /// Network.
    #[tf(optional)]
    network: Attr<Network>,
    /// Disks.
    #[tf(optional)]
    disks: Attr<BTreeMap<String, Network>>,
    /// Deadlines.
    #[tf(timeouts(create = "30m", delete = "5m"))]
    timeouts: Timeouts,
}

/// A network.
#[derive(Clone, Default, Model)]
struct Network {
    /// Bridge.
    #[tf(required, validate = bridge_name)]
    bridge: Attr<String>,
    /// Address.
    #[tf(optional, computed)]
    mac: Attr<String>,
}

fn no_blank_label(labels: &[String]) -> Result<(), String> {
    if labels.iter().any(String::is_empty) { Err("must have no empty label".to_owned()) } else { Ok(()) }
}

fn bridge_name(name: &str) -> Result<(), String> {
    if name.starts_with("vmbr") { Ok(()) } else { Err("must start with vmbr".to_owned()) }
}

#[test]
fn declaration_becomes_schema() {
    let attributes = Machine::attributes();
    let by_name = |name: &str| attributes.iter().find(|a| a.name == name).expect("declared").clone();
    assert_eq!(Machine::DESCRIPTION, "A machine.\n\nWith a second paragraph.");
    assert_eq!(by_name("vmid").mode, Mode::Computed);
    assert!(by_name("vmid").keep && by_name("vmid").identity);
    assert!(matches!(by_name("node").replace, Replace::Always));
    assert_eq!(by_name("cores").mode, Mode::OptionalComputed);
    assert_eq!(by_name("cores").default, Some(Value::Number(2_i64.into())));
    assert_eq!(by_name("clone_kind").default, Some(Value::String("linked".into())));
    assert_eq!(by_name("labels").kind.value_type(), Type::List(Box::new(Type::String)));
    assert!(matches!(by_name("network").kind, Kind::Nested(Nesting::Single, _)));
    assert!(matches!(by_name("disks").kind, Kind::Nested(Nesting::Map, _)));
    let Kind::Nested(_, timeouts) = by_name("timeouts").kind else { panic!("nested") };
    assert_eq!(timeouts.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["create", "delete"]);
    assert_eq!(Machine::timeout_defaults().create, Some("30m"));
}

#[test]
fn models_and_values_convert_both_ways() {
    let machine = Machine {
        vmid: Attr::Unknown,
        node: "pve1".into(),
        labels: vec!["a".to_owned()].into(),
        network: Network { bridge: "vmbr0".into(), mac: Attr::Unknown }.into(),
        ..Machine::default()
    };
    let value = machine.to_value();
    assert!(value.get("vmid").is_unknown() && value.get("cores").is_null() && value.get("timeouts").is_null());
    let again = Machine::from_value(&value, &Path::root()).expect("fits");
    assert!(again.to_value() == value);
}

#[test]
fn checks_describe_the_problem() {
    let attributes = Machine::attributes();
    let check = |name: &str, value: Value| {
        let attribute = attributes.iter().find(|a| a.name == name).expect("declared");
        attribute.checks[0].run(&value)
    };
    assert_eq!(
        check("cores", Value::Number(0_i64.into())),
        Err("must be at least 1 and at most 128, got 0".to_owned())
    );
    assert_eq!(
        check("clone_kind", Value::String("x".into())),
        Err("must be one of \"linked\", \"full\", got \"x\"".to_owned())
    );
    assert_eq!(check("labels", Value::List(vec![])), Err("length must be at least 1, got 0".to_owned()));
}

#[test]
fn functions_of_the_author_take_the_borrowed_type_of_the_attribute() {
    let (machine, network) = (Machine::attributes(), Network::attributes());
    let check = |attributes: &[Attribute], name: &str, position: usize, value: Value| {
        let attribute = attributes.iter().find(|a| a.name == name).expect("declared");
        attribute.checks[position].run(&value)
    };
    let labels = |label: &str| Value::List(vec![Value::String(label.to_owned())]);
    assert_eq!(check(&machine, "labels", 1, labels("")), Err("must have no empty label".to_owned()));
    assert_eq!(check(&machine, "labels", 1, labels("a")), Ok(()));
    let bridge = |name: &str| check(&network, "bridge", 0, Value::String(name.to_owned()));
    assert_eq!((bridge("eth0"), bridge("vmbr0")), (Err("must start with vmbr".to_owned()), Ok(())));
}

#[test]
fn a_wrong_type_names_the_path() {
    let value = Value::Map([("cores".to_owned(), Value::String("many".into()))].into());
    let error = Machine::from_value(&value, &Path::root()).err().expect("refused");
    assert_eq!(error.to_string(), "cores: a whole number is needed, got a string");
}
