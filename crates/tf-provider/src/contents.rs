//! What stands somewhere inside a type, known while compiling, so that a wrong place is a compile error.

use crate::element::Element;

/// What a type holds at any depth that does not fit everywhere.
#[derive(Clone, Copy, Default)]
pub struct Contents {
    /// Blocks: only resources, providers and other blocks have them, nested attributes do not.
    pub blocks: bool,
    /// Write-only attributes.
    pub write_only: bool,
    /// Write-only attributes of objects in a set, where nothing tells which is whose.
    pub write_only_in_set: bool,
    /// Attributes whose change needs a new object.
    pub replace: bool,
    /// The same of objects in a set, where a changed element is another element, and has no path.
    pub replace_in_set: bool,
}

impl Contents {
    /// Nothing of the kind.
    pub const PLAIN: Self =
        Self { blocks: false, write_only: false, write_only_in_set: false, replace: false, replace_in_set: false };

    /// What both hold.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            blocks: self.blocks || other.blocks,
            write_only: self.write_only || other.write_only,
            write_only_in_set: self.write_only_in_set || other.write_only_in_set,
            replace: self.replace || other.replace,
            replace_in_set: self.replace_in_set || other.replace_in_set,
        }
    }

    /// What a set of this holds.
    #[must_use]
    pub const fn in_set(self) -> Self {
        Self {
            write_only_in_set: self.write_only_in_set || self.write_only,
            replace_in_set: self.replace_in_set || self.replace,
            ..self
        }
    }
}

impl Contents {
    /// Fails to compile where this would be inside a set and cannot.
    #[track_caller]
    pub(crate) const fn check_sets(self) {
        assert!(!self.write_only_in_set, "cores refuse write-only attributes inside sets");
        assert!(!self.replace_in_set, "elements of a set do not change, they come and go: `replace` is for the set");
    }
}

/// Fails to compile where cores would refuse the whole provider for an attribute of this type.
#[track_caller]
pub const fn check_attribute<T: Element>() {
    assert!(!T::CONTENTS.blocks, "a nested attribute cannot hold blocks: declare this field a `block` too");
    T::CONTENTS.check_sets();
}
