//! Calls for managed resources, from validation to import.

use std::sync::Arc;

use tracing::Instrument;

use super::values::{capabilities, reported, span, value};
use super::{RpcResult, Service};
use crate::context::{Context, PlanContext};
use crate::diagnostic::Diagnostics;
use crate::provider::Provider;
use crate::resource::ImportKey;
use crate::timeouts::Operation;
use crate::value::Value;
use crate::wire::messages;
use crate::wire::tfplugin6 as proto;
use crate::{engine, validate};

impl<P: Provider> Service<P> {
    pub(super) fn validate_resource_config(
        &self,
        request: proto::validate_resource_config::Request,
    ) -> RpcResult<proto::validate_resource_config::Response> {
        let registered = self.resource(&request.type_name)?;
        let config = value(request.config.as_ref(), &registered.object)?;
        let capabilities = capabilities(request.client_capabilities.as_ref());
        let mut found = validate::config(&registered.schema, &config, capabilities);
        found.extend(registered.implementation.validate(&config));
        let diagnostics = messages::diagnostics(found);
        Ok(proto::validate_resource_config::Response { diagnostics })
    }

    pub(super) async fn read_resource(
        &self,
        request: proto::read_resource::Request,
    ) -> RpcResult<proto::read_resource::Response> {
        let registered = self.resource(&request.type_name)?;
        let state = value(request.current_state.as_ref(), &registered.object)?;
        let identity = request.current_identity.as_ref().and_then(|identity| identity.identity_data.as_ref());
        let identity = value(identity, &messages::identity_type(&registered.schema))?;
        let deadline = engine::deadline(&registered.implementation.timeout_defaults(), &state, Operation::Read);
        let call = self
            .call(&request.type_name)
            .with_meta(self.meta(request.provider_meta.as_ref())?)
            .with_private(request.private)
            .with_deadline(deadline);
        let span = span("read", &request.type_name);
        let (call, read) = match self.data() {
            // The provider's configuration is not known yet, so the state stays.
            None => (call, Ok(state)),
            Some(data) => {
                let cx = Context::new(call, data);
                let (used, stop) = (Arc::clone(&registered), cx.stop().clone());
                let work = async move {
                    let read = engine::read(used.implementation.as_ref(), &used.schema, &cx, &state, &identity).await;
                    (cx.into_call(), read)
                };
                self.run(&stop, work.instrument(span)).await?
            }
        };
        let (new_state, found) = match read {
            Ok(found) => (Some(found), Diagnostics::new()),
            Err(diagnostics) => (None, diagnostics),
        };
        let new_identity = new_state.as_ref().and_then(|state| messages::identity(&registered.schema, state));
        Ok(proto::read_resource::Response {
            new_state: new_state.map(|state| messages::dynamic(&state, &registered.object)),
            diagnostics: reported(&call, found),
            private: call.private_bytes(),
            deferred: None,
            new_identity: new_identity.or(request.current_identity),
        })
    }

    pub(super) async fn plan_resource_change(
        &self,
        request: proto::plan_resource_change::Request,
    ) -> RpcResult<proto::plan_resource_change::Response> {
        let registered = self.resource(&request.type_name)?;
        let prior = value(request.prior_state.as_ref(), &registered.object)?;
        let proposed = value(request.proposed_new_state.as_ref(), &registered.object)?;
        if proposed.is_null() {
            // A destroy needs no decision.
            return Ok(proto::plan_resource_change::Response {
                planned_state: Some(messages::dynamic(&Value::Null, &registered.object)),
                planned_private: request.prior_private,
                planned_identity: request.prior_identity,
                ..Default::default()
            });
        }
        let config = value(request.config.as_ref(), &registered.object)?;
        let capabilities = capabilities(request.client_capabilities.as_ref());
        let call = self
            .call(&request.type_name)
            .with_meta(self.meta(request.provider_meta.as_ref())?)
            .with_private(request.prior_private)
            .with_capabilities(capabilities);
        let cx = PlanContext::new(call, self.data());
        let span = span("plan", &request.type_name);
        let (used, stop) = (Arc::clone(&registered), cx.stop().clone());
        let work = async move {
            let planned = engine::plan(used.implementation.as_ref(), &used.schema, &cx, &config, &prior).await;
            (cx, planned)
        };
        let (cx, planned) = self.run(&stop, work.instrument(span)).await?;
        let identity = messages::identity(&registered.schema, &planned.value).or(request.prior_identity);
        Ok(proto::plan_resource_change::Response {
            planned_state: Some(messages::dynamic(&planned.value, &registered.object)),
            requires_replace: planned.replace.iter().map(messages::path).collect(),
            planned_private: cx.private_bytes(),
            diagnostics: reported(&cx, planned.diagnostics),
            planned_identity: identity,
            ..Default::default()
        })
    }

