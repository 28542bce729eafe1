//! Calls for taking over objects of other types.

use super::stored::unreadable;
use super::{RegisteredType, RpcResult, Service};
use crate::diagnostic::Diagnostics;
use crate::erased::DynResource;
use crate::moving::Origin;
use crate::provider::Provider;
use crate::value::Value;
use crate::wire::tfplugin6 as proto;
use crate::wire::{json, messages};
use crate::{engine, plan};

impl<P: Provider> Service<P> {
    /// Takes over an object. A core calls this before it configures the provider, so no API can be called here.
    pub(super) fn move_resource_state(
        &self,
        request: proto::move_resource_state::Request,
    ) -> RpcResult<proto::move_resource_state::Response> {
        let registered = self.resource(&request.target_type_name)?;
        Ok(match taken(&registered, request) {
            Ok((state, private)) => proto::move_resource_state::Response {
                target_state: Some(messages::dynamic(&state, &registered.object)),
                diagnostics: Vec::new(),
                target_private: private,
                target_identity: messages::identity(&registered.schema, &state),
            },
            Err(found) => {
                proto::move_resource_state::Response { diagnostics: messages::diagnostics(found), ..Default::default() }
            }
        })
    }
}

fn taken<D>(
    registered: &RegisteredType<dyn DynResource<D>>,
    request: proto::move_resource_state::Request,
) -> Result<(Value, Vec<u8>), Diagnostics> {
    let stored = |raw: Option<proto::RawState>| raw.map(|raw| raw.json).filter(|stored| !stored.is_empty());
    let parsed = |stored: Vec<u8>| json::parse(&stored).map_err(|_| unreadable("it is not JSON"));
    let state = parsed(stored(request.source_state).unwrap_or_default())?;
    let identity = stored(request.source_identity).map(parsed).transpose()?;
    let (provider, version) = (request.source_provider_address, request.source_schema_version);
    let origin = Origin::new(provider, request.source_type_name, version, state)
        .with_identity(identity)
        .with_private(request.source_private);
    let (state, private) = registered.implementation.take_over(origin)?;
    let attributes = &registered.schema.attributes;
    Ok((plan::without_write_only(attributes, engine::without_unknowns(attributes, state)), private))
}
