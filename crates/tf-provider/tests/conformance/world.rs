//! A shelf, and what befalls it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tf_provider::testing::conformance::{Moment, Operation};
use tf_provider::testing::{Failed, Harness};

pub(crate) const SOURCE: &str = "example.com/example/shelf";

pub(crate) struct World {
    shelf: PathBuf,
}

impl World {
    pub(crate) fn begin(harness: &Harness) -> Result<Self, Failed> {
        let shelf = harness.directory().join("shelf");
        fs::create_dir(&shelf).map_err(|error| Failed::new(format!("making a shelf: {error}")))?;
        Ok(Self { shelf })
    }

    pub(crate) fn snapshot() -> PathBuf {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schema/shelf.json").into()
    }

    pub(crate) fn provider_block(&self) -> String {
        format!("provider \"shelf\" {{ directory = {:?} }}\n", self.shelf)
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.shelf.join(format!("{name}.json"))).expect("it is there");
    }

    /// Changes what the shelf keeps of a thing.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let file = self.shelf.join(format!("{name}.json"));
        let mut kept: Value = serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("JSON");
        change(&mut kept);
        fs::write(file, kept.to_string()).expect("written");
    }

    pub(crate) fn break_create(&self, moment: Moment) -> bool {
        let point = match moment {
            Moment::Before => "create before",
            Moment::Middle => "create middle",
            Moment::After => "create after",
        };
        self.ask(&format!("fail {point}"));
        true
    }

    pub(crate) fn break_delete(&self) {
        self.ask("fail delete");
    }

    pub(crate) fn hold(&self, operation: Operation) {
        let point = match operation {
            Operation::Create => "create middle",
            Operation::Update => "update",
            Operation::Delete => "delete",
        };
        self.ask(&format!("hold {point}"));
    }

    pub(crate) fn is_held(&self) -> bool {
        self.shelf.join("held").exists()
    }

    pub(crate) fn heal(&self) {
        for name in ["fault", "held"] {
            let _ = fs::remove_file(self.shelf.join(name));
        }
    }

    pub(crate) fn existing(&self) -> Vec<String> {
        let names = fs::read_dir(&self.shelf).expect("shelf").map(|entry| entry.expect("entry").file_name());
        names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.ends_with(".json")).collect()
    }

    fn ask(&self, text: &str) {
        // At once, so that nobody reads half of it.
        let part = self.shelf.join("fault.part");
        fs::write(&part, text).and_then(|()| fs::rename(&part, self.shelf.join("fault"))).expect("written");
    }
}
