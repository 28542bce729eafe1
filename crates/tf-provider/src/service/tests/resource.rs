//! Data of resources other than attributes: private state, identity, `provider_meta`, origin of moved objects.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{Log, configured, dynamic, object, raw, reported, service, undynamic};
use crate::schema::Type;
use crate::wire::{messages, tfplugin6 as proto};
use crate::{
    Attr, Call, Context, Diagnostic, Diagnostics, Failure, ImportKey, Model, Moved, Moves, Outcome, Plan, PlanContext,
    Resource, Secret, Value,
};

/// A boat.
#[derive(Clone, Default, Model)]
pub(super) struct Boat {
    /// Number, which never changes.
    #[tf(computed, keep, identity)]
    hull: Attr<i64>,
    /// Name, which selects the behaviour in the test.
    #[tf(required)]
    name: Attr<String>,
    /// Home harbour, which a read does not return.
    #[tf(required, unread)]
    harbour: Attr<String>,
    /// Number of people.
    #[tf(default = 2)]
    crew: Attr<i64>,
    /// Never stored.
    #[tf(optional, write_only)]
    cargo: Attr<Secret>,
    /// Mast.
    #[tf(optional)]
    mast: Attr<Mast>,
}

/// A mast.
#[derive(Clone, Default, Model)]
pub(super) struct Mast {
    /// Never stored.
    #[tf(optional, write_only)]
    lock: Attr<Secret>,
}

/// The block of the modules.
#[derive(Clone, Default, Model)]
pub(super) struct Fleet {
    /// Owner of the boats.
    #[tf(optional)]
    owner: Attr<String>,
}

/// The actions on a boat.
#[derive(Default, Serialize, Deserialize)]
struct Logbook {
    entries: Vec<String>,
}

fn enter(call: &Call, entry: &str) -> Result<(), Diagnostic> {
    let mut book: Logbook = call.private().unwrap_or_default();
    book.entries.push(entry.to_owned());
    call.set_private(&book)
}

pub(super) struct Boats;

impl Resource for Boats {
    const TYPE: &'static str = "toy_boat";
    const IDENTITY_VERSION: i64 = 2;
    type Data = Log;
    type Model = Boat;

    async fn plan(&self, cx: &PlanContext<Log>, plan: &mut Plan<Boat>) -> Result<(), Diagnostics> {
        if plan.config.name.text() == Some("another hull is planned") {
            plan.planned.hull = 99.into();
        }
        Ok(enter(cx, "plan")?)
    }

    async fn create(&self, cx: &Context<Log>, plan: KnownBoat) -> Outcome<KnownBoat> {
        if let Some(fleet) = cx.meta::<Fleet>()? {
            cx.warn("Owner", fleet.owner.text().unwrap_or_default());
        }
        enter(cx, "create")?;
        Ok(KnownBoat { hull: 1.into(), ..plan })
    }

    async fn read(&self, cx: &Context<Log>, state: Boat) -> Result<Option<Boat>, Diagnostics> {
        enter(cx, "read")?;
        match state.name.text() {
            Some("gone") => Ok(None),
            Some("another hull is found") => Ok(Some(Boat { hull: 2.into(), ..state })),
            _ => Ok(Some(Boat { hull: 1.into(), ..state })),
        }
    }

    async fn update(&self, cx: &Context<Log>, _: KnownBoat, plan: KnownBoat) -> Outcome<KnownBoat> {
        enter(cx, "update")?;
        if plan.name == "another hull" {
            return Ok(KnownBoat { hull: 2.into(), ..plan });
        }
        Ok(plan)
    }

    async fn delete(&self, cx: &Context<Log>, state: KnownBoat) -> Result<(), Failure<KnownBoat>> {
        enter(cx, "delete")?;
        if state.name == "leaks" {
            let detail = format!("{} crew, harbour \"{}\"", state.crew, state.harbour);
            return Err(Failure::partial(state, Diagnostic::error("Half sunk", detail)));
        }
        let book: Logbook = cx.private().unwrap_or_default();
        Err(Diagnostic::error("Not deleted", book.entries.join(", ")).into())
    }

    async fn import(&self, cx: &Context<Log>, key: ImportKey<Boat>) -> Result<Boat, Diagnostics> {
        enter(cx, "import")?;
        match key {
            ImportKey::Identity(boat) => Ok(boat),
            ImportKey::Id(id) => Ok(Boat { name: id.into(), hull: 1.into(), ..Boat::default() }),
        }
    }