    pub(super) async fn apply_resource_change(
        &self,
        request: proto::apply_resource_change::Request,
    ) -> RpcResult<proto::apply_resource_change::Response> {
        let registered = self.resource(&request.type_name)?;
        let prior = value(request.prior_state.as_ref(), &registered.object)?;
        let planned = value(request.planned_state.as_ref(), &registered.object)?;
        let config = value(request.config.as_ref(), &registered.object)?;
        let (operation, object, name) = match (prior.is_null(), planned.is_null()) {
            (true, _) => (Operation::Create, &planned, "create"),
            (_, true) => (Operation::Delete, &prior, "delete"),
            _ => (Operation::Update, &planned, "update"),
        };
        let deadline = engine::deadline(&registered.implementation.timeout_defaults(), object, operation);
        let call = self
            .call(&request.type_name)
            .with_meta(self.meta(request.provider_meta.as_ref())?)
            .with_private(request.planned_private)
            .with_deadline(deadline);
        let span = span(name, &request.type_name);
        let (call, applied) = match self.configured() {
            Err(diagnostics) => (call, engine::Applied { state: prior, diagnostics }),
            Ok(data) => {
                let cx = Context::new(call, data);
                let (used, stop) = (Arc::clone(&registered), cx.stop().clone());
                let work = async move {
                    let implementation = used.implementation.as_ref();
                    let applied = engine::apply(implementation, &used.schema, &cx, &config, prior, &planned).await;
                    (cx.into_call(), applied)
                };
                self.run(&stop, work.instrument(span)).await?
            }
        };
        let identity = messages::identity(&registered.schema, &applied.state).or(request.planned_identity);
        Ok(proto::apply_resource_change::Response {
            new_state: Some(messages::dynamic(&applied.state, &registered.object)),
            private: call.private_bytes(),
            diagnostics: reported(&call, applied.diagnostics),
            legacy_type_system: false,
            new_identity: if applied.state.is_null() { None } else { identity },
        })
    }

    pub(super) async fn import_resource_state(
        &self,
        request: proto::import_resource_state::Request,
    ) -> RpcResult<proto::import_resource_state::Response> {
        use proto::import_resource_state::{ImportedResource, Response as Imported};
        let registered = self.resource(&request.type_name)?;
        let call = self.call(&request.type_name);
        let identity = request.identity.as_ref().and_then(|identity| identity.identity_data.as_ref());
        let key = match identity {
            Some(identity) => ImportKey::Identity(value(Some(identity), &messages::identity_type(&registered.schema))?),
            None => ImportKey::Id(request.id),
        };
        let span = span("import", &request.type_name);
        let (call, imported) = match self.configured() {
            Err(diagnostics) => (call, Err(diagnostics)),
            Ok(data) => {
                let cx = Context::new(call, data);
                let (used, stop) = (Arc::clone(&registered), cx.stop().clone());
                let work = async move {
                    let imported = used.implementation.import(&cx, key).await;
                    (cx.into_call(), imported)
                };
                self.run(&stop, work.instrument(span)).await?
            }
        };
        let (imported_resources, found) = match imported {
            Ok(state) => {
                let state = engine::without_unknowns(&registered.schema.attributes, state);
                let imported = ImportedResource {
                    type_name: request.type_name,
                    state: Some(messages::dynamic(&state, &registered.object)),
                    private: call.private_bytes(),
                    identity: messages::identity(&registered.schema, &state).or(request.identity),
                };
                (vec![imported], Diagnostics::new())
            }
            Err(diagnostics) => (Vec::new(), diagnostics),
        };
        Ok(Imported { imported_resources, diagnostics: reported(&call, found), deferred: None })
    }
}
