//! `shelf_rack`: blocks in every nesting mode.

use serde_json::{Value, json};
use tf_provider_testing::conformance::{Body, Import, Moment, Operation, RoundTrip, Secrets, Subject, Words};
use tf_provider_testing::{Failed, Harness};

use crate::world::Shelf;

pub(crate) struct ARack;

fn file(attributes: &Value) -> String {
    format!("rack-{}", attributes["name"].as_str().expect("a name"))
}

impl Subject for ARack {
    type World = Shelf;
    const TYPE: &'static str = "shelf_rack";

    async fn begin(_: &mut Shelf, _: &mut Harness) -> Result<Self, Failed> {
        Ok(Self)
    }

    fn full(&self) -> Body {
        // The shelf returns finishes in capitals.
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

    async fn remove(&mut self, shelf: &mut Shelf, attributes: &Value) {
        shelf.remove(&file(attributes));
    }

    async fn change(&mut self, shelf: &mut Shelf, attributes: &Value) -> Option<&'static str> {
        shelf.change(&file(attributes), |kept| kept["wall"]["distance"] = json!(99));
        Some("wall")
    }

    async fn break_create(&mut self, shelf: &mut Shelf, moment: Moment) -> Option<Words> {
        shelf.break_create(moment)
    }

    async fn break_update(&mut self, shelf: &mut Shelf) -> Option<(Body, Words)> {
        Some((self.full().block("wall", "{ distance = 30 }"), shelf.fail("update")))
    }

    async fn break_delete(&mut self, shelf: &mut Shelf) -> Words {
        shelf.fail("delete")
    }

    async fn hold(&mut self, shelf: &mut Shelf, operation: Operation) -> Option<(Body, Words)> {
        Some((self.full().block("wall", "{ distance = 30 }"), shelf.hold(operation)))
    }

    async fn is_held(&mut self, shelf: &mut Shelf, _: Operation) -> bool {
        shelf.is_held()
    }

    fn secrets(&self, _: &Shelf) -> Option<Secrets> {
        None
    }

    fn round_trips(&self) -> Vec<RoundTrip> {
        vec![RoundTrip::alike("name", "\"größer ☃\"")]
    }

    fn numbered(&self) -> Body {
        self.full().set("name", "\"rack-${count.index}\"")
    }
}
