//! Values as the core guarantees them to create, update and delete.
//!
//! By the time of an apply, everything that the configuration sets is known, required attributes are set, and defaults
//! are filled in. The derive makes a second struct for that moment: `KnownNote` beside a model `Note`.
//!
//! | Declared | In `Note` | In `KnownNote` |
//! | --- | --- | --- |
//! | `required`, `default`, `block(group)`; blocks in a list, set or map | `Attr<T>` | `T` |
//! | `optional`, a single `block` | `Attr<T>` | `Option<T>` |
//! | `computed`, `optional, computed` | `Attr<T>` | `Attr<T>` |
//!
//! Where `T` is or contains a model, its known struct takes the model's place.

use crate::attr::Attr;
use crate::element::{Element, Model, ValueError};
use crate::path::Path;

/// The known values of a model: the struct `KnownNote` that the derive makes for a model `Note`.
pub type Known<M> = <M as Model>::Known;

/// The object that known values are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A plan or a configuration, in which the core guarantees all required attributes.
    Plan,
    /// The state before an update. The plan has the attributes that it lacks.
    Prior,
    /// The state of an object that is to be destroyed.
    Last,
}

/// The value of an attribute that is null.
pub enum Absent<T> {
    /// There is none: `required, identity`.
    Never,
    /// An empty one before an update: `required`. A state lacks it after an import, or if an older version of the provider
    /// wrote it.
    Missing,
    /// An empty one before an update and a destroy: `required, unread`.
    Unread,
    /// An empty one: write-only values, which no state has, and blocks.
    Empty,
    /// The declared default.
    Default(fn() -> T),
}

/// Returns the value of an attribute that always has one.
///
/// # Errors
/// When there is none.
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
/// When it is unknown.
pub fn optional<T: Element>(attr: Attr<T>, basis: Basis, path: &Path) -> Result<Option<T::Known>, ValueError> {
    match attr {
        Attr::Null => Ok(None),
        attr => present(attr, basis, path, Absent::Missing).map(Some),
    }
}

/// The opposite of [`present`].
pub fn from_present<T: Element>(known: T::Known) -> Attr<T> {
    Attr::Known(T::from_known(known))
}

/// The opposite of [`optional`].
pub fn from_optional<T: Element>(known: Option<T::Known>) -> Attr<T> {
    known.map(T::from_known).into()
}
