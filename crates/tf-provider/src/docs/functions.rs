//! The parts of a function's page.

use super::attributes::{described, rules};
use super::markup;
use crate::erased::Signature;
use crate::function::Parameter;

/// Returns the signature of a function.
pub(super) fn signature(provider: &str, name: &str, signature: &Signature) -> String {
    let parameters = signature.parameters.iter().map(|parameter| {
        let dots = if parameter.variadic { "..." } else { "" };
        format!("{} {}{dots}", parameter.name, markup::plain_type(&parameter.value_type))
    });
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let call = format!("provider::{provider}::{name}({parameters}) {}", markup::plain_type(&signature.output));
    // Attributes of objects are code in prose.
    markup::block("text", &call.replace('`', ""))
}

/// Returns an entry for each parameter, in order.
pub(super) fn arguments(signature: &Signature) -> String {
    let entries = signature.parameters.iter().map(|parameter| {
        let facts: Vec<String> = rules(&parameter.checks).collect();
        let text = described(&parameter.description, &facts.join(" "));
        format!("- `{}` ({}) {text}", parameter.name, marks(parameter)).trim_end().to_owned() + "\n"
    });
    entries.collect()
}

fn marks(parameter: &Parameter) -> String {
    let mut marks = vec![markup::plain_type(&parameter.value_type)];
    let flags = [(parameter.variadic, "any number"), (parameter.null, "may be null")];
    marks.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, word)| word.to_owned()));
    marks.join(", ")
}