    fn upgrade_identity(&self, from: i64, identity: Json) -> Result<Json, Diagnostics> {
        match from {
            // Version 0 called it `number`, and wrote it as text.
            0 => Ok(json!({ "hull": identity["number"].as_str().and_then(|number| number.parse::<i64>().ok()) })),
            _ => Err(Diagnostic::error("Lost", "Nothing is left of it.").into()),
        }
    }

    fn moves(&self, moves: &mut Moves<Boat>) {
        moves.from("sea.example.org/old/navy", "navy_ship", 1..=2, |origin| {
            let boat = Boat {
                hull: origin.identity.as_ref().and_then(|identity| identity["keel"].as_i64()).into(),
                name: origin.text("title").into_name(),
                cargo: Secret::new("rum").into(),
                ..Boat::default()
            };
            let kept: Option<String> = origin.private();
            let book = Logbook { entries: vec![format!("was {}", kept.unwrap_or_default())] };
            Ok(Moved::from(boat).with_private(&book)?)
        });
        moves.from("lake/boats", "lake_boat", .., |origin| match origin.text("name") {
            Some("panics") => panic!("asked to"),
            Some("measured") => {
                let identity = origin.identity.as_ref().map(|identity| identity["keel"].to_string());
                let all = [origin.number("length").map(|number| number.to_string()), identity];
                let text = all.map(Option::unwrap_or_default).join(" ");
                Ok(Boat { name: text.into(), hull: origin.state["hull"].as_i64().into(), ..Boat::default() })
            }
            Some(name) => Ok(Boat { name: name.into(), ..Boat::default() }),
            None => Err(Diagnostic::error("No name", "A boat without a name cannot be taken over.").into()),
        });
    }
}

trait IntoName {
    fn into_name(self) -> Attr<String>;
}

impl IntoName for Option<&str> {
    fn into_name(self) -> Attr<String> {
        self.map(str::to_owned).into()
    }
}

pub(super) fn boat(name: &str, hull: impl Into<Attr<i64>>) -> Boat {
    Boat { name: name.into(), hull: hull.into(), harbour: "home".into(), crew: 2.into(), ..Boat::default() }
}

fn nothing() -> Option<proto::DynamicValue> {
    Some(proto::DynamicValue { msgpack: vec![0xc0], json: Vec::new() })
}

fn identity(hull: i64) -> Option<proto::ResourceIdentityData> {
    let declared = Type::Object([("hull".to_owned(), Type::Number)].into());
    let value = Value::Map([("hull".to_owned(), Value::Number(hull.into()))].into());
    Some(proto::ResourceIdentityData { identity_data: Some(messages::dynamic(&value, &declared)) })
}

fn plan(prior: &Boat, config: &Boat, private: Vec<u8>) -> proto::plan_resource_change::Request {
    proto::plan_resource_change::Request {
        type_name: "toy_boat".to_owned(),
        prior_state: Some(dynamic(prior)),
        proposed_new_state: Some(dynamic(config)),
        config: Some(dynamic(config)),
        prior_private: private,
        ..Default::default()
    }
}

fn apply(prior: Option<&Boat>, planned: Option<&Boat>, private: Vec<u8>) -> proto::apply_resource_change::Request {
    let given = |boat: Option<&Boat>| boat.map(dynamic).or_else(nothing);
    proto::apply_resource_change::Request {
        type_name: "toy_boat".to_owned(),
        prior_state: given(prior),
        planned_state: given(planned),
        config: given(planned.map(|planned| Boat { hull: Attr::Null, ..planned.clone() }).as_ref()),
        planned_private: private,
        ..Default::default()
    }
}

fn read(state: &Boat, private: Vec<u8>) -> proto::read_resource::Request {
    proto::read_resource::Request {
        type_name: "toy_boat".to_owned(),
        current_state: Some(dynamic(state)),
        private,
        ..Default::default()
    }
}

