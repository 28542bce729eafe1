//! The declaration of a resource, the source of wire schema, planning and documentation.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::value::Value;

/// Type of a plain value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Boolean.
    Bool,
    /// Number.
    Number,
    /// Text.
    String,
    /// Ordered elements.
    List(Box<Type>),
    /// Unordered elements without duplicates.
    Set(Box<Type>),
    /// Entries by name.
    Map(Box<Type>),
    /// Named attributes, each with its type.
    Object(BTreeMap<String, Type>),
}

/// Nesting mode of nested attributes and blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nesting {
    /// One object.
    Single,
    /// A list of objects.
    List,
    /// A set of objects.
    Set,
    /// Objects by name.
    Map,
    /// One object that is always present, as a block only.
    Group,
}

/// A plain value, or objects whose attributes have their own planning rules.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A plain value.
    Plain(Type),
    /// Nested attributes.
    Nested(Nesting, Vec<Attribute>),
}

impl Kind {
    /// Returns the plain type that values of this kind have on the wire.
    #[must_use]
    pub fn value_type(&self) -> Type {
        match self {
            Self::Plain(plain) => plain.clone(),
            Self::Nested(nesting, attributes) => {
                let object = Type::Object(object_type(attributes));
                match nesting {
                    Nesting::Single | Nesting::Group => object,
                    Nesting::List => Type::List(Box::new(object)),
                    Nesting::Set => Type::Set(Box::new(object)),
                    Nesting::Map => Type::Map(Box::new(object)),
                }
            }
        }
    }
}

/// Returns the object type with these attributes.
#[must_use]
pub fn object_type(attributes: &[Attribute]) -> BTreeMap<String, Type> {
    attributes.iter().map(|a| (a.name.clone(), a.kind.value_type())).collect()
}

/// The side that sets an attribute: configuration or provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The configuration must set it.
    Required,
    /// The configuration may set it.
    Optional,
    /// The configuration may set it, otherwise the provider sets it.
    OptionalComputed,
    /// Only the provider sets it.
    Computed,
}

impl Mode {
    /// Returns true if the provider may set the value.
    #[must_use]
    pub fn is_computed(self) -> bool {
        matches!(self, Self::OptionalComputed | Self::Computed)
    }
}

/// A check of one known value.
#[derive(Clone)]
pub struct Check {
    /// Rule for readers: `at least 1 and at most 64`. `None` for a check by a function.
    pub rule: Option<String>,
    test: Arc<Test>,
}

type Test = dyn Fn(&Value) -> Result<(), String> + Send + Sync;

impl Check {
    /// Returns a check by a function, whose error describes the problem.
    pub fn new(rule: Option<String>, test: impl Fn(&Value) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { rule, test: Arc::new(test) }
    }

    /// Checks a value.
    ///
    /// # Errors
    /// Fails with a description of the problem.
    pub fn run(&self, value: &Value) -> Result<(), String> {
        (self.test)(value)
    }
}

/// A function that returns true if two values mean the same to the server.
pub type Equality = Arc<dyn Fn(&Value, &Value) -> bool + Send + Sync>;

/// A function that returns true if the change from the prior to the planned value needs a new object.
pub type ReplaceWhen = Arc<dyn Fn(&Value, &Value) -> bool + Send + Sync>;

/// The rule by which a change of an attribute needs a new object.
#[derive(Clone, Default)]
pub enum Replace {
    /// Never. The attribute is updated in place.
    #[default]
    Never,
    /// At any change.
    Always,
    /// If the function returns true.
    When(ReplaceWhen),
}

/// Limits for the number of blocks of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Minimum number.
    pub min: u32,
    /// Maximum number; 0 means no limit.
    pub max: u32,
}

/// An attribute: its type, the side that sets it, and its planning rules.
#[derive(Clone)]
pub struct Attribute {
    /// Name of the attribute in the configuration.
    pub name: String,
    /// Kind of the value.
    pub kind: Kind,
    /// Limits of nested blocks; `None` for attributes. The kind of blocks is [`Kind::Nested`].
    pub block: Option<Limits>,
    /// Description in Markdown, from the field's doc comment.
    pub description: String,
    /// Side that sets the attribute.
    pub mode: Mode,
    /// True if the core must not show the value.
    pub sensitive: bool,
    /// True if the value is never stored.
    pub write_only: bool,
    /// Deprecation message, which names the replacement.
    pub deprecated: Option<String>,
    /// Value that is planned if the configuration leaves the attribute out.
    pub default: Option<Value>,
    /// True if a computed attribute keeps its prior value in updates instead of becoming unknown.
    pub keep: bool,
    /// Rule by which a change needs a new object.
    pub replace: Replace,
    /// True if the attribute is part of the identity, by which the object can be imported.
    pub identity: bool,
    /// Checks of a known value.
    pub checks: Vec<Check>,
    /// Comparison that ignores the server's normalisation.
    pub equality: Option<Equality>,
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attribute")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("mode", &self.mode)
            .field("sensitive", &self.sensitive)
            .field("write_only", &self.write_only)
            .finish_non_exhaustive()
    }
}

impl Attribute {
    /// Returns an attribute with a mode and no other rules.
    #[must_use]
    pub fn new(name: &str, kind: Kind, mode: Mode, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            block: None,
            description: description.to_owned(),
            mode,
            sensitive: false,
            write_only: false,
            deprecated: None,
            default: None,
            keep: false,
            replace: Replace::Never,
            identity: false,
            checks: Vec::new(),
            equality: None,
        }
    }

    /// Returns the value for a configuration without the attribute: null, except for repeated blocks and groups.
    #[must_use]
    pub fn absent(&self) -> Value {
        match (&self.kind, self.block) {
            (Kind::Nested(Nesting::List | Nesting::Set, _), Some(_)) => Value::List(Vec::new()),
            (Kind::Nested(Nesting::Map, _), Some(_)) => Value::Map(BTreeMap::new()),
            (Kind::Nested(Nesting::Group, attributes), Some(_)) => {
                Value::Map(attributes.iter().map(|attribute| (attribute.name.clone(), attribute.absent())).collect())
            }
            _ => Value::Null,
        }
    }
}

/// The complete declaration of a resource type or of the provider.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Version of stored state. It is increased if older state needs the upgrade hook.
    pub version: i64,
    /// Version of stored identities.
    pub identity_version: i64,
    /// Description in Markdown, from the model's doc comment.
    pub description: String,
    /// Deprecation message, which names the replacement.
    pub deprecated: Option<String>,
    /// All attributes.
    pub attributes: Vec<Attribute>,
}
