//! `shelf_rack`: blocks in every nesting mode.

use std::path::PathBuf;

use serde_json::{Value, json};
use tf_provider::testing::conformance::{Body, Import, Moment, Operation, RoundTrip, Secrets, Subject};
use tf_provider::testing::{Failed, Harness};
use tf_provider::{Reattach, ServeError};

use crate::world::{SOURCE, World};
use crate::{example, shelf};

pub(crate) struct ARack(World);

fn file(attributes: &Value) -> String {
    format!("rack-{}", attributes["name"].as_str().expect("a name"))
}

impl Subject for ARack {
    const TYPE: &'static str = "shelf_rack";
    const SOURCE: &'static str = SOURCE;

    fn program() -> PathBuf {
        example()
    }

    fn in_process() -> Option<Result<Reattach, ServeError>> {
        Some(Reattach::start(shelf::Shelf))
    }

    fn snapshot() -> PathBuf {
        World::snapshot()
    }

    async fn begin(harness: &mut Harness) -> Result<Self, Failed> {
        World::begin(harness).map(Self)
    }

    fn beside(&self) -> String {
        self.0.provider_block()
    }

    fn full(&self) -> Body {
        // Finishes come back in capitals.
        self.required()
            .block("hook", "{\n    side = \"left\"\n    load = 7\n    finish = \"BRASS\"\n  }")
            .block("drawer \"top\"", "{\n    depth = 300\n    partition {\n      share = 0.1\n    }\n  }")
            .block("base", "{ material = \"oak\" }")
            .block("wall", "{\n    distance = 25\n    screwed = true\n  }")
    }

    fn required(&self) -> Body {
        Body::new([("name", "\"tall\"")]).block(
            "board",
            "{\n    width = 900\n    finish = \"OILED\"\n  }\n  board {\n    width = 800\n    finish = \"WAXED\"\n  }",
        )
    }

    fn updates(&self) -> Vec<(&'static str, String)> {
        [
            ("board", "{ width = 950 }"),
            ("hook", "{ side = \"left\" }\n  hook { side = \"right\" }"),
            ("drawer \"top\"", "{ depth = 310 }\n  drawer \"low\" { depth = 200 }"),
            ("wall", "{ distance = 30 }"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
    }

    fn replacements(&self) -> Vec<(&'static str, String)> {
        vec![("name", "\"small\"".to_owned()), ("base", "{ material = \"pine\" }".to_owned())]
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("wall", json!({ "distance": 20, "screwed": null })),
            ("hook", json!([])),
            ("drawer", json!({})),
            ("base", Value::Null),
        ]
    }

    fn import(&self, attributes: &Value) -> Import {
        let name = attributes["name"].as_str().expect("a name");
        Import { id: name.to_owned(), identity: Some(format!("name = {name:?}")), unknowable: &[], then: "no-op" }
    }

    async fn remove(&mut self, attributes: &Value) {
        self.0.remove(&file(attributes));
    }

    async fn change(&mut self, attributes: &Value) -> Option<&'static str> {
        self.0.change(&file(attributes), |kept| kept["wall"]["distance"] = json!(99));
        Some("wall")
    }

    async fn break_create(&mut self, moment: Moment) -> bool {
        self.0.break_create(moment)
    }

    async fn break_delete(&mut self) {
        self.0.break_delete();
    }

    async fn hold(&mut self, operation: Operation) -> Option<Body> {
        self.0.hold(operation);
        Some(self.full().block("wall", "{ distance = 30 }"))
    }

    async fn is_held(&mut self, _: Operation) -> bool {
        self.0.is_held()
    }

    async fn heal(&mut self) {
        self.0.heal();
    }

    async fn existing(&mut self) -> Vec<String> {
        self.0.existing()
    }

    fn secrets(&self) -> Option<Secrets> {
        None
    }

    fn round_trips(&self) -> Vec<RoundTrip> {
        let name = "\"größer ☃\"".to_owned();
        vec![RoundTrip { attribute: "name", expression: name.clone(), stored: name }]
    }

    fn numbered(&self) -> Body {
        self.full().set("name", "\"rack-${count.index}\"")
    }
}
