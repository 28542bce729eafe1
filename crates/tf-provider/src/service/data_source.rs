//! Calls for data sources.

use std::sync::Arc;

use tracing::Instrument;

use super::values::{capabilities, reported, span, value};
use super::{RpcResult, Service, find};
use crate::context::Context;
use crate::diagnostic::Diagnostics;
use crate::provider::Provider;
use crate::timeouts::Operation;
use crate::wire::messages;
use crate::wire::tfplugin6 as proto;
use crate::{engine, validate};

const KIND: &str = "data source";

impl<P: Provider> Service<P> {
    pub(super) fn validate_data_resource_config(
        &self,
        request: proto::validate_data_resource_config::Request,
    ) -> RpcResult<proto::validate_data_resource_config::Response> {
        let registered = find(&self.data_sources, KIND, &request.type_name)?;
        let config = value(request.config.as_ref(), &registered.object)?;
        let mut found = validate::config(&registered.schema, &config, capabilities(None));
        found.extend(registered.implementation.validate(&config));
        let diagnostics = messages::diagnostics(found);
        Ok(proto::validate_data_resource_config::Response { diagnostics })
    }

    pub(super) async fn read_data_source(
        &self,
        request: proto::read_data_source::Request,
    ) -> RpcResult<proto::read_data_source::Response> {
        let registered = find(&self.data_sources, KIND, &request.type_name)?;
        let config = value(request.config.as_ref(), &registered.object)?;
        let capabilities = capabilities(request.client_capabilities.as_ref());
        let deadline = engine::deadline(&registered.implementation.timeout_defaults(), &config, Operation::Read);
        let meta = self.meta(request.provider_meta.as_ref())?;
        let call =
            self.call(&request.type_name).with_meta(meta).with_capabilities(capabilities).with_deadline(deadline);
        let span = span("read", &request.type_name);
        let (call, read) = match self.configured() {
            Err(diagnostics) => (call, Err(diagnostics)),
            Ok(data) => {
                let cx = Context::new(call, data);
                let (used, stop) = (Arc::clone(&registered), cx.stop().clone());
                let work = async move {
                    let read = engine::look_up(used.implementation.as_ref(), &used.schema, &cx, &config).await;
                    (cx.into_call(), read)
                };
                self.run(&stop, work.instrument(span)).await?
            }
        };
        let (state, found) = match read {
            Ok(state) => (Some(messages::dynamic(&state, &registered.object)), Diagnostics::new()),
            Err(diagnostics) => (None, diagnostics),
        };
        Ok(proto::read_data_source::Response { state, diagnostics: reported(&call, found), deferred: None })
    }
}
