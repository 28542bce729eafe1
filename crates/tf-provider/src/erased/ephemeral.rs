//! The twin of [`EphemeralResource`].

use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Boxed, Erased, caught, known, known_to_value, schema_of, sync_validation};
use crate::cx::Cx;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::element::Model;
use crate::ephemeral::EphemeralResource;
use crate::known::Basis;
use crate::schema::Schema;
use crate::timeouts::Defaults;
use crate::value::Value;

/// What is open, as values and bytes; also after a renewal, without a value then.
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
    fn open<'a>(&'a self, cx: &'a Cx<D>, wanted: &'a Value) -> Boxed<'a, Result<Lease, Diagnostics>>;
    fn renew<'a>(&'a self, cx: &'a Cx<D>, private: &'a [u8]) -> Boxed<'a, Result<Lease, Diagnostics>>;
    fn close<'a>(&'a self, cx: &'a Cx<D>, private: &'a [u8]) -> Boxed<'a, Result<(), Diagnostics>>;
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
        sync_validation(config, |config, diagnostics| self.0.validate(config, diagnostics))
    }

    fn open<'a>(&'a self, cx: &'a Cx<E::Data>, wanted: &'a Value) -> Boxed<'a, Result<Lease, Diagnostics>> {
        caught(async move {
            let opened = self.0.open(cx, known::<E::Model>(wanted, Basis::Plan)?).await?;
            let private = to_bytes(&opened.private)?;
            Ok(Lease { value: known_to_value::<E::Model>(opened.model), private, renew_at: opened.renew_at })
        })
    }

    fn renew<'a>(&'a self, cx: &'a Cx<E::Data>, private: &'a [u8]) -> Boxed<'a, Result<Lease, Diagnostics>> {
        caught(async move {
            let renewed = self.0.renew(cx, from_bytes(private)?).await?;
            Ok(Lease { value: Value::Null, private: to_bytes(&renewed.private)?, renew_at: renewed.renew_at })
        })
    }

    fn close<'a>(&'a self, cx: &'a Cx<E::Data>, private: &'a [u8]) -> Boxed<'a, Result<(), Diagnostics>> {
        caught(async move { self.0.close(cx, from_bytes(private)?).await })
    }
}

fn to_bytes<T: Serialize>(private: &T) -> Result<Vec<u8>, Diagnostic> {
    serde_json::to_vec(private).map_err(|_| {
        // The reason may quote the content, which may be secret.
        Diagnostic::error("Provider bug", "The private data of an ephemeral resource cannot be written as JSON.")
    })
}

fn from_bytes<T: DeserializeOwned>(private: &[u8]) -> Result<T, Diagnostic> {
    serde_json::from_slice(private).map_err(|_| {
        let detail = "The core gave back other private data than the resource was opened with.";
        Diagnostic::error("Unable to read private data", detail)
    })
}
