//! `shelf_rack`: blocks in every nesting mode, with real cores.

use serde_json::{Value as Json, json};

use crate::shelf::{Shelf, cores};

const FULL: &str = r#"
resource "shelf_rack" "it" {
  name = "tall"
  board {
    width  = 900
    finish = "Oiled"
  }
  board {
    width = 800
  }
  hook {
    side   = "right"
    finish = "Brass"
  }
  hook {
    side = "left"
    load = 7
  }
  drawer "top" {
    depth = 300
    partition {
      share = 0.1
    }
  }
  base {
    material = "oak"
  }
}
"#;

fn actions(shelf: &Shelf) -> Json {
    shelf.plan()["change"]["actions"].clone()
}

#[test]
fn blocks_of_every_kind_live_through_everything() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.write(FULL);
        assert_eq!(actions(&shelf), json!(["create"]), "{core}");
        shelf.apply();
        let state = shelf.attributes();
        assert_eq!(state["board"][0], json!({ "width": 900, "finish": "Oiled", "serial": "board-0" }));
        assert_eq!(state["board"][1]["finish"], "raw");
        assert_eq!(state["hook"].as_array().map(Vec::len), Some(2));
        assert_eq!(state["drawer"]["top"]["partition"], json!([{ "share": 0.1 }]));
        assert_eq!(state["wall"], json!({ "distance": 20, "screwed": null }), "a group is there unasked");
        assert_eq!(actions(&shelf), json!(["no-op"]), "the server's capitals are not a difference");

        // A hook is added and another is replaced. The remaining one keeps its serial number.
        let serial = |state: &Json, side: &str| {
            let hooks = state["hook"].as_array().expect("set").iter();
            hooks.filter(|hook| hook["side"] == side).map(|hook| hook["serial"].clone()).collect::<Vec<_>>()
        };
        let more = FULL.replace("load = 7", "load = 8").replace("width = 800", "width = 850");
        shelf.write(&more.replace("  base {", "  hook {\n    side = \"front\"\n  }\n  base {"));
        assert_eq!(actions(&shelf), json!(["update"]));
        shelf.apply();
        let changed = shelf.attributes();
        assert_eq!(serial(&changed, "right"), serial(&state, "right"));
        assert_eq!(changed["board"][1]["serial"], "board-1");
        assert_eq!(actions(&shelf), json!(["no-op"]));

        // Removes all optional blocks. Lists and sets are then empty, not null.
        shelf.write("resource \"shelf_rack\" \"it\" {\n  name = \"tall\"\n  board { width = 900 }\n}");
        let plan = shelf.plan();
        assert_eq!(plan["change"]["actions"], json!(["delete", "create"]));
        assert_eq!(plan["change"]["replace_paths"], json!([["base"]]));
        shelf.apply();
        let state = shelf.attributes();
        assert_eq!((&state["hook"], &state["drawer"]), (&json!([]), &json!({})));
        assert_eq!(actions(&shelf), json!(["no-op"]));
    }
}

#[test]
fn an_imported_rack_needs_no_change() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        // An import keeps the server's spelling. In sets of blocks, cores allow no other.
        shelf.write(&FULL.replace("Brass", "BRASS"));
        shelf.apply();
        std::fs::remove_file(shelf.path("work/terraform.tfstate")).expect("state lost");
        shelf.succeed(&["import", "shelf_rack.it", "tall"]);
        assert_eq!(actions(&shelf), json!(["no-op"]), "{core}");
    }
}

#[test]
fn limits_and_mistakes_in_blocks_are_shown() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.write("resource \"shelf_rack\" \"it\" {\n  name = \"tall\"\n}");
        let reported = shelf.fail(&["plan"]);
        assert!(reported.contains("At least 1 \"board\" blocks are required"), "{reported}");
        let boards = "  board { width = 900 }\n".repeat(10);
        shelf.write(&format!("resource \"shelf_rack\" \"it\" {{\n  name = \"tall\"\n{boards}}}"));
        let reported = shelf.fail(&["plan"]);
        assert!(reported.contains("No more than 9 \"board\" blocks are allowed"), "{reported}");
        shelf.write(&FULL.replace("800", "2800").replace("\"left\"", "\"above\""));
        let reported = shelf.fail(&["plan"]);
        assert!(
            reported.contains("\"board[1].width\": must be at least 100 and at most 2000, got 2800."),
            "{reported}"
        );
        assert!(reported.contains("a board must not be wider than the one below it"), "{reported}");
        assert!(reported.contains("must be one of \"left\", \"right\", \"front\", got \"above\""), "{reported}");
    }
}

/// The number of blocks is known only at apply.
#[test]
fn an_unknown_number_of_blocks_is_planned() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        let dynamic = |name: &str, content: &str| {
            format!(
                "  dynamic \"{name}\" {{\n    for_each = toset([for n in range(terraform_data.count.output) : tostring(n)])\n    \
                 content {{\n{content}\n    }}\n  }}\n"
            )
        };
        let rest = dynamic("board", "width = 900") + &dynamic("hook", "side = \"left\"\nload = tonumber(hook.value)");
        let with = |count: u32| {
            format!(
                "resource \"terraform_data\" \"count\" {{\n  input = {count}\n}}\n\
                 resource \"shelf_rack\" \"it\" {{\n  name = \"tall\"\n{rest}}}"
            )
        };
        for count in [3, 2, 4] {
            shelf.write(&with(count));
            shelf.apply();
            shelf.succeed(&["plan", "-detailed-exitcode"]);
            let state: Json = serde_json::from_str(&shelf.state()).expect("JSON");
            let resources = state["resources"].as_array().expect("resources");
            let rack = resources.iter().find(|resource| resource["type"] == "shelf_rack").expect("made");
            let attributes = &rack["instances"][0]["attributes"];
            for block in ["board", "hook"] {
                assert_eq!(attributes[block].as_array().map(Vec::len), Some(count as usize), "{core}");
            }
        }
    }
}
