//! The world of the example provider: a shelf, with faults and changes outside of the provider.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tf_provider::{Reattach, ServeError};
use tf_provider_testing::conformance::{Moment, Operation, Words, World};
use tf_provider_testing::{Failed, Harness};

use crate::{example, shelf};

/// Words of an error from a fault.
const FAULT: Words = &["The shelf gives way"];

pub(crate) struct Shelf {
    shelf: PathBuf,
}

impl World for Shelf {
    const SOURCE: &'static str = "example.com/example/shelf";

    fn program() -> PathBuf {
        example()
    }

    fn in_process() -> Option<Result<Reattach, ServeError>> {
        Some(Reattach::start(shelf::Shelf))
    }

    fn snapshot() -> PathBuf {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schema/shelf.json").into()
    }

    async fn begin(harness: &mut Harness) -> Result<Self, Failed> {
        let shelf = harness.directory().join("shelf");
        fs::create_dir(&shelf).map_err(|error| Failed::new(format!("making a shelf: {error}")))?;
        Ok(Self { shelf })
    }

    fn provider_block(&self) -> String {
        format!("provider \"shelf\" {{ directory = {:?} }}\n", self.shelf)
    }

    async fn heal(&mut self) {
        for name in ["fault", "held"] {
            let _ = fs::remove_file(self.shelf.join(name));
        }
    }

    async fn existing(&mut self) -> Vec<String> {
        let names = fs::read_dir(&self.shelf).expect("shelf").map(|entry| entry.expect("entry").file_name());
        names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.ends_with(".json")).collect()
    }
}

impl Shelf {
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.shelf.join(format!("{name}.json"))).expect("it is there");
    }

    /// Changes the stored data of a thing.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let file = self.shelf.join(format!("{name}.json"));
        let mut kept: Value = serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("JSON");
        change(&mut kept);
        fs::write(file, kept.to_string()).expect("written");
    }

    pub(crate) fn break_create(&self, moment: Moment) -> Option<Words> {
        let point = match moment {
            Moment::Undone(0) => "create before",
            Moment::Undone(_) => return None,
            Moment::Middle => "create middle",
            Moment::After => "create after",
        };
        Some(self.fail(point))
    }

    pub(crate) fn fail(&self, point: &str) -> Words {
        self.ask(&format!("fail {point}"));
        FAULT
    }

    pub(crate) fn hold(&self, operation: Operation) -> Words {
        let point = match operation {
            Operation::Create => "create middle",
            Operation::Update => "update",
            Operation::Delete => "delete",
        };
        self.ask(&format!("hold {point}"));
        &["The run was interrupted"]
    }

    pub(crate) fn is_held(&self) -> bool {
        self.shelf.join("held").exists()
    }

    fn ask(&self, text: &str) {
        // Renaming is atomic, so that the provider never reads a part of the file.
        let part = self.shelf.join("fault.part");
        fs::write(&part, text).and_then(|()| fs::rename(&part, self.shelf.join("fault"))).expect("written");
    }
}
