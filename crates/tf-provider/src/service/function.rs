//! Provider functions. They need no configured provider.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::Status;

use super::values::{span, value};
use super::{Answer, Service, ended};
use crate::engine;
use crate::erased::{DynFunction, Signature};
use crate::function::Parameter;
use crate::provider::Provider;
use crate::wire::messages;
use crate::wire::tfplugin6 as proto;

/// A function and its declaration.
pub(super) struct KnownFunction {
    author: Box<dyn DynFunction>,
    signature: Signature,
}

impl KnownFunction {
    pub(super) fn new(author: Box<dyn DynFunction>) -> Self {
        let signature = author.signature();
        Self { author, signature }
    }
}

impl<P: Provider> Service<P> {
    pub(super) fn get_functions(&self, _: proto::get_functions::Request) -> Answer<proto::get_functions::Response> {
        Ok(proto::get_functions::Response { functions: self.declared_functions(), diagnostics: Vec::new() })
    }

    pub(super) fn declared_functions(&self) -> HashMap<String, proto::Function> {
        let functions = self.functions.iter();
        functions.map(|(name, known)| ((*name).to_owned(), declaration(&known.signature))).collect()
    }

    pub(super) async fn call_function(
        &self,
        request: proto::call_function::Request,
    ) -> Answer<proto::call_function::Response> {
        let known = self.functions.get(request.name.as_str()).cloned();
        let known = known
            .ok_or_else(|| Status::invalid_argument(format!("this provider has no function {:?}", request.name)))?;
        let mut arguments = Vec::with_capacity(request.arguments.len());
        for (position, argument) in request.arguments.iter().enumerate() {
            let parameter = known.signature.parameter(position);
            let parameter = parameter.ok_or_else(|| Status::invalid_argument("too many arguments"))?;
            arguments.push(value(Some(argument), &parameter.value_type)?);
        }
        let used = Arc::clone(&known);
        let span = span("call", &request.name);
        let call = move || span.in_scope(|| engine::call(used.author.as_ref(), &used.signature, arguments));
        let called = self.calls.spawn_blocking(call).await.map_err(ended)?;
        Ok(match called {
            Ok(result) => {
                let result = Some(messages::dynamic(&result, &known.signature.output));
                proto::call_function::Response { result, error: None }
            }
            Err(error) => {
                let position = error.position(&known.signature.parameters);
                let function_argument = position.and_then(|position| i64::try_from(position).ok());
                // Cores end the sentence themselves.
                let text = error.text.strip_suffix('.').unwrap_or(&error.text).to_owned();
                let error = proto::FunctionError { text, function_argument };
                proto::call_function::Response { result: None, error: Some(error) }
            }
        })
    }
}

fn declaration(signature: &Signature) -> proto::Function {
    let (variadic, fixed): (Vec<_>, Vec<_>) = signature.parameters.iter().partition(|parameter| parameter.variadic);
    proto::Function {
        parameters: fixed.into_iter().map(parameter).collect(),
        variadic_parameter: variadic.first().map(|variadic| parameter(variadic)),
        r#return: Some(proto::function::Return { r#type: messages::type_json(&signature.output).to_string().into() }),
        summary: signature.summary(),
        description: signature.description.to_owned(),
        description_kind: proto::StringKind::Markdown.into(),
        deprecation_message: signature.deprecated.unwrap_or_default().to_owned(),
    }
}

fn parameter(parameter: &Parameter) -> proto::function::Parameter {
    proto::function::Parameter {
        name: parameter.name.clone(),
        r#type: messages::type_json(&parameter.value_type).to_string().into(),
        allow_null_value: parameter.null,
        allow_unknown_values: parameter.unknown,
        description: parameter.description.clone(),
        description_kind: proto::StringKind::Markdown.into(),
    }
}
