//! The trait of provider functions.

use crate::attr::Attr;
use crate::element::{Element, ValueError};
use crate::path::Path;
use crate::schema::{Check, Type};
use crate::value::Value;

/// A function that configurations call as `provider::NAME::FUNCTION(…)`.
///
/// Functions are pure: the result depends on the arguments only. They are called before the provider is configured, so
/// there is no context. Cores call them while planning and while applying, and compare the results.
pub trait Function: Send + Sync + 'static {
    /// Name of the function in configurations.
    const NAME: &'static str;
    /// Parameters. The doc comment of this type describes the function.
    type Parameters: Parameters;
    /// Type of the result: `T`, `Option<T>` if it may be null, or `Attr<T>` if it may also be unknown. An unknown
    /// result only makes sense if a parameter may be unknown.
    type Output: Argument;

    /// Computes the result. Slow code is allowed, because the call runs on a thread for blocking work.
    ///
    /// # Errors
    /// Fails if the arguments have no result. [`FunctionError::at`] names the argument at fault.
    fn call(&self, arguments: Self::Parameters) -> Result<Self::Output, FunctionError>;
}

/// The reason why a function has no result. The core shows the user's call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// The problem, as a sentence. The core writes the parameter's name before it.
    pub text: String,
    place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Parameter(String),
    Position(usize),
}

impl FunctionError {
    /// Returns an error about the whole call.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), place: None }
    }

    /// Names the parameter of the argument at fault; for the variadic parameter, its first argument.
    #[must_use]
    pub fn at(self, parameter: impl Into<String>) -> Self {
        Self { place: Some(Place::Parameter(parameter.into())), ..self }
    }

    /// Names the position of the argument at fault, from zero. Arguments of the variadic parameter come last.
    #[must_use]
    pub fn at_position(self, position: usize) -> Self {
        Self { place: Some(Place::Position(position)), ..self }
    }

    /// Returns the position among `parameters`, from zero; `None` if the error is about the whole call.
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

/// A type of arguments and results: a value, an `Option` of a value, which may be null, or an [`Attr`] of a value,
/// which may be null or unknown.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a function's parameter or result",
    note = "use a type that an attribute can have, or `Option<…>` or `Attr<…>` of one"
)]
pub trait Argument: Sized + Send + 'static {
    /// Type of the value.
    type Element: Element;
    /// True if the argument may be null.
    const NULL: bool;
    /// True if the argument may be unknown.
    const UNKNOWN: bool;

    /// Converts a value; `None` if the value is null or unknown and must not be.
    ///
    /// # Errors
    /// Fails if the value has another type.
    fn decode(value: &Value) -> Result<Option<Self>, ValueError>;

    /// Returns the value.
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

/// The arguments of a function, derived with `#[derive(Parameters)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of parameters",
    note = "derive it for a struct: #[derive(Parameters)]"
)]
pub trait Parameters: Sized + Send + 'static {
    /// Description in Markdown, from the doc comment of the type. The first paragraph is the summary.
    const DESCRIPTION: &'static str;
    /// Deprecation message, which names the replacement.
    const DEPRECATED: Option<&'static str> = None;

    /// Returns all parameters in order. Only the last one can be variadic.
    fn parameters() -> Vec<Parameter>;

    /// Converts the arguments.
    ///
    /// # Errors
    /// Fails if an argument does not fit its parameter.
    fn take(arguments: &mut Arguments) -> Result<Self, FunctionError>;
}

/// A parameter of a function.
#[derive(Clone)]
pub struct Parameter {
    /// Name for documentation and messages.
    pub name: String,
    /// Type of one argument.
    pub value_type: Type,
    /// Description in Markdown, from the field's doc comment.
    pub description: String,
    /// True if the argument may be null.
    pub null: bool,
    /// True if the argument may be unknown. Otherwise the core does not call the function, and its result is unknown.
    pub unknown: bool,
    /// True if the parameter takes all remaining arguments.
    pub variadic: bool,
    /// Checks of a known value.
    pub checks: Vec<Check>,
}

impl Parameter {
    /// Returns a parameter of type `T`. Derived code calls this.
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

/// The arguments of a call, for conversion to a [`Parameters`] type. Derived code uses this.
pub struct Arguments {
    values: std::vec::IntoIter<Value>,
    position: usize,
}

impl Arguments {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self { values: values.into_iter(), position: 0 }
    }

    /// Returns the next argument.
    ///
    /// # Errors
    /// Fails if there is no further argument, or it does not fit.
    pub fn one<T: Argument>(&mut self) -> Result<T, FunctionError> {
        let value = self.values.next().ok_or_else(|| FunctionError::new("There are too few arguments."))?;
        self.argument(&value)
    }

    /// Returns all remaining arguments.
    ///
    /// # Errors
    /// Fails if an argument does not fit.
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
