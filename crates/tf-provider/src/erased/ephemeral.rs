//! The object-safe counterpart of [`EphemeralResource`].

use std::time::SystemTime;

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::panics::catch_panic;
use super::typed::{Erased, known, known_to_value, run_validation, schema_of};
use crate::basis::Basis;
use crate::context::Context;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::element::Model;
use crate::ephemeral::EphemeralResource;
use crate::schema::Schema;
use crate::timeouts::Defaults;
use crate::value::Value;

/// An open ephemeral resource, as values and bytes. The value is null after a renewal.
pub(crate) struct Lease {
    pub(crate) value: Value,
    pub(crate) private: Vec<u8>,
    pub(crate) renew_at: Option<SystemTime>,
}

/// Any type of ephemeral resource.
pub(crate) trait DynEphemeral<D>: Send + Sync {
    fn type_name(&self) -> &'static str;
    fn schema(&self) -> Schema;
    fn timeout_defaults(&self) -> Defaults;
    fn validate(&self, config: &Value) -> Diagnostics;
    fn open<'a>(&'a self, cx: &'a Context<D>, config: &'a Value) -> BoxFuture<'a, Result<Lease, Diagnostics>>;
    fn renew<'a>(&'a self, cx: &'a Context<D>, private: &'a [u8]) -> BoxFuture<'a, Result<Lease, Diagnostics>>;
    fn close<'a>(&'a self, cx: &'a Context<D>, private: &'a [u8]) -> BoxFuture<'a, Result<(), Diagnostics>>;
}

impl<E: EphemeralResource> DynEphemeral<E::Data> for Erased<E> {
    fn type_name(&self) -> &'static str {
        E::TYPE
    }

    fn schema(&self) -> Schema {
        schema_of::<E::Model>(0)
    }

    fn timeout_defaults(&self) -> Defaults {
        E::Model::timeout_defaults()
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        run_validation(config, |config, diagnostics| self.0.validate(config, diagnostics))
    }

    fn open<'a>(&'a self, cx: &'a Context<E::Data>, config: &'a Value) -> BoxFuture<'a, Result<Lease, Diagnostics>> {
        catch_panic(async move {
            let opened = self.0.open(cx, known::<E::Model>(config, Basis::Plan)?).await?;
            let private = to_bytes(&opened.private)?;
            Ok(Lease { value: known_to_value::<E::Model>(opened.model), private, renew_at: opened.renew_at })
        })
    }

    fn renew<'a>(&'a self, cx: &'a Context<E::Data>, private: &'a [u8]) -> BoxFuture<'a, Result<Lease, Diagnostics>> {
        catch_panic(async move {
            let renewed = self.0.renew(cx, from_bytes(private)?).await?;
            Ok(Lease { value: Value::Null, private: to_bytes(&renewed.private)?, renew_at: renewed.renew_at })
        })
    }

    fn close<'a>(&'a self, cx: &'a Context<E::Data>, private: &'a [u8]) -> BoxFuture<'a, Result<(), Diagnostics>> {
        catch_panic(async move { self.0.close(cx, from_bytes(private)?).await })
    }
}

fn to_bytes<T: Serialize>(private: &T) -> Result<Vec<u8>, Diagnostic> {
    serde_json::to_vec(private).map_err(|_| {
        // The error may quote the content, which may be secret.
        Diagnostic::error("Provider bug", "The private data of an ephemeral resource cannot be written as JSON.")
    })
}

fn from_bytes<T: DeserializeOwned>(private: &[u8]) -> Result<T, Diagnostic> {
    serde_json::from_slice(private).map_err(|_| {
        let detail = "The core sent other private data than it got when the resource was opened.";
        Diagnostic::error("Unable to read private data", detail)
    })
}
