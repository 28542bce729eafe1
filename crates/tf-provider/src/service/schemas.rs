//! Calls for metadata and schemas, which each core makes first.

use std::collections::HashMap;

use super::{RpcResult, Service, Types};
use crate::provider::Provider;
use crate::wire::messages;
use crate::wire::tfplugin6 as proto;

impl<P: Provider> Service<P> {
    fn capabilities(&self) -> proto::ServerCapabilities {
        proto::ServerCapabilities {
            plan_destroy: true,
            get_provider_schema_optional: true,
            move_resource_state: self.resources.values().any(|registered| registered.implementation.can_take_over()),
            generate_resource_config: false,
        }
    }

    pub(super) fn get_metadata(&self, _: proto::get_metadata::Request) -> RpcResult<proto::get_metadata::Response> {
        use proto::get_metadata::{DataSourceMetadata, EphemeralMetadata, FunctionMetadata, ResourceMetadata};
        let data_sources = names(&self.data_sources).map(|type_name| DataSourceMetadata { type_name });
        let resources = names(&self.resources).map(|type_name| ResourceMetadata { type_name });
        let ephemeral_resources = names(&self.ephemeral_resources).map(|type_name| EphemeralMetadata { type_name });
        let functions = names(&self.functions).map(|name| FunctionMetadata { name });
        Ok(proto::get_metadata::Response {
            server_capabilities: Some(self.capabilities()),
            data_sources: data_sources.collect(),
            resources: resources.collect(),
            functions: functions.collect(),
            ephemeral_resources: ephemeral_resources.collect(),
            ..Default::default()
        })
    }

    pub(super) fn get_provider_schema(
        &self,
        _: proto::get_provider_schema::Request,
    ) -> RpcResult<proto::get_provider_schema::Response> {
        Ok(proto::get_provider_schema::Response {
            provider: Some(messages::schema(&self.schema)),
            provider_meta: self.meta.as_ref().map(|(schema, _)| messages::schema(schema)),
            diagnostics: messages::diagnostics(self.problems.clone()),
            resource_schemas: schemas(&self.resources),
            data_source_schemas: schemas(&self.data_sources),
            ephemeral_resource_schemas: schemas(&self.ephemeral_resources),
            functions: self.declared_functions(),
            server_capabilities: Some(self.capabilities()),
            ..Default::default()
        })
    }

    pub(super) fn get_resource_identity_schemas(
        &self,
        _: proto::get_resource_identity_schemas::Request,
    ) -> RpcResult<proto::get_resource_identity_schemas::Response> {
        let resources = self.resources.iter();
        let identity_schemas = resources
            .filter_map(|(name, registered)| Some(((*name).to_owned(), messages::identity_schema(&registered.schema)?)))
            .collect();
        let response = proto::get_resource_identity_schemas::Response { identity_schemas, diagnostics: Vec::new() };
        Ok(response)
    }
}

fn names<T>(registered: &HashMap<&'static str, T>) -> impl Iterator<Item = String> {
    registered.keys().map(|name| (*name).to_owned())
}

fn schemas<T: ?Sized>(types: &Types<T>) -> HashMap<String, proto::Schema> {
    types.iter().map(|(name, registered)| ((*name).to_owned(), messages::schema(&registered.schema))).collect()
}
