//! Drives the example provider with foreign code: HashiCorp's go-plugin, gRPC for Go, and the cores' own codec.
//!
//! `go-client/` only reports, and the assertions are here. `PXCI_GO` names the Go to build it with, otherwise `go` on
//! `PATH`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value as Json, json};

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");

/// The path of the client's program.
static CLIENT: LazyLock<PathBuf> = LazyLock::new(|| {
    let go = std::env::var_os("PXCI_GO").filter(|program| !program.is_empty()).unwrap_or_else(|| "go".into());
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-client");
    let output = Command::new(&go)
        .current_dir(Path::new(MANIFEST).join("tests/go-client"))
        .envs([("GOFLAGS", "-mod=readonly"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off"), ("CGO_ENABLED", "0")])
        .args(["build", "-o"])
        .arg(&program)
        .output()
        .unwrap_or_else(|error| panic!("no Go ({error}): run `cargo xtask setup`, or set PXCI_GO to one"));
    assert!(output.status.success(), "go build:\n{}", String::from_utf8_lossy(&output.stderr));
    program
});

/// Returns the example's program, which cargo builds next to the directory of the test programs.
fn example() -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    let target = test.parent().and_then(Path::parent).expect("target directory");
    let example = target.join("examples/shelf");
    assert!(example.is_file(), "the example is not built: `cargo build -p pxci-tf-provider --example shelf`");
    example
}

/// Returns the client's report of a command.
fn report(command: &str, directory: Option<&Path>) -> Json {
    let definitions = Path::new(MANIFEST).join("../../proto");
    let mut client = Command::new(&*CLIENT);
    client.arg(command).arg(definitions).arg(example()).args(directory);
    let output = client.output().expect("the client runs");
    let reported = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}:\n{reported}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Asserts that the provider ended by itself without an error, and removed its socket.
fn ended_well(end: &Json) {
    assert_eq!((&end["status"], &end["left"]), (&json!(0), &json!(false)), "{end}");
    assert!(!end["log"].as_str().expect("log").contains("failed to exit gracefully"), "{end}");
}

#[test]
fn a_foreign_client_shakes_hands_and_reads_the_schema() {
    let found = report("schema", None);
    assert_eq!((&found["protocol"], &found["ping"]), (&json!(6), &json!("")));
    assert_eq!(found["provider"], json!(["directory"]));
    let attributes = found["resources"]["shelf_box"].as_array().expect("attributes");
    for name in ["number", "name", "weight", "combination_wo"] {
        assert!(attributes.contains(&json!(name)), "{name} is missing in {attributes:?}");
    }
    ended_well(&found["end"]);
}

#[test]
fn a_foreign_codec_and_ours_agree_through_the_life_of_an_object() {
    let shelf = tempfile::tempdir().expect("directory");
    let found = report("life", Some(shelf.path()));
    let planned = &found["planned"];
    assert_eq!((&planned["name"], &planned["number"]), (&json!("größer"), &json!("(unknown)")));
    let created = &found["created"];
    assert_eq!((&created["weight"], &created["volume"]), (&json!(0.1), &json!(9_007_199_254_740_993_u64)));
    assert_eq!((&created["number"], &created["colour"]), (&json!(1), &json!("brown")));
    assert_eq!((&found["steady"], &found["gone"]), (&json!(true), &json!(true)));
    ended_well(&found["end"]);
}

#[test]
fn a_create_ends_soon_after_stop_and_returns_the_existing_object() {
    let shelf = tempfile::tempdir().expect("directory");
    // The create would sleep for a minute, which is also the client's limit for its whole run.
    let stopped = &report("life", Some(shelf.path()))["stopped"];
    assert_eq!((&stopped["refusal"], &stopped["errors"]), (&json!(""), &json!(["Interrupted"])));
    assert_eq!((&stopped["partial"]["name"], &stopped["partial"]["number"]), (&json!("slow"), &json!(1)));
    assert!(shelf.path().join("1.json").is_file());
}

#[test]
fn outsiders_are_refused_and_do_not_disturb_the_client() {
    let found = report("outsiders", None);
    let alerts = [
        ("no_certificate", "certificate required"),
        ("foreign_certificate", "access denied"),
        ("old_tls", "protocol version not supported"),
        ("no_tls", ""),
    ];
    for (outsider, alert) in alerts {
        let reported = &found[outsider];
        assert!(reported["call"].as_str().is_some_and(|error| error.contains("Unavailable")), "{outsider}: {reported}");
        assert!(reported["alert"].as_str().is_some_and(|text| text.ends_with(alert)), "{outsider}: {reported}");
    }
    assert_eq!((&found["own_client"], &found["directory_mode"]), (&json!(""), &json!(0o700)));
}

#[test]
fn a_start_that_no_core_makes_is_explained() {
    let found = report("refused", None);
    let explained = [("other_cookie", "It is not run by hand"), ("older_protocol", "The core offered: 5")];
    for (start, explanation) in explained {
        let reported = &found[start];
        assert_ne!(reported["error"], "", "{start}");
        assert_eq!(reported["status"], 1, "{start}: {reported}");
        assert!(reported["stderr"].as_str().is_some_and(|text| text.contains(explanation)), "{start}: {reported}");
    }
}

#[test]
fn a_client_that_switched_tls_off_is_served_without_tls() {
    let found = report("plain", None);
    assert_eq!(found["own_client"], "");
    ended_well(&found["end"]);
}
