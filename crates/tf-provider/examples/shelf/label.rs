//! `provider::shelf::label`.

use tf_provider::{Function, FunctionError, Parameters};

/// The label of a box, from its parts.
///
/// Parts are written in capitals, with the separator between them: `label(null, "books", "a-k")` is `BOOKS/A-K`.
#[derive(Parameters)]
pub(crate) struct LabelParameters {
    /// Text between the parts; `/` if null.
    #[tf(length(1..=3))]
    separator: Option<String>,
    /// The parts; none may contain the separator.
    #[tf(variadic)]
    parts: Vec<String>,
}

pub(crate) struct Label;

impl Function for Label {
    const NAME: &'static str = "label";
    type Parameters = LabelParameters;
    type Output = String;

    fn call(&self, arguments: LabelParameters) -> Result<String, FunctionError> {
        let separator = arguments.separator.as_deref().unwrap_or("/");
        if let Some(position) = arguments.parts.iter().position(|part| part.contains(separator)) {
            // The separator is the first argument.
            return Err(FunctionError::new("A part must not contain the separator.").at_position(position + 1));
        }
        Ok(arguments.parts.join(separator).to_uppercase())
    }
}
