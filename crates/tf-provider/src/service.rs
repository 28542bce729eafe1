//! The provider service: messages in, engine calls, messages out. Nothing is decided here.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::cx::{Capabilities, Cx};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::erased::{DynResource, caught, model, schema_of, sync_validation};
use crate::provider::{Provider, Registry};
use crate::resource::ImportKey;
use crate::schema::{Schema, Type, object_type};
use crate::timeouts::Operation;
use crate::value::Value;
use crate::wire::tfplugin6 as proto;
use crate::wire::{json, messages, msgpack};
use crate::{engine, validate};

type Answer<T> = Result<Response<T>, Status>;

struct Registered<D> {
    resource: Box<dyn DynResource<D>>,
    schema: Schema,
    object: Type,
}

/// Serves one provider.
pub(crate) struct Service<P: Provider> {
    provider: P,
    schema: Schema,
    object: Type,
    resources: HashMap<&'static str, Arc<Registered<P::Data>>>,
    data: RwLock<Option<Arc<P::Data>>>,
    stop: CancellationToken,
    calls: TaskTracker,
}

impl<P: Provider> Service<P> {
    /// `stop` ends all running calls, which `calls` counts.
    pub(crate) fn new(provider: P, stop: CancellationToken, calls: TaskTracker) -> Self {
        let mut registry = Registry::new();
        provider.register(&mut registry);
        let register = |resource: Box<dyn DynResource<P::Data>>| {
            let schema = resource.schema();
            let object = Type::Object(object_type(&schema.attributes));
            (resource.type_name(), Arc::new(Registered { resource, schema, object }))
        };
        let resources = registry.resources.into_iter().map(register).collect();
        let schema = schema_of::<P::Model>(0);
        let object = Type::Object(object_type(&schema.attributes));
        Self { provider, schema, object, resources, data: RwLock::default(), stop, calls }
    }

    fn resource(&self, type_name: &str) -> Result<Arc<Registered<P::Data>>, Status> {
        self.resources
            .get(type_name)
            .cloned()
            .ok_or_else(|| Status::invalid_argument(format!("this provider has no resource type {type_name:?}")))
    }

    /// Runs the author's code in a task of its own. When the core goes away, the code is told to stop rather than
    /// dropped where it stands, so that it can clean up.
    async fn run<T: Send + 'static>(
        &self,
        stop: &CancellationToken,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Status> {
        let _told_when_dropped = stop.clone().drop_guard();
        self.calls.spawn(work).await.map_err(|_| Status::internal("the call was ended"))
    }

    fn cx(&self, type_name: &str) -> Cx<P::Data> {
        let data = self.data.read().unwrap_or_else(PoisonError::into_inner).clone();
        Cx::new(type_name, data, self.stop.child_token())
    }
}

