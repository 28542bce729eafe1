//! The object-safe counterpart of [`Function`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::panics::panic_diagnostic;
use super::typed::Erased;
use crate::element::Element;
use crate::function::{Argument, Arguments, Function, FunctionError, Parameter, Parameters};
use crate::schema::Type;
use crate::value::Value;

/// The declaration of a function.
pub(crate) struct Signature {
    pub(crate) description: &'static str,
    pub(crate) deprecated: Option<&'static str>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) output: Type,
}

impl Signature {
    /// Returns the first paragraph of the description on one line.
    pub(crate) fn summary(&self) -> String {
        let first = self.description.split("\n\n").next().unwrap_or_default();
        first.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Returns the parameter for the argument at `position`.
    pub(crate) fn parameter(&self, position: usize) -> Option<&Parameter> {
        let variadic = self.parameters.last().filter(|last| last.variadic);
        self.parameters.get(position).or(variadic)
    }
}

/// Any function.
pub(crate) trait DynFunction: Send + Sync {
    fn name(&self) -> &'static str;
    fn signature(&self) -> Signature;
    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError>;
}

impl<F: Function> DynFunction for Erased<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn signature(&self) -> Signature {
        Signature {
            description: F::Parameters::DESCRIPTION,
            deprecated: F::Parameters::DEPRECATED,
            parameters: F::Parameters::parameters(),
            output: <F::Output as Argument>::Element::kind().value_type(),
        }
    }

    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError> {
        let arguments = F::Parameters::take(&mut Arguments::new(arguments))?;
        let call = AssertUnwindSafe(|| self.0.call(arguments).map(|output| output.encode()));
        catch_unwind(call).unwrap_or_else(|panic| {
            let reported = panic_diagnostic(panic.as_ref());
            Err(FunctionError::new(format!("{}: {}", reported.summary, reported.detail)))
        })
    }
}
