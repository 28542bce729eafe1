//! The example provider driven by real cores: the path that users take.
//!
//! Takes `PXCI_TOFU`, `PXCI_TERRAFORM`, else `tofu` and `terraform` from `PATH`; each that is there is used.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

fn cores() -> Vec<PathBuf> {
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
fn example() -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    let target = test.parent().and_then(Path::parent).expect("target directory");
    let example = target.join("examples/shelf");
    assert!(example.is_file(), "the example is not built: `cargo build -p pxci-tf-provider --example shelf`");
    example
}

/// A configuration, its state, and the directory that the provider keeps boxes in.
struct Site {
    core: PathBuf,
    directory: tempfile::TempDir,
}

impl Site {
    fn new(core: &Path) -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The box's body; the rest of the configuration is the same everywhere.
    fn configure(&self, body: &str) {
        let text = format!(
            "terraform {{\n  required_providers {{\n    shelf = {{ source = \"example.com/example/shelf\" }}\n  }}\n}}\n\
             provider \"shelf\" {{ directory = {:?} }}\n\
             resource \"shelf_box\" \"it\" {{\n{body}\n}}\n",
            self.path("shelf")
        );
        fs::write(self.path("work/main.tf"), text).expect("configuration");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.core);
        command.args(arguments).arg("-no-color").current_dir(self.path("work"));
        command.env("TF_CLI_CONFIG_FILE", self.path("cli.rc")).env("TMPDIR", self.directory.path());
        command.env("CHECKPOINT_DISABLE", "1").env_remove("TF_REATTACH_PROVIDERS");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("core runs")
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = told(&output);
        assert!(output.status.success(), "{} {arguments:?}:\n{text}", self.core.display());
        text
    }

    fn fail(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = told(&output);
        assert!(!output.status.success(), "{} {arguments:?} passed:\n{text}", self.core.display());
        // Long lines are broken by the core.
        text.split_whitespace().filter(|word| !["│", "╷", "╵"].contains(word)).collect::<Vec<_>>().join(" ")
    }

    fn apply(&self) {
        self.succeed(&["apply", "-auto-approve"]);
    }

    /// Plans with refresh; gives the box's entry of the plan.
    fn plan(&self) -> Json {
        self.succeed(&["plan", "-out=plan"]);
        // `show -json` takes no -no-color in between: the flags come first.
        let plan: Json = serde_json::from_str(&self.succeed(&["show", "-json", "plan"])).expect("JSON");
        plan["resource_changes"][0].clone()
    }

    fn actions(&self) -> Json {
        self.plan()["change"]["actions"].clone()
    }

    fn attributes(&self) -> Json {
        let state: Json = serde_json::from_str(&self.state()).expect("JSON");
        state["resources"][0]["instances"][0]["attributes"].clone()
    }

    fn state(&self) -> String {
        fs::read_to_string(self.path("work/terraform.tfstate")).expect("state")
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const FULL: &str = r#"
  name = "first"
  label = "Books"
  weight = 0.1
  volume = 1180591620717411303425
  layers = 2
  contents = ["a", "ü", ""]
  notes = { ann = "x", bob = "" }
  lid = {}
  compartments = [{ width = 10 }, { width = 20 }]
  combination_wo = "very-secret"
  combination_version = 1
  timeouts = { create = "30s" }
"#;

#[test]
fn a_box_lives_through_everything() {
    for core in cores() {
        let site = Site::new(&core);
        site.configure(FULL);
        assert_eq!(site.actions(), serde_json::json!(["create"]));
        site.apply();
        assert_eq!(site.actions(), serde_json::json!(["no-op"]));
        let attributes = site.attributes();
        assert_eq!(attributes["weight"], 0.1);
        assert_eq!(attributes["lid"], serde_json::json!({ "maker": "lidworks", "material": "cardboard" }));
        assert_eq!(attributes["compartments"][1]["serial"], "1-1");
        assert!(attributes["combination_wo"].is_null() && !site.state().contains("very-secret"));
        let stored = fs::read_to_string(site.path("shelf/1.json")).expect("box");
        assert!(stored.contains("\"combination_length\":11") && stored.contains("1180591620717411303425"));

        site.configure(&FULL.replace("0.1", "0.7").replace("width = 10", "width = 12"));
        assert_eq!(site.actions(), serde_json::json!(["update"]));
        site.apply();
        assert_eq!(site.attributes()["number"], 1);
        assert_eq!(site.actions(), serde_json::json!(["no-op"]));

        site.configure("name = \"first\"");
        site.apply();
        assert_eq!(site.actions(), serde_json::json!(["no-op"]));
        assert_eq!(site.attributes()["weight"], 0.5);
        assert!(site.attributes()["lid"].is_null());

        site.configure("name = \"second\"");
        let plan = site.plan();
        assert_eq!(plan["change"]["actions"], serde_json::json!(["delete", "create"]));
        assert_eq!(plan["change"]["replace_paths"], serde_json::json!([["name"]]));
        site.apply();

        fs::remove_file(site.path("shelf/1.json")).expect("removed behind our back");
        assert_eq!(site.actions(), serde_json::json!(["create"]));
        site.apply();
        site.succeed(&["destroy", "-auto-approve"]);
        assert_eq!(fs::read_dir(site.path("shelf")).expect("shelf").count(), 0);
        leaves_nothing(&site);
    }
}

/// Sockets of providers that ended, of which a plan alone starts several.
fn leaves_nothing(site: &Site) {
    let names = fs::read_dir(site.directory.path()).expect("directory").map(|entry| entry.expect("entry").file_name());
    let left: Vec<OsString> = names.filter(|name| name.to_string_lossy().starts_with("tf-provider-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_imported_box_needs_no_change() {
    for core in cores() {
        let site = Site::new(&core);
        let plain = FULL.replace("combination_wo", "#").replace("timeouts", "#");
        site.configure(&plain);
        site.apply();
        fs::remove_file(site.path("work/terraform.tfstate")).expect("state lost");
        site.succeed(&["import", "shelf_box.it", "1"]);
        // The label is stored in capitals: no difference, as declared.
        assert_eq!(site.actions(), serde_json::json!(["no-op"]), "{}", core.display());
        let told = site.fail(&["import", "shelf_box.other", "x"]);
        assert!(told.contains("does not exist") || told.contains("not found"), "{told}");
    }
}

#[test]
fn a_box_is_imported_by_identity_where_the_core_can() {
    for core in cores() {
        let site = Site::new(&core);
        let version = site.succeed(&["version"]);
        // "OpenTofu v1.12.6", "Terraform v1.11.4": both have it since 1.12.
        let minor = version.split("v1.").nth(1).and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        let can = minor.is_some_and(|minor| minor >= 12);
        if !can {
            println!("not applicable: import by identity, {}", version.lines().next().unwrap_or_default());
            continue;
        }
        site.configure("name = \"first\"");
        site.apply();
        fs::remove_file(site.path("work/terraform.tfstate")).expect("state lost");
        let import = "name = \"first\"\n}\nimport {\n  to = shelf_box.it\n  identity = { number = 1 }";
        site.configure(import);
        site.apply();
        assert_eq!(site.attributes()["number"], 1);
        assert_eq!(fs::read_dir(site.path("shelf")).expect("shelf").count(), 1);
    }
}

#[test]
fn mistakes_are_shown_at_their_line() {
    for core in cores() {
        let site = Site::new(&core);
        site.configure(
            "name = \"forbidden\"\nweight = 200\ncompartments = [{ width = 0 }]\ntimeouts = { create = \"soon\" }",
        );
        let told = site.fail(&["plan"]);
        assert!(told.contains("Wrong name") && told.contains("This name is taken by the shelf itself."));
        assert!(told.contains("\"weight\": must be at least 0 and at most 100, got 200."), "{told}");
        assert!(told.contains("\"compartments[0].width\": must be at least 1, got 0."), "{told}");
        assert!(told.contains("must be a duration such as"), "{told}");
    }
}

#[test]
fn what_half_exists_is_kept_and_replaced() {
    for core in cores() {
        let site = Site::new(&core);
        for (name, summary) in [
            ("half-done", "Lid does not fit"),
            ("inconsistent", "\"colour\" was planned as \"brown\", but is now \"green\""),
        ] {
            site.configure(&format!("name = \"{name}\""));
            let told = site.fail(&["apply", "-auto-approve"]);
            assert!(told.contains(summary), "{told}");
            assert_eq!(site.actions(), serde_json::json!(["delete", "create"]));
            site.succeed(&["destroy", "-auto-approve"]);
            assert_eq!(fs::read_dir(site.path("shelf")).expect("shelf").count(), 0);
        }
        site.configure("name = \"panics\"");
        let told = site.fail(&["apply", "-auto-approve"]);
        assert!(told.contains("Provider bug") && told.contains("asked to"), "{told}");
    }
}

#[test]
fn older_state_is_upgraded() {
    for core in cores() {
        let site = Site::new(&core);
        site.configure("name = \"first\"\ncolour = \"white\"");
        site.apply();
        let mut state: Json = serde_json::from_str(&site.state()).expect("JSON");
        let instance = &mut state["resources"][0]["instances"][0];
        instance["schema_version"] = 0.into();
        let attributes = instance["attributes"].as_object_mut().expect("object");
        let colour = attributes.remove("colour").expect("stored");
        attributes.insert("color".to_owned(), colour);
        fs::write(site.path("work/terraform.tfstate"), state.to_string()).expect("written");
        site.succeed(&["plan", "-refresh=false", "-detailed-exitcode"]);
    }
}

/// Ctrl-C reaches the whole process group: the core stops the provider, which ends early and tells what exists.
#[test]
fn an_interrupt_ends_soon_with_a_truthful_state() {
    for core in cores() {
        let site = Site::new(&core);
        site.configure("name = \"slow\"");
        let mut command = site.command(&["apply", "-auto-approve"]);
        let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("core runs");
        let started = Instant::now();
        wait_for(&site.path("shelf/1.json"));
        interrupt(&child);
        let told = told(&child.wait_with_output().expect("ends"));
        assert!(started.elapsed() < Duration::from_secs(40), "it took the whole minute:\n{told}");
        assert!(told.contains("Interrupted"), "{told}");
        assert_eq!(site.actions(), serde_json::json!(["delete", "create"]), "tainted");
    }
}

fn wait_for(file: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !file.exists() {
        assert!(Instant::now() < deadline, "{} did not appear", file.display());
        std::thread::yield_now();
    }
}

fn interrupt(child: &Child) {
    let group = rustix::process::Pid::from_child(child);
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).expect("signalled");
}

/// Nothing that the provider logs at the highest level shows a secret.
#[test]
fn logs_are_the_cores_own_and_show_no_secret() {
    for core in cores() {
        let site = Site::new(&core);
        site.configure(FULL);
        let log = site.path("log");
        let mut command = site.command(&["apply", "-auto-approve"]);
        command.env("TF_LOG_PROVIDER", "TRACE").env("TF_LOG_PATH", &log);
        let output = command.output().expect("core runs");
        assert!(output.status.success(), "{}", told(&output));
        let log = fs::read_to_string(log).expect("log");
        assert!(log.contains(": configuring: @module=provider.shelf core_version="), "{log}");
        assert!(!log.contains("very-secret"));
    }
}

/// For debuggers: the provider runs already, the core is told where.
#[test]
fn a_core_attaches_to_a_running_provider() {
    for core in cores() {
        let site = Site::new(&core);
        site.configure("name = \"first\"");
        let mut provider = Command::new(example());
        provider.env("TF_PROVIDER_REATTACH", "example.com/example/shelf").env("TMPDIR", site.directory.path());
        let mut provider = provider.stdout(Stdio::piped()).spawn().expect("runs");
        let line = first_line(&mut provider);
        let attach = line.strip_prefix("TF_REATTACH_PROVIDERS='").and_then(|line| line.strip_suffix('\''));
        for arguments in [&["apply", "-auto-approve"][..], &["plan", "-detailed-exitcode"]] {
            let mut command = site.command(arguments);
            let output = command.env("TF_REATTACH_PROVIDERS", attach.expect("shell line")).output().expect("core runs");
            assert!(output.status.success(), "{}", told(&output));
        }
        let pid = rustix::process::Pid::from_child(&provider);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signalled");
        assert!(provider.wait().expect("ends").success());
        leaves_nothing(&site);
    }
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let output = child.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("line");
    line.trim_end().to_owned()
}

/// The magic value that cores set.
const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

#[test]
fn it_ends_with_the_core_that_was_killed() {
    let directory = tempfile::tempdir().expect("directory");
    // A shell in the place of the core; killed, it cannot tell the provider.
    let mut core = Command::new("sh");
    core.args(["-c", "\"$0\" & wait"]).arg(example()).stdout(Stdio::piped());
    core.env("TF_PLUGIN_MAGIC_COOKIE", COOKIE).env("PLUGIN_PROTOCOL_VERSIONS", "5,6");
    core.env("PLUGIN_UNIX_SOCKET_DIR", directory.path());
    let mut core = core.spawn().expect("runs");
    let line = first_line(&mut core);
    let fields: Vec<_> = line.split('|').collect();
    assert_eq!((fields[0], fields[1], fields[2], fields[4], fields[5]), ("1", "6", "unix", "grpc", ""));
    let socket = PathBuf::from(fields[3]);
    assert!(socket.starts_with(directory.path()) && socket.exists());
    core.kill().expect("killed");
    core.wait().expect("ends");
    let deadline = Instant::now() + Duration::from_secs(30);
    while socket.parent().expect("directory").exists() {
        assert!(Instant::now() < deadline, "the provider lives on");
        std::thread::yield_now();
    }
}

#[test]
fn another_protocol_is_refused_with_what_is_needed() {
    let output = Command::new(example())
        .env("TF_PLUGIN_MAGIC_COOKIE", COOKIE)
        .env("PLUGIN_PROTOCOL_VERSIONS", "4,5")
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("protocol 6 only") && told(&output).contains("offered were: 4,5"));
}

#[test]
fn started_by_hand_it_explains_itself() {
    let output = Command::new(example()).env_remove("TF_PLUGIN_MAGIC_COOKIE").output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("tofu init"));
}
