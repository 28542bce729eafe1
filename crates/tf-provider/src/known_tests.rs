//! Tests of the struct of known values that the derive makes.

use std::collections::{BTreeMap, BTreeSet};

use crate::basis::Basis;
use crate::{Attr, Model, Path, Secret, Timeouts};

/// A kite.
#[derive(Clone, Default, Model)]
struct Kite {
    /// Number.
    #[tf(computed, keep)]
    number: Attr<i64>,
    /// Colour.
    #[tf(optional, computed)]
    colour: Attr<String>,
    /// Number of the maker.
    #[tf(required, replace, identity)]
    maker: Attr<u32>,
    /// Name.
    #[tf(required)]
    name: Attr<String>,
    /// Owner.
    #[tf(required, unread)]
    owner: Attr<String>,
    /// Key.
    #[tf(required, write_only)]
    key: Attr<Secret>,
    /// Length of the line.
    #[tf(default = 30)]
    line: Attr<u32>,
    /// Motto.
    #[tf(optional)]
    motto: Attr<String>,
    /// Tails by name.
    #[tf(optional)]
    tails: Attr<BTreeMap<String, Tail>>,
    /// Knots.
    #[tf(block)]
    knots: Attr<BTreeSet<Tail>>,
    /// Bow.
    #[tf(block)]
    bow: Attr<Tail>,
    /// Frame.
    #[tf(block(group))]
    frame: Attr<Frame>,
    /// Deadlines.
    #[tf(timeouts(create = "1m"))]
    timeouts: Timeouts,
}

/// A tail.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Model)]
struct Tail {
    /// Length.
    #[tf(required)]
    length: Attr<u32>,
    /// Weight.
    #[tf(computed)]
    weight: Attr<u32>,
}

/// A frame.
#[derive(Clone, Default, Model)]
struct Frame {
    /// Wood.
    #[tf(optional)]
    wood: Attr<String>,
}

fn tail(length: u32) -> Tail {
    Tail { length: length.into(), weight: Attr::Unknown }
}

fn kite() -> Kite {
    Kite {
        number: Attr::Unknown,
        maker: 7.into(),
        name: "one".into(),
        owner: "ann".into(),
        key: Secret::new("sesame").into(),
        line: 40.into(),
        tails: BTreeMap::from([("long".to_owned(), tail(9))]).into(),
        knots: BTreeSet::from([tail(2), tail(1)]).into(),
        ..Kite::default()
    }
}

fn known(kite: Kite, basis: Basis) -> Result<KnownKite, String> {
    kite.into_known(basis, &Path::root()).map_err(|error| error.to_string())
}

#[test]
fn guaranteed_values_are_plain() {
    let known = known(kite(), Basis::Plan).expect("complete");
    let (name, line, motto): (String, u32, Option<String>) = (known.name.clone(), known.line, known.motto.clone());
    assert_eq!((name.as_str(), line, motto), ("one", 40, None));
    assert_eq!((known.owner.as_str(), known.key.expose()), ("ann", "sesame"));
    assert_eq!(known.number, Attr::Unknown);
    assert_eq!(known.tails.as_ref().expect("set")["long"].length, 9);
    assert_eq!(known.knots.iter().map(|knot| knot.length).collect::<Vec<_>>(), [1, 2]);
    assert!(known.bow.is_none() && known.frame.wood.is_none());
    assert!(Kite::from(known).to_value() == Kite { frame: Frame::default().into(), ..kite() }.to_value());
}

#[test]
fn a_plan_that_lacks_a_value_is_refused_at_the_attribute() {
    assert_eq!(
        known(Kite { name: Attr::Null, ..kite() }, Basis::Plan).err().as_deref(),
        Some("name: a value is needed, got null")
    );
    assert_eq!(
        known(Kite { owner: Attr::Null, ..kite() }, Basis::Plan).err().as_deref(),
        Some("owner: a value is needed, got null")
    );
    for (unknown, place) in [
        (Kite { line: Attr::Unknown, ..kite() }, "line"),
        (Kite { motto: Attr::Unknown, ..kite() }, "motto"),
        (Kite { bow: Tail::default().into(), ..kite() }, "bow.length"),
        (Kite { tails: BTreeMap::from([("a".to_owned(), Tail::default())]).into(), ..kite() }, "tails[\"a\"].length"),
    ] {
        let error = known(unknown, Basis::Plan).err().expect("refused");
        assert!(error.starts_with(&format!("{place}: ")), "{error}");
    }
}

#[test]
fn a_state_may_lack_unread_attributes() {
    let state = Kite { owner: Attr::Null, key: Attr::Null, line: Attr::Null, knots: Attr::Null, ..kite() };
    for basis in [Basis::Prior, Basis::Last] {
        let state = known(state.clone(), basis).expect("an imported object");
        assert_eq!((state.owner.as_str(), state.key.expose(), state.line, state.knots.len()), ("", "", 30, 0));
    }
}

#[test]
fn an_update_adds_attributes_that_the_state_lacks_and_a_destroy_needs_them() {
    let older = Kite { name: Attr::Null, ..kite() };
    assert_eq!(known(older.clone(), Basis::Prior).expect("a plan has the name").name, "");
    let refused = known(older, Basis::Last).err().expect("refused");
    assert!(refused.starts_with("name: the state lacks this attribute. An apply"), "{refused}");
}

#[test]
fn no_state_may_lack_an_identifying_attribute() {
    for basis in [Basis::Prior, Basis::Last] {
        let refused = known(Kite { maker: Attr::Null, ..kite() }, basis).err().expect("refused");
        assert!(refused.contains("which identifies the object"), "{refused}");
    }
}

#[test]
fn a_planning_hook_gets_known_values_once_there_are_some() {
    assert!(kite().known().is_some_and(|known| known.name == "one"));
    assert!(Kite { motto: Attr::Unknown, ..kite() }.known().is_none());
    assert!(Kite { key: Attr::Null, ..kite() }.known().is_some(), "no plan has write-only values");
}

#[test]
fn known_values_are_compared_as_values() {
    let (one, other) = (kite().known().expect("known"), kite().known().expect("known"));
    assert!(one == other);
    assert!(one < KnownKite { name: "two".to_owned(), ..other });
}