#[tokio::test]
async fn private_state_is_kept_from_create_to_delete() {
    let service = configured().await;
    let first = boat("a", Attr::Null);
    let create = proto::plan_resource_change::Request { prior_state: nothing(), ..plan(&first, &first, vec![]) };
    let planned = service.plan_resource_change(create).await.expect("planned");
    let create = apply(None, Some(&boat("a", Attr::Unknown)), planned.planned_private);
    let made = service.apply_resource_change(create).await.expect("made");
    assert_eq!(made.diagnostics, []);
    let found = service.read_resource(read(&boat("a", 1), made.private)).await.expect("found");
    let change = plan(&boat("a", 1), &boat("b", Attr::Null), found.private);
    let planned = service.plan_resource_change(change).await.expect("planned");
    let change = apply(Some(&boat("a", 1)), Some(&boat("b", 1)), planned.planned_private);
    let changed = service.apply_resource_change(change).await.expect("changed");
    assert_eq!(changed.diagnostics, []);
    // The author's code is not called for the plan of a destroy.
    let destroy = proto::plan_resource_change::Request {
        proposed_new_state: nothing(),
        ..plan(&boat("b", 1), &boat("b", 1), changed.private)
    };
    let planned = service.plan_resource_change(destroy).await.expect("planned");
    let gone = service.apply_resource_change(apply(Some(&boat("b", 1)), None, planned.planned_private)).await;
    let gone = gone.expect("answered");
    assert_eq!(reported(&gone.diagnostics), ": Not deleted: plan, create, read, plan, update, delete");
    let kept: Logbook = serde_json::from_slice(&gone.private).expect("kept, as the object is");
    assert_eq!(kept.entries.len(), 6);
}

