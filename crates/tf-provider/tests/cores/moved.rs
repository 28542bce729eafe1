//! Parts of a state other than attributes: origin of a moved object, private state, identity.

use std::fs;

use base64::Engine as _;
use serde_json::{Value as Json, json};

use crate::shelf::{Shelf, cores};

const BOX: &str = "resource \"shelf_box\" \"it\" {\n  name = \"first\"\n}\n";

fn moved(from: &str, to: &str) -> String {
    format!("moved {{\n  from = {from}\n  to = {to}\n}}\n")
}

/// Returns the only object in the state.
fn instance(shelf: &Shelf) -> Json {
    let state: Json = serde_json::from_str(&shelf.state()).expect("JSON");
    assert_eq!(state["resources"].as_array().map(Vec::len), Some(1), "one object");
    state["resources"][0]["instances"][0].clone()
}

/// Decodes private state, which the core stores in base64.
fn private(shelf: &Shelf) -> Json {
    let instance = instance(shelf);
    let bytes =
        base64::prelude::BASE64_STANDARD.decode(instance["private"].as_str().expect("private")).expect("base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn an_object_of_another_type_is_moved_not_made_again() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.write("resource \"shelf_crate\" \"old\" {\n  name = \"first\"\n}\n");
        assert!(shelf.succeed(&["apply", "-auto-approve"]).contains("Use shelf_box instead"), "deprecated as a whole");
        shelf.write(&format!("{BOX}{}", moved("shelf_crate.old", "shelf_box.it")));
        let plan = shelf.plan();
        assert_eq!(plan["change"]["actions"], json!(["no-op"]));
        assert_eq!(plan["previous_address"], "shelf_crate.old");
        shelf.apply();
        assert_eq!(instance(&shelf)["attributes"]["number"], 1);
        assert_eq!(fs::read_dir(shelf.path("shelf")).expect("shelf").count(), 1);
        shelf.succeed(&["plan", "-detailed-exitcode"]);
    }
}

#[test]
fn an_object_of_another_provider_is_moved_and_gets_private_state() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.write(BOX);
        shelf.apply();
        shelf.succeed(&["state", "rm", "shelf_box.it"]);
        shelf.write("resource \"terraform_data\" \"note\" {\n  input = 1\n}\n");
        shelf.apply();
        shelf.write(&format!("{BOX}{}", moved("terraform_data.note", "shelf_box.it")));
        assert_eq!(shelf.actions(), json!(["no-op"]), "{}", core);
        shelf.apply();
        assert_eq!(private(&shelf), json!({ "writes": 0 }));
        assert_eq!(instance(&shelf)["attributes"]["name"], "first");
        assert_eq!(fs::read_dir(shelf.path("shelf")).expect("shelf").count(), 1);
    }
}

#[test]
fn an_object_that_cannot_be_taken_over_is_refused() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.write("resource \"terraform_data\" \"note\" {\n  input = \"a word\"\n}\n");
        shelf.apply();
        shelf.write(&format!("{BOX}{}", moved("terraform_data.note", "shelf_box.it")));
        assert!(shelf.fail(&["plan"]).contains("The input must be a box's number."));
        let crate_ = "resource \"shelf_crate\" \"it\" {\n  name = \"first\"\n}\n";
        shelf.write(&format!("{crate_}{}", moved("terraform_data.note", "shelf_crate.it")));
        let reported = shelf.fail(&["plan"]);
        assert!(reported.contains("It takes over no other type; not \"terraform_data\""), "{reported}");
    }
}

#[test]
fn private_state_is_kept_across_create_and_update() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        for (weight, writes) in [(1, 1), (2, 2), (3, 3)] {
            shelf.configure(&format!("name = \"first\"\nweight = {weight}"));
            shelf.apply();
            assert_eq!(private(&shelf), json!({ "writes": writes }));
        }
    }
}

#[test]
fn a_module_speaks_to_the_provider() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.write(&format!("{BOX}terraform {{\n  provider_meta \"shelf\" {{\n    asked_by = \"Ann\"\n  }}\n}}\n"));
        assert!(shelf.succeed(&["apply", "-auto-approve"]).contains("Ann asked for this box."));
    }
}

/// Cores that support identities store the identity that the read returned.
#[test]
fn identity_is_stored_where_the_core_can() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.write(BOX);
        shelf.apply();
        shelf.succeed(&["apply", "-auto-approve", "-refresh-only"]);
        let instance = instance(&shelf);
        match instance.get("identity") {
            Some(identity) => assert_eq!(*identity, json!({ "number": 1 })),
            None => println!("not applicable: identity in the state of {}", core),
        }
    }
}
