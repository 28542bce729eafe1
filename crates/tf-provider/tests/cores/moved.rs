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
fn instance(site: &Shelf) -> Json {
    let state: Json = serde_json::from_str(&site.state()).expect("JSON");
    assert_eq!(state["resources"].as_array().map(Vec::len), Some(1), "one object");
    state["resources"][0]["instances"][0].clone()
}

/// Decodes private state, which the core stores in base64.
fn private(site: &Shelf) -> Json {
    let instance = instance(site);
    let bytes =
        base64::prelude::BASE64_STANDARD.decode(instance["private"].as_str().expect("private")).expect("base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn an_object_of_another_type_is_moved_not_made_again() {
    for core in cores() {
        let site = Shelf::new(&core);
        site.write("resource \"shelf_crate\" \"old\" {\n  name = \"first\"\n}\n");
        assert!(site.succeed(&["apply", "-auto-approve"]).contains("Use shelf_box instead"), "deprecated as a whole");
        site.write(&format!("{BOX}{}", moved("shelf_crate.old", "shelf_box.it")));
        let plan = site.plan();
        assert_eq!(plan["change"]["actions"], json!(["no-op"]));
        assert_eq!(plan["previous_address"], "shelf_crate.old");
        site.apply();
        assert_eq!(instance(&site)["attributes"]["number"], 1);
        assert_eq!(fs::read_dir(site.path("shelf")).expect("shelf").count(), 1);
        site.succeed(&["plan", "-detailed-exitcode"]);
    }
}

#[test]
fn an_object_of_another_provider_is_moved_and_gets_private_state() {
    for core in cores() {
        let site = Shelf::new(&core);
        site.write(BOX);
        site.apply();
        site.succeed(&["state", "rm", "shelf_box.it"]);
        site.write("resource \"terraform_data\" \"note\" {\n  input = 1\n}\n");
        site.apply();
        site.write(&format!("{BOX}{}", moved("terraform_data.note", "shelf_box.it")));
        assert_eq!(site.actions(), json!(["no-op"]), "{}", core);
        site.apply();
        assert_eq!(private(&site), json!({ "writes": 0 }));
        assert_eq!(instance(&site)["attributes"]["name"], "first");
        assert_eq!(fs::read_dir(site.path("shelf")).expect("shelf").count(), 1);
    }
}

#[test]
fn an_object_that_cannot_be_taken_over_is_refused() {
    for core in cores() {
        let site = Shelf::new(&core);
        site.write("resource \"terraform_data\" \"note\" {\n  input = \"a word\"\n}\n");
        site.apply();
        site.write(&format!("{BOX}{}", moved("terraform_data.note", "shelf_box.it")));
        assert!(site.fail(&["plan"]).contains("The input must be a box's number."));
        let crate_ = "resource \"shelf_crate\" \"it\" {\n  name = \"first\"\n}\n";
        site.write(&format!("{crate_}{}", moved("terraform_data.note", "shelf_crate.it")));
        let reported = site.fail(&["plan"]);
        assert!(reported.contains("It takes over no other type; not \"terraform_data\""), "{reported}");
    }
}

#[test]
fn private_state_is_kept_across_create_and_update() {
    for core in cores() {
        let site = Shelf::new(&core);
        for (weight, writes) in [(1, 1), (2, 2), (3, 3)] {
            site.configure(&format!("name = \"first\"\nweight = {weight}"));
            site.apply();
            assert_eq!(private(&site), json!({ "writes": writes }));
        }
    }
}

#[test]
fn a_module_speaks_to_the_provider() {
    for core in cores() {
        let site = Shelf::new(&core);
        site.write(&format!("{BOX}terraform {{\n  provider_meta \"shelf\" {{\n    asked_by = \"Ann\"\n  }}\n}}\n"));
        assert!(site.succeed(&["apply", "-auto-approve"]).contains("Ann asked for this box."));
    }
}

/// Cores that support identities store the identity that the read returned.
#[test]
fn identity_is_stored_where_the_core_can() {
    for core in cores() {
        let site = Shelf::new(&core);
        site.write(BOX);
        site.apply();
        site.succeed(&["apply", "-auto-approve", "-refresh-only"]);
        let instance = instance(&site);
        match instance.get("identity") {
            Some(identity) => assert_eq!(*identity, json!({ "number": 1 })),
            None => println!("not applicable: identity in the state of {}", core),
        }
    }
}
