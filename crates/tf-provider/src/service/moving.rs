//! Objects of other types that are taken over.

use super::stored::unreadable;
use super::{Answer, Known, Service};
use crate::diagnostic::Diagnostics;
use crate::erased::DynResource;
use crate::moving::Origin;
use crate::provider::Provider;
use crate::value::Value;
use crate::wire::tfplugin6 as proto;
use crate::wire::{json, messages};
use crate::{engine, plan};

impl<P: Provider> Service<P> {
    /// A core asks before it configures the provider: nothing can be looked up here.
    pub(super) fn move_resource_state(
        &self,
        request: proto::move_resource_state::Request,
    ) -> Answer<proto::move_resource_state::Response> {
        let known = self.resource(&request.target_type_name)?;
        Ok(match taken(&known, request) {
            Ok((state, private)) => proto::move_resource_state::Response {
                target_state: Some(messages::dynamic(&state, &known.object)),
                diagnostics: Vec::new(),
                target_private: private,
                target_identity: messages::identity(&known.schema, &state),
            },
            Err(found) => {
                proto::move_resource_state::Response { diagnostics: messages::diagnostics(found), ..Default::default() }
            }
        })
    }
}

fn taken<D>(
    known: &Known<dyn DynResource<D>>,
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
    let (state, private) = known.author.take_over(origin)?;
    let attributes = &known.schema.attributes;
    Ok((plan::without_write_only(attributes, engine::settled(attributes, state)), private))
}
