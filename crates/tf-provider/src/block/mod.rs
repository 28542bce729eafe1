//! Nested blocks: attributes of an object in the configuration's block syntax.
//!
//! A block is planned like a nested attribute, except when it is absent. A list, set or map without blocks is empty,
//! not null, and a group is always present. If the number of blocks is unknown (a `dynamic` block over an unknown
//! value), the whole value is unknown. A single block is never unknown.

use std::collections::{BTreeMap, BTreeSet};

use crate::attr::Attr;
use crate::basis::Basis;
use crate::element::{Element, Model, ValueError, decode_attr, encode_attr};
use crate::known::{Absent, present};
use crate::path::Path;
use crate::schema::{Attribute, Kind, Limits, Mode, Nesting};
use crate::value::Value;

/// A type that `#[tf(block)]` accepts: a model, or a list, set or map of models.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a block",
    note = "use a derived Model, or a Vec, BTreeSet or BTreeMap<String, _> of one"
)]
pub trait Blocks: Element {
    /// Nesting mode of the block.
    const NESTING: Nesting;

    /// Type of the known blocks. A single block that may be absent is an `Option`.
    type Present: Clone + Default + Send + Sync + 'static;

    /// Returns the known blocks. Derived code calls this.
    ///
    /// # Errors
    /// Fails if a value is missing.
    fn present(attr: Attr<Self>, basis: Basis, path: &Path) -> Result<Self::Present, ValueError>;

    /// Reverses [`Blocks::present`].
    fn from_present(present: Self::Present) -> Attr<Self>;

    /// Returns the value of a configuration without such a block; `None` means null.
    fn absent() -> Option<Self>;
}

/// Defines the conversions of a collection of blocks, which is empty if the configuration has no such block.
macro_rules! collection_of_blocks {
    () => {
        type Present = <Self as Element>::Known;

        fn present(attr: Attr<Self>, basis: Basis, path: &Path) -> Result<Self::Present, ValueError> {
            present(attr, basis, path, Absent::Empty)
        }

        fn from_present(present: Self::Present) -> Attr<Self> {
            Attr::Known(<Self as Element>::from_known(present))
        }

        fn absent() -> Option<Self> {
            Some(Self::new())
        }
    };
}

impl<T: Model + Element> Blocks for Vec<T> {
    const NESTING: Nesting = Nesting::List;

    collection_of_blocks!();
}

impl<T: Model + Element<Known: Ord> + Ord> Blocks for BTreeSet<T> {
    const NESTING: Nesting = Nesting::Set;

    collection_of_blocks!();
}

impl<T: Model + Element> Blocks for BTreeMap<String, T> {
    const NESTING: Nesting = Nesting::Map;

    collection_of_blocks!();
}

/// The options of a field's `#[tf(block(…))]`.
#[derive(Clone, Copy, Default)]
pub struct BlockOptions {
    /// `group`: the block is always present, even if the configuration leaves it out.
    pub group: bool,
    /// `required`.
    pub required: bool,
    /// `min = …`; 0 if not given.
    pub min: u32,
    /// `max = …`; 0 if not given.
    pub max: u32,
}

/// Fails to compile if cores would refuse the whole provider because of this block.
#[track_caller]
pub const fn check_block<T: Blocks>(declared: BlockOptions) {
    let single = matches!(T::NESTING, Nesting::Single);
    let counted = matches!(T::NESTING, Nesting::List | Nesting::Set);
    assert!(single || !declared.group, "`group` is for a single block");
    assert!(single || !declared.required, "`required` is for a single block: write `block(min = 1)`");
    assert!(!(declared.group && declared.required), "a group is always present, so it cannot be required");
    assert!(counted || (declared.min == 0 && declared.max == 0), "`min` and `max` are for lists and sets of blocks");
    assert!(declared.max == 0 || declared.min <= declared.max, "`min` is greater than `max`");
    T::CONTENTS.check_sets();
}

/// Returns the declaration of a block.
#[must_use]
pub fn declare_block<T: Blocks>(name: &str, declared: BlockOptions, description: &str) -> Attribute {
    let kind = match T::kind() {
        Kind::Nested(Nesting::Single, attributes) if declared.group => Kind::Nested(Nesting::Group, attributes),
        kind => kind,
    };
    let mode = if declared.required { Mode::Required } else { Mode::Optional };
    let one = u32::from(declared.required);
    let mut attribute = Attribute::new(name, kind, mode, description);
    attribute.block = Some(Limits { min: declared.min.max(one), max: declared.max.max(one) });
    attribute
}

/// Converts a value to a block.
///
/// # Errors
/// Fails if the value has another type.
pub fn decode_block<T: Blocks>(value: &Value, path: &Path) -> Result<Attr<T>, ValueError> {
    match value {
        Value::Null => Ok(T::absent().into()),
        value => decode_attr(value, path),
    }
}

/// Converts a block to a value. Null means that there is no block.
pub fn encode_block<T: Blocks>(attr: &Attr<T>) -> Value {
    match (attr, T::absent()) {
        (Attr::Null, Some(absent)) => absent.encode(),
        _ => encode_attr(attr),
    }
}

/// Converts a value to a group.
///
/// # Errors
/// Fails if the value has another type.
pub fn decode_group<T: Blocks + Default>(value: &Value, path: &Path) -> Result<Attr<T>, ValueError> {
    match value {
        Value::Null => Ok(Attr::Known(T::default())),
        value => decode_attr(value, path),
    }
}

/// Converts a group to a value.
pub fn encode_group<T: Blocks + Default>(attr: &Attr<T>) -> Value {
    match attr {
        Attr::Null => T::default().encode(),
        _ => encode_attr(attr),
    }
}

#[cfg(test)]
mod tests;
