//! The provider service: decodes messages, calls the engine, encodes the results. It makes no decisions.

mod data_source;
mod declared;
mod ephemeral;
mod function;
mod leases;
mod moving;
mod provider;
mod registered;
mod resource;
mod schemas;
mod stored;
#[cfg(test)]
mod tests;
mod values;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::context::Call;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::erased::{DynDataSource, DynEphemeral, DynResource, schema_of};
use crate::provider::{Provider, Registry};
use crate::schema::{Schema, Type, object_type};
use crate::value::Value;
use crate::wire::tfplugin6 as proto;
pub(crate) use leases::Leases;
use registered::{RegisteredFunction, RegisteredType, RpcResult, Types, ended, find, types};

/// The service of a provider.
pub(crate) struct Service<P: Provider> {
    provider: P,
    schema: Schema,
    object: Type,
    /// Declaration of the `provider_meta` block.
    meta: Option<(Schema, Type)>,
    /// Mistakes in registered types.
    problems: Diagnostics,
    resources: Types<dyn DynResource<P::Data>>,
    data_sources: Types<dyn DynDataSource<P::Data>>,
    ephemeral_resources: Types<dyn DynEphemeral<P::Data>>,
    leases: Arc<Leases>,
    functions: HashMap<&'static str, Arc<RegisteredFunction>>,
    data: RwLock<Option<Arc<P::Data>>>,
    stop: CancellationToken,
    calls: TaskTracker,
}

impl<P: Provider> Service<P> {
    /// Creates the service. `stop` ends all running calls, and `calls` tracks them.
    pub(crate) fn new(provider: P, stop: CancellationToken, calls: TaskTracker) -> Self {
        let mut registry = Registry::new();
        provider.register(&mut registry);
        let problems = declared::problems(&registry);
        let schema = schema_of::<P::Model>(0);
        let object = Type::Object(object_type(&schema.attributes));
        let meta = registry.meta.map(|schema| {
            let object = Type::Object(object_type(&schema.attributes));
            (schema, object)
        });
        let resources =
            types(registry.resources, |implementation| (implementation.type_name(), implementation.schema()));
        let data_sources =
            types(registry.data_sources, |implementation| (implementation.type_name(), implementation.schema()));
        let ephemeral_resources =
            types(registry.ephemeral_resources, |implementation| (implementation.type_name(), implementation.schema()));
        let functions = registry.functions.into_iter();
        let functions = functions
            .map(|implementation| (implementation.name(), Arc::new(RegisteredFunction::new(implementation))))
            .collect();
        Self {
            provider,
            schema,
            object,
            meta,
            problems,
            resources,
            data_sources,
            ephemeral_resources,
            leases: Arc::default(),
            functions,
            data: RwLock::default(),
            stop,
            calls,
        }
    }

    /// Returns the open ephemeral resources, which must be closed when serving ends.
    pub(crate) fn leases(&self) -> Arc<Leases> {
        Arc::clone(&self.leases)
    }

    fn resource(&self, type_name: &str) -> RpcResult<Arc<RegisteredType<dyn DynResource<P::Data>>>> {
        find(&self.resources, "resource type", type_name)
    }

    /// Runs the author's code in its own task. If the core goes away, cancels the stop token instead of dropping the
    /// task, so that the code can clean up.
    async fn run<T: Send + 'static>(
        &self,
        stop: &CancellationToken,
        work: impl Future<Output = T> + Send + 'static,
    ) -> RpcResult<T> {
        let _cancelled_when_dropped = stop.clone().drop_guard();
        self.calls.spawn(work).await.map_err(ended)
    }

    /// Decodes a `provider_meta` block; null if there is none.
    fn meta(&self, said: Option<&proto::DynamicValue>) -> RpcResult<Value> {
        self.meta.as_ref().map_or(Ok(Value::Null), |(_, object)| values::value(said, object))
    }

    fn call(&self, type_name: &str) -> Call {
        Call::new(type_name, self.stop.child_token())
    }

    /// Returns the data from the provider's configuration; `None` while the configuration is not known.
    fn data(&self) -> Option<Arc<P::Data>> {
        self.data.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the data from the provider's configuration, for a call that needs it.
    ///
    /// # Errors
    /// Fails if the core did not configure the provider, or did so with values that are not known.
    fn configured(&self) -> Result<Arc<P::Data>, Diagnostics> {
        self.data().ok_or_else(|| unconfigured().into())
    }
}

fn unconfigured() -> Diagnostic {
    Diagnostic::error(
        "Provider is not configured yet",
        "The provider's configuration depends on values that are only known after apply, or was not sent at all. Nothing was \
         done. First apply the resources that these values come from, for example with -target.",
    )
}

/// Implements the generated trait. Calls that are not listed stay unimplemented, because cores only make the calls that
/// the schema offers.
macro_rules! calls {
    (at once { $($quick:ident)* } awaited { $($slow:ident)* }) => {
        #[tonic::async_trait]
        impl<P: Provider> proto::provider_server::Provider for Service<P> {
            $(async fn $quick(
                &self,
                request: Request<proto::$quick::Request>,
            ) -> Result<Response<proto::$quick::Response>, Status> {
                Self::$quick(self, request.into_inner()).map(Response::new)
            })*
            $(async fn $slow(
                &self,
                request: Request<proto::$slow::Request>,
            ) -> Result<Response<proto::$slow::Response>, Status> {
                Self::$slow(self, request.into_inner()).await.map(Response::new)
            })*
        }
    };
}

calls! {
    at once {
        get_metadata
        get_provider_schema
        get_resource_identity_schemas
        get_functions
        validate_provider_config
        validate_resource_config
        validate_data_resource_config
        validate_ephemeral_resource_config
        upgrade_resource_state
        upgrade_resource_identity
        move_resource_state
        stop_provider
    }
    awaited {
        configure_provider
        read_resource
        plan_resource_change
        apply_resource_change
        import_resource_state
        read_data_source
        open_ephemeral_resource
        renew_ephemeral_resource
        close_ephemeral_resource
        call_function
    }
}
