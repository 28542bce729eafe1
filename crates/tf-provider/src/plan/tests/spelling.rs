//! Elements of a set that only differ in their spelling keep their own spelling.

use std::collections::BTreeSet;

use super::*;

/// A wall.
#[derive(Clone, Default, Model)]
struct Wall {
    /// Hooks as a block.
    #[tf(block)]
    hooks: Attr<BTreeSet<Hook>>,
    /// Hooks as an attribute.
    #[tf(optional)]
    pins: Attr<BTreeSet<Hook>>,
}

/// A hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Model)]
struct Hook {
    /// Case does not matter.
    #[tf(required, equal = same)]
    label: Attr<String>,
    /// Kept.
    #[tf(computed, keep)]
    serial: Attr<String>,
}

fn hook(label: &str, serial: Attr<String>) -> Hook {
    Hook { label: label.into(), serial }
}

fn wall(hooks: &[Hook]) -> Value {
    let hooks: BTreeSet<Hook> = hooks.iter().cloned().collect();
    Wall { hooks: hooks.clone().into(), pins: hooks.into() }.to_value()
}

/// Returns a wall with both hooks. Capitals come first in the set's order.
fn both() -> Value {
    wall(&[hook("LEFT", "1".into()), hook("left", "2".into())])
}

#[test]
fn the_remaining_element_of_two_is_the_one_with_the_same_spelling() {
    for (label, serial) in [("LEFT", "1"), ("left", "2")] {
        let config = wall(&[hook(label, Attr::Null)]);
        assert!(plan(&Wall::attributes(), &config, &both()) == wall(&[hook(label, serial.into())]), "{label}");
    }
}

#[test]
fn nothing_is_planned_for_two_elements_in_another_order() {
    for labels in [["LEFT", "left"], ["left", "LEFT"]] {
        let config = Value::List(labels.map(|label| hook(label, Attr::Null).to_value()).into());
        let config = ["hooks", "pins"].map(|name| (name.to_owned(), config.clone()));
        assert!(plan(&Wall::attributes(), &Value::Map(config.into()), &both()) == both(), "{labels:?}");
    }
}

#[test]
fn the_element_of_two_that_is_read_keeps_its_spelling() {
    let unlabelled = |labels: &[&str]| wall(&labels.iter().map(|label| hook(label, "same".into())).collect::<Vec<_>>());
    for label in ["LEFT", "left"] {
        let read = unlabelled(&[label]);
        assert!(keep_equal(&Wall::attributes(), &unlabelled(&["LEFT", "left"]), read.clone()) == read, "{label}");
    }
}
