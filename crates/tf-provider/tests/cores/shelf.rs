//! A synchronous harness with the example provider's program.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use tf_provider_testing::{Core, Failed, Finished, Harness, Running};
use tokio::runtime::Runtime;

pub(crate) const SOURCE: &str = "example.com/example/shelf";

pub(crate) fn cores() -> Vec<Core> {
    Core::all().expect("cores")
}

/// Returns the example's program, which cargo builds next to the directory of the test programs.
pub(crate) fn example() -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    let target = test.parent().and_then(Path::parent).expect("target directory");
    let example = target.join("examples/shelf");
    assert!(example.is_file(), "the example is not built: `cargo build -p pxci-tf-provider --example shelf`");
    example
}

/// A configuration, its state, and the directory in which the provider keeps boxes.
pub(crate) struct Shelf {
    harness: Harness,
    runtime: Runtime,
}

impl Shelf {
    pub(crate) fn new(core: &Core) -> Self {
        let mut harness = Harness::program(core, SOURCE, &example()).expect("harness");
        let temporary = harness.directory().display().to_string();
        harness.work_mut().set("TMPDIR", &temporary);
        let runtime = Runtime::new().expect("runtime");
        let shelf = Self { harness, runtime };
        fs::create_dir(shelf.path("shelf")).expect("directory");
        shelf
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.harness.directory().join(name)
    }

    /// Sets a variable of the core's environment.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.harness.work_mut().set(name, value);
    }

    /// Writes a configuration with this body of the box.
    pub(crate) fn configure(&self, body: &str) {
        self.write(&format!("resource \"shelf_box\" \"it\" {{\n{body}\n}}\n"));
    }

    /// Writes a configuration with these blocks and those of the provider.
    pub(crate) fn write(&self, blocks: &str) {
        let text = format!("provider \"shelf\" {{ directory = {:?} }}\n{blocks}", self.path("shelf"));
        self.harness.configure(&text).expect("configuration");
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = Result<T, Failed>>) -> T {
        self.runtime.block_on(future).expect("success")
    }

    /// Starts a core.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let words = [arguments, &["-no-color"]].concat();
        self.wait(async { self.harness.work().start(&words) })
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.wait(self.start(arguments).finish())
    }

    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        self.run(arguments).succeeded().expect("success").text()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.run(arguments).succeeded().expect("success").stdout).expect("JSON")
    }

    /// Runs a core, which must fail, and returns its output on one line.
    pub(crate) fn fail(&self, arguments: &[&str]) -> String {
        self.run(arguments).refused().expect("failure").flat()
    }

    pub(crate) fn apply(&self) {
        self.succeed(&["apply", "-auto-approve"]);
    }

    /// Plans with refresh, and returns the box's entry in the plan.
    pub(crate) fn plan(&self) -> Json {
        self.wait(self.harness.work().plan()).json["resource_changes"][0].clone()
    }

    pub(crate) fn actions(&self) -> Json {
        self.plan()["change"]["actions"].clone()
    }

    pub(crate) fn attributes(&self) -> Json {
        let state: Json = serde_json::from_str(&self.state()).expect("JSON");
        state["resources"][0]["instances"][0]["attributes"].clone()
    }

    pub(crate) fn state(&self) -> String {
        fs::read_to_string(self.path("work/terraform.tfstate")).expect("state")
    }
}

/// Asserts that no sockets of ended providers are left. A single plan starts several providers.
pub(crate) fn leaves_nothing(shelf: &Shelf) {
    let names = fs::read_dir(shelf.path("")).expect("directory").map(|entry| entry.expect("entry").file_name());
    let left: Vec<OsString> = names.filter(|name| name.to_string_lossy().starts_with("tf-provider-")).collect();
    assert!(left.is_empty(), "{left:?}");
}
