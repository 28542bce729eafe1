use super::*;
use crate::Model;
use crate::wire::messages;
use crate::wire::tfplugin6 as proto;

/// A model with every nesting mode and a block inside of a block.
#[derive(Clone, Default, Model)]
struct Rack {
    /// List.
    #[tf(block(min = 1, max = 4), name = "board", replace)]
    boards: Attr<Vec<Part>>,
    /// Set.
    #[tf(block)]
    hooks: Attr<BTreeSet<Part>>,
    /// Map.
    #[tf(block)]
    drawers: Attr<BTreeMap<String, Part>>,
    /// Single.
    #[tf(block, required, deprecated = "Use boards.")]
    base: Attr<Part>,
    /// Group.
    #[tf(block(group))]
    wall: Attr<Part>,
}

/// A part.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Model)]
struct Part {
    /// Size.
    #[tf(optional)]
    size: Attr<i64>,
    /// Screws.
    #[tf(block)]
    screws: Attr<Vec<Screw>>,
}

/// A screw.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Model)]
struct Screw {
    /// Length.
    #[tf(optional)]
    length: Attr<i64>,
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn empty_part() -> Value {
    map(&[("size", Value::Null), ("screws", Value::List(Vec::new()))])
}

#[test]
fn without_blocks_lists_are_empty_and_groups_there() {
    let value = Rack::default().to_value();
    let wanted = map(&[
        ("board", Value::List(Vec::new())),
        ("hooks", Value::List(Vec::new())),
        ("drawers", map(&[])),
        ("base", Value::Null),
        ("wall", empty_part()),
    ]);
    assert!(value == wanted);
    let again = Rack::from_value(&value, &Path::root()).expect("fits");
    assert!(again.boards.known().is_some_and(Vec::is_empty) && again.base.is_null());
    let from_nulls = Rack::from_value(&map(&[]), &Path::root()).expect("fits");
    assert!(from_nulls.to_value() == wanted);
    let absent = Rack::attributes().into_iter().map(|attribute| (attribute.name.clone(), attribute.absent()));
    assert!(Value::Map(absent.collect()) == wanted);
}

#[test]
fn an_unknown_number_of_blocks_is_kept() {
    let value = map(&[("board", Value::Unknown)]);
    let rack = Rack::from_value(&value, &Path::root()).expect("fits");
    assert!(rack.boards.is_unknown() && rack.to_value().get("board").is_unknown());
}

#[test]
fn blocks_are_blocks_on_the_wire() {
    use proto::schema::nested_block::NestingMode;
    let schema = messages::schema(&crate::erased::schema_of::<Rack>(3));
    let block = schema.block.expect("block");
    assert_eq!((schema.version, block.version, block.attributes.len()), (3, 3, 0));
    let seen: Vec<_> = block
        .block_types
        .iter()
        .map(|nested| (nested.type_name.as_str(), nested.nesting(), nested.min_items, nested.max_items))
        .collect();
    assert_eq!(
        seen,
        [
            ("board", NestingMode::List, 1, 4),
            ("hooks", NestingMode::Set, 0, 0),
            ("drawers", NestingMode::Map, 0, 0),
            ("base", NestingMode::Single, 1, 1),
            ("wall", NestingMode::Group, 0, 0),
        ]
    );
    let base = block.block_types[3].block.as_ref().expect("block");
    assert!(base.deprecated && base.description == "Single.");
    assert_eq!((base.attributes.len(), base.block_types[0].type_name.as_str()), (1, "screws"));
}

#[test]
fn stored_objects_without_blocks_get_empty_ones() {
    let stored = map(&[("base", map(&[("screws", Value::Unknown)]))]);
    let declared = crate::schema::object_type(&Rack::attributes());
    let complete = map(&declared.keys().map(|name| (name.as_str(), stored.get(name).clone())).collect::<Vec<_>>());
    let stored = crate::engine::without_unknowns(&Rack::attributes(), complete);
    assert!(*stored.get("board") == Value::List(Vec::new()) && *stored.get("wall") == empty_part());
    assert!(*stored.get("base").get("screws") == Value::List(Vec::new()));
}

/// Declarations that cores refuse do not compile: see `wrong_declarations`.
#[test]
fn a_set_orders_its_elements() {
    let part = |size: Attr<i64>| Part { size, ..Part::default() };
    let set = BTreeSet::from([part(2.into()), part(1.into()), part(Attr::Null), part(1.into())]);
    let sizes: Vec<_> = set.into_iter().map(|part| part.size).collect();
    assert_eq!(sizes, [Attr::Null, 1.into(), 2.into()]);
}
