//! Calls for stored state and identities, possibly of older versions.

use super::{RegisteredType, RpcResult, Service};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::engine;
use crate::erased::DynResource;
use crate::provider::Provider;
use crate::schema::Type;
use crate::value::Value;
use crate::wire::tfplugin6 as proto;
use crate::wire::{json, messages};

impl<P: Provider> Service<P> {
    pub(super) fn upgrade_resource_state(
        &self,
        request: proto::upgrade_resource_state::Request,
    ) -> RpcResult<proto::upgrade_resource_state::Response> {
        let registered = self.resource(&request.type_name)?;
        let stored = request.raw_state.as_ref().map(|raw| raw.json.as_slice()).unwrap_or_default();
        let (upgraded_state, diagnostics) = match upgrade(&registered, request.version, stored) {
            Ok(state) => (Some(messages::dynamic(&state, &registered.object)), Vec::new()),
            Err(diagnostics) => (None, messages::diagnostics(diagnostics)),
        };
        Ok(proto::upgrade_resource_state::Response { upgraded_state, diagnostics })
    }

    pub(super) fn upgrade_resource_identity(
        &self,
        request: proto::upgrade_resource_identity::Request,
    ) -> RpcResult<proto::upgrade_resource_identity::Response> {
        let registered = self.resource(&request.type_name)?;
        let stored = request.raw_identity.as_ref().map(|raw| raw.json.as_slice()).unwrap_or_default();
        let declared = messages::identity_type(&registered.schema);
        let (upgraded_identity, diagnostics) = match upgrade_identity(&registered, &declared, request.version, stored) {
            Ok(identity) => {
                let identity_data = Some(messages::dynamic(&identity, &declared));
                (Some(proto::ResourceIdentityData { identity_data }), Vec::new())
            }
            Err(diagnostics) => (None, messages::diagnostics(diagnostics)),
        };
        Ok(proto::upgrade_resource_identity::Response { upgraded_identity, diagnostics })
    }
}

fn upgrade<D>(
    registered: &RegisteredType<dyn DynResource<D>>,
    version: i64,
    stored: &[u8],
) -> Result<Value, Diagnostics> {
    let current = registered.schema.version;
    if version > current {
        return Err(newer("state", version, current));
    }
    if version == current {
        return Ok(engine::without_unknowns(&registered.schema.attributes, stored_value(stored, &registered.object)?));
    }
    let state = json::parse(stored).map_err(|_| unreadable("it is not JSON"))?;
    let upgraded = registered.implementation.upgrade(version, state)?;
    let state = json::decode(&upgraded, &registered.object).map_err(|error| unreadable(&error.to_string()))?;
    Ok(engine::without_unknowns(&registered.schema.attributes, state))
}

fn upgrade_identity<D>(
    registered: &RegisteredType<dyn DynResource<D>>,
    declared: &Type,
    version: i64,
    stored: &[u8],
) -> Result<Value, Diagnostics> {
    let current = registered.schema.identity_version;
    if version > current {
        return Err(newer("identity", version, current));
    }
    if version == current {
        return Ok(stored_value(stored, declared)?);
    }
    let identity = json::parse(stored).map_err(|_| unreadable("it is not JSON"))?;
    let upgraded = registered.implementation.upgrade_identity(version, identity)?;
    json::decode(&upgraded, declared).map_err(|error| unreadable(&error.to_string()).into())
}

fn newer(what: &str, version: i64, current: i64) -> Diagnostics {
    let detail = format!(
        "The {what} was written by a later version of the provider (schema {version}; this one knows {current}). Use \
         that version or a later one."
    );
    Diagnostic::error("State is newer than the provider", detail).into()
}

fn stored_value(stored: &[u8], declared: &Type) -> Result<Value, Diagnostic> {
    let stored = json::parse(stored).map_err(|_| unreadable("it is not JSON"))?;
    json::decode(&stored, declared).map_err(|error| unreadable(&error.to_string()))
}

pub(super) fn unreadable(problem: &str) -> Diagnostic {
    Diagnostic::error("Unable to read the stored state", format!("The stored object does not fit its type: {problem}."))
}
