//! Values as the core guarantees them to create, update and delete.
//!
//! By the time of an apply, all configured values are known, required attributes are set, and defaults are filled in.
//! The derive makes a second struct with these values: `KnownNote` for a model `Note`.
//!
//! | Declared | In `Note` | In `KnownNote` |
//! | --- | --- | --- |
//! | `required`, `default`, `block(group)`; blocks in a list, set or map | `Attr<T>` | `T` |
//! | `optional`, a single `block` | `Attr<T>` | `Option<T>` |
//! | `computed`, `optional, computed` | `Attr<T>` | `Attr<T>` |
//!
//! If `T` is or contains a model, `KnownNote` has the known struct of that model.

use crate::attr::Attr;
use crate::basis::Basis;
use crate::element::{Element, ValueError};
use crate::path::Path;

/// Replacement for the value of an attribute that is null.
pub enum Absent<T> {
    /// No replacement: `required, identity`.
    Never,
    /// An empty value before an update: `required`. A state can lack the attribute after an import, or if an older
    /// version of the provider wrote it.
    Missing,
    /// An empty value before an update or destroy: `required, unread`.
    Unread,
    /// An empty value: write-only values, which no state has, and blocks.
    Empty,
    /// The declared default.
    Default(fn() -> T),
}

/// Returns the value of an attribute that always has one.
///
/// # Errors
/// Fails if the attribute has no value.
pub fn present<T: Element>(
    attr: Attr<T>,
    basis: Basis,
    path: &Path,
    absent: Absent<T>,
) -> Result<T::Known, ValueError> {
    match (attr, absent) {
        (Attr::Known(value), _) => value.into_known(basis, path),
        (Attr::Null, Absent::Default(default)) => default().into_known(basis, path),
        (Attr::Null, Absent::Empty) => Ok(T::Known::default()),
        (Attr::Null, Absent::Missing | Absent::Unread) if basis == Basis::Prior => Ok(T::Known::default()),
        (Attr::Null, Absent::Unread) if basis == Basis::Last => Ok(T::Known::default()),
        (Attr::Null, Absent::Missing) if basis == Basis::Last => Err(ValueError::new(
            path,
            "the state lacks this attribute. An apply of the configuration adds it; then the object can be destroyed",
        )),
        (Attr::Null, _) if basis != Basis::Plan => Err(ValueError::new(
            path,
            "the state lacks this attribute, which identifies the object. Import the object again",
        )),
        (Attr::Null, _) => Err(ValueError::new(path, "a value is needed, got null")),
        (Attr::Unknown, _) => Err(ValueError::new(path, "the value is not known yet")),
    }
}

/// Returns the value of an attribute that may be null.
///
/// # Errors
/// Fails if the value is unknown.
pub fn optional<T: Element>(attr: Attr<T>, basis: Basis, path: &Path) -> Result<Option<T::Known>, ValueError> {
    match attr {
        Attr::Null => Ok(None),
        attr => present(attr, basis, path, Absent::Missing).map(Some),
    }
}

/// Reverses [`present`].
pub fn from_present<T: Element>(known: T::Known) -> Attr<T> {
    Attr::Known(T::from_known(known))
}

/// Reverses [`optional`].
pub fn from_optional<T: Element>(known: Option<T::Known>) -> Attr<T> {
    known.map(T::from_known).into()
}
