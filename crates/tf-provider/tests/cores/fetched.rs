//! Data sources, functions and ephemeral resources.

use std::fs;
use std::path::Path;

use crate::process::wait_until;
use crate::shelf::{Shelf, cores};

const BOX: &str = "resource \"shelf_box\" \"it\" {\n  name = \"first\"\n  contents = [\"a\"]\n}\n";

#[test]
fn a_data_source_is_read_when_its_configuration_is_known() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        let by = |number: &str| {
            format!(
                "{BOX}data \"shelf_box\" \"it\" {{\n  number = {number}\n  spelling = \"upper\"\n}}\n\
                 output \"name\" {{ value = data.shelf_box.it.name }}\n"
            )
        };
        // The number is known after create, so the data source is read while applying.
        shelf.write(&by("shelf_box.it.number"));
        shelf.succeed(&["plan", "-out=plan"]);
        let plan = shelf.json(&["show", "-json", "plan"]);
        let changes = plan["resource_changes"].as_array().expect("changes");
        let read = changes.iter().find(|change| change["mode"] == "data").expect("deferred");
        assert_eq!(read["change"]["actions"], serde_json::json!(["read"]));
        assert_eq!(read["change"]["after_unknown"]["name"], true);
        shelf.succeed(&["apply", "plan"]);
        assert_eq!(shelf.json(&["output", "-json"])["name"]["value"], "FIRST");
        // The number is known, so the data source is read while planning, and the plan is empty.
        shelf.write(&by("1"));
        shelf.succeed(&["plan", "-detailed-exitcode"]);
        shelf.write(&by("7"));
        let reported = shelf.fail(&["plan"]);
        assert!(reported.contains("Unable to find box \"7\"") && reported.contains("number = 7"), "{reported}");
        shelf.write(&by("0"));
        assert!(shelf.fail(&["validate"]).contains("\"number\": must be at least 1, got 0."));
    }
}

#[test]
fn a_function_is_called_and_names_the_wrong_argument() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        let of = |arguments: &str| format!("output \"label\" {{ value = provider::shelf::label({arguments}) }}\n");
        shelf.write(&of("null, \"books\", \"ü\", \"a-k\""));
        shelf.apply();
        assert_eq!(shelf.json(&["output", "-json"])["label"]["value"], "BOOKS/Ü/A-K");
        // The core does not call the function with unknown arguments. Its result is unknown.
        shelf.write(&format!("{BOX}{}", of("\"-\", \"box\", tostring(shelf_box.it.number)")));
        shelf.succeed(&["plan", "-out=plan"]);
        let plan = shelf.json(&["show", "-json", "plan"]);
        assert_eq!(plan["output_changes"]["label"]["after_unknown"], true);
        shelf.write(&of("null, \"books\", \"a/k\""));
        let reported = shelf.fail(&["plan"]);
        assert!(reported.contains("A part must not contain the separator."), "{reported}");
        assert!(reported.contains("\"parts\"") && !reported.contains("separator.."), "{reported}");
        shelf.write(&of("\"----\", \"books\""));
        let reported = shelf.fail(&["plan"]);
        assert!(
            reported.contains("\"separator\"") && reported.contains("length must be at least 1 and at most 3"),
            "{reported}"
        );
        shelf.write(&of("\"-\", null"));
        assert!(shelf.fail(&["plan"]).contains("null"));
        shelf.write("output \"label\" { value = provider::shelf::lable(\"-\") }\n");
        assert!(shelf.fail(&["plan"]).contains("lable"));
    }
}

const LOCKED: &str = r#"
ephemeral "shelf_key" "it" {
  holder = "ann"
}

resource "shelf_box" "it" {
  name                = "locked"
  combination_wo      = ephemeral.shelf_key.it.secret
  combination_version = 1
}
"#;

fn keys(shelf: &Shelf, what: &str) -> usize {
    let log = fs::read_to_string(shelf.path("shelf/keys.log")).unwrap_or_default();
    log.lines().filter(|line| line.starts_with(what)).count()
}

#[test]
fn an_ephemeral_value_reaches_a_write_only_attribute_and_nothing_else() {
    for core in cores() {
        let mut shelf = Shelf::new(&core);
        shelf.write(LOCKED);
        let log = shelf.path("log");
        shelf.set("TF_LOG", "TRACE");
        shelf.set("TF_LOG_PATH", log.to_str().expect("a path"));
        let mut shown = String::new();
        for arguments in [&["plan", "-out=plan"][..], &["apply", "plan"], &["plan", "-detailed-exitcode"]] {
            shown.push_str(&shelf.succeed(arguments));
        }
        shown.push_str(&shelf.succeed(&["show", "-json", "plan"]));
        let stored = fs::read_to_string(shelf.path("shelf/1.json")).expect("box");
        assert!(stored.contains("\"combination_length\":3"), "a secret of over 30 characters arrived: {stored}");
        let (open, closed) = (keys(&shelf, "open ann"), keys(&shelf, "close ann"));
        assert!(open > 1 && open == closed, "opened {open} times, closed {closed} times");
        let plan = fs::read(shelf.path("work/plan")).expect("plan");
        for (place, text) in [
            ("output", shown),
            ("state", shelf.state()),
            ("plan", String::from_utf8_lossy(&plan).into_owned()),
            ("log", fs::read_to_string(&log).expect("log")),
        ] {
            assert!(!text.contains("sesame-"), "the secret is in the {place} of {core}");
        }
    }
}

/// The box waits until the short-lived key was renewed.
#[test]
fn an_ephemeral_value_is_renewed_while_it_is_needed() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        let patient = LOCKED.replace("\"locked\"", "\"patient\"").replace("\"ann\"", "\"ann\"\n  lasts = 50");
        shelf.write(&patient);
        let running = shelf.start(&["apply", "-auto-approve"]);
        wait_until("a renewal", || shelf.path("shelf/1.json").exists() && keys(&shelf, "renew ann") > 0);
        open_the_way(&shelf.path("shelf/go"));
        shelf.wait(running.finish()).succeeded().expect("success");
        assert_eq!(keys(&shelf, "open ann"), keys(&shelf, "close ann"));
    }
}

/// The key is closed after Ctrl-C in the middle of an apply.
#[test]
fn an_ephemeral_value_is_closed_after_an_interrupt() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.write(&LOCKED.replace("\"locked\"", "\"patient\""));
        let running = shelf.start(&["apply", "-auto-approve"]);
        wait_until("the box", || shelf.path("shelf/1.json").exists());
        running.interrupt().expect("signalled");
        let reported = shelf.wait(running.finish()).text();
        assert!(reported.contains("Interrupted"), "{reported}");
        assert!(keys(&shelf, "open ann") > 0);
        assert_eq!(keys(&shelf, "open ann"), keys(&shelf, "close ann"), "{core}:\n{reported}");
    }
}

fn open_the_way(file: &Path) {
    fs::write(file, "").expect("written");
}
