//! The harness with the example provider served in this process, and the harness's messages about failures.

use std::fs;

use tf_provider_testing::{Core, Failed, Harness};

#[path = "../examples/shelf/main.rs"]
#[expect(dead_code, reason = "a program, of which the provider alone is wanted")]
mod shelf;

const IT: &str = "shelf_box.it";

fn harness(core: &Core) -> Result<Harness, Failed> {
    let harness = Harness::in_process(core, "example.com/example/shelf", shelf::Shelf)?;
    fs::create_dir(harness.directory().join("shelf")).expect("directory");
    Ok(harness)
}

fn boxed(harness: &Harness, body: &str) -> String {
    let shelf = harness.directory().join("shelf");
    format!("provider \"shelf\" {{ directory = {shelf:?} }}\nresource \"shelf_box\" \"it\" {{\n{body}\n}}\n")
}

#[tokio::test]
async fn create_update_replace_and_destroy_step_by_step() -> Result<(), Failed> {
    for core in Core::all()? {
        let shelf = harness(&core)?;
        let first = boxed(&shelf, "name = \"first\"\nlabel = \"Books\"");
        let state = shelf.step("create", &first).await?.does(IT, "create")?.apply().await?;
        state.resource(IT)?.has("number", 1)?.has("weight", 0.5)?;
        // The shelf writes labels in capitals, which is not a difference.
        shelf.imports("import", IT, "1", &["label", "timeouts"]).await?;
        let heavier = boxed(&shelf, "name = \"first\"\nweight = 0.1");
        shelf.step("update", &heavier).await?.does(IT, "update")?.apply().await?;
        shelf.step("replace", &boxed(&shelf, "name = \"second\"")).await?.replaces(IT, "name")?.apply().await?;
        let reported = shelf.refuses("limits", &boxed(&shelf, "name = \"x\"\nweight = 200")).await?.flat();
        assert!(reported.contains("must be at least 0 and at most 100, got 200"), "{reported}");
        shelf.destroys("destroy").await?;
        assert_eq!(fs::read_dir(shelf.directory().join("shelf")).expect("shelf").count(), 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_failure_names_the_step_the_attribute_and_the_reason() -> Result<(), Failed> {
    for core in Core::all()? {
        let shelf = harness(&core)?;
        let wrong = shelf.step("first step", &boxed(&shelf, "name = \"it\"")).await?.does(IT, "update");
        let reported = wrong.err().expect("it is created").to_string();
        let expected = format!("step \"first step\" with {core}: for {IT}, create is planned, expected update");
        assert!(reported.starts_with(&expected) && reported.contains("will be created"), "{reported}");

        shelf.step("create", &boxed(&shelf, "name = \"it\"")).await?.apply().await?;
        let file = shelf.directory().join("shelf/1.json");
        let text = fs::read_to_string(&file).expect("box").replace("brown", "white");
        fs::write(&file, text).expect("painted behind our back");
        let reported = shelf.is_settled().await.expect_err("it is not").to_string();
        assert!(reported.contains("a plan with refresh: the plan should be empty"), "{reported}");
        assert!(reported.contains("shelf_box.it.colour: \"white\" -> \"brown\""), "{reported}");

        let reported = shelf.imports("import", IT, "1", &[]).await.expect_err("the colour").to_string();
        assert!(reported.contains("colour is \"white\", was \"brown\""), "{reported}");
        let reported = shelf.step("broken", &boxed(&shelf, "name = \"inconsistent\"")).await?.apply().await;
        let reported = reported.expect_err("it is inconsistent").to_string();
        assert!(
            reported.starts_with(&format!("step \"broken\" with {core}")) && reported.contains("is now"),
            "{reported}"
        );
    }
    Ok(())
}
