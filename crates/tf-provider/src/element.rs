//! Typed models: conversion between Rust types and values.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use crate::attr::{Attr, Secret};
use crate::basis::Basis;
use crate::contents::Contents;
use crate::diagnostic::Diagnostic;
use crate::path::Path;
use crate::schema::{Attribute, Kind, Nesting, Type};
use crate::timeouts::Defaults;
use crate::value::{Number, Value};

/// A value that does not fit its declared Rust type.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ValueError {
    /// Path of the value.
    pub path: Path,
    /// Expected and actual type, without the content.
    pub problem: String,
}

impl ValueError {
    pub(crate) fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self { path: path.clone(), problem: problem.into() }
    }

    fn wanted(path: &Path, wanted: &str, got: &Value) -> Self {
        Self::new(path, format!("{wanted} is needed, got {}", got.shape()))
    }
}

impl From<ValueError> for Diagnostic {
    fn from(ValueError { path, problem }: ValueError) -> Self {
        Self::error("Invalid value", format!("\"{path}\": {problem}.")).at(path)
    }
}

/// An object with declared attributes, derived with `#[derive(Clone, Default, Model)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model",
    note = "derive it: #[derive(Clone, Default, Model)]"
)]
pub trait Model: Clone + Default + Send + Sync + 'static {
    /// Description in Markdown, from the doc comment of the type.
    const DESCRIPTION: &'static str;
    /// Deprecation message of the whole type.
    const DEPRECATED: Option<&'static str> = None;

    /// The second struct that the derive makes, `KnownNote` for a model `Note`; see [`Known`].
    type Known: Clone + Default + Ord + Send + Sync + 'static;

    /// Returns the declared attributes in the order of the fields.
    fn attributes() -> Vec<Attribute>;

    /// Converts an object value to a model. Attributes that the object lacks are null.
    ///
    /// # Errors
    /// Fails if an attribute does not have the declared type.
    fn from_value(value: &Value, path: &Path) -> Result<Self, ValueError>;

    /// Returns the object value with every attribute present.
    fn to_value(&self) -> Value;

    /// Returns the known values. Derived code calls this.
    ///
    /// # Errors
    /// Fails if a value is missing.
    fn into_known(self, basis: Basis, path: &Path) -> Result<Self::Known, ValueError>;

    /// Returns the model with these values. Derived code calls this.
    fn from_known(known: Self::Known) -> Self;

    /// Returns the known values for a planning hook; `None` while a value that is not computed is unknown.
    fn known(&self) -> Option<Known<Self>> {
        self.clone().into_known(Basis::Plan, &Path::root()).ok()
    }

    /// Returns the deadlines that the field `timeouts` declares, if there is such a field.
    fn timeout_defaults() -> Defaults {
        Defaults::default()
    }
}

/// The known values of a model: the struct `KnownNote` that the derive makes for a model `Note`.
pub type Known<M> = <M as Model>::Known;

/// A type of values that an [`Attr`] can have: text, numbers, bools, collections of them, nested models.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the value of an attribute",
    note = "use bool, an integer, f64, Number, String, Secret, Vec, BTreeSet, BTreeMap<String, _> or a derived Model"
)]
pub trait Element: Borrow<Self::Borrowed> + Sized + Clone + Send + Sync + 'static {
    /// Type that the author's checks and comparisons take by reference: `str` for text, a slice for lists, otherwise
    /// the type itself.
    type Borrowed: ?Sized;

    /// The type without unknown parts: the [`Known`] of a model, a collection of known elements, otherwise the type
    /// itself.
    type Known: Clone + Default + Send + Sync + 'static;

    /// Features of the type that are not allowed everywhere.
    const CONTENTS: Contents = Contents::PLAIN;

    /// Returns the declared kind.
    fn kind() -> Kind;

    /// Converts a value that is neither null nor unknown; `None` if the type cannot represent an unknown part of the
    /// value.
    ///
    /// # Errors
    /// Fails if the value has another type.
    fn decode(value: &Value, path: &Path) -> Result<Option<Self>, ValueError>;

    /// Returns the value.
    fn encode(&self) -> Value;

    /// Returns the value without unknown parts. Derived code calls this.
    ///
    /// # Errors
    /// Fails if a value is missing.
    fn into_known(self, basis: Basis, path: &Path) -> Result<Self::Known, ValueError>;

    /// Reverses [`Element::into_known`].
    fn from_known(known: Self::Known) -> Self;
}

/// Defines the conversions of a type without unknown parts.
macro_rules! always_known {
    () => {
        fn into_known(self, _: Basis, _: &Path) -> Result<Self, ValueError> {
            Ok(self)
        }

        fn from_known(known: Self) -> Self {
            known
        }
    };
}

/// Fails to compile if cores would refuse the whole provider because of an attribute of this type.
#[track_caller]
pub const fn check_attribute<T: Element>() {
    assert!(!T::CONTENTS.blocks, "a nested attribute cannot hold blocks: declare this field a `block` too");
    T::CONTENTS.check_sets();
}

