//! Calls as messages, good and bad, without a transport.

mod data_source;
mod deadlines;
mod ephemeral;
mod function;
mod resource;
mod unconfigured;

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Service;
use crate::schema::{Type, object_type};
use crate::wire::{messages, msgpack, tfplugin6 as proto};
use crate::{Attr, Diagnostic, Diagnostics, Model, Path, Provider, Registry, Value};

/// A configuration whose only purpose is to be known or unknown.
#[derive(Clone, Default, Model)]
struct Settings {
    /// Unknown while the provider is not configured yet.
    #[tf(optional)]
    site: Attr<String>,
}

/// The actions in order.
type Log = Arc<Mutex<Vec<String>>>;

#[derive(Clone, Default)]
struct Toy {
    log: Log,
}

impl Provider for Toy {
    const NAME: &'static str = "toy";
    type Model = Settings;
    type Data = Log;

    fn register(&self, registry: &mut Registry<Log>) {
        registry.meta::<resource::Fleet>().resource(resource::Boats).data_source(data_source::Sources);
        registry.ephemeral_resource(ephemeral::Tickets).ephemeral_resource(ephemeral::Stamps);
        registry.function(function::Join).function(function::Odd).function(function::Now);
    }

    async fn configure(&self, _: &CancellationToken, config: Settings) -> Result<Option<Log>, Diagnostics> {
        if config.site.text() == Some("closed") {
            return Err(Diagnostic::error("Closed", "Come tomorrow.").into());
        }
        Ok((!config.site.is_unknown()).then(|| self.log.clone()))
    }
}

fn service() -> Service<Toy> {
    Service::new(Toy::default(), CancellationToken::new(), TaskTracker::new())
}

async fn configured() -> Service<Toy> {
    let service = service();
    let config = Some(dynamic(&Settings::default()));
    let request = proto::configure_provider::Request { config, ..Default::default() };
    let answer = service.configure_provider(request).await.expect("answered");
    assert_eq!(answer.diagnostics, []);
    service
}

fn object<M: Model>() -> Type {
    Type::Object(object_type(&M::attributes()))
}

fn dynamic<M: Model>(model: &M) -> proto::DynamicValue {
    messages::dynamic(&model.to_value(), &object::<M>())
}

fn undynamic<M: Model>(value: &proto::DynamicValue) -> M {
    M::from_value(&raw(value, &object::<M>()), &Path::root()).expect("fits")
}

fn raw(value: &proto::DynamicValue, declared: &Type) -> Value {
    msgpack::decode(&value.msgpack, declared).expect("value")
}

/// Returns a value that is not an object of any type here.
fn malformed() -> proto::DynamicValue {
    proto::DynamicValue { msgpack: vec![0x81, 0xa4], json: Vec::new() }
}

/// Returns the only message as text, with its attribute.
fn reported(diagnostics: &[proto::Diagnostic]) -> String {
    let [diagnostic] = diagnostics else { panic!("one diagnostic: {diagnostics:?}") };
    let selector = |step: &proto::attribute_path::Step| match &step.selector {
        Some(proto::attribute_path::step::Selector::AttributeName(name)) => name.clone(),
        other => format!("{other:?}"),
    };
    let place = diagnostic.attribute.iter().flat_map(|path| path.steps.iter().map(selector)).collect::<Vec<_>>();
    format!("{}: {}: {}", place.join("."), diagnostic.summary, diagnostic.detail)
}

#[tokio::test]
async fn everything_registered_is_offered() {
    let service = service();
    let schema = service.get_provider_schema(proto::get_provider_schema::Request {}).expect("answered");
    let metadata = service.get_metadata(proto::get_metadata::Request {}).expect("answered");
    assert_eq!(schema.diagnostics, []);
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(schema.resource_schemas.into_keys().collect()), ["toy_boat"]);
    assert_eq!(sorted(metadata.resources.into_iter().map(|known| known.type_name).collect()), ["toy_boat"]);
    assert_eq!(sorted(schema.data_source_schemas.into_keys().collect()), ["toy_source"]);
    assert_eq!(sorted(metadata.data_sources.into_iter().map(|known| known.type_name).collect()), ["toy_source"]);
    assert_eq!(sorted(schema.ephemeral_resource_schemas.into_keys().collect()), ["toy_stamp", "toy_ticket"]);
    let ephemeral = metadata.ephemeral_resources.into_iter().map(|known| known.type_name);
    assert_eq!(sorted(ephemeral.collect()), ["toy_stamp", "toy_ticket"]);
    let functions = service.get_functions(proto::get_functions::Request {}).expect("answered").functions;
    assert_eq!(schema.functions, functions);
    assert_eq!(sorted(functions.into_keys().collect()), ["join", "now", "odd"]);
    assert_eq!(sorted(metadata.functions.into_iter().map(|known| known.name).collect()), ["join", "now", "odd"]);
    let capabilities = schema.server_capabilities.expect("capabilities");
    assert!(capabilities.get_provider_schema_optional && capabilities.plan_destroy);
}

/// A provider that registers types that no core would accept.
struct Muddle;

impl Provider for Muddle {
    const NAME: &'static str = "muddle";
    type Model = Settings;
    type Data = Log;

    fn register(&self, registry: &mut Registry<Log>) {
        registry.resource(resource::Boats).resource(resource::Boats);
        registry.function(function::Odd).function(function::Odd);
        registry.data_source(Written);
    }

    async fn configure(&self, _: &CancellationToken, _: Settings) -> Result<Option<Log>, Diagnostics> {
        Ok(None)
    }
}

/// A data source with attributes that only resources can have.
struct Written;

impl crate::DataSource for Written {
    const TYPE: &'static str = "muddle_written";
    type Data = Log;
    type Model = resource::Boat;

    async fn read(
        &self,
        _: &crate::Context<Log>,
        wanted: resource::KnownBoat,
    ) -> Result<resource::KnownBoat, Diagnostics> {
        Ok(wanted)
    }
}

#[test]
fn wrong_registrations_are_reported_with_the_schema() {
    let service = Service::new(Muddle, CancellationToken::new(), TaskTracker::new());
    let schema = service.get_provider_schema(proto::get_provider_schema::Request {}).expect("answered");
    let details: Vec<_> = schema.diagnostics.iter().map(|diagnostic| diagnostic.detail.as_str()).collect();
    assert_eq!(
        details,
        [
            "Two resource types are called \"toy_boat\".",
            "Two functions are called \"odd\".",
            "\"cargo\" of \"muddle_written\" is write-only, which only attributes of resources can be.",
        ]
    );
}
