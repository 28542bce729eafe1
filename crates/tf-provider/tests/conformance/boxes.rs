//! `shelf_box`: every kind of attribute.

use serde_json::{Value, json};
use tf_provider_testing::conformance::{
    Body, Downgrade, Import, Moment, Operation, RoundTrip, Secrets, Subject, Words,
};
use tf_provider_testing::{Failed, Harness};

use crate::world::Shelf;

pub(crate) struct ABox;

fn number(attributes: &Value) -> String {
    attributes["number"].to_string()
}

impl Subject for ABox {
    type World = Shelf;
    const TYPE: &'static str = "shelf_box";

    async fn begin(_: &mut Shelf, _: &mut Harness) -> Result<Self, Failed> {
        Ok(Self)
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
            // The shelf returns the label in capitals. Deadlines are only in the configuration, and the update that
            // adds them counts as a revision.
            unknowable: &["label", "timeouts", "revision"],
            then: "update",
        }
    }

    async fn remove(&mut self, shelf: &mut Shelf, attributes: &Value) {
        shelf.remove(&number(attributes));
    }

    async fn change(&mut self, shelf: &mut Shelf, attributes: &Value) -> Option<&'static str> {
        shelf.change(&number(attributes), |kept| kept["colour"] = json!("brown"));
        Some("colour")
    }

    async fn break_create(&mut self, shelf: &mut Shelf, moment: Moment) -> Option<Words> {
        shelf.break_create(moment)
    }

    async fn break_update(&mut self, shelf: &mut Shelf) -> Option<(Body, Words)> {
        Some((self.full().set("weight", "0.2"), shelf.fail("update")))
    }

    async fn break_delete(&mut self, shelf: &mut Shelf) -> Words {
        shelf.fail("delete")
    }

    async fn hold(&mut self, shelf: &mut Shelf, operation: Operation) -> Option<(Body, Words)> {
        Some((self.full().set("weight", "0.2"), shelf.hold(operation)))
    }

    async fn is_held(&mut self, shelf: &mut Shelf, _: Operation) -> bool {
        shelf.is_held()
    }

    fn secrets(&self, _: &Shelf) -> Option<Secrets> {
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
        vec![
            RoundTrip::alike("weight", "0.1"),
            RoundTrip::alike("weight", "0"),
            RoundTrip::alike("volume", "9007199254740993"),
            RoundTrip::alike("volume", "1180591620717411303425"),
            RoundTrip::alike("volume", "0.1"),
            RoundTrip::alike("volume", "-0.000000001"),
            RoundTrip::alike("combination_version", "9007199254740993"),
            RoundTrip::alike("tag", "\"\""),
            RoundTrip::new(
                "tag",
                "\"ü ☃ 漢字 🎉 \\\"quoted\\\" $${not} \\t\"",
                "\"ü ☃ 漢字 🎉 \\\"quoted\\\" ${not} \\t\"",
            ),
            RoundTrip::alike("contents", "[]"),
            RoundTrip::alike("contents", "[\"\", \"b\", \"a\"]"),
            RoundTrip::alike("notes", "{}"),
            RoundTrip::new("notes", "{ \"ключ\" = \"\" }", "{ \"ключ\": \"\" }"),
            RoundTrip::alike("compartments", "[]"),
        ]
    }

    fn numbered(&self) -> Body {
        self.full().set("name", "\"box-${count.index}\"")
    }
}
