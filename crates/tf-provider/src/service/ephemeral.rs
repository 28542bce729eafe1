//! Calls for ephemeral resources. The messages contain secrets, so nothing of them is logged.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::values::{capabilities, reported, span, value};
use super::{RpcResult, Service, find};
use crate::context::Context;
use crate::diagnostic::Diagnostics;
use crate::erased::BoxFuture;
use crate::provider::Provider;
use crate::timeouts::Operation;
use crate::wire::messages;
use crate::wire::tfplugin6 as proto;
use crate::{engine, validate};

const KIND: &str = "ephemeral resource type";

impl<P: Provider> Service<P> {
    pub(super) fn validate_ephemeral_resource_config(
        &self,
        request: proto::validate_ephemeral_resource_config::Request,
    ) -> RpcResult<proto::validate_ephemeral_resource_config::Response> {
        let registered = find(&self.ephemeral_resources, KIND, &request.type_name)?;
        let config = value(request.config.as_ref(), &registered.object)?;
        let mut found = validate::config(&registered.schema, &config, capabilities(None));
        found.extend(registered.implementation.validate(&config));
        let diagnostics = messages::diagnostics(found);
        Ok(proto::validate_ephemeral_resource_config::Response { diagnostics })
    }

    pub(super) async fn open_ephemeral_resource(
        &self,
        request: proto::open_ephemeral_resource::Request,
    ) -> RpcResult<proto::open_ephemeral_resource::Response> {
        let registered = find(&self.ephemeral_resources, KIND, &request.type_name)?;
        let config = value(request.config.as_ref(), &registered.object)?;
        let capabilities = capabilities(request.client_capabilities.as_ref());
        let deadline = engine::deadline(&registered.implementation.timeout_defaults(), &config, Operation::Read);
        let call = self.call(&request.type_name).with_capabilities(capabilities).with_deadline(deadline);
        let span = span("open", &request.type_name);
        let cx = match self.configured() {
            Ok(data) => Context::new(call, data),
            Err(found) => {
                let diagnostics = messages::diagnostics(found);
                return Ok(proto::open_ephemeral_resource::Response { diagnostics, ..Default::default() });
            }
        };
        let (used, stop) = (Arc::clone(&registered), cx.stop().clone());
        let (leases, after) =
            (self.leases(), cx.with_call(self.call(&request.type_name).with_stop(CancellationToken::new())));
        let work = async move {
            let opened = engine::open(used.implementation.as_ref(), &used.schema, &cx, &config).await;
            if let Ok(lease) = &opened {
                let close = |private: Vec<u8>| -> BoxFuture<'static, _> {
                    Box::pin(async move { used.implementation.close(&after, &private).await })
                };
                leases.opened(request.type_name, lease.private.clone(), Box::new(close));
            }
            (cx, opened)
        };
        let (cx, opened) = self.run(&stop, work.instrument(span)).await?;
        Ok(match opened {
            Ok(lease) => proto::open_ephemeral_resource::Response {
                diagnostics: reported(&cx, Diagnostics::new()),
                renew_at: lease.renew_at.map(Into::into),
                result: Some(messages::dynamic(&lease.value, &registered.object)),
                private: Some(lease.private),
                deferred: None,
            },
            Err(found) => {
                proto::open_ephemeral_resource::Response { diagnostics: reported(&cx, found), ..Default::default() }
            }
        })
    }

    pub(super) async fn renew_ephemeral_resource(
        &self,
        request: proto::renew_ephemeral_resource::Request,
    ) -> RpcResult<proto::renew_ephemeral_resource::Response> {
        let registered = find(&self.ephemeral_resources, KIND, &request.type_name)?;
        let cx = match self.configured() {
            Ok(data) => Context::new(self.call(&request.type_name), data),
            Err(found) => {
                let diagnostics = messages::diagnostics(found);
                return Ok(proto::renew_ephemeral_resource::Response { diagnostics, ..Default::default() });
            }
        };
        let span = span("renew", &request.type_name);
        let (leases, stop) = (self.leases(), cx.stop().clone());
        let work = async move {
            let private = request.private.unwrap_or_default();
            let renewed = registered.implementation.renew(&cx, &private).await;
            if let Ok(lease) = &renewed {
                leases.renewed(&request.type_name, &private, &lease.private);
            }
            (cx, renewed)
        };
        let (cx, renewed) = self.run(&stop, work.instrument(span)).await?;
        Ok(match renewed {
            Ok(lease) => proto::renew_ephemeral_resource::Response {
                diagnostics: reported(&cx, Diagnostics::new()),
                renew_at: lease.renew_at.map(Into::into),
                private: Some(lease.private),
            },
            Err(found) => {
                proto::renew_ephemeral_resource::Response { diagnostics: reported(&cx, found), ..Default::default() }
            }
        })
    }

    /// Closes an ephemeral resource. An interrupt does not stop this, because open resources must be closed.
    pub(super) async fn close_ephemeral_resource(
        &self,
        request: proto::close_ephemeral_resource::Request,
    ) -> RpcResult<proto::close_ephemeral_resource::Response> {
        let registered = find(&self.ephemeral_resources, KIND, &request.type_name)?;
        let stop = CancellationToken::new();
        let cx = match self.configured() {
            Ok(data) => Context::new(self.call(&request.type_name).with_stop(stop.clone()), data),
            Err(found) => {
                let diagnostics = messages::diagnostics(found);
                return Ok(proto::close_ephemeral_resource::Response { diagnostics });
            }
        };
        let span = span("close", &request.type_name);
        let private = request.private.unwrap_or_default();
        self.leases.closed(&request.type_name, &private);
        let work = async move {
            let closed = registered.implementation.close(&cx, &private).await;
            (cx, closed)
        };
        let (cx, closed) = self.run(&stop, work.instrument(span)).await?;
        let diagnostics = reported(&cx, closed.err().unwrap_or_default());
        Ok(proto::close_ephemeral_resource::Response { diagnostics })
    }
}
