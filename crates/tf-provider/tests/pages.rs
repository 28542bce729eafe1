//! The example provider's reference pages match its declarations and examples.

use std::path::{Path, PathBuf};

use tf_provider::docs::Pages;

#[path = "../examples/shelf/main.rs"]
#[expect(dead_code, reason = "a program, of which the provider alone is wanted")]
mod shelf;

#[test]
fn the_pages_of_the_example_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shelf");
    let pages = Pages::of(&shelf::Shelf, &root).expect("pages");
    assert_eq!(pages.iter().count(), 7, "a page for the provider and one for each type and function");
    let stale = pages.stale().expect("readable");
    assert_eq!(stale, Vec::<PathBuf>::new(), "in examples/shelf: TF_PROVIDER_DOCS=write cargo run --example shelf");
}
