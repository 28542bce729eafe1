//! The example provider's resources pass the sixteen steps with every core. The provider is served in this process,
//! except for steps that test the process.

mod boxes;
mod racks;
#[path = "../../examples/shelf/main.rs"]
#[allow(dead_code, reason = "a program, of which the provider alone is wanted")]
mod shelf;
mod world;

use std::collections::BTreeSet;
use std::path::PathBuf;

use tf_provider_testing::conformance::{self, Subject, World};
use tf_provider_testing::{Core, Failed, Harness};

use boxes::ABox;
use racks::ARack;
use world::Shelf;

/// Type that is only a source of moves, which `tests/cores` tests.
const MOVED_FROM: &str = "shelf_crate";

/// Returns the example's program, which cargo builds next to the directory of the test programs.
fn example() -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    let example = test.ancestors().nth(2).expect("target directory").join("examples/shelf");
    assert!(example.is_file(), "the example is not built: `cargo build -p pxci-tf-provider --example shelf`");
    example
}

#[tokio::test]
async fn a_box_conforms() -> Result<(), Failed> {
    for core in Core::all()? {
        conformance::run::<ABox>(&core).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_rack_conforms() -> Result<(), Failed> {
    for core in Core::all()? {
        conformance::run::<ARack>(&core).await?;
    }
    Ok(())
}

#[tokio::test]
async fn no_type_is_forgotten() -> Result<(), Failed> {
    for core in Core::all()? {
        let harness = Harness::program(&core, Shelf::SOURCE, &example())?;
        harness.configure("")?;
        let schemas = harness.work().schemas().await?;
        let types =
            schemas["provider_schemas"][Shelf::SOURCE]["resource_schemas"].as_object().cloned().unwrap_or_default();
        let types: BTreeSet<&str> = types.keys().map(String::as_str).collect();
        assert_eq!(types, BTreeSet::from([ABox::TYPE, ARack::TYPE, MOVED_FROM]));
    }
    Ok(())
}
