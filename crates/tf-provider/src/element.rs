//! Typed models: conversion between Rust types and values.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use crate::attr::{Attr, Secret};
use crate::contents::Contents;
use crate::known::{Basis, Known};
use crate::path::Path;
use crate::schema::{Attribute, Kind, Nesting, Type};
use crate::value::{Number, Value};

/// A value that does not fit the Rust type it was declared with.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ValueError {
    /// Where.
    pub path: Path,
    /// What was wanted and what came; never the content.
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

/// Object with declared attributes. Derived: `#[derive(Clone, Default, Model)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model",
    note = "derive it: #[derive(Clone, Default, Model)]"
)]
pub trait Model: Clone + Default + Send + Sync + 'static {
    /// Markdown, from the doc comment of the type.
    const DESCRIPTION: &'static str;
    /// Deprecation of the whole type.
    const DEPRECATED: Option<&'static str> = None;

    /// The struct that the derive makes beside this one, `KnownNote` for a model `Note`: see [`Known`].
    type Known: Clone + Default + Ord + Send + Sync + 'static;

    /// The declared attributes in the order of the fields.
    fn attributes() -> Vec<Attribute>;

    /// Reads the fields from an object value; attributes that the object lacks are null.
    ///
    /// # Errors
    /// When an attribute has not the declared type.
    fn from_value(value: &Value, path: &Path) -> Result<Self, ValueError>;

    /// The object value, with every attribute present.
    fn to_value(&self) -> Value;

    /// Returns the known values; used by derived code.
    ///
    /// # Errors
    /// When a value is missing.
    fn into_known(self, basis: Basis, path: &Path) -> Result<Self::Known, ValueError>;

    /// Returns the model with these values; used by derived code.
    fn from_known(known: Self::Known) -> Self;

    /// Returns the values for a planning hook; `None` while one of them is unknown, other than computed ones.
    fn known(&self) -> Option<Known<Self>> {
        self.clone().into_known(Basis::Plan, &Path::root()).ok()
    }

    /// Deadlines that the type declares for an operation: the field `timeouts`, where there is one.
    fn timeout_defaults() -> crate::timeouts::Defaults {
        crate::timeouts::Defaults::default()
    }
}

/// What can stand in an [`Attr`]: text, numbers, bools, collections of them, nested models.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the value of an attribute",
    note = "use bool, an integer, f64, Number, String, Secret, Vec, BTreeSet, BTreeMap<String, _> or a derived Model"
)]
pub trait Element: Borrow<Self::Borrowed> + Sized + Clone + Send + Sync + 'static {
    /// What checks and comparisons of the author's take by reference: `str` for text, a slice for lists, else the type
    /// itself.
    type Borrowed: ?Sized;

    /// The same without unknown parts: of a model its [`Known`], of a collection that of its elements, else the type
    /// itself.
    type Known: Clone + Default + Send + Sync + 'static;

    /// What the type holds that does not fit everywhere.
    const CONTENTS: Contents = Contents::PLAIN;

    /// The declared kind.
    fn kind() -> Kind;

    /// Reads a value that is neither null nor unknown; `None` if something inside it is unknown that the type cannot hold.
    ///
    /// # Errors
    /// When the value has another type.
    fn decode(value: &Value, path: &Path) -> Result<Option<Self>, ValueError>;

    /// The value.
    fn encode(&self) -> Value;

    /// Returns the value without unknown parts; used by derived code.
    ///
    /// # Errors
    /// When a part is missing.
    fn into_known(self, basis: Basis, path: &Path) -> Result<Self::Known, ValueError>;

    /// The opposite of [`Element::into_known`].
    fn from_known(known: Self::Known) -> Self;
}

/// The items of a type that has no unknown parts.
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

/// Reads an attribute.
///
/// # Errors
/// When the value has another type.
pub fn decode_attr<T: Element>(value: &Value, path: &Path) -> Result<Attr<T>, ValueError> {
    match value {
        Value::Null => Ok(Attr::Null),
        Value::Unknown => Ok(Attr::Unknown),
        known => Ok(T::decode(known, path)?.map_or(Attr::Unknown, Attr::Known)),
    }
}

/// Writes an attribute.
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

/// The kind of a collection whose elements are of kind `element`.
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

/// Limits that an integer or float can be compared with.
#[diagnostic::on_unimplemented(message = "`range` is for numbers; `{Self}` is none")]
pub trait Ranged: Element + PartialOrd + std::fmt::Display {}
impl Ranged for i64 {}
impl Ranged for u64 {}
impl Ranged for i32 {}
impl Ranged for u32 {}
impl Ranged for u16 {}
impl Ranged for u8 {}
impl Ranged for f64 {}

/// What has a length: characters of text, elements of a collection.
#[diagnostic::on_unimplemented(message = "`length` is for text and collections; `{Self}` has none")]
pub trait Measured: Element {
    /// Characters or elements.
    fn measure(&self) -> usize;
}

impl Measured for String {
    fn measure(&self) -> usize {
        self.chars().count()
    }
}

impl Measured for Secret {
    fn measure(&self) -> usize {
        self.expose().chars().count()
    }
}

impl<T: Element> Measured for Vec<T> {
    fn measure(&self) -> usize {
        self.len()
    }
}

impl<T: Element<Known: Ord> + Ord> Measured for BTreeSet<T> {
    fn measure(&self) -> usize {
        self.len()
    }
}

impl<T: Element> Measured for BTreeMap<String, T> {
    fn measure(&self) -> usize {
        self.len()
    }
}

/// What `one_of` can be declared on.
#[diagnostic::on_unimplemented(message = "`one_of` is for strings; `{Self}` is none")]
pub trait Choice: Element + AsRef<str> {}
impl Choice for String {}