/// A value of a message; a missing one is null.
fn value(dynamic: Option<&proto::DynamicValue>, declared: &Type) -> Result<Value, Status> {
    let Some(dynamic) = dynamic else { return Ok(Value::Null) };
    if !dynamic.msgpack.is_empty() {
        return msgpack::decode(&dynamic.msgpack, declared)
            .map_err(|error| Status::invalid_argument(error.to_string()));
    }
    if dynamic.json.is_empty() {
        return Ok(Value::Null);
    }
    let stored = json::parse(&dynamic.json).map_err(|_| Status::invalid_argument("malformed JSON value"))?;
    json::decode(&stored, declared).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn capabilities(client: Option<&proto::ClientCapabilities>) -> Capabilities {
    Capabilities { write_only_attributes: client.is_some_and(|client| client.write_only_attributes_allowed) }
}

fn server_capabilities() -> proto::ServerCapabilities {
    proto::ServerCapabilities {
        plan_destroy: true,
        get_provider_schema_optional: true,
        move_resource_state: false,
        generate_resource_config: false,
    }
}

/// Warnings of the call and what came of it, as one list.
fn told<D>(cx: &Cx<D>, diagnostics: Diagnostics) -> Vec<proto::Diagnostic> {
    let mut all = cx.take_warnings();
    all.extend(diagnostics);
    messages::diagnostics(all)
}

#[tonic::async_trait]
impl<P: Provider> proto::provider_server::Provider for Service<P> {
    async fn get_metadata(&self, _: Request<proto::get_metadata::Request>) -> Answer<proto::get_metadata::Response> {
        let names = self.resources.keys();
        let resources = names.map(|name| proto::get_metadata::ResourceMetadata { type_name: (*name).to_owned() });
        Ok(Response::new(proto::get_metadata::Response {
            server_capabilities: Some(server_capabilities()),
            resources: resources.collect(),
            ..Default::default()
        }))
    }

    async fn get_provider_schema(
        &self,
        _: Request<proto::get_provider_schema::Request>,
    ) -> Answer<proto::get_provider_schema::Response> {
        let resources = self.resources.iter();
        let resource_schemas = resources.map(|(name, known)| ((*name).to_owned(), messages::schema(&known.schema)));
        Ok(Response::new(proto::get_provider_schema::Response {
            provider: Some(messages::schema(&self.schema)),
            resource_schemas: resource_schemas.collect(),
            server_capabilities: Some(server_capabilities()),
            ..Default::default()
        }))
    }

    async fn get_resource_identity_schemas(
        &self,
        _: Request<proto::get_resource_identity_schemas::Request>,
    ) -> Answer<proto::get_resource_identity_schemas::Response> {
        let resources = self.resources.iter();
        let identity_schemas = resources
            .filter_map(|(name, known)| Some(((*name).to_owned(), messages::identity_schema(&known.schema)?)))
            .collect();
        let response = proto::get_resource_identity_schemas::Response { identity_schemas, diagnostics: Vec::new() };
        Ok(Response::new(response))
    }

    async fn validate_provider_config(
        &self,
        request: Request<proto::validate_provider_config::Request>,
    ) -> Answer<proto::validate_provider_config::Response> {
        let config = value(request.get_ref().config.as_ref(), &self.object)?;
        let mut found = validate::config(&self.schema, &config, Capabilities::default());
        let hook = |config: &P::Model, diagnostics: &mut Diagnostics| self.provider.validate(config, diagnostics);
        found.extend(sync_validation(&config, hook));
        let diagnostics = messages::diagnostics(found);
        Ok(Response::new(proto::validate_provider_config::Response { diagnostics }))
    }

    async fn configure_provider(
        &self,
        request: Request<proto::configure_provider::Request>,
    ) -> Answer<proto::configure_provider::Response> {
        let request = request.get_ref();
        tracing::debug!(core_version = request.terraform_version, "configuring");
        let config = value(request.config.as_ref(), &self.object)?;
        let stop = self.stop.child_token();
        let configured = caught(async { self.provider.configure(&stop, model::<P::Model>(&config)?).await }).await;
        let found = match configured {
            Ok(data) => {
                *self.data.write().unwrap_or_else(PoisonError::into_inner) = data.map(Arc::new);
                Diagnostics::new()
            }
            Err(diagnostics) => diagnostics,
        };
        let diagnostics = messages::diagnostics(found);
        Ok(Response::new(proto::configure_provider::Response { diagnostics }))
    }

    async fn validate_resource_config(
        &self,
        request: Request<proto::validate_resource_config::Request>,
    ) -> Answer<proto::validate_resource_config::Response> {
        let request = request.get_ref();
        let known = self.resource(&request.type_name)?;
        let config = value(request.config.as_ref(), &known.object)?;
        let capabilities = capabilities(request.client_capabilities.as_ref());
        let mut found = validate::config(&known.schema, &config, capabilities);
        found.extend(known.resource.validate(&config));
        let diagnostics = messages::diagnostics(found);
        Ok(Response::new(proto::validate_resource_config::Response { diagnostics }))
    }

    async fn upgrade_resource_state(
        &self,
        request: Request<proto::upgrade_resource_state::Request>,
    ) -> Answer<proto::upgrade_resource_state::Response> {
        let request = request.get_ref();
        let known = self.resource(&request.type_name)?;
        let stored = request.raw_state.as_ref().map(|raw| raw.json.as_slice()).unwrap_or_default();
        let (upgraded_state, diagnostics) = match upgrade(&known, request.version, stored) {
            Ok(state) => (Some(messages::dynamic(&state, &known.object)), Vec::new()),
            Err(diagnostics) => (None, messages::diagnostics(diagnostics)),
        };
        Ok(Response::new(proto::upgrade_resource_state::Response { upgraded_state, diagnostics }))
    }

    async fn upgrade_resource_identity(
        &self,
        request: Request<proto::upgrade_resource_identity::Request>,
    ) -> Answer<proto::upgrade_resource_identity::Response> {
        let request = request.get_ref();
        let known = self.resource(&request.type_name)?;
        let declared = messages::identity_type(&known.schema);
        let stored = request.raw_identity.as_ref().map(|raw| raw.json.as_slice()).unwrap_or_default();
        let read = stored_value(stored, &declared);
        let (upgraded_identity, diagnostics) = match read {
            Ok(identity) => {
                let identity_data = Some(messages::dynamic(&identity, &declared));
                (Some(proto::ResourceIdentityData { identity_data }), Vec::new())
            }
            Err(diagnostic) => (None, messages::diagnostics(diagnostic.into())),
        };
        Ok(Response::new(proto::upgrade_resource_identity::Response { upgraded_identity, diagnostics }))
    }

    async fn read_resource(
        &self,
        request: Request<proto::read_resource::Request>,
    ) -> Answer<proto::read_resource::Response> {
        let request = request.into_inner();
        let known = self.resource(&request.type_name)?;
        let state = value(request.current_state.as_ref(), &known.object)?;
        let deadline = engine::deadline(&known.resource.timeout_defaults(), &state, Operation::Read);
        let cx = self.cx(&request.type_name).with_private(request.private).with_deadline(deadline);
        let span = span("read", &request.type_name);
        let (cx, read) = if cx.configured().is_none() {
            // The provider's configuration is not known yet: what is known of the object stays.
            (cx, Ok(state))
        } else {
            let (used, stop) = (Arc::clone(&known), cx.stop().clone());
            let work = async move {
                let read = engine::read(used.resource.as_ref(), &used.schema, &cx, &state).await;
                (cx, read)
            };
            self.run(&stop, work.instrument(span)).await?
        };
        let (new_state, found) = match read {
            Ok(found) => (Some(found), Diagnostics::new()),
            Err(diagnostics) => (None, diagnostics),
        };
        let new_identity = new_state.as_ref().and_then(|state| messages::identity(&known.schema, state));
        Ok(Response::new(proto::read_resource::Response {
            new_state: new_state.map(|state| messages::dynamic(&state, &known.object)),
            diagnostics: told(&cx, found),
            private: cx.private_bytes(),
            deferred: None,
            new_identity: new_identity.or(request.current_identity),
        }))
    }

    async fn plan_resource_change(
        &self,
        request: Request<proto::plan_resource_change::Request>,
    ) -> Answer<proto::plan_resource_change::Response> {
        let request = request.into_inner();
        let known = self.resource(&request.type_name)?;
        let prior = value(request.prior_state.as_ref(), &known.object)?;
        let proposed = value(request.proposed_new_state.as_ref(), &known.object)?;
        if proposed.is_null() {
            // A destroy: nothing to decide.
            return Ok(Response::new(proto::plan_resource_change::Response {
                planned_state: Some(messages::dynamic(&Value::Null, &known.object)),
                planned_private: request.prior_private,
                planned_identity: request.prior_identity,
                ..Default::default()
            }));
        }
        let config = value(request.config.as_ref(), &known.object)?;
        let capabilities = capabilities(request.client_capabilities.as_ref());
        let cx = self.cx(&request.type_name).with_private(request.prior_private).with_capabilities(capabilities);
        let span = span("plan", &request.type_name);
        let (used, stop) = (Arc::clone(&known), cx.stop().clone());
        let work = async move {
            let planned = engine::plan(used.resource.as_ref(), &used.schema, &cx, &config, &prior).await;
            (cx, planned)
        };
        let (cx, planned) = self.run(&stop, work.instrument(span)).await?;
        let identity = messages::identity(&known.schema, &planned.value).or(request.prior_identity);
        Ok(Response::new(proto::plan_resource_change::Response {
            planned_state: Some(messages::dynamic(&planned.value, &known.object)),
            requires_replace: planned.replace.iter().map(messages::path).collect(),
            planned_private: cx.private_bytes(),
            diagnostics: told(&cx, planned.diagnostics),
            planned_identity: identity,
            ..Default::default()
        }))
    }

    async fn apply_resource_change(
        &self,
        request: Request<proto::apply_resource_change::Request>,
    ) -> Answer<proto::apply_resource_change::Response> {
        let request = request.into_inner();
        let known = self.resource(&request.type_name)?;
        let prior = value(request.prior_state.as_ref(), &known.object)?;
        let planned = value(request.planned_state.as_ref(), &known.object)?;
        let config = value(request.config.as_ref(), &known.object)?;
        let (operation, object, name) = match (prior.is_null(), planned.is_null()) {
            (true, _) => (Operation::Create, &planned, "create"),
            (_, true) => (Operation::Delete, &prior, "delete"),
            _ => (Operation::Update, &planned, "update"),
        };
        let deadline = engine::deadline(&known.resource.timeout_defaults(), object, operation);
        let cx = self.cx(&request.type_name).with_private(request.planned_private).with_deadline(deadline);
        let span = span(name, &request.type_name);
        let (used, stop) = (Arc::clone(&known), cx.stop().clone());
        let work = async move {
            let applied = engine::apply(used.resource.as_ref(), &used.schema, &cx, &config, prior, &planned).await;
            (cx, applied)
        };
        let (cx, applied) = self.run(&stop, work.instrument(span)).await?;
        let identity = messages::identity(&known.schema, &applied.state).or(request.planned_identity);
        Ok(Response::new(proto::apply_resource_change::Response {
            new_state: Some(messages::dynamic(&applied.state, &known.object)),
            private: cx.private_bytes(),
            diagnostics: told(&cx, applied.diagnostics),
            legacy_type_system: false,
            new_identity: if applied.state.is_null() { None } else { identity },
        }))
    }

    async fn import_resource_state(
        &self,
        request: Request<proto::import_resource_state::Request>,
    ) -> Answer<proto::import_resource_state::Response> {
        use proto::import_resource_state::{ImportedResource, Response as Imported};
        let request = request.into_inner();
        let known = self.resource(&request.type_name)?;
        let cx = self.cx(&request.type_name);
        let identity = request.identity.as_ref().and_then(|identity| identity.identity_data.as_ref());
        let key = match identity {
            Some(identity) => ImportKey::Identity(value(Some(identity), &messages::identity_type(&known.schema))?),
            None => ImportKey::Id(request.id),
        };
        let span = span("import", &request.type_name);
        let (used, stop) = (Arc::clone(&known), cx.stop().clone());
        let work = async move {
            let imported = used.resource.import(&cx, key).await;
            (cx, imported)
        };
        let (cx, imported) = self.run(&stop, work.instrument(span)).await?;
        let (imported_resources, found) = match imported {
            Ok(state) => {
                let state = engine::settled(state);
                let imported = ImportedResource {
                    type_name: request.type_name,
                    state: Some(messages::dynamic(&state, &known.object)),
                    private: cx.private_bytes(),
                    identity: messages::identity(&known.schema, &state).or(request.identity),
                };
                (vec![imported], Diagnostics::new())
            }
            Err(diagnostics) => (Vec::new(), diagnostics),
        };
        Ok(Response::new(Imported { imported_resources, diagnostics: told(&cx, found), deferred: None }))
    }

    async fn get_functions(&self, _: Request<proto::get_functions::Request>) -> Answer<proto::get_functions::Response> {
        Ok(Response::new(proto::get_functions::Response::default()))
    }

    async fn stop_provider(&self, _: Request<proto::stop_provider::Request>) -> Answer<proto::stop_provider::Response> {
        tracing::info!("interrupted: stopping what is running");
        self.stop.cancel();
        Ok(Response::new(proto::stop_provider::Response::default()))
    }
}

fn span(operation: &'static str, type_name: &str) -> tracing::Span {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(1);
    let request = CALLS.fetch_add(1, Ordering::Relaxed);
    tracing::info_span!("call", tf_rpc = operation, tf_resource_type = type_name, tf_req_id = request)
}

fn upgrade<D>(known: &Registered<D>, version: i64, stored: &[u8]) -> Result<Value, Diagnostics> {
    let current = known.schema.version;
    if version > current {
        let detail = format!(
            "The state was written by a later version of the provider (schema {version}; this one knows {current}). \
             Use that version or a later one."
        );
        return Err(Diagnostic::error("State is newer than the provider", detail).into());
    }
    if version == current {
        return Ok(stored_value(stored, &known.object)?);
    }
    let state = serde_json::from_slice(stored).map_err(|_| unreadable("it is no JSON"))?;
    let upgraded = known.resource.upgrade(version, state)?;
    json::decode(&upgraded, &known.object).map_err(|error| unreadable(&error.to_string()).into())
}

fn stored_value(stored: &[u8], declared: &Type) -> Result<Value, Diagnostic> {
    let stored = json::parse(stored).map_err(|_| unreadable("it is no JSON"))?;
    json::decode(&stored, declared).map_err(|error| unreadable(&error.to_string()))
}

fn unreadable(problem: &str) -> Diagnostic {
    Diagnostic::error("Unable to read the stored state", format!("The stored object does not fit its type: {problem}."))
}
