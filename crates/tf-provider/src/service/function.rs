//! Calls for provider functions, which need no configured provider.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::Status;

use super::Service;
use super::registered::{RpcResult, ended};
use super::values::{span, value};
use crate::engine;
use crate::erased::Signature;
use crate::function::Parameter;
use crate::provider::Provider;
use crate::wire::messages;
use crate::wire::tfplugin6 as proto;

impl<P: Provider> Service<P> {
    pub(super) fn get_functions(&self, _: proto::get_functions::Request) -> RpcResult<proto::get_functions::Response> {
        Ok(proto::get_functions::Response { functions: self.declared_functions(), diagnostics: Vec::new() })
    }

    pub(super) fn declared_functions(&self) -> HashMap<String, proto::Function> {
        let functions = self.functions.iter();
        functions.map(|(name, registered)| ((*name).to_owned(), declaration(&registered.signature))).collect()
    }

    pub(super) async fn call_function(
        &self,
        request: proto::call_function::Request,
    ) -> RpcResult<proto::call_function::Response> {
        let registered = self.functions.get(request.name.as_str()).cloned();
        let registered = registered
            .ok_or_else(|| Status::invalid_argument(format!("this provider has no function {:?}", request.name)))?;
        let mut arguments = Vec::with_capacity(request.arguments.len());
        for (position, argument) in request.arguments.iter().enumerate() {
            let parameter = registered.signature.parameter(position);
            let parameter = parameter.ok_or_else(|| Status::invalid_argument("too many arguments"))?;
            arguments.push(value(Some(argument), &parameter.value_type)?);
        }
        let used = Arc::clone(&registered);
        let span = span("call", &request.name);
        let call = move || span.in_scope(|| engine::call(used.implementation.as_ref(), &used.signature, arguments));
        let called = self.calls.spawn_blocking(call).await.map_err(ended)?;
        Ok(match called {
            Ok(result) => {
                let result = Some(messages::dynamic(&result, &registered.signature.output));
                proto::call_function::Response { result, error: None }
            }
            Err(error) => {
                let position = error.position(&registered.signature.parameters);
                let function_argument = position.and_then(|position| i64::try_from(position).ok());
                // Cores add the full stop.
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
