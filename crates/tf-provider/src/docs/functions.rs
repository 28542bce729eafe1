//! What a page says of a function.

use super::attributes::{described, rules};
use super::words;
use crate::erased::Signature;
use crate::function::Parameter;

/// How it is called.
pub(super) fn signature(provider: &str, name: &str, signature: &Signature) -> String {
    let parameters = signature.parameters.iter().map(|parameter| {
        let dots = if parameter.variadic { "..." } else { "" };
        format!("{} {}{dots}", parameter.name, words::plain_type(&parameter.value_type))
    });
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let call = format!("provider::{provider}::{name}({parameters}) {}", words::plain_type(&signature.output));
    // Attributes of objects are code in prose.
    words::block("text", &call.replace('`', ""))
}

/// One entry for each parameter, in order.
pub(super) fn arguments(signature: &Signature) -> String {
    let entries = signature.parameters.iter().map(|parameter| {
        let facts: Vec<String> = rules(&parameter.checks).collect();
        let text = described(&parameter.description, &facts.join(" "));
        format!("- `{}` ({}) {text}", parameter.name, marks(parameter)).trim_end().to_owned() + "\n"
    });
    entries.collect()
}

fn marks(parameter: &Parameter) -> String {
    let mut marks = vec![words::plain_type(&parameter.value_type)];
    let flags = [(parameter.variadic, "any number"), (parameter.null, "may be null")];
    marks.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, word)| word.to_owned()));
    marks.join(", ")
}
