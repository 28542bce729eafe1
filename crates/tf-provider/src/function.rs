//! What the author of a provider function writes.

use crate::attr::Attr;
use crate::element::{Element, ValueError};
use crate::path::Path;
use crate::schema::{Check, Type};
use crate::value::Value;

/// A function that configurations call as `provider::NAME::FUNCTION(…)`.
///
/// Functions are pure: the same arguments give the same result, without looking at anything else. They are called
/// before the provider is configured, so there is no context; and while planning as well as while applying, where cores
/// compare the results.
pub trait Function: Send + Sync + 'static {
    /// Name in configurations.
    const NAME: &'static str;
    /// What it takes; the doc comment of this type describes the function.
    type Parameters: Parameters;
    /// What it gives: `T`, `Option<T>` if that may be null, or `Attr<T>` if it may also be unknown, which only makes
    /// sense where a parameter may be.
    type Output: Argument;

    /// Computes the result. It may take a while: it runs on a thread where that disturbs nobody.
    ///
    /// # Errors
    /// When the arguments have no result; [`FunctionError::at`] says which of them is the reason.
    fn call(&self, arguments: Self::Parameters) -> Result<Self::Output, FunctionError>;
}

/// Why a function has no result. The core shows the user's call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// What is wrong, as a sentence. The core writes the parameter's name before it.
    pub text: String,
    place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Parameter(String),
    Position(usize),
}

impl FunctionError {
    /// About the call as a whole.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), place: None }
    }

    /// About the argument for this parameter; for the variadic one, its first argument.
    #[must_use]
    pub fn at(self, parameter: impl Into<String>) -> Self {
        Self { place: Some(Place::Parameter(parameter.into())), ..self }
    }

    /// About the argument at this position, from zero: for those of the variadic parameter, after all others.
    #[must_use]
    pub fn at_position(self, position: usize) -> Self {
        Self { place: Some(Place::Position(position)), ..self }
    }

    /// The position among `parameters`, from zero; `None` if it is about the call.
    pub(crate) fn position(&self, parameters: &[Parameter]) -> Option<usize> {
        match self.place.as_ref()? {
            Place::Position(position) => Some(*position),
            Place::Parameter(name) => parameters.iter().position(|parameter| parameter.name == *name),
        }
    }
}

impl From<String> for FunctionError {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for FunctionError {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// What can be passed to a function, and come back from it: a value; `Option` of one, which may be null; or [`Attr`] of
/// one, which may be null or unknown.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a function's parameter or result",
    note = "use a type that an attribute can have, or `Option<…>` or `Attr<…>` of one"
)]
pub trait Argument: Sized + Send + 'static {
    /// The type of the value itself.
    type Element: Element;
    /// It may be null.
    const NULL: bool;
    /// It may be unknown.
    const UNKNOWN: bool;

    /// Reads a value; `None` where null or unknown is not allowed.
    ///
    /// # Errors
    /// When the value has another type.
    fn decode(value: &Value) -> Result<Option<Self>, ValueError>;

    /// The value.
    fn encode(&self) -> Value;
}

impl<T: Element> Argument for T {
    type Element = T;
    const NULL: bool = false;
    const UNKNOWN: bool = false;

    fn decode(value: &Value) -> Result<Option<Self>, ValueError> {
        Ok(decode_attr::<T>(value)?.into_known())
    }

    fn encode(&self) -> Value {
        Element::encode(self)
    }
}

impl<T: Element> Argument for Option<T> {
    type Element = T;
    const NULL: bool = true;
    const UNKNOWN: bool = false;

    fn decode(value: &Value) -> Result<Option<Self>, ValueError> {
        Ok(match decode_attr::<T>(value)? {
            Attr::Null => Some(None),
            Attr::Unknown => None,
            Attr::Known(value) => Some(Some(value)),
        })
    }

    fn encode(&self) -> Value {
        self.as_ref().map_or(Value::Null, Element::encode)
    }
}

impl<T: Element> Argument for Attr<T> {
    type Element = T;
    const NULL: bool = true;
    const UNKNOWN: bool = true;

    fn decode(value: &Value) -> Result<Option<Self>, ValueError> {
        decode_attr(value).map(Some)
    }

    fn encode(&self) -> Value {
        crate::element::encode_attr(self)
    }
}

fn decode_attr<T: Element>(value: &Value) -> Result<Attr<T>, ValueError> {
    crate::element::decode_attr(value, &Path::root())
}

/// The arguments of a function. Derived: `#[derive(Parameters)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of parameters",
    note = "derive it for a struct: #[derive(Parameters)]"
)]
pub trait Parameters: Sized + Send + 'static {
    /// Markdown, from the doc comment of the type; its first paragraph is the summary.
    const DESCRIPTION: &'static str;
    /// Message that says what to use instead.
    const DEPRECATED: Option<&'static str> = None;

    /// All parameters in order. Only the last can be variadic.
    fn parameters() -> Vec<Parameter>;

    /// Reads the arguments.
    ///
    /// # Errors
    /// When one does not fit its parameter.
    fn take(arguments: &mut Arguments) -> Result<Self, FunctionError>;
}

/// One parameter.
#[derive(Clone)]
pub struct Parameter {
    /// Name, for documentation and messages.
    pub name: String,
    /// Type of one argument.
    pub value_type: Type,
    /// Markdown, from the field's doc comment.
    pub description: String,
    /// The argument may be null.
    pub null: bool,
    /// The argument may be unknown; otherwise the core answers such calls itself, with unknown.
    pub unknown: bool,
    /// Takes all arguments that are left.
    pub variadic: bool,
    /// Checks of a known value.
    pub checks: Vec<Check>,
}

impl Parameter {
    /// A parameter of type `T`; used by derived code.
    #[must_use]
    pub fn of<T: Argument>(name: &str, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            value_type: T::Element::kind().value_type(),
            description: description.to_owned(),
            null: T::NULL,
            unknown: T::UNKNOWN,
            variadic: false,
            checks: Vec::new(),
        }
    }
}

/// Arguments on their way into a [`Parameters`] type; used by derived code.
pub struct Arguments {
    values: std::vec::IntoIter<Value>,
    position: usize,
}

impl Arguments {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self { values: values.into_iter(), position: 0 }
    }

    /// The next argument.
    ///
    /// # Errors
    /// When there is none, or it does not fit.
    pub fn one<T: Argument>(&mut self) -> Result<T, FunctionError> {
        let value = self.values.next().ok_or_else(|| FunctionError::new("There are too few arguments."))?;
        self.argument(&value)
    }

    /// All arguments that are left.
    ///
    /// # Errors
    /// When one does not fit.
    pub fn rest<T: Argument>(&mut self) -> Result<Vec<T>, FunctionError> {
        let values = std::mem::take(&mut self.values);
        values.map(|value| self.argument(&value)).collect()
    }

    fn argument<T: Argument>(&mut self, value: &Value) -> Result<T, FunctionError> {
        let position = self.position;
        self.position += 1;
        let problem = match T::decode(value) {
            Ok(Some(argument)) => return Ok(argument),
            Ok(None) => format!("must not be {}", if value.is_null() { "null" } else { "unknown" }),
            Err(ValueError { path, problem }) if path.steps().is_empty() => problem,
            Err(error) => error.to_string(),
        };
        Err(FunctionError::new(problem).at_position(position))
    }
}
