//! What a resource looks like: the one declaration from which wire schema, planning and documentation come.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::value::Value;

/// Type of a plain value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Truth value.
    Bool,
    /// Number.
    Number,
    /// Text.
    String,
    /// Ordered elements.
    List(Box<Type>),
    /// Unordered elements without repetition.
    Set(Box<Type>),
    /// Entries by name.
    Map(Box<Type>),
    /// Fixed attributes.
    Object(BTreeMap<String, Type>),
}

/// How nested attributes repeat.
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
    /// One object that is always there; only as a block.
    Group,
}

/// Plain value, or object(s) whose attributes have planning rules of their own.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A plain value.
    Plain(Type),
    /// Nested attributes.
    Nested(Nesting, Vec<Attribute>),
}

impl Kind {
    /// The plain type that values of this kind have on the wire.
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

/// The object type that these attributes make.
#[must_use]
pub fn object_type(attributes: &[Attribute]) -> BTreeMap<String, Type> {
    attributes.iter().map(|a| (a.name.clone(), a.kind.value_type())).collect()
}

/// Who sets an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The configuration must set it.
    Required,
    /// The configuration may set it.
    Optional,
    /// The configuration may set it, the provider does otherwise.
    OptionalComputed,
    /// Only the provider sets it.
    Computed,
}

impl Mode {
    /// The provider may decide the value.
    #[must_use]
    pub fn is_computed(self) -> bool {
        matches!(self, Self::OptionalComputed | Self::Computed)
    }
}

/// A check of one known value.
#[derive(Clone)]
pub struct Check {
    /// What holds of every value that passes, for readers: `at least 1 and at most 64`. None where only a function knows.
    pub rule: Option<String>,
    test: Arc<Test>,
}

type Test = dyn Fn(&Value) -> Result<(), String> + Send + Sync;

impl Check {
    /// A check by a function, whose error says what is wrong with the value.
    pub fn new(rule: Option<String>, test: impl Fn(&Value) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { rule, test: Arc::new(test) }
    }

    /// Checks a value.
    ///
    /// # Errors
    /// Text that says what is wrong with it.
    pub fn run(&self, value: &Value) -> Result<(), String> {
        (self.test)(value)
    }
}

/// Tells whether two values mean the same to the server.
pub type Equality = Arc<dyn Fn(&Value, &Value) -> bool + Send + Sync>;

/// Tells, from prior and planned value, whether the change needs a new object.
pub type ReplaceWhen = Arc<dyn Fn(&Value, &Value) -> bool + Send + Sync>;

/// When a change of an attribute needs a new object.
#[derive(Clone, Default)]
pub enum Replace {
    /// Never: it is updated in place.
    #[default]
    Never,
    /// At any change.
    Always,
    /// When the function says so.
    When(ReplaceWhen),
}

/// How many blocks of one type there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Least number.
    pub min: u32,
    /// Greatest number; 0: any number.
    pub max: u32,
}

/// One attribute: type, who sets it, and how it is planned.
#[derive(Clone)]
pub struct Attribute {
    /// Name in the configuration.
    pub name: String,
    /// Type.
    pub kind: Kind,
    /// Written in the configuration as nested blocks; the kind is [`Kind::Nested`] then.
    pub block: Option<Limits>,
    /// Markdown, from the field's doc comment.
    pub description: String,
    /// Who sets it.
    pub mode: Mode,
    /// Never shown by the core.
    pub sensitive: bool,
    /// Read from the configuration, never stored.
    pub write_only: bool,
    /// Message that says what to use instead.
    pub deprecated: Option<String>,
    /// Planned where the configuration sets nothing.
    pub default: Option<Value>,
    /// Computed: the prior value stays across updates instead of becoming unknown.
    pub keep: bool,
    /// Whether a change needs a new object.
    pub replace: Replace,
    /// Part of the identity, by which it can be imported.
    pub identity: bool,
    /// Checks of a known value.
    pub checks: Vec<Check>,
    /// Server-side normalisation that is not a difference.
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
    /// An attribute without any rule but its mode.
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

    /// The value where the configuration says nothing: null, but for repeated blocks and groups.
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

/// A resource type's or the provider's whole declaration.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Version of the stored form; grows when older state needs the upgrade hook.
    pub version: i64,
    /// Version of the stored identity.
    pub identity_version: i64,
    /// Markdown, from the model's doc comment.
    pub description: String,
    /// Message that says what to use instead.
    pub deprecated: Option<String>,
    /// All attributes.
    pub attributes: Vec<Attribute>,
}
