//! A working directory with a configuration, and the core that is run in it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;

pub(crate) fn cores() -> Vec<PathBuf> {
    let named = ["PXCI_TOFU", "PXCI_TERRAFORM"].map(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    let all = ["tofu", "terraform"].into_iter().zip(named);
    let found: Vec<_> =
        all.filter_map(|(program, named)| named.map(PathBuf::from).or_else(|| on_path(program))).collect();
    assert!(!found.is_empty(), "no tofu and no terraform: run `cargo xtask setup`, or set PXCI_TOFU to one");
    found
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// Cargo builds examples with the tests, beside the directory of the test programs.
pub(crate) fn example() -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    let target = test.parent().and_then(Path::parent).expect("target directory");
    let example = target.join("examples/shelf");
    assert!(example.is_file(), "the example is not built: `cargo build -p pxci-tf-provider --example shelf`");
    example
}

/// A configuration, its state, and the directory that the provider keeps boxes in.
pub(crate) struct Site {
    pub(crate) core: PathBuf,
    pub(crate) directory: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new(core: &Path) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let site = Self { core: core.to_path_buf(), directory };
        for name in ["bin", "shelf", "work"] {
            fs::create_dir(site.path(name)).expect("directory");
        }
        std::os::unix::fs::symlink(example(), site.path("bin/terraform-provider-shelf")).expect("link");
        let overrides = format!(
            "provider_installation {{\n  dev_overrides {{\n    \"example.com/example/shelf\" = {:?}\n  }}\n}}\n",
            site.path("bin")
        );
        fs::write(site.path("cli.rc"), overrides).expect("settings");
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The box's body; the rest of the configuration is the same everywhere.
    pub(crate) fn configure(&self, body: &str) {
        self.write(&format!("resource \"shelf_box\" \"it\" {{\n{body}\n}}\n"));
    }

    /// All blocks but those of the provider itself.
    pub(crate) fn write(&self, blocks: &str) {
        let text = format!(
            "terraform {{\n  required_providers {{\n    shelf = {{ source = \"example.com/example/shelf\" }}\n  }}\n}}\n\
             provider \"shelf\" {{ directory = {:?} }}\n{blocks}",
            self.path("shelf")
        );
        fs::write(self.path("work/main.tf"), text).expect("configuration");
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.core);
        command.args(arguments).arg("-no-color").current_dir(self.path("work"));
        command.env("TF_CLI_CONFIG_FILE", self.path("cli.rc")).env("TMPDIR", self.directory.path());
        command.env("CHECKPOINT_DISABLE", "1").env_remove("TF_REATTACH_PROVIDERS");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("core runs")
    }

    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = told(&output);
        assert!(output.status.success(), "{} {arguments:?}:\n{text}", self.core.display());
        text
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.succeed(arguments)).expect("JSON")
    }

    pub(crate) fn fail(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = told(&output);
        assert!(!output.status.success(), "{} {arguments:?} passed:\n{text}", self.core.display());
        // Long lines are broken by the core.
        text.split_whitespace().filter(|word| !["│", "╷", "╵"].contains(word)).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn apply(&self) {
        self.succeed(&["apply", "-auto-approve"]);
    }

    /// Plans with refresh; gives the box's entry of the plan.
    pub(crate) fn plan(&self) -> Json {
        self.succeed(&["plan", "-out=plan"]);
        // `show -json` takes no -no-color in between: the flags come first.
        let plan = self.json(&["show", "-json", "plan"]);
        plan["resource_changes"][0].clone()
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

pub(crate) fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Sockets of providers that ended, of which a plan alone starts several.
pub(crate) fn leaves_nothing(site: &Site) {
    let names = fs::read_dir(site.directory.path()).expect("directory").map(|entry| entry.expect("entry").file_name());
    let left: Vec<OsString> = names.filter(|name| name.to_string_lossy().starts_with("tf-provider-")).collect();
    assert!(left.is_empty(), "{left:?}");
}
