//! Conversions of message parts that several calls use.

use tonic::Status;

use crate::context::{Call, Capabilities};
use crate::diagnostic::Diagnostics;
use crate::schema::Type;
use crate::value::Value;
use crate::wire::tfplugin6 as proto;
use crate::wire::{json, messages, msgpack};

/// Decodes a value of a message. A missing value is null.
pub(super) fn value(dynamic: Option<&proto::DynamicValue>, declared: &Type) -> Result<Value, Status> {
    let Some(dynamic) = dynamic else { return Ok(Value::Null) };
    if !dynamic.msgpack.is_empty() {
        return msgpack::decode(&dynamic.msgpack, declared)
            .map_err(|error| Status::invalid_argument(error.to_string()));
    }
    if dynamic.json.is_empty() {
        return Ok(Value::Null);
    }
    let stored = json::parse(&dynamic.json).map_err(|_| Status::invalid_argument("malformed JSON value"))?;
    json::decode(&stored, declared).map_err(|error| Status::invalid_argument(error.to_string()))
}

pub(super) fn capabilities(client: Option<&proto::ClientCapabilities>) -> Capabilities {
    Capabilities { write_only_attributes: client.is_some_and(|client| client.write_only_attributes_allowed) }
}

/// Returns the warnings of the call and its diagnostics as one list.
pub(super) fn reported(call: &Call, diagnostics: Diagnostics) -> Vec<proto::Diagnostic> {
    let mut all = call.take_warnings();
    all.extend(diagnostics);
    messages::diagnostics(all)
}

pub(super) fn span(operation: &'static str, type_name: &str) -> tracing::Span {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(1);
    let request = CALLS.fetch_add(1, Ordering::Relaxed);
    tracing::info_span!("call", tf_rpc = operation, tf_resource_type = type_name, tf_req_id = request)
}
