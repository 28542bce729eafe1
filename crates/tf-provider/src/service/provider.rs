//! Calls for the provider block and for the end of a run.

use std::sync::{Arc, PoisonError};

use super::values::value;
use super::{RpcResult, Service};
use crate::context::Capabilities;
use crate::diagnostic::Diagnostics;
use crate::erased::{catch_panic, model, run_validation};
use crate::provider::Provider;
use crate::validate;
use crate::wire::messages;
use crate::wire::tfplugin6 as proto;

impl<P: Provider> Service<P> {
    pub(super) fn validate_provider_config(
        &self,
        request: proto::validate_provider_config::Request,
    ) -> RpcResult<proto::validate_provider_config::Response> {
        let config = value(request.config.as_ref(), &self.object)?;
        let mut found = validate::config(&self.schema, &config, Capabilities::default());
        let hook = |config: &P::Model, diagnostics: &mut Diagnostics| self.provider.validate(config, diagnostics);
        found.extend(run_validation(&config, hook));
        let diagnostics = messages::diagnostics(found);
        Ok(proto::validate_provider_config::Response { diagnostics })
    }

    pub(super) async fn configure_provider(
        &self,
        request: proto::configure_provider::Request,
    ) -> RpcResult<proto::configure_provider::Response> {
        tracing::debug!(core_version = request.terraform_version, "configuring");
        let config = value(request.config.as_ref(), &self.object)?;
        let stop = self.stop.child_token();
        let configured = catch_panic(async { self.provider.configure(&stop, model::<P::Model>(&config)?).await }).await;
        let found = match configured {
            Ok(data) => {
                *self.data.write().unwrap_or_else(PoisonError::into_inner) = data.map(Arc::new);
                Diagnostics::new()
            }
            Err(diagnostics) => diagnostics,
        };
        let diagnostics = messages::diagnostics(found);
        Ok(proto::configure_provider::Response { diagnostics })
    }

    pub(super) fn stop_provider(&self, _: proto::stop_provider::Request) -> RpcResult<proto::stop_provider::Response> {
        tracing::info!("interrupted: stopping what is running");
        self.stop.cancel();
        Ok(proto::stop_provider::Response::default())
    }
}
