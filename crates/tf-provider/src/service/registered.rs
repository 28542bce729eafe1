//! Registered types and functions, by name.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinError;
use tonic::Status;

use crate::erased::{DynFunction, Signature, panic_diagnostic};
use crate::schema::{Schema, Type, object_type};

pub(super) type RpcResult<T> = Result<T, Status>;

/// A registered type: the author's code and its declaration.
pub(super) struct RegisteredType<T: ?Sized> {
    pub(super) implementation: Box<T>,
    pub(super) schema: Schema,
    pub(super) object: Type,
}

/// Registered types of a kind, by name.
pub(super) type Types<T> = HashMap<&'static str, Arc<RegisteredType<T>>>;

/// A function and its declaration.
pub(super) struct RegisteredFunction {
    pub(super) implementation: Box<dyn DynFunction>,
    pub(super) signature: Signature,
}

impl RegisteredFunction {
    pub(super) fn new(implementation: Box<dyn DynFunction>) -> Self {
        let signature = implementation.signature();
        Self { implementation, signature }
    }
}

pub(super) fn types<T: ?Sized>(
    implementations: Vec<Box<T>>,
    declared: impl Fn(&T) -> (&'static str, Schema),
) -> Types<T> {
    let registered = |implementation: Box<T>| {
        let (name, schema) = declared(&implementation);
        let object = Type::Object(object_type(&schema.attributes));
        (name, Arc::new(RegisteredType { implementation, schema, object }))
    };
    implementations.into_iter().map(registered).collect()
}

pub(super) fn find<T: ?Sized>(types: &Types<T>, kind: &str, name: &str) -> RpcResult<Arc<RegisteredType<T>>> {
    let found = types.get(name).cloned();
    found.ok_or_else(|| Status::invalid_argument(format!("this provider has no {kind} {name:?}")))
}

/// Returns the error for a task without a result. Panics of the author's methods are caught at the call. A panic that
/// arrives here comes from a declared check or comparison, which the framework calls.
pub(super) fn ended(error: JoinError) -> Status {
    match error.try_into_panic() {
        Ok(panic) => Status::internal(panic_diagnostic(panic.as_ref()).detail),
        Err(_) => Status::cancelled("the provider is ending"),
    }
}