#[tokio::test]
async fn an_import_may_leave_private_state() {
    let request = proto::import_resource_state::Request {
        type_name: "toy_boat".to_owned(),
        id: "a".to_owned(),
        ..Default::default()
    };
    let answer = configured().await.import_resource_state(request).await.expect("answered");
    let [imported] = answer.imported_resources.as_slice() else { panic!("one: {:?}", answer.diagnostics) };
    assert_eq!(imported.private, br#"{"entries":["import"]}"#);
    assert_eq!(imported.identity, identity(1));
}

#[tokio::test]
async fn an_imported_object_can_be_destroyed_before_it_is_complete() {
    let imported = Boat { harbour: Attr::Null, crew: Attr::Null, ..boat("leaks", 1) };
    let answer = configured().await.apply_resource_change(apply(Some(&imported), None, vec![])).await;
    let answer = answer.expect("answered");
    assert_eq!(reported(&answer.diagnostics), ": Half sunk: 2 crew, harbour \"\"");
    let left: Boat = undynamic(&answer.new_state.expect("what is left"));
    assert!(left.to_value() == imported.to_value(), "the state lacks what it lacked");
}

#[tokio::test]
async fn an_object_whose_state_lacks_a_needed_attribute_is_not_destroyed() {
    let lost = Boat { name: Attr::Null, ..boat("a", 1) };
    let answer = configured().await.apply_resource_change(apply(Some(&lost), None, vec![])).await.expect("answered");
    let text = reported(&answer.diagnostics);
    assert!(text.starts_with("name: Incomplete state: \"name\": the state lacks this attribute."), "{text}");
    assert!(undynamic::<Boat>(&answer.new_state.expect("kept")).to_value() == lost.to_value());
}

/// State that another program wrote does not fail the call.
#[tokio::test]
async fn foreign_private_state_is_none() {
    let found = configured().await.read_resource(read(&boat("a", 1), b"\xff{".to_vec())).await.expect("found");
    assert_eq!((found.diagnostics.len(), found.private.as_slice()), (0, &br#"{"entries":["read"]}"#[..]));
}

#[tokio::test]
async fn identity_is_reported_by_every_read() {
    let service = configured().await;
    for current_identity in [None, identity(1)] {
        let request = proto::read_resource::Request { current_identity, ..read(&boat("a", 1), vec![]) };
        assert_eq!(service.read_resource(request).await.expect("found").new_identity, identity(1));
    }
    // The identity becomes known after an import without it.
    let found = service.read_resource(read(&boat("a", Attr::Null), vec![])).await.expect("found");
    assert_eq!((found.diagnostics.len(), found.new_identity), (0, identity(1)));
    let request = proto::read_resource::Request { current_identity: identity(1), ..read(&boat("gone", 1), vec![]) };
    let gone = service.read_resource(request).await.expect("answered");
    assert_eq!(gone.diagnostics, []);
    assert!(raw(&gone.new_state.expect("null"), &object::<Boat>()).is_null());
}

const CHANGED: &str = "hull: Identity changed: Identifying attributes must not change while an object exists, but these \
                       did: \"hull\". This is a bug in the provider.";

#[tokio::test]
async fn a_read_that_finds_another_object_is_an_error() {
    let service = configured().await;
    let found = service.read_resource(read(&boat("another hull is found", 1), vec![])).await.expect("answered");
    assert_eq!((reported(&found.diagnostics).as_str(), found.new_state), (CHANGED, None));
    // The identity that the core stores has precedence over the state.
    let request = proto::read_resource::Request { current_identity: identity(7), ..read(&boat("a", 1), vec![]) };
    assert_eq!(reported(&service.read_resource(request).await.expect("answered").diagnostics), CHANGED);
}

#[tokio::test]
async fn an_update_that_leads_to_another_object_is_an_error_reported_once() {
    let service = configured().await;
    let request = apply(Some(&boat("a", 1)), Some(&boat("another hull", 1)), vec![]);
    let changed = service.apply_resource_change(request).await.expect("answered");
    assert_eq!(reported(&changed.diagnostics), CHANGED);
    let state: Boat = undynamic(&changed.new_state.expect("what exists"));
    assert_eq!(state.hull, 2.into());
    let request = plan(&boat("a", 1), &boat("another hull is planned", Attr::Null), vec![]);
    let planned = service.plan_resource_change(request).await.expect("answered");
    assert!(reported(&planned.diagnostics).starts_with("hull: Identity would change: "));
}

#[tokio::test]
async fn identity_of_older_versions_is_upgraded() {
    let service = service();
    let upgrade = |version: i64, json: &str| {
        let raw_identity = Some(proto::RawState { json: json.as_bytes().to_vec(), ..Default::default() });
        let type_name = "toy_boat".to_owned();
        let request = proto::upgrade_resource_identity::Request { type_name, version, raw_identity };
        service.upgrade_resource_identity(request).expect("answered")
    };
    assert_eq!(upgrade(2, r#"{"hull":1}"#).upgraded_identity, identity(1));
    assert_eq!(upgrade(0, r#"{"number":"1"}"#).upgraded_identity, identity(1));
    assert_eq!(reported(&upgrade(1, "{}").diagnostics), ": Lost: Nothing is left of it.");
    assert!(reported(&upgrade(3, "{}").diagnostics).contains("schema 3; this one knows 2"));
    assert!(reported(&upgrade(0, "{").diagnostics).contains("it is not JSON"));
    assert!(reported(&upgrade(2, r#"{"hull":"x"}"#).diagnostics).contains("\"hull\" does not have the type number"));
    let request = proto::get_resource_identity_schemas::Request {};
    let schemas = service.get_resource_identity_schemas(request).expect("answered").identity_schemas;
    assert_eq!((schemas.len(), schemas["toy_boat"].version), (1, 2));
}

fn origin(provider: &str, type_name: &str, version: i64, state: &str) -> proto::move_resource_state::Request {
    proto::move_resource_state::Request {
        source_provider_address: provider.to_owned(),
        source_type_name: type_name.to_owned(),
        source_schema_version: version,
        source_state: Some(proto::RawState { json: state.as_bytes().to_vec(), ..Default::default() }),
        target_type_name: "toy_boat".to_owned(),
        ..Default::default()
    }
}

#[test]
fn an_object_of_another_type_is_taken_over() {
    let service = service();
    let request = proto::move_resource_state::Request {
        source_identity: Some(proto::RawState { json: br#"{"keel":7}"#.to_vec(), ..Default::default() }),
        source_private: br#""the Bounty""#.to_vec(),
        ..origin("sea.example.org/old/navy", "navy_ship", 2, r#"{"title":"Ann","guns":12}"#)
    };
    let answer = service.move_resource_state(request).expect("answered");
    assert_eq!(answer.diagnostics, []);
    let boat: Boat = undynamic(&answer.target_state.expect("state"));
    assert_eq!((boat.name.text(), boat.hull), (Some("Ann"), 7.into()));
    assert!(boat.cargo.is_null(), "write-only values are not stored");
    assert_eq!(answer.target_identity, identity(7));
    assert_eq!(answer.target_private, br#"{"entries":["was the Bounty"]}"#);
    // The rule accepts any registry and version. There is no private state and no identity yet.
    let request = origin("registry.example.com/lake/boats", "lake_boat", 40, r#"{"name":"Bob"}"#);
    let answer = service.move_resource_state(request).expect("answered");
    assert_eq!(undynamic::<Boat>(&answer.target_state.expect("state")).name.text(), Some("Bob"));
    assert!(answer.target_private.is_empty() && answer.target_identity.is_none());
    let schema = service.get_provider_schema(proto::get_provider_schema::Request {}).expect("answered");
    assert!(schema.server_capabilities.expect("capabilities").move_resource_state);
}

/// JSON readers round numbers that do not fit an `f64`.
#[test]
fn numbers_of_any_length_are_taken_over_with_every_digit() {
    let service = service();
    for number in ["9007199254740993", "1180591620717411303425", "-0.12345678901234567890123", "12"] {
        let state = format!(r#"{{"name":"measured","length":{number},"hull":9007199254740993}}"#);
        let request = proto::move_resource_state::Request {
            source_identity: Some(proto::RawState {
                json: br#"{"keel":36893488147419103233}"#.to_vec(),
                ..Default::default()
            }),
            ..origin("a.example/lake/boats", "lake_boat", 0, &state)
        };
        let answer = service.move_resource_state(request).expect("answered");
        assert_eq!(answer.diagnostics, []);
        let boat: Boat = undynamic(&answer.target_state.expect("state"));
        assert_eq!(boat.name.text(), Some(format!("{number} \"36893488147419103233\"").as_str()));
        assert_eq!(boat.hull, 9_007_199_254_740_993.into(), "what fits is not text");
    }
}

#[test]
fn an_object_that_cannot_be_taken_over_is_refused_with_the_accepted_types() {
    let service = service();
    let refused = |request| {
        let answer = service.move_resource_state(request).expect("answered");
        assert!(answer.target_state.is_none());
        reported(&answer.diagnostics)
    };
    let summary = ": Unable to move state into toy_boat: It takes over";
    let accepted = "\"navy_ship\" of sea.example.org/old/navy, \"lake_boat\" of lake/boats";
    for (provider, type_name) in [
        ("sea.example.org/old/navy", "navy_raft"),
        ("other.example.org/old/navy", "navy_ship"),
        ("example.com/flake/boats", "lake_boat"),
    ] {
        let expected = format!("{summary} {accepted}; not \"{type_name}\" of provider {provider}.");
        assert_eq!(refused(origin(provider, type_name, 1, "{}")), expected);
    }
    let reported = refused(origin("sea.example.org/old/navy", "navy_ship", 3, "{}"));
    assert!(reported.contains("but not in version 3 of its stored form"), "{reported}");
    let lake = |state| refused(origin("a.example/lake/boats", "lake_boat", 0, state));
    assert_eq!(lake("{}"), ": No name: A boat without a name cannot be taken over.");
    assert!(lake("{").contains("it is not JSON"));
    assert!(lake(r#"{"name":"panics"}"#).contains("asked to"));
    let mut request = origin("a.example/lake/boats", "lake_boat", 0, "{}");
    request.target_type_name = "toy_hat".to_owned();
    let error = service.move_resource_state(request).expect_err("refused");
    assert_eq!(error.message(), "this provider has no resource type \"toy_hat\"");
}

#[tokio::test]
async fn provider_meta_reaches_the_call() {
    let service = configured().await;
    let schema = service.get_provider_schema(proto::get_provider_schema::Request {}).expect("answered");
    assert_eq!(schema.provider_meta.and_then(|meta| meta.block).expect("declared").attributes[0].name, "owner");
    let request = proto::apply_resource_change::Request {
        provider_meta: Some(dynamic(&Fleet { owner: "the port".into() })),
        ..apply(None, Some(&boat("a", Attr::Unknown)), vec![])
    };
    let made = service.apply_resource_change(request).await.expect("made");
    assert_eq!(reported(&made.diagnostics), ": Owner: the port");
}

/// Without the capability, the core would store a write-only value at any depth.
#[test]
fn a_write_only_value_inside_is_refused_where_the_core_would_store_it() {
    let mast = Mast { lock: Secret::new("1234").into() };
    let config = Boat { mast: mast.into(), ..boat("a", Attr::Null) };
    let (type_name, config) = ("toy_boat".to_owned(), Some(dynamic(&config)));
    let request = proto::validate_resource_config::Request { type_name, config, client_capabilities: None };
    let found = service().validate_resource_config(request).expect("answered").diagnostics;
    let reported = reported(&found);
    assert!(
        reported.starts_with("mast.lock: Write-only attribute is not supported") && !reported.contains("1234"),
        "{reported}"
    );
}
