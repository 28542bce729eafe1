//! The provider service: messages in, engine calls, messages out. Nothing is decided here.

mod data_source;
mod declared;
mod ephemeral;
mod function;
mod leases;
mod moving;
mod provider;
mod resource;
mod schemas;
mod stored;
#[cfg(test)]
mod tests;
mod values;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::cx::Call;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::erased::{DynDataSource, DynEphemeral, DynResource, panicked, schema_of};
use crate::provider::{Provider, Registry};
use crate::schema::{Schema, Type, object_type};
use crate::value::Value;
use crate::wire::tfplugin6 as proto;
use function::KnownFunction;
pub(crate) use leases::Leases;

type Answer<T> = Result<T, Status>;

/// The author's code for one type, and its declaration.
struct Known<T: ?Sized> {
    author: Box<T>,
    schema: Schema,
    object: Type,
}

/// Types of one kind by name.
type Types<T> = HashMap<&'static str, Arc<Known<T>>>;

/// Serves one provider.
pub(crate) struct Service<P: Provider> {
    provider: P,
    schema: Schema,
    object: Type,
    /// The `provider_meta` block.
    meta: Option<(Schema, Type)>,
    /// What is wrong with what is registered.
    problems: Diagnostics,
    resources: Types<dyn DynResource<P::Data>>,
    data_sources: Types<dyn DynDataSource<P::Data>>,
    ephemeral_resources: Types<dyn DynEphemeral<P::Data>>,
    leases: Arc<Leases>,
    functions: HashMap<&'static str, Arc<KnownFunction>>,
    data: RwLock<Option<Arc<P::Data>>>,
    stop: CancellationToken,
    calls: TaskTracker,
}

impl<P: Provider> Service<P> {
    /// `stop` ends all running calls, which `calls` counts.
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
        let resources = types(registry.resources, |author| (author.type_name(), author.schema()));
        let data_sources = types(registry.data_sources, |author| (author.type_name(), author.schema()));
        let ephemeral_resources = types(registry.ephemeral_resources, |author| (author.type_name(), author.schema()));
        let functions = registry.functions.into_iter();
        let functions = functions.map(|author| (author.name(), Arc::new(KnownFunction::new(author)))).collect();
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

    /// What must be closed when serving ends.
    pub(crate) fn leases(&self) -> Arc<Leases> {
        Arc::clone(&self.leases)
    }

    fn resource(&self, type_name: &str) -> Answer<Arc<Known<dyn DynResource<P::Data>>>> {
        find(&self.resources, "resource type", type_name)
    }

    /// Runs the author's code in a task of its own. When the core goes away, its stop token is cancelled rather than
    /// dropped where it stands, so that it can clean up.
    async fn run<T: Send + 'static>(
        &self,
        stop: &CancellationToken,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Answer<T> {
        let _cancelled_when_dropped = stop.clone().drop_guard();
        self.calls.spawn(work).await.map_err(ended)
    }

    /// What a `provider_meta` block says; null if nothing.
    fn meta(&self, said: Option<&proto::DynamicValue>) -> Answer<Value> {
        self.meta.as_ref().map_or(Ok(Value::Null), |(_, object)| values::value(said, object))
    }

    fn call(&self, type_name: &str) -> Call {
        Call::new(type_name, self.stop.child_token())
    }

    /// Returns what the provider's configuration gave; `None` while it is not known.
    fn data(&self) -> Option<Arc<P::Data>> {
        self.data.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what the provider's configuration gave, for a call that needs it.
    ///
    /// # Errors
    /// When the core did not configure the provider, or did so with values that are not known.
    fn configured(&self) -> Result<Arc<P::Data>, Diagnostics> {
        self.data().ok_or_else(|| unconfigured().into())
    }
}

fn unconfigured() -> Diagnostic {
    Diagnostic::error(
        "Provider is not configured yet",
        "The provider's configuration depends on values that are only known after apply, or was not sent at all. Nothing was \
         done. Apply what those values come from first, for example with -target.",
    )
}

fn types<T: ?Sized>(authors: Vec<Box<T>>, declared: impl Fn(&T) -> (&'static str, Schema)) -> Types<T> {
    let known = |author: Box<T>| {
        let (name, schema) = declared(&author);
        let object = Type::Object(object_type(&schema.attributes));
        (name, Arc::new(Known { author, schema, object }))
    };
    authors.into_iter().map(known).collect()
}

fn find<T: ?Sized>(types: &Types<T>, kind: &str, name: &str) -> Answer<Arc<Known<T>>> {
    let found = types.get(name).cloned();
    found.ok_or_else(|| Status::invalid_argument(format!("this provider has no {kind} {name:?}")))
}

/// Why a task has no result. The author's code is guarded where it is called, so a panic that comes here is of what the
/// framework calls within its own work: a declared check or comparison.
fn ended(error: JoinError) -> Status {
    match error.try_into_panic() {
        Ok(panic) => Status::internal(panicked(panic.as_ref()).detail),
        Err(_) => Status::cancelled("the provider is ending"),
    }
}

/// The generated trait, call by call. What is not listed stays unimplemented: cores ask only for what the schema
/// offers.
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
