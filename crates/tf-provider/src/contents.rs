//! Features that a type contains at any depth, known while compiling, so that a wrong use is a compile error.

/// Features that a type contains at any depth and that are not allowed everywhere.
#[derive(Clone, Copy, Default)]
pub struct Contents {
    /// Blocks. Only resources, providers and other blocks may contain blocks; nested attributes may not.
    pub blocks: bool,
    /// Write-only attributes.
    pub write_only: bool,
    /// Write-only attributes of objects in a set, where a value cannot be assigned to its object.
    pub write_only_in_set: bool,
    /// Attributes whose change needs a new object.
    pub replace: bool,
    /// Such attributes of objects in a set. A changed element is another element there, and has no path.
    pub replace_in_set: bool,
}

impl Contents {
    /// No such feature.
    pub const PLAIN: Self =
        Self { blocks: false, write_only: false, write_only_in_set: false, replace: false, replace_in_set: false };

    /// Returns the features of both.
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

    /// Returns the features of a set of this type.
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
    /// Fails to compile if a feature is inside of a set and must not be.
    #[track_caller]
    pub(crate) const fn check_sets(self) {
        assert!(!self.write_only_in_set, "cores refuse write-only attributes inside sets");
        assert!(!self.replace_in_set, "elements of a set are added and removed, not changed: put `replace` on the set");
    }
}
