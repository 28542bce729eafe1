//! `shelf_box` from create to destroy.

use std::fs;

use serde_json::Value as Json;

use tf_provider_testing::Feature;

use crate::shelf::{Shelf, cores, leaves_nothing};

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
fn a_box_is_created_updated_replaced_and_destroyed() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.configure(FULL);
        assert_eq!(shelf.actions(), serde_json::json!(["create"]));
        shelf.apply();
        assert_eq!(shelf.actions(), serde_json::json!(["no-op"]));
        let attributes = shelf.attributes();
        assert_eq!(attributes["weight"], 0.1);
        assert_eq!(attributes["lid"], serde_json::json!({ "maker": "lidworks", "material": "cardboard" }));
        assert_eq!(attributes["compartments"][1]["serial"], "1-1");
        assert!(attributes["combination_wo"].is_null() && !shelf.state().contains("very-secret"));
        let stored = fs::read_to_string(shelf.path("shelf/1.json")).expect("box");
        assert!(stored.contains("\"combination_length\":11") && stored.contains("1180591620717411303425"));

        shelf.configure(&FULL.replace("0.1", "0.7").replace("width = 10", "width = 12"));
        assert_eq!(shelf.actions(), serde_json::json!(["update"]));
        shelf.apply();
        assert_eq!(shelf.attributes()["number"], 1);
        assert_eq!(shelf.actions(), serde_json::json!(["no-op"]));

        shelf.configure("name = \"first\"");
        shelf.apply();
        assert_eq!(shelf.actions(), serde_json::json!(["no-op"]));
        assert_eq!(shelf.attributes()["weight"], 0.5);
        assert!(shelf.attributes()["lid"].is_null());

        shelf.configure("name = \"second\"");
        let plan = shelf.plan();
        assert_eq!(plan["change"]["actions"], serde_json::json!(["delete", "create"]));
        assert_eq!(plan["change"]["replace_paths"], serde_json::json!([["name"]]));
        shelf.apply();

        fs::remove_file(shelf.path("shelf/1.json")).expect("removed behind our back");
        assert_eq!(shelf.actions(), serde_json::json!(["create"]));
        shelf.apply();
        shelf.succeed(&["destroy", "-auto-approve"]);
        assert_eq!(fs::read_dir(shelf.path("shelf")).expect("shelf").count(), 0);
        leaves_nothing(&shelf);
    }
}

#[test]
fn an_imported_box_needs_no_change() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        let plain = FULL.replace("combination_wo", "#").replace("timeouts", "#");
        shelf.configure(&plain);
        shelf.apply();
        fs::remove_file(shelf.path("work/terraform.tfstate")).expect("state lost");
        shelf.succeed(&["import", "shelf_box.it", "1"]);
        // The label is stored in capitals, which is not a difference, as declared.
        assert_eq!(shelf.actions(), serde_json::json!(["no-op"]), "{core}");
        let reported = shelf.fail(&["import", "shelf_box.other", "x"]);
        assert!(reported.contains("does not exist") || reported.contains("not found"), "{reported}");
    }
}

#[test]
fn a_box_is_imported_by_identity_where_the_core_can() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        if !core.can(Feature::Identity) {
            println!("not applicable: {}, {core}", Feature::Identity);
            continue;
        }
        shelf.configure("name = \"first\"");
        shelf.apply();
        fs::remove_file(shelf.path("work/terraform.tfstate")).expect("state lost");
        let import = "name = \"first\"\n}\nimport {\n  to = shelf_box.it\n  identity = { number = 1 }";
        shelf.configure(import);
        shelf.apply();
        assert_eq!(shelf.attributes()["number"], 1);
        assert_eq!(fs::read_dir(shelf.path("shelf")).expect("shelf").count(), 1);
    }
}

#[test]
fn mistakes_are_shown_at_their_line() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.configure(
            "name = \"forbidden\"\nweight = 200\ncompartments = [{ width = 0 }]\ntimeouts = { create = \"soon\" }",
        );
        let reported = shelf.fail(&["plan"]);
        assert!(reported.contains("Wrong name") && reported.contains("This name is taken by the shelf itself."));
        assert!(reported.contains("\"weight\": must be at least 0 and at most 100, got 200."), "{reported}");
        assert!(reported.contains("\"compartments[0].width\": must be at least 1, got 0."), "{reported}");
        assert!(reported.contains("must be a duration such as"), "{reported}");
    }
}

#[test]
fn an_incomplete_object_is_kept_and_replaced() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        for (name, summary) in [
            ("half-done", "Lid does not fit"),
            ("inconsistent", "\"colour\" was planned as \"brown\", but is now \"green\""),
        ] {
            shelf.configure(&format!("name = \"{name}\""));
            let reported = shelf.fail(&["apply", "-auto-approve"]);
            assert!(reported.contains(summary), "{reported}");
            assert_eq!(shelf.actions(), serde_json::json!(["delete", "create"]));
            shelf.succeed(&["destroy", "-auto-approve"]);
            assert_eq!(fs::read_dir(shelf.path("shelf")).expect("shelf").count(), 0);
        }
        shelf.configure("name = \"panics\"");
        let reported = shelf.fail(&["apply", "-auto-approve"]);
        assert!(reported.contains("Provider bug") && reported.contains("asked to"), "{reported}");
    }
}

#[test]
fn older_state_is_upgraded() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.configure("name = \"first\"\ncolour = \"white\"");
        shelf.apply();
        let mut state: Json = serde_json::from_str(&shelf.state()).expect("JSON");
        let instance = &mut state["resources"][0]["instances"][0];
        instance["schema_version"] = 0.into();
        let attributes = instance["attributes"].as_object_mut().expect("object");
        let colour = attributes.remove("colour").expect("stored");
        attributes.insert("color".to_owned(), colour);
        fs::write(shelf.path("work/terraform.tfstate"), state.to_string()).expect("written");
        shelf.succeed(&["plan", "-refresh=false", "-detailed-exitcode"]);
    }
}

/// The provider's log at the highest level shows no secret.
#[test]
fn logs_are_the_cores_own_and_show_no_secret() {
    for core in cores() {
        let mut shelf = Shelf::new(&core);
        shelf.configure(FULL);
        let log = shelf.path("log");
        shelf.set("TF_LOG_PROVIDER", "TRACE");
        shelf.set("TF_LOG_PATH", log.to_str().expect("a path"));
        shelf.apply();
        let log = fs::read_to_string(log).expect("log");
        assert!(!log.contains("very-secret"));
        // The core writes the fields of a line in any order.
        let says = |message: &str, parts: &[&str]| {
            let line = log.lines().find(|line| line.contains(message)).expect("logged");
            parts.iter().for_each(|part| assert!(line.contains(part), "{part} is missing: {line}"));
        };
        says(": configuring: ", &["[DEBUG]", " @module=provider.shelf", " core_version="]);
        // Log lines of a call name the call, and keep their level.
        let call = [" tf_req_id=", " tf_resource_type=shelf_box", " tf_rpc="];
        says(": making a box: ", &[&["[DEBUG]", " number=1"], &call[..]].concat());
    }
}
