//! What this provider offers: read once by each core, before anything else.

use super::{Answer, Service};
use crate::provider::Provider;
use crate::wire::messages;
use crate::wire::tfplugin6 as proto;

impl<P: Provider> Service<P> {
    pub(super) fn get_metadata(&self, _: proto::get_metadata::Request) -> Answer<proto::get_metadata::Response> {
        let names = self.resources.keys();
        let resources = names.map(|name| proto::get_metadata::ResourceMetadata { type_name: (*name).to_owned() });
        Ok(proto::get_metadata::Response {
            server_capabilities: Some(server_capabilities()),
            resources: resources.collect(),
            ..Default::default()
        })
    }

    pub(super) fn get_provider_schema(
        &self,
        _: proto::get_provider_schema::Request,
    ) -> Answer<proto::get_provider_schema::Response> {
        let resources = self.resources.iter();
        let resource_schemas = resources.map(|(name, known)| ((*name).to_owned(), messages::schema(&known.schema)));
        Ok(proto::get_provider_schema::Response {
            provider: Some(messages::schema(&self.schema)),
            resource_schemas: resource_schemas.collect(),
            server_capabilities: Some(server_capabilities()),
            ..Default::default()
        })
    }

    pub(super) fn get_resource_identity_schemas(
        &self,
        _: proto::get_resource_identity_schemas::Request,
    ) -> Answer<proto::get_resource_identity_schemas::Response> {
        let resources = self.resources.iter();
        let identity_schemas = resources
            .filter_map(|(name, known)| Some(((*name).to_owned(), messages::identity_schema(&known.schema)?)))
            .collect();
        let response = proto::get_resource_identity_schemas::Response { identity_schemas, diagnostics: Vec::new() };
        Ok(response)
    }

    pub(super) fn get_functions(&self, _: proto::get_functions::Request) -> Answer<proto::get_functions::Response> {
        Ok(proto::get_functions::Response::default())
    }
}

fn server_capabilities() -> proto::ServerCapabilities {
    proto::ServerCapabilities {
        plan_destroy: true,
        get_provider_schema_optional: true,
        move_resource_state: false,
        generate_resource_config: false,
    }
}