/// Converts a value to an attribute.
///
/// # Errors
/// Fails if the value has another type.
pub fn decode_attr<T: Element>(value: &Value, path: &Path) -> Result<Attr<T>, ValueError> {
    match value {
        Value::Null => Ok(Attr::Null),
        Value::Unknown => Ok(Attr::Unknown),
        known => Ok(T::decode(known, path)?.map_or(Attr::Unknown, Attr::Known)),
    }
}

/// Converts an attribute to a value.
pub fn encode_attr<T: Element>(attr: &Attr<T>) -> Value {
    match attr {
        Attr::Null => Value::Null,
        Attr::Unknown => Value::Unknown,
        Attr::Known(value) => value.encode(),
    }
}

impl Element for bool {
    type Borrowed = Self;
    type Known = Self;

    fn kind() -> Kind {
        Kind::Plain(Type::Bool)
    }

    fn decode(value: &Value, path: &Path) -> Result<Option<Self>, ValueError> {
        match value {
            Value::Bool(value) => Ok(Some(*value)),
            other => Err(ValueError::wanted(path, "a bool", other)),
        }
    }

    fn encode(&self) -> Value {
        Value::Bool(*self)
    }

    always_known!();
}

impl Element for String {
    type Borrowed = str;
    type Known = Self;

    fn kind() -> Kind {
        Kind::Plain(Type::String)
    }

    fn decode(value: &Value, path: &Path) -> Result<Option<Self>, ValueError> {
        match value {
            Value::String(text) => Ok(Some(text.clone())),
            other => Err(ValueError::wanted(path, "a string", other)),
        }
    }

    fn encode(&self) -> Value {
        Value::String(self.clone())
    }

    always_known!();
}

impl Element for Secret {
    type Borrowed = Self;
    type Known = Self;

    fn kind() -> Kind {
        Kind::Plain(Type::String)
    }

    fn decode(value: &Value, path: &Path) -> Result<Option<Self>, ValueError> {
        Ok(String::decode(value, path)?.map(Secret::new))
    }

    fn encode(&self) -> Value {
        Value::String(self.expose().to_owned())
    }

    always_known!();
}

impl Element for Number {
    type Borrowed = Self;
    type Known = Self;

    fn kind() -> Kind {
        Kind::Plain(Type::Number)
    }

    fn decode(value: &Value, path: &Path) -> Result<Option<Self>, ValueError> {
        match value {
            Value::Number(number) => Ok(Some(number.clone())),
            other => Err(ValueError::wanted(path, "a number", other)),
        }
    }

    fn encode(&self) -> Value {
        Value::Number(self.clone())
    }

    always_known!();
}

impl Element for f64 {
    type Borrowed = Self;
    type Known = Self;

    fn kind() -> Kind {
        Kind::Plain(Type::Number)
    }

    fn decode(value: &Value, path: &Path) -> Result<Option<Self>, ValueError> {
        let number = Number::decode(value, path)?;
        Ok(number.and_then(|number| number.as_f64()))
    }

    fn encode(&self) -> Value {
        Number::parse(&self.to_string()).map_or(Value::Null, Value::Number)
    }

    always_known!();
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Element for $integer {
            type Borrowed = Self;
            type Known = Self;

            fn kind() -> Kind {
                Kind::Plain(Type::Number)
            }

            fn decode(value: &Value, path: &Path) -> Result<Option<Self>, ValueError> {
                let Value::Number(number) = value else {
                    return Err(ValueError::wanted(path, "a whole number", value));
                };
                number.as_str().parse().map(Some).map_err(|_| {
                    let (low, high) = (<$integer>::MIN, <$integer>::MAX);
                    ValueError::new(path, format!("a whole number from {low} to {high} is needed, got {number}"))
                })
            }

            fn encode(&self) -> Value {
                Number::parse(&self.to_string()).map_or(Value::Null, Value::Number)
            }

            always_known!();
        }
    )*};
}

integers!(i64, u64, i32, u32, u16, u8);

/// Returns the kind of a collection whose elements are of kind `element`.
fn collection(element: Kind, nesting: Nesting) -> Kind {
    match (element, nesting) {
        (Kind::Nested(Nesting::Single, attributes), nesting) => Kind::Nested(nesting, attributes),
        (other, Nesting::Set) => Kind::Plain(Type::Set(Box::new(other.value_type()))),
        (other, Nesting::Map) => Kind::Plain(Type::Map(Box::new(other.value_type()))),
        (other, _) => Kind::Plain(Type::List(Box::new(other.value_type()))),
    }
}

fn decode_item<T: Element>(value: &Value, path: &Path) -> Result<Option<T>, ValueError> {
    match value {
        Value::Null => Err(ValueError::new(path, "an element must not be null")),
        Value::Unknown => Ok(None),
        known => T::decode(known, path),
    }
}

