//! Ephemeral resources. What the messages carry here is secret: nothing of it is ever logged.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::values::{capabilities, reported, span, value};
use super::{Answer, Service, find};
use crate::cx::Cx;
use crate::diagnostic::Diagnostics;
use crate::erased::Boxed;
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
    ) -> Answer<proto::validate_ephemeral_resource_config::Response> {
        let known = find(&self.ephemeral_resources, KIND, &request.type_name)?;
        let config = value(request.config.as_ref(), &known.object)?;
        let mut found = validate::config(&known.schema, &config, capabilities(None));
        found.extend(known.author.validate(&config));
        let diagnostics = messages::diagnostics(found);
        Ok(proto::validate_ephemeral_resource_config::Response { diagnostics })
    }

    pub(super) async fn open_ephemeral_resource(
        &self,
        request: proto::open_ephemeral_resource::Request,
    ) -> Answer<proto::open_ephemeral_resource::Response> {
        let known = find(&self.ephemeral_resources, KIND, &request.type_name)?;
        let config = value(request.config.as_ref(), &known.object)?;
        let capabilities = capabilities(request.client_capabilities.as_ref());
        let deadline = engine::deadline(&known.author.timeout_defaults(), &config, Operation::Read);
        let call = self.call(&request.type_name).with_capabilities(capabilities).with_deadline(deadline);
        let span = span("open", &request.type_name);
        let cx = match self.configured() {
            Ok(data) => Cx::new(call, data),
            Err(found) => {
                let diagnostics = messages::diagnostics(found);
                return Ok(proto::open_ephemeral_resource::Response { diagnostics, ..Default::default() });
            }
        };
        let (used, stop) = (Arc::clone(&known), cx.stop().clone());
        let (leases, after) =
            (self.leases(), cx.with_call(self.call(&request.type_name).with_stop(CancellationToken::new())));
        let work = async move {
            let opened = engine::open(used.author.as_ref(), &used.schema, &cx, &config).await;
            if let Ok(lease) = &opened {
                let close = |private: Vec<u8>| -> Boxed<'static, _> {
                    Box::pin(async move { used.author.close(&after, &private).await })
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
                result: Some(messages::dynamic(&lease.value, &known.object)),
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
    ) -> Answer<proto::renew_ephemeral_resource::Response> {
        let known = find(&self.ephemeral_resources, KIND, &request.type_name)?;
        let cx = match self.configured() {
            Ok(data) => Cx::new(self.call(&request.type_name), data),
            Err(found) => {
                let diagnostics = messages::diagnostics(found);
                return Ok(proto::renew_ephemeral_resource::Response { diagnostics, ..Default::default() });
            }
        };
        let span = span("renew", &request.type_name);
        let (leases, stop) = (self.leases(), cx.stop().clone());
        let work = async move {
            let private = request.private.unwrap_or_default();
            let renewed = known.author.renew(&cx, &private).await;
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

    /// An interrupt does not stop it: what is open must be closed all the same.
    pub(super) async fn close_ephemeral_resource(
        &self,
        request: proto::close_ephemeral_resource::Request,
    ) -> Answer<proto::close_ephemeral_resource::Response> {
        let known = find(&self.ephemeral_resources, KIND, &request.type_name)?;
        let stop = CancellationToken::new();
        let cx = match self.configured() {
            Ok(data) => Cx::new(self.call(&request.type_name).with_stop(stop.clone()), data),
            Err(found) => {
                let diagnostics = messages::diagnostics(found);
                return Ok(proto::close_ephemeral_resource::Response { diagnostics });
            }
        };
        let span = span("close", &request.type_name);
        let private = request.private.unwrap_or_default();
        self.leases.closed(&request.type_name, &private);
        let work = async move {
            let closed = known.author.close(&cx, &private).await;
            (cx, closed)
        };
        let (cx, closed) = self.run(&stop, work.instrument(span)).await?;
        let diagnostics = reported(&cx, closed.err().unwrap_or_default());
        Ok(proto::close_ephemeral_resource::Response { diagnostics })
    }
}
