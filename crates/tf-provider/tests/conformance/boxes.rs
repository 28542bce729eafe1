//! `shelf_box`: every kind of attribute.

use std::path::PathBuf;

use serde_json::{Value, json};
use tf_provider::testing::conformance::{Body, Downgrade, Import, Moment, Operation, RoundTrip, Secrets, Subject};
use tf_provider::testing::{Attributes, Failed, Harness};
use tf_provider::{Reattach, ServeError};

use crate::world::{SOURCE, World};
use crate::{example, shelf};

pub(crate) struct ABox(World);

fn number(attributes: &Value) -> String {
    attributes["number"].to_string()
}

impl Subject for ABox {
    const TYPE: &'static str = "shelf_box";
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
        Body::new([
            ("name", "\"first\""),
            ("label", "\"Books\""),
            ("weight", "0.1"),
            ("colour", "\"white\""),
            ("volume", "1180591620717411303425"),
            ("layers", "2"),
            ("contents", "[\"a\", \"ü\", \"\"]"),
            ("notes", "{ ann = \"x\", bob = \"\" }"),
            ("lid", "{}"),
            ("compartments", "[{ width = 10 }, { width = 20 }]"),
            ("combination_wo", "\"very-secret\""),
            ("combination_version", "1"),
            ("tag", "\"old\""),
            ("timeouts", "{ create = \"50s\" }"),
        ])
    }

    fn required(&self) -> Body {
        Body::new([("name", "\"first\"")])
    }

    fn updates(&self) -> Vec<(&'static str, String)> {
        [
            ("label", "\"Magazines\""),
            ("weight", "0.7"),
            ("colour", "\"brown\""),
            ("volume", "0.3"),
            ("layers", "3"),
            ("contents", "[\"b\"]"),
            ("notes", "{ ann = \"y\" }"),
            ("lid", "{ material = \"wood\" }"),
            ("compartments", "[{ width = 12 }, { width = 20 }, { width = 30 }]"),
            ("combination_version", "2"),
            ("tag", "\"older\""),
            ("timeouts", "{ create = \"40s\", delete = \"30s\" }"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
    }

    fn replacements(&self) -> Vec<(&'static str, String)> {
        vec![("name", "\"second\"".to_owned()), ("layers", "1".to_owned())]
    }

    fn defaults(&self) -> Vec<(&'static str, Value)> {
        vec![("weight", json!(0.5)), ("colour", json!("brown")), ("layers", json!(1))]
    }

    fn import(&self, attributes: &Value) -> Import {
        Import {
            id: number(attributes),
            identity: Some(format!("number = {}", number(attributes))),
            // The label comes back in capitals; deadlines are the configuration's alone, and the update that brings them
            // counts as a revision.
            unknowable: &["label", "timeouts", "revision"],
            then: "update",
        }
    }

    async fn remove(&mut self, attributes: &Value) {
        self.0.remove(&number(attributes));
    }

    async fn change(&mut self, attributes: &Value) -> Option<&'static str> {
        self.0.change(&number(attributes), |kept| kept["colour"] = json!("brown"));
        Some("colour")
    }

    async fn break_create(&mut self, moment: Moment) -> bool {
        self.0.break_create(moment)
    }

    async fn break_delete(&mut self) {
        self.0.break_delete();
    }

    async fn hold(&mut self, operation: Operation) -> Option<Body> {
        self.0.hold(operation);
        Some(self.full().set("weight", "0.2"))
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
        Some(Secrets {
            variables: vec![("combination", "four-seven-one-one".to_owned())],
            body: self.full().set("combination_wo", "var.combination"),
            others: Vec::new(),
        })
    }

    fn older_states(&self) -> Vec<(i64, Downgrade)> {
        // Version 0 called the colour `color`.
        vec![(0, |attributes| {
            if let Some(colour) = attributes.remove("colour") {
                attributes.insert("color".to_owned(), colour);
            }
        })]
    }

    fn round_trips(&self) -> Vec<RoundTrip> {
        let trip = |attribute, expression: &str, stored: &str| RoundTrip {
            attribute,
            expression: expression.to_owned(),
            stored: stored.to_owned(),
        };
        vec![
            trip("weight", "0.1", "0.1"),
            trip("weight", "0", "0"),
            trip("volume", "9007199254740993", "9007199254740993"),
            trip("volume", "1180591620717411303425", "1180591620717411303425"),
            trip("volume", "0.1", "0.1"),
            trip("volume", "-0.000000001", "-0.000000001"),
            trip("combination_version", "9007199254740993", "9007199254740993"),
            trip("tag", "\"\"", "\"\""),
            trip("tag", "\"ü ☃ 漢字 🎉 \\\"quoted\\\" $${not} \\t\"", "\"ü ☃ 漢字 🎉 \\\"quoted\\\" ${not} \\t\""),
            trip("contents", "[]", "[]"),
            trip("contents", "[\"\", \"b\", \"a\"]", "[\"\", \"b\", \"a\"]"),
            trip("notes", "{}", "{}"),
            trip("notes", "{ \"ключ\" = \"\" }", "{ \"ключ\": \"\" }"),
            trip("compartments", "[]", "[]"),
        ]
    }

    fn numbered(&self) -> Body {
        self.full().set("name", "\"box-${count.index}\"")
    }
}
