//! The cores' own test commands, with the provider and with a mocked provider.

use std::fs;

use tf_provider_testing::Feature;

use crate::shelf::{Shelf, cores};

const AT_WORK: &str = r#"
run "at_work" {
  assert {
    condition     = shelf_box.it.number == 1 && shelf_box.it.lid.maker == "lidworks"
    error_message = "The shelf decides both."
  }
}
"#;

const MOCKED: &str = r#"
mock_provider "shelf" {
  mock_resource "shelf_box" {
    defaults = {
      number = 7
      colour = "white"
    }
  }
}

run "mocked" {
  assert {
    condition     = shelf_box.it.number == 7 && shelf_box.it.colour == "white" && shelf_box.it.name == "first"
    error_message = "The mock decides what is computed, and nothing else."
  }
}
"#;

#[test]
fn a_cores_own_tests_run_with_the_provider_and_with_a_mock_of_it() {
    for core in cores() {
        if !core.can(Feature::MockProvider) {
            println!("not applicable: {}, {core}", Feature::MockProvider);
            continue;
        }
        let shelf = Shelf::new(&core);
        shelf.configure("name = \"first\"\nlid = {}");
        for (file, text) in [("at_work", AT_WORK), ("mocked", MOCKED)] {
            fs::write(shelf.path(&format!("work/{file}.tftest.hcl")), text).expect("written");
        }
        let reported = shelf.succeed(&["test"]);
        assert!(reported.contains("2 passed, 0 failed"), "{core}: {reported}");
        assert_eq!(fs::read_dir(shelf.path("shelf")).expect("shelf").count(), 0, "{core} destroys what its tests made");
    }
}