fn decode_items<T: Element>(value: &Value, path: &Path) -> Result<Option<Vec<T>>, ValueError> {
    let Value::List(items) = value else {
        return Err(ValueError::wanted(path, "a list", value));
    };
    let items = items.iter().enumerate();
    items.map(|(index, item)| decode_item(item, &path.index(index))).collect()
}

impl<T: Element> Element for Vec<T> {
    type Borrowed = [T];
    type Known = Vec<T::Known>;

    const CONTENTS: Contents = T::CONTENTS;

    fn kind() -> Kind {
        collection(T::kind(), Nesting::List)
    }

    fn decode(value: &Value, path: &Path) -> Result<Option<Self>, ValueError> {
        decode_items(value, path)
    }

    fn encode(&self) -> Value {
        Value::List(self.iter().map(Element::encode).collect())
    }

    fn into_known(self, basis: Basis, path: &Path) -> Result<Self::Known, ValueError> {
        let items = self.into_iter().enumerate();
        items.map(|(index, item)| item.into_known(basis, &path.index(index))).collect()
    }

    fn from_known(known: Self::Known) -> Self {
        known.into_iter().map(T::from_known).collect()
    }
}

impl<T: Element<Known: Ord> + Ord> Element for BTreeSet<T> {
    type Borrowed = Self;
    type Known = BTreeSet<T::Known>;

    const CONTENTS: Contents = T::CONTENTS.in_set();

    fn kind() -> Kind {
        collection(T::kind(), Nesting::Set)
    }

    fn decode(value: &Value, path: &Path) -> Result<Option<Self>, ValueError> {
        Ok(decode_items::<T>(value, path)?.map(|items| items.into_iter().collect()))
    }

    fn encode(&self) -> Value {
        Value::List(self.iter().map(Element::encode).collect())
    }

    fn into_known(self, basis: Basis, path: &Path) -> Result<Self::Known, ValueError> {
        self.into_iter().map(|item| item.into_known(basis, path)).collect()
    }

    fn from_known(known: Self::Known) -> Self {
        known.into_iter().map(T::from_known).collect()
    }
}

impl<T: Element> Element for BTreeMap<String, T> {
    type Borrowed = Self;
    type Known = BTreeMap<String, T::Known>;

    const CONTENTS: Contents = T::CONTENTS;

    fn kind() -> Kind {
        collection(T::kind(), Nesting::Map)
    }

    fn decode(value: &Value, path: &Path) -> Result<Option<Self>, ValueError> {
        let Value::Map(entries) = value else {
            return Err(ValueError::wanted(path, "a map", value));
        };
        let entries = entries.iter();
        let items = entries.map(|(key, item)| Ok(decode_item(item, &path.key(key))?.map(|item| (key.clone(), item))));
        items.collect()
    }

    fn encode(&self) -> Value {
        Value::Map(self.iter().map(|(key, item)| (key.clone(), item.encode())).collect())
    }

    fn into_known(self, basis: Basis, path: &Path) -> Result<Self::Known, ValueError> {
        let items = self.into_iter();
        let items = items.map(|(key, item)| {
            let path = path.key(&key);
            Ok((key, item.into_known(basis, &path)?))
        });
        items.collect()
    }

    fn from_known(known: Self::Known) -> Self {
        known.into_iter().map(|(key, item)| (key, T::from_known(item))).collect()
    }
}

/// A type that `range` accepts: integers and floats.
#[diagnostic::on_unimplemented(message = "`range` is for numbers; `{Self}` is not a number")]
pub trait Ranged: Element + PartialOrd + std::fmt::Display {}
impl Ranged for i64 {}
impl Ranged for u64 {}
impl Ranged for i32 {}
impl Ranged for u32 {}
impl Ranged for u16 {}
impl Ranged for u8 {}
impl Ranged for f64 {}

/// A type that `length` accepts: text and collections.
#[diagnostic::on_unimplemented(message = "`length` is for text and collections; `{Self}` has none")]
pub trait HasLength: Element {
    /// Returns the number of characters or elements.
    fn length(&self) -> usize;
}

impl HasLength for String {
    fn length(&self) -> usize {
        self.chars().count()
    }
}

impl HasLength for Secret {
    fn length(&self) -> usize {
        self.expose().chars().count()
    }
}

impl<T: Element> HasLength for Vec<T> {
    fn length(&self) -> usize {
        self.len()
    }
}

impl<T: Element<Known: Ord> + Ord> HasLength for BTreeSet<T> {
    fn length(&self) -> usize {
        self.len()
    }
}

impl<T: Element> HasLength for BTreeMap<String, T> {
    fn length(&self) -> usize {
        self.len()
    }
}

/// A type that `one_of` accepts.
#[diagnostic::on_unimplemented(message = "`one_of` is for strings; `{Self}` is not a string")]
pub trait Choice: Element + AsRef<str> {}
impl Choice for String {}
